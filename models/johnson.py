"""Perceptual losses for real-time style transfer: one feed-forward network for one style.

Johnson, Alahi, Fei-Fei, ECCV 2016.

x photographs, y_hat = f_W(x) their translations; phi the features of a fixed VGG, G their Gram matrices.
Departures: losses without units (see JohnsonOptions); the style may be that of many paintings, by the mean of their
Gram matrices, which makes it comparable with a method that learns a domain; mean and covariance instead of Gram
matrices by option.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from data.batch import Batch
from models.losses import STYLE_DISTANCES, StyleStatistics, content_unit, style_unit, total_variation
from models.method import Method, Style, Turn
from models.networks.transform import TransformNetwork
from models.networks.vgg import CHANNELS, VGG, deepest_layer
from models.networks.vgg_weights import load_vgg
from models.options import JohnsonOptions

SEEN_AT_ONCE = 16  # paintings
STATISTICS = {"gram": "the mean Gram matrix", "moments": "mean and covariance"}


class Johnson(Method):
    """One network; the features that judge it are needed for its training only."""

    directions = ("photo2painting",)
    averaged = ("network",)
    size_multiple = 4
    smallest_side = 16

    def __init__(self, options: JohnsonOptions):
        super().__init__()
        self.options = options
        self.num_styles = options.num_styles
        deepest = deepest_layer(options.features.network, options.style_layers)
        self.deepest = deepest_layer(options.features.network, [deepest, options.content_layer])
        self.network = TransformNetwork(options.channels, options.blocks, options.skips)
        self.vgg: VGG | None = None
        for layer in options.style_layers:
            channels = CHANNELS[int(layer[4]) - 1]
            self.register_buffer(f"mean_{layer}", torch.zeros(1, channels))
            self.register_buffer(f"raw_{layer}", torch.zeros(1, channels, channels))
        self.optimizers = {"network": torch.optim.Adam(self.network.parameters(), lr=options.learning_rate)}

    @torch.no_grad()
    def begin(self, styles: Tensor) -> None:
        o = self.options
        self.vgg = load_vgg(o.features, self.deepest).to(styles.device)
        self.described = f"features: {self.vgg.described}; style: {STATISTICS[o.statistics]} of {len(styles)} paintings"
        for layer in o.style_layers:
            self._target(layer).mean.zero_()
            self._target(layer).raw.zero_()
        for some in styles.split(SEEN_AT_ONCE):
            for layer, features in self.vgg(some, o.style_layers).items():
                target, found = self._target(layer), StyleStatistics.of(features)
                target.mean.add_(found.mean.sum(dim=0), alpha=1 / len(styles))
                target.raw.add_(found.raw.sum(dim=0), alpha=1 / len(styles))

    def turns(self, batch: Batch) -> Iterator[Turn]:
        o, x = self.options, batch.content
        y_hat = self.network(x)
        features = self.vgg(y_hat, [*o.style_layers, o.content_layer])
        with torch.no_grad():
            wanted = self.vgg(x, [o.content_layer])[o.content_layer]
        distance = (features[o.content_layer] - wanted).square().mean(dim=(1, 2, 3))  # Eq. 2
        content = (distance / content_unit(wanted)).mean()
        style = sum(self._style_loss(layer, features[layer]) for layer in o.style_layers) / len(o.style_layers)  # Eq. 4
        report = {"content": content, "style": style}
        loss = o.content_weight * content + o.style_weight * style  # Eq. 5
        if o.tv_weight:
            report["tv"] = total_variation(y_hat)
            loss = loss + o.tv_weight * report["tv"]
        yield Turn("network", loss, report)

    def translate(self, content: Tensor, style: Style | None = None, direction: str = "") -> Tensor:
        return self.network(content)

    def samples(self, batch: Batch) -> dict[str, Tensor]:
        return {"photograph": batch.content, "translation": self.network(batch.content), "painting": batch.style}

    def _style_loss(self, layer: str, features: Tensor) -> Tensor:
        target = self._target(layer)
        unit = style_unit(self.options.statistics, target)
        return (STYLE_DISTANCES[self.options.statistics](features, target) / unit).mean()

    def _target(self, layer: str) -> StyleStatistics:
        return StyleStatistics(getattr(self, f"mean_{layer}"), getattr(self, f"raw_{layer}"))
