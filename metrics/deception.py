"""Deception rate: the share of translations that a judge takes for paintings (Sanakoyeu et al. 2018, Sec. 4).

The judge is trained on the spot, on features of the held-out photographs and paintings: a linear classifier in closed
form (ridge regression), so that nothing of it is left to chance. What it judges it has never seen: there are FOLDS of
them, and picture i is judged by the one that was trained without photograph i and without painting i.
"""

import torch
from torch import Tensor

from metrics.nearest import deviation_of

FOLDS = 5
RIDGE = 0.1  # of the mean squared length of a picture's features


def taken_for_paintings(pictures: Tensor, photographs: Tensor, paintings: Tensor) -> Tensor:
    """[N, D], [N, D] and [M, D] -> [N] of 0 and 1; N and M at least 2 * FOLDS. pictures[i] is made of photograph i; for
    the paintings themselves give them as `pictures`, too."""
    judged = torch.arange(len(pictures)) % FOLDS
    verdicts = torch.zeros(len(pictures), dtype=torch.double)
    for fold in range(FOLDS):
        known = [x[torch.arange(len(x)) % FOLDS != fold].double() for x in (photographs, paintings)]
        verdicts[judged == fold] = (_judge(*known, pictures[judged == fold].double()) > 0).double()
    return verdicts


def share_of(verdicts: Tensor, _: Tensor) -> Tensor:
    """The deception rate of a judge who has spoken already: [N, 1] -> [N]."""
    return verdicts[:, 0]


def _judge(photographs: Tensor, paintings: Tensor, pictures: Tensor) -> Tensor:
    """[K]: above 0 for what is rather a painting. Both classes count the same, however many there are of each."""
    seen = torch.cat([photographs, paintings])
    mean, deviation = seen.mean(dim=0), deviation_of(seen)
    centres = [((x - mean) / deviation).mean(dim=0) for x in (photographs, paintings)]
    middle = (centres[0] + centres[1]) / 2
    x = (seen - mean) / deviation - middle
    weights = torch.cat([torch.full((len(y),), 1 / len(y), dtype=torch.double) for y in (photographs, paintings)])
    wanted = torch.cat([-torch.ones(len(photographs)), torch.ones(len(paintings))]).double()
    # In its dual form, as large as there are pictures and not as there are features.
    kernel = x @ x.T
    ridge = (RIDGE * kernel.diagonal().mean()).clamp_min(1e-12)  # 0 if all pictures are one
    solved = torch.linalg.solve(kernel + ridge * torch.diag(1 / (weights * len(seen))), wanted)
    return (((pictures - mean) / deviation - middle) @ x.T) @ solved
