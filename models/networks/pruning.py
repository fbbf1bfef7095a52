"""Structured pruning: a narrower generator that is a slice of a full one.

Li, Kadav, Durdanovic, Samet, Graf, "Pruning filters for efficient ConvNets", ICLR 2017, arXiv 1608.08710: whole
channels go, by the size of weights, and those of a residual stream are chosen together.

Departure: they rank a channel by the weights that make it. Here a norm comes after them: an instance norm takes out
their size, so that every channel arrives alike (a pixel norm bounds it). What a channel matters is said by the weights
that read it: their squares, as a share of all that the reader has, summed over its readers. No pictures are needed: the
same weights, the same slice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.networks.generator import ResidualBlock, ResnetGenerator
from models.options import GeneratorOptions


@dataclass(frozen=True)
class Layers:
    """The convolutions of a ResnetGenerator by what they do."""

    down: list[nn.Module]  # to full size, half, a quarter
    blocks: list[tuple[nn.Module, nn.Module]]
    up: list[nn.Module]  # to half, to full size
    last: nn.Module

    @classmethod
    def of(cls, network: ResnetGenerator) -> "Layers":
        convolutions = [module for module in network.model if _is_convolution(module)]
        blocks = [module for module in network.model if isinstance(module, ResidualBlock)]
        pairs = [tuple(filter(_is_convolution, block.conv_block)) for block in blocks]
        return cls(convolutions[:3], pairs, convolutions[3:5], convolutions[5])


@dataclass(frozen=True)
class Kept:
    """Numbers of the channels that are kept, in rising order, int64 each; the decoder's are `up_half` and `up_full`."""

    full: Tensor
    half: Tensor
    quarter: Tensor
    inside: list[Tensor]  # of each block
    up_half: Tensor
    up_full: Tensor


def most_channels(options: GeneratorOptions, keep: float) -> int:
    """Of the widest generator that has at most `keep` times the parameters; 0 if there is none."""
    most = keep * count_parameters(options, options.channels)
    return next((c for c in range(options.channels, 0, -1) if count_parameters(options, c) <= most), 0)


def count_parameters(options: GeneratorOptions, channels: int) -> int:
    """Of a generator of these options, but so wide: counted without making one."""
    c = channels
    ends = _size(3, c, 7) + _size(c, 3, 7)
    between = _size(c, 2 * c) + _size(2 * c, 4 * c) + _size(4 * c, 2 * c) + _size(2 * c, c)
    return ends + between + 2 * options.blocks * _size(4 * c, 4 * c)


def _size(channels_in: int, channels_out: int, kernel: int = 3) -> int:
    return channels_out * (channels_in * kernel**2 + 1)


def choose_channels(network: ResnetGenerator, channels: int) -> Kept:
    """Those that are read most, for a generator whose first layer has so many."""
    full, half, quarter, inside = channels, 2 * channels, 4 * channels, 4 * channels
    its = Layers.of(network)
    stream = [*(first for first, _ in its.blocks), its.up[0]]
    if network.skips:  # the encoder's are added to the decoder's: one choice for both
        kept_full, kept_half = _most_read([its.down[1], its.last], full), _most_read([its.down[2], its.up[1]], half)
        up_full, up_half = kept_full, kept_half
    else:
        kept_full, kept_half = _most_read([its.down[1]], full), _most_read([its.down[2]], half)
        up_full, up_half = _most_read([its.last], full), _most_read([its.up[1]], half)
    return Kept(
        *(kept_full, kept_half, _most_read(stream, quarter)),
        [_most_read([second], inside) for _, second in its.blocks],
        *(up_half, up_full),
    )


@torch.no_grad()
def copy_slice(network: ResnetGenerator, narrow: ResnetGenerator, kept: Kept) -> None:
    """Give a narrower generator the weights of the channels that are kept."""
    pairs = zip(_wired(Layers.of(network), kept), _wired(Layers.of(narrow), kept), strict=True)
    for (wide, read, made), (small, _, _) in pairs:
        weight = wide.weight if read is None else wide.weight.index_select(_axis_in(wide), read)
        weight = weight if made is None else weight.index_select(1 - _axis_in(wide), made)
        small.weight.copy_(weight)
        small.bias.copy_(wide.bias if made is None else wide.bias[made])


def _wired(its: Layers, kept: Kept) -> Iterator[tuple[nn.Module, Tensor | None, Tensor | None]]:
    """Every convolution with the channels that it reads and makes; None: all, those of a picture."""
    yield its.down[0], None, kept.full
    yield its.down[1], kept.full, kept.half
    yield its.down[2], kept.half, kept.quarter
    for (first, second), inside in zip(its.blocks, kept.inside, strict=True):
        yield first, kept.quarter, inside
        yield second, inside, kept.quarter
    yield its.up[0], kept.quarter, kept.up_half
    yield its.up[1], kept.up_half, kept.up_full
    yield its.last, kept.up_full, None


def _most_read(readers: Sequence[nn.Module], count: int) -> Tensor:
    votes = torch.stack([_read(reader) / _read(reader).sum().clamp_min(1e-30) for reader in readers]).sum(dim=0)
    return votes.argsort(descending=True, stable=True)[:count].sort().values


def _read(convolution: nn.Module) -> Tensor:
    """[C_in]: sum of the squared weights by which each channel is read, in float64."""
    return convolution.weight.detach().double().square().transpose(0, _axis_in(convolution)).flatten(1).sum(dim=1)


def _axis_in(convolution: nn.Module) -> int:
    return 0 if isinstance(convolution, nn.ConvTranspose2d) else 1


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
