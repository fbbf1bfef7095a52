"""Convolutions in 8 bits: static quantisation of a plain network, calibrated on photographs.

Weights are signed, symmetric, one scale an output channel; activations unsigned, which is what onnxruntime's fastest
kernels take (U8S8; Jacob et al. 2018, arXiv 1712.05877). Three things beyond the usual:

- A range is not the least and the largest value, which in photographs are far out, but that of the least squared error.
- Instance norm, which stands behind every convolution that is quantised, undoes any scale and shift of a channel. So
  each output channel is brought to its own best range by the convolution's weights, and brought back by the
  dequantisation, which may have a scale for each channel: a finer result at no cost.
- Which convolutions stay in float is measured: those that cost the most error for each multiplication.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from translation.plain import AT_ONCE, Phases, operator

CHANNEL_SAMPLES = 2**12  # of each channel, over all photographs
SHRINKS = tuple(0.9**i for i in range(30))  # of the range from the least to the largest value
MIDDLE = 128  # of the unsigned 8-bit numbers
MOST_FLOAT = 0.22  # of all multiplications, that the choice may leave in float: more would cost the speed


class Watched(nn.Module):
    """A convolution that remembers some of what goes in and out."""

    def __init__(self, convolution: nn.Conv2d, photographs: int):
        super().__init__()
        self.convolution = convolution
        self.each = max(16, CHANNEL_SAMPLES // photographs)
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.multiplications = 0

    def forward(self, x: Tensor) -> Tensor:
        found = self.convolution(x)
        by_channel = found.transpose(0, 1).flatten(1)
        self.inputs.append(_some(x.transpose(0, 1).flatten(1), self.each))
        self.outputs.append(_some(by_channel, self.each))
        self.multiplications += by_channel.shape[1] * self.convolution.weight.numel()
        return found


class Quantised(nn.Module):
    """The same in 8 bits. Outside of an export it rounds as the graph will, in float32.

    Shape: [N, in, H, W] -> [N, out, H', W'], float32 both.
    """

    def __init__(self, watched: Watched, keeps_shift: bool):
        """Args: keeps_shift: the norm behind sees several channels as one, and so does not undo a shift of each."""
        super().__init__()
        convolution = watched.convolution
        self.stride, self.padding = convolution.stride, convolution.padding
        step, zero = self._input_range(torch.cat(watched.inputs, dim=1))
        shared = int(zero[0]) if any(self.padding) else MIDDLE  # the zero that it is told of, and pads with
        low_out, high_out = best_range(torch.cat(watched.outputs, dim=1))
        if keeps_shift:
            low_out, high_out = low_out.clamp_max(0), high_out.clamp_min(0)
        out_step = ((high_out - low_out) / 255).clamp_min(1e-6)  # a channel that is the same everywhere has one, too
        out_zero = (-low_out / out_step).round().clamp(0, 255)
        low_out = torch.where((out_zero > 0) & (out_zero < 255), -out_zero * out_step, low_out)
        weight = convolution.weight.detach() * step.view(1, -1, 1, 1) / out_step.view(-1, 1, 1, 1)
        scale = weight.abs().amax(dim=(1, 2, 3)).clamp_min(1e-12) / 127
        numbers = (weight / scale.view(-1, 1, 1, 1)).round()
        given = torch.zeros(len(weight)) if convolution.bias is None else convolution.bias.detach()
        bias = (given - low_out) / out_step - MIDDLE  # the least output becomes the number 0
        bias = bias / scale + (numbers.sum(dim=(2, 3)) * (shared - zero)).sum(dim=1)  # as if all zeros were shared
        self.register_buffer("step", step)
        self.register_buffer("zero", zero.to(torch.uint8))
        self.register_buffer("shared", torch.tensor(shared, dtype=torch.uint8))
        self.register_buffer("weight", numbers.to(torch.int8))
        self.register_buffer("weight_scale", scale)
        self.register_buffer("weight_zero", torch.zeros(len(weight), dtype=torch.int8))
        self.register_buffer("bias", bias.round().clamp(-(2**30), 2**30).to(torch.int32))
        self.register_buffer("one", torch.tensor(1.0))
        self.register_buffer("middle", torch.tensor(MIDDLE, dtype=torch.uint8))
        self.register_buffer("out_step", out_step)
        self.register_buffer("out_zero", out_zero.to(torch.uint8))

    def _input_range(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Step and zero of each channel, [C] and [C]. Where the convolution pads with zeros, they are one number for
        all, which after ReLU is 0; else there is one range for all channels."""
        padded = any(self.padding) and bool((samples < 0).any())
        low, high = best_range(samples.flatten()[None] if padded else samples)
        low, high = low.expand(len(samples)), high.expand(len(samples))
        low, high = low.clamp_max(0), torch.maximum(high, low.clamp_max(0) + 1e-5)
        step = (high - low) / 255
        return step, (-low / step).round().clamp(0, 255)

    def forward(self, x: Tensor) -> Tensor:
        return self._as_graph(x) if torch.compiler.is_exporting() else self._as_float(x)

    def _as_float(self, x: Tensor) -> Tensor:
        step, zero = self.step.view(1, -1, 1, 1), self.zero.view(1, -1, 1, 1).float()
        x = (x / step + zero).round().clamp(0, 255) - self.shared
        weight = self.weight.float() * self.weight_scale.view(-1, 1, 1, 1)
        found = functional.conv2d(x, weight, self.bias * self.weight_scale, self.stride, self.padding)
        numbers = found.round().clamp(-MIDDLE, 255 - MIDDLE) + MIDDLE
        return (numbers - self.out_zero.view(1, -1, 1, 1)) * self.out_step.view(1, -1, 1, 1)

    def _as_graph(self, x: Tensor) -> Tensor:
        """The pattern of which onnxruntime makes one 8-bit convolution: of numbers that are taken as they are, for what
        a number is worth in each channel stands in the weights."""

        def dequantised(numbers: Tensor, scale: Tensor, zero: Tensor | None = None, **axis: int) -> Tensor:
            inputs = (numbers, scale) if zero is None else (numbers, scale, zero)
            return operator("DequantizeLinear", inputs, torch.float32, numbers.shape, **axis)

        numbers = operator("QuantizeLinear", (x, self.step, self.zero), torch.uint8, x.shape, axis=1)
        weight = dequantised(self.weight, self.weight_scale, self.weight_zero, axis=0)
        bias = dequantised(self.bias, self.weight_scale, axis=0)
        found = functional.conv2d(dequantised(numbers, self.one, self.shared), weight, bias, self.stride, self.padding)
        numbers = operator("QuantizeLinear", (found, self.one, self.middle), torch.uint8, found.shape)
        return dequantised(numbers, self.out_step, self.out_zero, axis=1)


