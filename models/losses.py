"""Losses: pure functions of tensors, each mean-reduced to a scalar."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Scores = Tensor | tuple[Tensor, ...]  # of a discriminator; of one that judges at several scales, a map each


@dataclass(frozen=True)
class Adversarial:
    """The two sides of one adversarial game, on a discriminator's raw scores of any shape.

    fools(scores of generated pictures) is what the generator lowers;
    judges(scores of real pictures, scores of generated pictures) is what the discriminator lowers;
    draw: the value of `judges` where the discriminator cannot tell them apart; 0 is a win. None: it has no such scale.
    """

    fools: Callable[[Tensor], Tensor]
    judges: Callable[[Tensor, Tensor], Tensor]
    draw: float | None


def _lsgan_fools(fake: Tensor) -> Tensor:
    return (fake - 1).square().mean()


def _lsgan_judges(real: Tensor, fake: Tensor) -> Tensor:
    # The half slows the discriminators down against the generators (CycleGAN, Sec. 7.1).
    return 0.5 * ((real - 1).square().mean() + fake.square().mean())


def _nonsaturating_fools(fake: Tensor) -> Tensor:
    return F.softplus(-fake).mean()


def _nonsaturating_judges(real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


def _critic_fools(fake: Tensor) -> Tensor:
    return -fake.mean()


def _hinge_judges(real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def _wasserstein_judges(real: Tensor, fake: Tensor) -> Tensor:
    return fake.mean() - real.mean()


ADVERSARIAL = {
    "lsgan": Adversarial(_lsgan_fools, _lsgan_judges, 0.25),  # Mao et al. 2017
    "nonsaturating": Adversarial(_nonsaturating_fools, _nonsaturating_judges, math.log(2)),  # Goodfellow et al. 2014
    "hinge": Adversarial(_critic_fools, _hinge_judges, 1.0),  # Lim and Ye 2017
    "wgan-gp": Adversarial(_critic_fools, _wasserstein_judges, None),  # with gradient_penalty below
}


def tint_free_l1(made: Tensor, picture: Tensor, free: float) -> Tensor:
    """Mean absolute difference of pictures, where a brightness or tint that one has more of all over costs less (as a
    scale does in the depths of Eigen et al., NeurIPS 2014, Eq. 4, whose lambda this is, with squares there).

    Shape: both [N, 3, H, W].

    Args:
        free: the share of the mean colours' difference that costs nothing, 0 (the L1 distance) to 1.
    """
    difference = made - picture
    return (difference - free * difference.mean(dim=(2, 3), keepdim=True)).abs().mean()


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """E[(|dD(x)/dx| - 1)^2] at random points x between real and generated (Gulrajani et al. 2017, Eq. 3).

    Shape: both [N, 3, H, W]; share [N, 1] in [0, 1], how much of the real picture is in x. A picture's output is the
    mean of its patch scores. The gradient reaches the discriminator's weights.
    """
    share = share.view(-1, 1, 1, 1).to(real, non_blocking=True)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    scores = _outputs(discriminator(between))
    (slope,) = torch.autograd.grad(scores, between, create_graph=True)
    # The added constant keeps the root's derivative finite where a slope is exactly zero.
    return ((slope.square().sum(dim=(1, 2, 3)) + 1e-12).sqrt() - 1).square().mean()


def r1_penalty(discriminator: Callable[[Tensor], Scores], real: Tensor) -> Tensor:
    """E[|dD(x)/dx|^2] / 2 at real pictures (Mescheder, Geiger, Nowozin 2018, Eq. 9, for a weight of 1).

    Shape: [N, 3, H, W]. A picture's output is the mean of its patch scores. The gradient reaches the discriminator's
    weights.
    """
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(_outputs(discriminator(real)), real, create_graph=True)
    return 0.5 * slope.square().sum(dim=(1, 2, 3)).mean()


def mean_over_scales(compute: Callable[[Tensor], Tensor], scores: Scores) -> Tensor:
    """The mean of a scalar of each map of scores, where pix2pixHD (Wang et al. 2018) has the sum: so the weights of the
    other losses mean the same for any number of scales."""
    maps = scores if isinstance(scores, tuple) else (scores,)
    return torch.stack([compute(each) for each in maps]).mean()


def _outputs(scores: Scores) -> Tensor:
    """The sum over pictures of the means of their patch scores."""
    return mean_over_scales(lambda each: each.mean(dim=(1, 2, 3)).sum(), scores)


# -- of patches: what a place was is told by its features -------------------------------------------------------


def patch_nce(queries: Tensor, keys: Tensor, temperature: float = 0.07) -> Tensor:
    """[N]: how badly a translation's patches are told apart by those of its photograph (Park et al. 2020, Eq. 3): the
    cross-entropy of finding, by cosine similarity, each query's own place among all keys of the same picture, mean over
    the places.

    Shape: both [N, P, C], of the same P places of a translation and its photograph. The keys carry no gradient.
    """
    queries, keys = F.normalize(queries, dim=2), F.normalize(keys.detach(), dim=2)
    similarity = queries @ keys.transpose(1, 2) / temperature  # [N, P, P]
    own = torch.arange(similarity.shape[1], device=similarity.device).repeat(len(similarity))
    return F.cross_entropy(similarity.flatten(0, 1), own, reduction="none").view(len(similarity), -1).mean(dim=1)


# -- of features: style is what remains of them when places are forgotten --------------------------------------


def gram_matrix(features: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, C], the mean over places of the products of channels (Gatys et al. 2016, Eq. 3: the sum).

    Johnson et al. 2016, Eq. 3, divide by C as well; a weight of the layer can do that.
    """
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def channel_statistics(features: Tensor, epsilon: float = 1e-5, region: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """[N, C, H, W] -> mean and standard deviation of every channel over its places, [N, C, 1, 1] each (Huang and
    Belongie 2017, Eq. 5 and 6; epsilon is under the root).

    Args:
        region: [N or 1, 1, H, W], how much each place counts; None: all alike. None of them may be 0 everywhere.
    """
    if region is None:
        variance, mean = torch.var_mean(features, dim=(2, 3), keepdim=True, correction=0)
    else:
        share = region / region.sum(dim=(2, 3), keepdim=True)
        mean = (share * features).sum(dim=(2, 3), keepdim=True)
        variance = (share * (features - mean).square()).sum(dim=(2, 3), keepdim=True)
    return mean, (variance + epsilon).sqrt()


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """[N, C, H, W] -> mean [N, C] and covariance [N, C, C] of the channels over the places."""
    flat = features.flatten(2)
    mean = flat.mean(dim=2)
    centred = flat - mean.unsqueeze(2)
    return mean, centred @ centred.transpose(1, 2) / flat.shape[2]


def wasserstein2(
    mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor, root_b: Tensor | None = None
) -> Tensor:
    """Squared Wasserstein-2 distance of Gaussians, [N] (Dowson and Landau 1982):
    |mean_a - mean_b|^2 + tr(A + B - 2 (B^1/2 A B^1/2)^1/2).

    Shape: means [N or 1, C], covariances [N or 1, C, C], positive semi-definite and of any rank. The gradient reaches
    the first pair. Of the last root only the eigenvalues are wanted, whose gradient is finite where they coincide.

    Args:
        root_b: the second covariance's root in float64, if it is known; else it is computed.
    """
    a, b = covariance_a.double(), covariance_b.double()
    root_b = matrix_root(b.detach()) if root_b is None else root_b
    eigenvalues = torch.linalg.eigvalsh(root_b @ a @ root_b)
    cross = _root(eigenvalues).sum(dim=1)
    trace = (a + b).diagonal(dim1=1, dim2=2).sum(dim=1) - 2 * cross
    return (mean_a - mean_b).square().sum(dim=1) + trace.to(mean_a.dtype).clamp_min(0)  # less is rounding


def matrix_root(matrix: Tensor) -> Tensor:
    """Square root of positive semi-definite matrices [N, C, C]; no gradient is meant to pass."""
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    return vectors * _root(eigenvalues).unsqueeze(-2) @ vectors.transpose(-1, -2)


def _root(eigenvalues: Tensor) -> Tensor:
    """Square roots of [N, C] eigenvalues in rising order; what is nothing but rounding is 0, with no gradient."""
    floor = 1e-12 * eigenvalues[:, -1:].detach().clamp_min(torch.finfo(eigenvalues.dtype).tiny)
    return torch.where(eigenvalues > floor, eigenvalues.clamp_min(floor).sqrt(), 0.0)


@dataclass(frozen=True)
class StyleStatistics:
    """What Gram losses compare: the first two raw moments of features over their places, which can be averaged over
    pictures. mean: [N, C]; raw: [N, C, C], the Gram matrix."""

    mean: Tensor
    raw: Tensor

    @classmethod
    def of(cls, features: Tensor) -> "StyleStatistics":
        return cls(features.flatten(2).mean(dim=2), gram_matrix(features))

    @classmethod
    def average(cls, parts: Iterable["StyleStatistics"], shares: Iterable[float]) -> "StyleStatistics":
        """Of several pictures as one, by their shares."""
        mean, raw = 0.0, 0.0
        for part, share in zip(parts, shares, strict=True):
            mean, raw = mean + share * part.mean, raw + share * part.raw
        return cls(mean, raw)

    @cached_property
    def covariance(self) -> Tensor:
        return self.raw - self.mean.unsqueeze(2) * self.mean.unsqueeze(1)

    @cached_property
    def root(self) -> Tensor:
        """Of the covariance, float64."""
        return matrix_root(self.covariance.double())


def gram_distance(features: Tensor, target: StyleStatistics) -> Tensor:
    """[N]: mean squared difference of Gram matrices (Gatys et al. 2016, Eq. 4)."""
    return (gram_matrix(features) - target.raw).square().mean(dim=(1, 2))


def moments_distance(features: Tensor, target: StyleStatistics) -> Tensor:
    """[N]: of mean and covariance, as Gaussians."""
    return wasserstein2(*moments(features), target.mean, target.covariance, target.root)


STYLE_DISTANCES = {"gram": gram_distance, "moments": moments_distance}


def style_unit(kind: str, target: StyleStatistics) -> Tensor:
    """[N]: the size of a style, which its distances of a kind can be divided by to have no unit: the mean square of the
    Gram matrix, or the features' variance (of a picture of one colour, a little of their square)."""
    if kind == "gram":
        return target.raw.square().mean(dim=(1, 2))
    raw, covariance = (x.diagonal(dim1=1, dim2=2).sum(dim=1) for x in (target.raw, target.covariance))
    return torch.maximum(covariance, 1e-4 * raw).clamp_min(1e-12)


def content_unit(features: Tensor) -> Tensor:
    """[N]: the variance of a photograph's features, which its content loss is divided by to have no unit."""
    floor = 1e-4 * features.square().mean(dim=(1, 2, 3))
    return torch.maximum(features.var(dim=(1, 2, 3), correction=0), floor).clamp_min(1e-12)


def adain(content: Tensor, style: Tensor, epsilon: float = 1e-5, region: Tensor | None = None) -> Tensor:
    """Content features with the statistics of style features (Huang and Belongie 2017, Eq. 8).

    Shape: [N, C, H, W] and [N, C, H', W'] -> that of the content. With a region, [N or 1, 1, H, W], the content's own
    statistics are those of its places, so that there the result has the style's.
    """
    mean, deviation = channel_statistics(content, epsilon, region)
    style_mean, style_deviation = channel_statistics(style, epsilon)
    return (content - mean) / deviation * style_deviation + style_mean


def total_variation(pictures: Tensor) -> Tensor:
    """Mean squared difference of neighbours, across plus down; [N, 3, H, W], sides at least 2."""
    across = (pictures[..., 1:] - pictures[..., :-1]).square().mean()
    return across + (pictures[..., 1:, :] - pictures[..., :-1, :]).square().mean()
