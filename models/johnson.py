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
from models.losses import STYLE_DISTANCES, StyleStatistics, total_variation
from models.method import Method, Style, Turn
from models.networks.transform import TransformNetwork
from models.networks.vgg import CHANNELS, VGG, layer_names
from models.networks.vgg_weights import load_vgg
from models.options import JohnsonOptions

SEEN_AT_ONCE = 16  # paintings
STATISTICS = {"gram": "the mean Gram matrix", "moments": "mean and covariance"}


class Johnson(Method):
    """One network; the features that judge it are needed for its training only."""

    directions = ("photo2painting",)
    size_multiple = 4
    smallest_side = 16

    def __init__(self, options: JohnsonOptions):
        super().__init__()
        self.options = options
        self.num_styles = options.num_styles
        names = layer_names(options.features.network)
        if unknown := [layer for layer in (*options.style_layers, options.content_layer) if layer not in names]:
            raise ValueError(f"{options.features.network} has no layer {unknown[0]}; it has {', '.join(names)}")
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
        layers = (*o.style_layers, o.content_layer)
        self.vgg = load_vgg(o.features, max(layers, key=layer_names(o.features.network).index)).to(styles.device)
        self.described = f"features: {self.vgg.described}; style: {STATISTICS[o.statistics]} of {len(styles)} paintings"
        parts: dict[str, list[StyleStatistics]] = {layer: [] for layer in o.style_layers}
        for some in styles.split(SEEN_AT_ONCE):
            features = self.vgg(some, o.style_layers)
            for layer, found in parts.items():
                found += map(StyleStatistics.of, features[layer].split(1))
        for layer, found in parts.items():
            whole = StyleStatistics.average(found, [1 / len(found)] * len(found))
            getattr(self, f"mean_{layer}").copy_(whole.mean)
            getattr(self, f"raw_{layer}").copy_(whole.raw)

    def turns(self, batch: Batch) -> Iterator[Turn]:
        o, x = self.options, batch.content
        y_hat = self.network(x)
        features = self.vgg(y_hat, [*o.style_layers, o.content_layer])
        with torch.no_grad():
            wanted = self.vgg(x, [o.content_layer])[o.content_layer]
        content = (features[o.content_layer] - wanted).square().mean() / wanted.var(correction=0)  # Eq. 2
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
        target = StyleStatistics(getattr(self, f"mean_{layer}"), getattr(self, f"raw_{layer}"))
        if self.options.statistics == "gram":
            unit = target.raw.square().mean()
        else:
            unit = target.covariance.diagonal(dim1=1, dim2=2).sum()
        return STYLE_DISTANCES[self.options.statistics](features, target).mean() / unit