@dataclass(frozen=True)
class Choice:
    """What was quantised. float_names: convolutions that stay; share: of the multiplications in 8 bits."""

    quantised_names: tuple[str, ...]
    float_names: tuple[str, ...]
    share: float


@torch.inference_mode()
def quantise(network: nn.Module, photographs: Sequence[Tensor], wanted: float = 40.0) -> Choice:
    """Replace convolutions of a plain network, in place.

    Args:
        photographs: each [1, 3, H, W] in [-1, 1], as the network takes them.
        wanted: dB of PSNR against float; convolutions stay in float until this is foretold, or MOST_FLOAT is reached.
    """
    watched = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    watched = {name: Watched(module, len(photographs)) for name, module in watched.items()}
    _put(network, watched)
    for photograph in photographs:
        network(photograph)
    _put(network, {name: each.convolution for name, each in watched.items()})
    total = sum(each.multiplications for each in watched.values())
    inner = {name: each for name, each in watched.items() if _is_followed_by_norm(each)}
    quantised = {
        name: Quantised(each, isinstance(network.get_submodule(name.rpartition(".")[0]), Phases))
        for name, each in inner.items()
    }
    floats = _costly(network, watched, quantised, photographs[:2], 4 * 10 ** (-wanted / 10), total)
    for name in floats:
        quantised.pop(name)
    _put(network, quantised)
    share = sum(watched[name].multiplications for name in quantised) / total
    return Choice(tuple(quantised), tuple(name for name in watched if name not in quantised), share)


def best_range(samples: Tensor) -> tuple[Tensor, Tensor]:
    """[C, n] -> the ends of the 256 steps with the least squared error, for each row: [C], [C]."""
    least, most = samples.amin(dim=1, keepdim=True), samples.amax(dim=1, keepdim=True)
    mean = samples.mean(dim=1, keepdim=True)
    mean = torch.where((least >= 0) & (least <= 0), torch.zeros_like(mean), mean)  # after ReLU: grows from 0 up
    low, high, error = least.clone(), most.clone(), torch.full_like(least, torch.inf)
    for shrink in SHRINKS:
        reach = shrink * torch.maximum(most - mean, mean - least)
        a, b = torch.maximum(least, mean - reach), torch.minimum(most, mean + reach)
        step = ((b - a) / 255).clamp_min(1e-12)
        found = ((samples - a) / step).round().clamp(0, 255) * step + a
        now = (found - samples).square().mean(dim=1, keepdim=True)
        better = now < error
        low, high, error = torch.where(better, a, low), torch.where(better, b, high), torch.where(better, now, error)
    return low.squeeze(1), high.squeeze(1)


def _some(values: Tensor, count: int) -> Tensor:
    """[C, n] -> [C, up to about count], evenly spread, and always the least and the largest."""
    every = max(1, values.shape[1] // count)
    ends = (values.amin(dim=1, keepdim=True), values.amax(dim=1, keepdim=True))
    return torch.cat([values[:, ::every][:, : count + 1], *ends], dim=1)


def _is_followed_by_norm(watched: Watched) -> bool:
    """All are but the last one, whose output is the picture; and the first one gains nothing from 8 bits."""
    convolution = watched.convolution
    return convolution.in_channels > 3 and convolution.stride[0] != AT_ONCE


def _costly(
    network: nn.Module,
    watched: dict[str, Watched],
    quantised: dict[str, Quantised],
    photographs: Sequence[Tensor],
    allowed: float,
    total: int,
) -> list[str]:
    """Names of the convolutions that stay in float. Errors of convolutions add up, as if they knew nothing of one
    another; those with the most error a multiplication go first."""
    wanted = [network(photograph) for photograph in photographs]
    errors = {}
    for name, module in quantised.items():
        _put(network, {name: module})
        found = [network(photograph) for photograph in photographs]
        errors[name] = sum(float((a - b).square().mean()) for a, b in zip(found, wanted, strict=True)) / len(found)
        _put(network, {name: watched[name].convolution})
    left, chosen = sum(errors.values()), []
    in_float = sum(each.multiplications for name, each in watched.items() if name not in quantised) / total
    for name in sorted(errors, key=lambda name: -errors[name] / watched[name].multiplications):
        more = watched[name].multiplications / total
        if left <= allowed:
            break
        if in_float + more <= MOST_FLOAT:
            chosen.append(name)
            left, in_float = left - errors[name], in_float + more
    return chosen


def _put(network: nn.Module, modules: dict[str, nn.Module]) -> None:
    for name, module in modules.items():
        network.set_submodule(name, module)
