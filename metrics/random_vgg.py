"""A network that has never been trained, as a measure of texture and colour that needs no download."""

import torch
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from metrics.imagenet import ImageNetScale
from metrics.sets import to_unit

RANDOM_FEATURES = 64
LAYERS = (1, 6, 11, 18, 25)  # relu1_1, relu2_1, relu3_1, relu4_1, relu5_1 of a VGG-16
DEEPEST = LAYERS[-1]


class RandomVGG16(nn.Module):
    """Features of a VGG-16 that has never been trained: a fixed random measure of texture and colour that
    needs no download (Naeem et al. 2020, "Reliable fidelity and diversity metrics", use one of 64 dimensions).

    The convolutions' weights are Kaiming-normal. The mean and the deviation over space of the first ReLU of
    each of the five blocks, together 2944 numbers, go through a random orthonormal projection to 64. Nothing
    of it is a pretrained network's opinion, and its distances must not be called FID.
    """

    def __init__(self, seed: int):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # vgg16's, without its hundred million of classifier weights
            self.convolutions = make_layers(cfgs["D"])[: DEEPEST + 1]
            for module in self.convolutions:
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)
                    nn.init.zeros_(module.bias)
            self.register_buffer("projection", nn.init.orthogonal_(torch.empty(2 * 1472, RANDOM_FEATURES)))
        self.scale = ImageNetScale()
        self.requires_grad_(False).eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 [N, 3, H, W], sides at least 16 -> [N, 64]."""
        x = self.scale(to_unit(pictures))
        found = []
        for index, module in enumerate(self.convolutions):
            x = module(x)
            if index in LAYERS:
                found += [x.mean(dim=(2, 3)), x.std(dim=(2, 3), correction=0)]
        return torch.cat(found, dim=1) @ self.projection
