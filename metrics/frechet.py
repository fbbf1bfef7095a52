"""Frechet distance between Gaussians fitted to two sets of features (Dowson and Landau 1982; Heusel et al. 2017)."""

import torch
from torch import Tensor


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) of the samples' means and unbiased covariances.

    [N, D] and [M, D], N and M at least 2; computed in float64. With N or M below D + 1 a covariance is
    rank-deficient and the value too large.
    """
    a, b = a.double(), b.double()
    if len(a) * len(b) > a.shape[1] ** 2:
        return gaussian_frechet_distance(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())
    # Of few samples no [D, D] is needed. With A^T A = C_a, B^T B = C_b the eigenvalues of C_a C_b are those of
    # (A B^T)(A B^T)^T, and their roots are A B^T's singular values.
    x, y = ((each - each.mean(0)) / (len(each) - 1) ** 0.5 for each in (a, b))
    cross = torch.linalg.svdvals(x @ y.T).sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + x.square().sum() + y.square().sum() - 2 * cross)


def gaussian_frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """The same for two Gaussians given by mean [D] and covariance [D, D], float64."""
    root = _square_root(cov_a)
    # (A B)^1/2 and (A^1/2 B A^1/2)^1/2 have the same trace; the second is symmetric, so no complex numbers.
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    return float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross)


def _square_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def art_fid(lpips: float, fid: float) -> float:
    """(1 + LPIPS) (1 + FID) of Wright and Ommer 2022: content and style in one number."""
    return (1 + lpips) * (1 + fid)
