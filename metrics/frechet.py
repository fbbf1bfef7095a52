"""Frechet distance between Gaussians fitted to two sets of features (Dowson and Landau 1982; Heusel et al. 2017)."""

import torch
from torch import Tensor


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) of the samples' means and unbiased covariances.

    [N, D] and [M, D], N and M at least 2; computed in float64. With N or M below D + 1 a covariance is
    rank-deficient and the value too large.
    """
    a, b = a.double(), b.double()
    return gaussian_frechet_distance(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())


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
