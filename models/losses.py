"""Losses: pure functions of tensors, each mean-reduced to a scalar."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Adversarial:
    """The two sides of one adversarial game, on a discriminator's raw scores of any shape.

    fools(scores of generated pictures) is what the generator lowers;
    judges(scores of real pictures, scores of generated pictures) is what the discriminator lowers.
    """

    fools: Callable[[Tensor], Tensor]
    judges: Callable[[Tensor, Tensor], Tensor]


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
    "lsgan": Adversarial(_lsgan_fools, _lsgan_judges),  # Mao et al. 2017
    "nonsaturating": Adversarial(_nonsaturating_fools, _nonsaturating_judges),  # Goodfellow et al. 2014
    "hinge": Adversarial(_critic_fools, _hinge_judges),  # Lim and Ye 2017
    "wgan-gp": Adversarial(_critic_fools, _wasserstein_judges),  # with gradient_penalty below
}


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """E[(|dD(x)/dx| - 1)^2] at random points x between real and generated (Gulrajani et al. 2017, Eq. 3).

    Shape: both [N, 3, H, W]. A picture's output is the mean of its patch scores. Draws one point a picture
    from torch's global generator. The gradient reaches the discriminator's weights.
    """
    share = torch.rand(len(real), 1, 1, 1).to(real)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    scores = discriminator(between).mean(dim=(1, 2, 3)).sum()
    (slope,) = torch.autograd.grad(scores, between, create_graph=True)
    # The added constant keeps the root's derivative finite where a slope is exactly zero.
    return ((slope.square().sum(dim=(1, 2, 3)) + 1e-12).sqrt() - 1).square().mean()
