"""Precision, recall, density and coverage: do two sets of features fill the same places?

Kynkaanniemi et al. 2019 ("Improved precision and recall metric") and Naeem et al. 2020 ("Reliable fidelity and
diversity metrics"), with the second paper's 5 nearest neighbours for all four.
"""

import torch
from torch import Tensor

NEAREST = 5


def precision(generated: Tensor, real: Tensor) -> Tensor:
    """The share of generated pictures that lie among the real ones: within the distance of some real picture to its
    fifth-nearest real one. [N, D] and [M, D], more than NEAREST each -> [N] of 0 and 1, whose mean is the share."""
    return (_distances(real, generated) < _radii(real).unsqueeze(1)).any(dim=0).double()


def recall(generated: Tensor, real: Tensor) -> Tensor:
    """The share of real pictures that lie among the generated ones: [M] of 0 and 1."""
    return precision(real, generated)


def density(generated: Tensor, real: Tensor) -> Tensor:
    """How many real neighbourhoods each generated picture lies in, in units of the expected NEAREST: [N], on average
    about 1 for one distribution, and not misled by single outliers as precision is."""
    return (_distances(real, generated) < _radii(real).unsqueeze(1)).double().sum(dim=0) / NEAREST


def coverage(generated: Tensor, real: Tensor) -> Tensor:
    """The share of real pictures whose neighbourhood holds a generated one: [M] of 0 and 1."""
    return (_distances(real, generated).min(dim=1).values < _radii(real)).double()


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a.double(), b.double())


def _radii(x: Tensor) -> Tensor:
    """[N]: distance to the NEAREST-th other one. (The nearest of all is the picture itself.)"""
    return _distances(x, x).kthvalue(NEAREST + 1, dim=1).values
