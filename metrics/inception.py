"""The features of FID: TensorFlow's Inception of 2015, pool3, 2048 numbers a picture (Heusel et al. 2017).

Network and resize (TF's bilinear, without antialias) are torch-fidelity's, bit for bit the original's. Its own loading
would run code in a weights file, so weights are read by engine.weights and handed over in memory.
"""

import io
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

FEATURES = "2048"


class Inception(nn.Module):
    """uint8 [N, 3, H, W] -> float32 [N, 2048].

    Args:
        state: the published weights; None draws random ones from torch's global generator, and what is measured with
            those must not be called FID.
    """

    def __init__(self, state: Mapping[str, Tensor] | None):
        super().__init__()
        kind = FeatureExtractorInceptionV3 if state is not None else _Random
        memory = io.BytesIO()
        torch.save(dict(state or {}), memory)
        memory.seek(0)
        network = kind("inception-v3-compat", [FEATURES], feature_extractor_weights_path=memory)
        # 2.3 times faster on a CPU; the same numbers.
        self.network = network.to(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.network(pictures.contiguous(memory_format=torch.channels_last))[0]


class _Random(FeatureExtractorInceptionV3):
    def load_state_dict(self, state_dict: Mapping, *_: object, **__: object) -> None:
        """Instead: weights by which every layer keeps the scale of what it gets."""
        assert not state_dict
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
