"""Brightness as the eye weighs it."""

from torch import Tensor


def luma(pictures: Tensor) -> Tensor:
    """ITU-R BT.601 luma. [N, 3, H, W] -> [N, 1, H, W], same range."""
    red, green, blue = pictures.unbind(dim=1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)
