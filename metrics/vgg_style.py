"""Statistics of VGG's features that carry style: means and deviations (AdaIN), Gram matrices (Gatys).

Of the ImageNet networks, or of random ones, which are no trained eyes but a fair ruler between methods (Naeem et al.
2020, "Reliable fidelity and diversity metrics").
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from metrics.frechet import frechet_distance
from metrics.imagenet import ImageNetScale
from metrics.sets import to_unit

LAYERS_OF_16 = (1, 6, 11, 18, 25)  # relu1_1, relu2_1, relu3_1, relu4_1, relu5_1
LAYERS_OF_19 = (1, 6, 11, 20)  # relu1_1, relu2_1, relu3_1, relu4_1
CHANNELS = (64, 128, 256, 512, 512)  # at these layers
RANDOM_FEATURES = 64


@lru_cache(maxsize=2)
def random_vgg16(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """Convolutions with Kaiming weights, and the layers to look at. Leaves the global generator alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        convolutions = make_layers(cfgs["D"])[: LAYERS_OF_16[-1] + 1]
        for module in convolutions:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)
    return convolutions, LAYERS_OF_16


def vgg19(state: Mapping[str, Tensor]) -> tuple[nn.Module, tuple[int, ...]]:
    """The same of torchvision's VGG-19, from its weights."""
    convolutions = make_layers(cfgs["E"])[: LAYERS_OF_19[-1] + 1]
    convolutions.load_state_dict({key: state[f"features.{key}"] for key in convolutions.state_dict()})
    return convolutions, LAYERS_OF_19


class _Layers(nn.Module):
    """uint8 [N, 3, H, W], sides at least 16 -> the features of some layers, each [N, C, h * w]."""

    def __init__(self, convolutions: nn.Module, layers: tuple[int, ...]):
        super().__init__()
        self.convolutions = convolutions.to(memory_format=torch.channels_last)
        self.layers = layers
        self.scale = ImageNetScale()

    def seen(self, pictures: Tensor) -> Iterator[Tensor]:
        x = self.scale(to_unit(pictures)).contiguous(memory_format=torch.channels_last)
        for index, module in enumerate(self.convolutions):
            x = module(x)
            if index in self.layers:
                yield x.flatten(2)


class VggMoments(_Layers):
    """uint8 [N, 3, H, W] -> [N, D]: of each layer the channels' means over the picture, then their deviations."""

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.cat([m for x in self.seen(pictures) for m in (x.mean(dim=2), x.std(dim=2, correction=0))], dim=1)


class VggGram(_Layers):
    """uint8 [N, 3, H, W] -> [N, D]: of each layer the Gram matrix, divided by its number of places."""

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.cat([(x @ x.mT / x.shape[2]).flatten(1) for x in self.seen(pictures)], dim=1)


def moment_distance(a: Tensor, b: Tensor) -> float:
    """Mean over the layers of |m_a - m_b|^2 / |m_b|^2, where m are a set's mean moments; without the part that the
    sets' own scatter adds to it, so that it is near 0 (of either sign) for sets of one distribution, whatever their
    sizes. Of VggMoments, [N, D] and [M, D], N and M at least 2."""
    mean, real, scales = _means_and_scales(a, b)
    scatter = a.var(dim=0) / len(a) + b.var(dim=0) / len(b)
    return float((scales * ((mean - real).square() - scatter)).sum())


def moment_error(a: Tensor, b: Tensor) -> float:
    """Its standard error, by the pictures' influence on it (Hampel 1974), those of both sets."""
    mean, real, scales = _means_and_scales(a, b)
    slope = 2 * scales * (mean - real)
    return float(((a @ slope).var() / len(a) + (b @ slope).var() / len(b)).sqrt())


def _means_and_scales(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean, real = a.mean(dim=0), b.mean(dim=0)
    layers = _layer_sizes(a.shape[1], [2 * c for c in CHANNELS])
    norms = [r.square().sum().clamp_min(1e-12).expand(len(r)) for r in real.split(layers)]
    return mean, real, 1 / (len(layers) * torch.cat(norms))


def gram_distance(a: Tensor, b: Tensor) -> float:
    """Mean over the layers of |G_a - G_b|^2 / |G_b|^2 of two sets' mean Gram matrices, each [1, D]."""
    layers = _layer_sizes(a.shape[1], [c * c for c in CHANNELS])
    pairs = list(zip(a[0].split(layers), b[0].split(layers), strict=True))
    return float(sum((x - y).square().sum() / y.square().sum().clamp_min(1e-12) for x, y in pairs) / len(pairs))


def projected_frechet_distance(a: Tensor, b: Tensor) -> float:
    """Frechet distance of 64 numbers a picture, of its moments by a random orthonormal matrix: few enough for a
    covariance of some hundred pictures. [N, D] and [M, D]."""
    return frechet_distance(_project(a), _project(b))


def _project(moments: Tensor, seed: int = 0) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return moments @ nn.init.orthogonal_(torch.empty(moments.shape[1], RANDOM_FEATURES)).to(moments)


def _layer_sizes(length: int, sizes: list[int]) -> list[int]:
    """The first of `sizes`, as many as make up the length."""
    found: list[int] = []
    while sum(found) < length:
        found.append(sizes[len(found)])
    assert sum(found) == length
    return found
