"""Pictures as networks that have learnt on ImageNet want them."""

import torch
from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB in [0, 1]


class ImageNetScale(nn.Module):
    """[N, 3, H, W] in [-1, 1] -> mean 0 and deviation 1 a channel, over ImageNet."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        return ((pictures + 1) / 2 - self.mean) / self.std
