"""Image style transfer using convolutional neural networks: the picture itself is optimised.

Gatys, Ecker, Bethge, CVPR 2016.

p the photograph, a the paintings, x the picture that is optimised; F its features, G their Gram matrices.
Departures: losses without units (see GatysOptions); replicate padding and average pooling by option; statistics by mean
and covariance compared as Gaussians, scales from coarse to fine with Adam's moments carried along, and averaged
iterates, all of which later work found better.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from data.batch import Batch
from models.lbfgs import minimise
from models.losses import (
    STYLE_DISTANCES,
    StyleStatistics,
    channel_statistics,
    content_unit,
    style_unit,
    total_variation,
)
from models.method import Method, Progress, Style, Turn
from models.networks.vgg import VGG, deepest_layer
from models.networks.vgg_weights import load_vgg
from models.options import GatysOptions, OptionsError

SMALLEST = 32  # px, what five blocks of a VGG take
STEP = 2**0.5  # between two scales
NEAR = 1e-3  # of the style's own size: a distance that counts for as good as none


class Gatys(Method):
    """Translates by optimising; there is nothing to train."""

    directions = ("photo2painting",)
    needs_style = True
    optimizes = True
    smallest_side = SMALLEST

    def __init__(self, options: GatysOptions):
        super().__init__()
        self.options = options
        self.optimizers = {}
        deepest = deepest_layer(options.features.network, options.style_layers)
        deepest = deepest_layer(options.features.network, [deepest, options.content_layer])
        self.layer_weights = options.layer_weights or [1.0] * len(options.style_layers)
        if len(self.layer_weights) != len(options.style_layers):
            raise OptionsError(
                f"method.layer_weights: {len(self.layer_weights)} weights for {len(options.style_layers)} style layers"
            )
        if not any(self.layer_weights):
            raise OptionsError("method.layer_weights: all are 0; method.style_weight=0 leaves the style out")
        self.vgg: VGG = load_vgg(options.features, deepest)
        self.described = f"features: {self.vgg.described}"

    def turns(self, batch: Batch) -> Iterator[Turn]:
        raise NotImplementedError("Gatys optimises pictures, not weights")

    def translate(
        self,
        content: Tensor,
        style: Style | None = None,
        direction: str = "",
        progress: Progress | None = None,
    ) -> Tensor:
        if style is None:
            raise ValueError("Gatys needs a style: give one or more paintings")
        with torch.inference_mode(False), torch.enable_grad():
            content = content.clone()
            style = replace(style, pictures=tuple(picture.clone() for picture in style.pictures))
            return self._optimise(content, style, progress)

    def _optimise(self, content: Tensor, style: Style, progress: Progress | None) -> Tensor:
        sizes = _sizes(content.shape[-2:], self.options.coarsest)
        moving: _Adam | _Lbfgs | None = None
        total = len(sizes) * self.options.iterations
        picture = None
        for number, size in enumerate(sizes):
            p = _resize(content, size)
            paintings = [_to_side(a, round(min(size) * self.options.style_scale)) for a in style.pictures]
            picture = self._start(p, paintings, style) if picture is None else _resize(picture, size).clamp(-1, 1)
            moving = (_Adam if self.options.optimizer == "adam" else _Lbfgs)(self.options, picture, moving)
            loss = self.loss(p, paintings, style.shares())

            def report(done: int, parts: dict[str, Tensor], before: int = number * self.options.iterations) -> None:
                if progress:
                    progress(before + done, total, {name: float(value.detach()) for name, value in parts.items()})

            picture = moving.run(loss, report)
        return picture

    def loss(
        self, content: Tensor, paintings: Sequence[Tensor], shares: Sequence[float]
    ) -> Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]:
        """The function to minimise at one scale: a picture -> its loss, summed over the batch, and the parts."""
        o, distance = self.options, STYLE_DISTANCES[self.options.statistics]
        with torch.no_grad():
            features = self.vgg(content, [*o.style_layers, o.content_layer])
            wanted = features[o.content_layer]
            variance = content_unit(wanted)
            targets = self._targets(paintings, shares)
            units = {}
            for layer, target in targets.items():  # a photograph in the style already has next to no distance
                floor = NEAR * style_unit(o.statistics, target)
                units[layer] = torch.maximum(distance(features[layer], target), floor)

        def evaluate(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            found = self.vgg(x, [*o.style_layers, o.content_layer])
            content_loss = ((found[o.content_layer] - wanted).square().mean(dim=(1, 2, 3)) / variance).sum()  # Eq. 1
            style_loss = sum(
                weight * (distance(found[layer], targets[layer]) / units[layer]).sum()
                for layer, weight in zip(o.style_layers, self.layer_weights, strict=True)
            ) / sum(self.layer_weights)  # Eq. 5
            parts = {"content": content_loss, "style": style_loss}
            total = o.content_weight * content_loss + o.style_weight * style_loss  # Eq. 7
            if o.tv_weight:
                parts["tv"] = total_variation(x) * len(x)
                total = total + o.tv_weight * parts["tv"]
            return total, parts

        return evaluate

    def _targets(self, paintings: Sequence[Tensor], shares: Sequence[float]) -> dict[str, StyleStatistics]:
        layers = self.options.style_layers
        found = [{layer: StyleStatistics.of(x) for layer, x in self.vgg(a, layers).items()} for a in paintings]
        return {layer: StyleStatistics.average([each[layer] for each in found], shares) for layer in layers}

    def _start(self, content: Tensor, paintings: Sequence[Tensor], style: Style) -> Tensor:
        if self.options.start == "content":
            return content.clone()
        if self.options.start == "noise":
            generator = torch.Generator().manual_seed(self.options.seed)
            noise = torch.rand(content.shape[1:], generator=generator) * 2 - 1
            return noise.to(content).expand_as(content).clone()
        mean, deviation = channel_statistics(content)
        statistics = [channel_statistics(picture) for picture in paintings]
        wanted = [sum(s * each[i] for s, each in zip(style.shares(), statistics, strict=True)) for i in (0, 1)]
        return ((content - mean) / deviation * wanted[1] + wanted[0]).clamp(-1, 1)


class _Lbfgs:
    """As in the paper; an iteration is one evaluation of the loss, as in its first implementations."""

    def __init__(self, options: GatysOptions, picture: Tensor, before: "_Lbfgs | None"):
        self.options = options
        self.picture = picture

    def run(self, loss: Callable, report: Callable) -> Tensor:
        done = 0

        def gradient(x: Tensor) -> Tensor:
            nonlocal done
            x = x.detach().requires_grad_()
            total, parts = loss(x)
            done += 1
            report(done, parts)
            return torch.autograd.grad(total, x)[0]

        o = self.options
        return minimise(gradient, self.picture, o.iterations, o.learning_rate, project=lambda x: x.clamp(-1, 1))


class _Adam:
    """Keeps its moments from scale to scale, resized with the picture; clamps after each step."""

    betas = (0.9, 0.99)

    def __init__(self, options: GatysOptions, picture: Tensor, before: "_Adam | None"):
        self.options = options
        self.picture = picture.clone().requires_grad_()
        self.optimizer = torch.optim.Adam([self.picture], lr=options.learning_rate, betas=self.betas)
        if before is not None:
            state = before.optimizer.state[before.picture]
            size = picture.shape[-2:]
            self.optimizer.state[self.picture] = {
                "step": state["step"],
                "exp_avg": _resize(state["exp_avg"], size),
                "exp_avg_sq": _resize(state["exp_avg_sq"], size).clamp_min(0),
            }

    def run(self, loss: Callable, report: Callable) -> Tensor:
        mean, weight = torch.zeros_like(self.picture.detach()), 0.0
        decay = self.options.average
        for done in range(1, self.options.iterations + 1):
            self.optimizer.zero_grad(set_to_none=True)
            total, parts = loss(self.picture)
            total.backward()
            self.optimizer.step()
            with torch.no_grad():
                self.picture.clamp_(-1, 1)
            mean = decay * mean + (1 - decay) * self.picture.detach()
            weight = decay * weight + (1 - decay)
            report(done, parts)
        return mean / weight  # the bias of the beginning taken out


def _sizes(size: Sequence[int], coarsest: int) -> list[tuple[int, int]]:
    """The scales of a picture [H, W], the last its own."""
    found = [tuple(size)]
    shorter = min(size)
    while coarsest and round(shorter / STEP) >= max(coarsest, SMALLEST):
        shorter /= STEP
        found.append(tuple(round(side * shorter / min(size)) for side in size))
    return found[::-1]


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return functional.interpolate(x, tuple(size), mode="bicubic", antialias=True)


def _to_side(picture: Tensor, side: int) -> Tensor:
    """Shorter side to `side` px, at least SMALLEST."""
    scale = max(side, SMALLEST) / min(picture.shape[-2:])
    return _resize(picture, [max(SMALLEST, round(length * scale)) for length in picture.shape[-2:]])
