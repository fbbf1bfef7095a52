"""The features of FID: TensorFlow's Inception of 2015, pool3, 2048 numbers a picture (Heusel et al. 2017).

The network is torch-fidelity's. Its own loading would run code in a weights file, so weights are read by engine.weights
and handed over in memory; and its resize gathers four neighbours of every pixel, a sixth of all the time, so TF's
bilinear (no antialias, pixel 0 on pixel 0) stands here as two products of matrices.
"""

import io
from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

FEATURES = "2048"
SIDE = 299  # px


class Inception(nn.Module):
    """uint8 [N, 3, H, W] -> float32 [N, 2048].

    Args:
        state: the weights in the published layout.
    """

    def __init__(self, state: Mapping[str, Tensor]):
        super().__init__()
        network = _build(FeatureExtractorInceptionV3, state)
        for module in list(network.modules()):
            if isinstance(module, BasicConv2d):
                module.conv, module.bn = fuse_conv_bn_eval(module.conv, module.bn), nn.Identity()
        layers = [layer for name, layer in network.named_children() if name != "fc"]  # in the order of their work
        # The same numbers to 1e-6, all together twice as fast on a CPU.
        self.layers = nn.Sequential(*layers).to(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        x = resize(pictures.float(), SIDE).sub_(128.0).div_(128.0)
        return self.layers(x.contiguous(memory_format=torch.channels_last)).flatten(1)


def resize(x: Tensor, side: int) -> Tensor:
    """[N, C, H, W] -> [N, C, side, side], bilinear as TensorFlow 1 does it: output pixel i reads at i * H / side."""
    rows, columns = (_interpolation(length, side).to(x) for length in x.shape[-2:])
    return rows @ (x @ columns.T)


@lru_cache(maxsize=16)
def _interpolation(length: int, side: int) -> Tensor:
    """[side, length]: row i weighs the two pixels between which output pixel i lies."""
    places = torch.arange(side) * torch.tensor(length / side)
    below = places.long()
    above, share = (below + 1).clamp_max(length - 1), places - below
    weights = torch.zeros(side, length)
    weights.index_put_((torch.arange(side), below), 1 - share, accumulate=True)
    return weights.index_put_((torch.arange(side), above), share, accumulate=True)


def random_state() -> dict[str, Tensor]:
    """Weights in the published layout from torch's global generator, by which every layer keeps the scale of what it
    gets. What is measured with them must not be called FID."""
    return _build(_Random, {}).state_dict()


class _Random(FeatureExtractorInceptionV3):
    def load_state_dict(self, state_dict: Mapping, *_: object, **__: object) -> None:
        assert not state_dict
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def _build(kind: type[FeatureExtractorInceptionV3], state: Mapping[str, Tensor]) -> FeatureExtractorInceptionV3:
    memory = io.BytesIO()
    torch.save(dict(state), memory)
    memory.seek(0)
    return kind("inception-v3-compat", [FEATURES], feature_extractor_weights_path=memory)
