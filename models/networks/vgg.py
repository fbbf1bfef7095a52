"""VGG-16 and VGG-19 as feature networks, by layer name (Simonyan, Zisserman, ICLR 2015, arXiv 1409.1556).

Layers are named as in the style transfer papers: conv1_1, relu1_1, ..., pool5. Only as much of the network is run as
the layers asked for need. Where its weights come from, `models/networks/vgg_weights.py` knows.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.padding import reflect_pad
from models.options import OptionsError

CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # a block
CHANNELS = (64, 128, 256, 512, 512)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of RGB in [0, 1]
PADDING = {
    "zeros": partial(F.pad, pad=(1, 1, 1, 1)),
    "reflect": partial(reflect_pad, width=1),
    "replicate": partial(F.pad, pad=(1, 1, 1, 1), mode="replicate"),
}
POOLING = {"max": F.max_pool2d, "average": F.avg_pool2d}


def layer_names(network: str) -> tuple[str, ...]:
    """All layers of "vgg16" or "vgg19", in order."""
    names: list[str] = []
    for block, count in enumerate(CONVOLUTIONS[network], 1):
        names += [f"{kind}{block}_{i}" for i in range(1, count + 1) for kind in ("conv", "relu")] + [f"pool{block}"]
    return tuple(names)


def deepest_layer(network: str, layers: Collection[str]) -> str:
    """The last of these layers.

    Raises:
        OptionsError: the network has no such layer, or none is named.
    """
    names = layer_names(network)
    for layer in layers:
        if layer not in names:
            raise OptionsError(f"{network} has no layer {layer}; it has {', '.join(names)}")
    if not layers:
        raise OptionsError("method.style_layers = []: one layer at least")
    return max(layers, key=names.index)


class VGG(nn.Module):
    """The convolutional part of a VGG, up to its deepest layer that is wanted.

    Args:
        network: "vgg16" or "vgg19".
        deepest: the last layer that will be asked for.
        pooling: "max" as trained, or "average", which gives Gatys et al. smoother gradients.
        padding: of every convolution: "zeros" as trained; "reflect" and "replicate" leave no frame in a picture.
        frozen_blocks: the weights of so many blocks are buffers and not parameters.
        kept: these buffers are part of the state_dict; else they come from where they came from before.

    Shape: [N, 3, H, W] in [-1, 1], H and W at least 2 ** (pools on the way) -> {layer: [N, C, H', W']}.
    """

    def __init__(
        self,
        network: str = "vgg19",
        deepest: str = "relu5_4",
        pooling: str = "max",
        padding: str = "zeros",
        frozen_blocks: int = 5,
        kept: bool = False,
    ):
        super().__init__()
        names = layer_names(network)
        deepest_layer(network, [deepest])
        self.network = network
        self.layers = names[: names.index(deepest) + 1]
        self.pool = POOLING[pooling]
        self.pad = PADDING[padding]
        self.described = "no weights yet"
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        width = 3
        for name in self.convolutions:
            block = int(name[4])
            channels = CHANNELS[block - 1]
            for key, value in (
                (f"{name}_weight", torch.zeros(channels, width, 3, 3)),
                (f"{name}_bias", torch.zeros(channels)),
            ):
                if block <= frozen_blocks:
                    self.register_buffer(key, value, persistent=kept)
                else:
                    self.register_parameter(key, nn.Parameter(value))
            width = channels

    @property
    def convolutions(self) -> tuple[str, ...]:
        return tuple(name for name in self.layers if name.startswith("conv"))

    def forward(self, pictures: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        wanted = set(layers)
        if unknown := wanted - set(self.layers):
            raise ValueError(f"layers not in this network: {', '.join(sorted(unknown))}")
        found: dict[str, Tensor] = {}
        x = ((pictures + 1) / 2 - self.mean) / self.std
        for name in self.layers:
            if len(found) == len(wanted):
                break
            x = self._apply_layer(name, x)
            if name in wanted:
                found[name] = x
        return found

    def fill(self, weights: Mapping[str, Tensor], described: str) -> None:
        """Take weights by the name of their layer, "conv1_1_weight" and "conv1_1_bias"; there may be more than needed.

        Args:
            described: what they are, for the log and the reports.
        """
        with torch.no_grad():
            for name in self.convolutions:
                for key in (f"{name}_weight", f"{name}_bias"):
                    getattr(self, key).copy_(weights[key])
        self.described = described

    def _apply_layer(self, name: str, x: Tensor) -> Tensor:
        if name.startswith("pool"):
            return self.pool(x, 2)
        if name.startswith("relu"):
            return F.relu(x)
        return F.conv2d(self.pad(x), getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias"))
