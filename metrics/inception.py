"""The features of FID: TensorFlow's Inception of 2015, pool3, 2048 numbers a picture (Heusel et al. 2017).

Network and resize (TF's bilinear, without antialias) are torch-fidelity's, which follows the original. Its own loading
would run code in a weights file, so weights are read by engine.weights and handed over in memory.
"""

import io
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

FEATURES = "2048"


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
        # The same numbers to 1e-6, both together about twice as fast on a CPU.
        self.network = network.to(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.network(pictures.contiguous(memory_format=torch.channels_last))[0]


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
