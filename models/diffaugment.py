"""Differentiable augmentation of what a discriminator sees, for few pictures.

Zhao, Liu, Lin, Zhu, Han, "Differentiable augmentation for data-efficient GAN training", NeurIPS 2020, arXiv 2006.10738.

Real and generated pictures alike are changed before they are judged, in the discriminator's turn and in the
generator's: the discriminator cannot learn single pictures by heart, and the generator is not asked to make changed
ones. The ranges are the paper's. Departure: what is drawn for a picture is a function of its place in the step.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from data.batch import Places

SHIFT = 1 / 8  # of the side, at most
HOLE = 1 / 2  # of the side


def diffaugment(pictures: Tensor, policy: Sequence[str], places: Places, purpose: str) -> Tensor:
    """Shape: [N, 3, H, W] in [-1, 1] -> the same, in about the same range; differentiable.

    Args:
        policy: keys of POLICIES, in any order; they are applied in the table's.
        purpose: what the draws are for: the same purpose, the same draws.
    """
    for name, (change, columns) in POLICIES.items():
        if name in policy:
            pictures = change(pictures, places.uniform(f"{purpose} {name}", columns))
    return pictures


def _color(x: Tensor, draws: Tensor) -> Tensor:
    """Brightness by up to half a unit, saturation 0 to 2, contrast 0.5 to 1.5."""
    brightness, saturation, contrast = draws.to(x, non_blocking=True).view(-1, 3, 1, 1, 1).unbind(dim=1)
    x = x + (brightness - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * 2 * saturation
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)


def _translation(x: Tensor, draws: Tensor) -> Tensor:
    """By up to SHIFT in both directions; zeros come in."""
    sides = x.shape[2:]
    most = [round(side * SHIFT) for side in sides]
    padded = functional.pad(x, (most[1], most[1], most[0], most[0]))
    moved = []
    for picture, drawn in zip(padded, draws.tolist(), strict=True):
        top, left = (int(draw * (2 * far + 1)) for draw, far in zip(drawn, most, strict=True))
        moved.append(picture[:, top : top + sides[0], left : left + sides[1]])
    return torch.stack(moved)


def _cutout(x: Tensor, draws: Tensor) -> Tensor:
    """Zeros in a rectangle of HOLE whose middle is anywhere."""
    kept = torch.ones(len(x), 1, *x.shape[2:])
    for mask, drawn in zip(kept, draws.tolist(), strict=True):
        spans = []
        for side, draw in zip(x.shape[2:], drawn, strict=True):
            hole = round(side * HOLE)
            first = int(draw * (side + 1 - hole % 2)) - hole // 2
            spans.append(slice(max(0, first), max(0, first + hole)))
        mask[:, spans[0], spans[1]] = 0
    return x * kept.to(x, non_blocking=True)


POLICIES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    "color": (_color, 3),
    "translation": (_translation, 2),
    "cutout": (_cutout, 2),
}
"""By name: the change, and how many draws it takes for a picture."""
