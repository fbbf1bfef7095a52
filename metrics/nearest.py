"""The nearest real paintings: has a method learnt a manner, or learnt paintings by heart?"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Nearest:
    """Of each translation the nearest known painting.

    places: int64 [N]; distances: float64 [N].
    ratio: the translations' median distance, divided by that of real paintings that nobody has learnt from. About 1 or
        more is as far from the known ones as any new painting; far below 1 is copying. None without such paintings.
    """

    places: Tensor
    distances: Tensor
    ratio: float | None


def find_nearest(translations: Tensor, known: Tensor, unseen: Tensor | None = None) -> Nearest:
    """Of features, float64 [N, D], [K, D] and [M, D], each number weighed by its deviation over the known paintings."""
    deviation = deviation_of(known)
    distances, places = (torch.cdist(translations / deviation, known / deviation)).min(dim=1)
    if unseen is None:
        return Nearest(places, distances, None)
    usual = torch.cdist(unseen / deviation, known / deviation).min(dim=1).values.median()
    return Nearest(places, distances, float(distances.median() / usual.clamp_min(1e-12)))


def deviation_of(features: Tensor) -> Tensor:
    """[N, D] -> [D], by which numbers are brought to one scale; what is all but constant must not decide."""
    deviation = features.std(dim=0)
    return deviation.clamp_min(0.1 * float(deviation.median()) + 1e-8)
