"""Arbitrary style transfer in real-time with adaptive instance normalization.

Huang, Belongie, ICCV 2017, arXiv 1703.06868.

c photographs, s paintings; f the encoder, a VGG up to relu4_1, which is never trained; t the features of c with the
statistics of those of s; g the decoder, f's mirror. At run time t is fused from the content's own features and those of
several styles by weights: the encoder-fusion-decoder of the early feed-forward methods is the same thing.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from data.batch import Batch
from models.losses import adain, channel_statistics
from models.method import Method, Style, Turn
from models.networks.padding import ReflectConv2d
from models.networks.vgg import CHANNELS, CONVOLUTIONS, VGG
from models.networks.vgg_weights import fill
from models.options import AdaINOptions

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")

mse = functional.mse_loss


class AdaIN(Method):
    """The encoder is part of a run's memory, so that a run translates without the file that it came from."""

    directions = ("photo2painting",)
    averaged = ("g",)
    needs_style = True
    knows_strength = True
    smallest_side = 16
    style_side = 512  # as in the paper

    def __init__(self, options: AdaINOptions):
        super().__init__()
        self.options = options
        features = options.features
        self.deepest = options.layer
        self.style_layers = LAYERS[: LAYERS.index(options.layer) + 1]
        self.size_multiple = 2 ** (len(self.style_layers) - 1)
        self.f = VGG(features.network, self.deepest, features.pooling, features.padding, kept=True)
        self.g = decoder(features.network, self.deepest)
        self.optimizers = {"decoder": torch.optim.Adam(self.g.parameters(), lr=options.learning_rate)}

    def begin(self, styles: Tensor) -> None:
        fill(self.f, self.options.features)
        self.described = f"encoder: {self.f.described}"

    def turns(self, batch: Batch) -> Iterator[Turn]:
        with torch.no_grad():
            style = self.f(batch.style, self.style_layers)
            content = self.f(batch.content, [self.deepest])[self.deepest]
            t = adain(content, style[self.deepest])  # Eq. 8
        found = self.f(self.g(t), self.style_layers)
        content_loss = mse(found[self.deepest], t)  # Eq. 12
        style_loss = torch.zeros_like(content_loss)
        for layer in self.style_layers:  # Eq. 13
            statistics = zip(channel_statistics(found[layer]), channel_statistics(style[layer]), strict=True)
            style_loss = style_loss + sum(mse(ours, theirs) for ours, theirs in statistics)
        loss = content_loss + self.options.style_weight * style_loss  # Eq. 11
        report = {"content": content_loss, "style": style_loss}
        if self.options.identity_weight:
            both = torch.cat([batch.content, batch.style])
            report["identity"] = mse(self.g(torch.cat([content, style[self.deepest]])), both)
            loss = loss + self.options.identity_weight * report["identity"]
        yield Turn("decoder", loss, report)

    def translate(self, content: Tensor, style: Style | None = None, direction: str = "") -> Tensor:
        if style is None:
            raise ValueError("AdaIN needs a style: give one or more paintings")
        features = self.f(content, [self.deepest])[self.deepest]
        styles = [self.f(picture, [self.deepest])[self.deepest] for picture in style.pictures]
        fused = sum(
            share * _in_region(features, s, style.region) for share, s in zip(style.shares(), styles, strict=True)
        )  # Eq. 15
        return self.g(style.strength * fused + (1 - style.strength) * features).clamp(-1, 1)  # Eq. 14

    def samples(self, batch: Batch) -> dict[str, Tensor]:
        return {
            "photograph": batch.content,
            "painting": batch.style,
            "translation": self.translate(batch.content, Style((batch.style,))),
            "strength 0": self.translate(batch.content, Style((batch.style,), strength=0.0)),
        }


def _in_region(features: Tensor, style: Tensor, region: Tensor | None) -> Tensor:
    """AdaIN with the photograph's statistics of a region of the picture; outside, which is not shown but which the
    decoder sees at the border, with those of the whole. A region too small for any place of the features is the
    whole, too."""
    if region is None:
        return adain(features, style)
    small = functional.adaptive_avg_pool2d(region, features.shape[-2:])
    small = torch.where(small.sum(dim=(2, 3), keepdim=True) > 0, small, 1.0)
    return small * adain(features, style, region=small) + (1 - small) * adain(features, style)


def decoder(network: str, layer: str = "relu4_1") -> nn.Sequential:
    """The encoder backwards, without normalisation: `layer` -> pictures. Nearest up-sampling instead of pooling,
    reflect padding; the last convolution has no activation.

    Shape: [N, C, H, W] -> [N, 3, 8 H, 8 W] from relu4_1, half of that from every layer before it.
    """
    deepest = LAYERS.index(layer)
    layers: list[nn.Module] = [ReflectConv2d(CHANNELS[deepest], CHANNELS[deepest - 1], 3), nn.ReLU()]
    for block in reversed(range(deepest)):
        channels, narrower = CHANNELS[block], CHANNELS[block - 1] if block else 3
        layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        for _ in range(CONVOLUTIONS[network][block] - 1):
            layers += [ReflectConv2d(channels, channels, 3), nn.ReLU()]
        layers += [ReflectConv2d(channels, narrower, 3), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
