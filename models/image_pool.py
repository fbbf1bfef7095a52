"""A history of generated pictures for the discriminator (Shrivastava et al. 2017; CycleGAN, Sec. 4)."""

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """Keeps up to `size` generated pictures and mixes them into what the discriminator is shown.

    Until it is full it stores every picture and returns it. Then, with probability one half, it returns a
    stored picture and puts the new one in its place; else it returns the new one. Draws come from torch's
    global generator. A module, so that the pictures are part of the method's state_dict.
    """

    def __init__(self, size: int = 50):
        super().__init__()
        self.size = size
        self.pictures: list[Tensor] = []  # each [3, H, W]

    def forward(self, generated: Tensor) -> Tensor:
        """Shape: [N, 3, H, W] -> the same; the result carries no gradient."""
        return torch.stack([self._exchange(picture) for picture in generated.detach()])

    def _exchange(self, picture: Tensor) -> Tensor:
        if len(self.pictures) < self.size:
            self.pictures.append(picture.clone())
            return picture
        if self.size == 0 or torch.rand(()) < 0.5:
            return picture
        slot = int(torch.randint(self.size, ()))
        stored, self.pictures[slot] = self.pictures[slot], picture.clone()
        return stored.to(picture.device)  # a checkpoint brings pictures back on the CPU

    def get_extra_state(self) -> list[Tensor]:
        return list(self.pictures)

    def set_extra_state(self, state: list[Tensor]) -> None:
        self.pictures = [picture.clone() for picture in state[: self.size]]
