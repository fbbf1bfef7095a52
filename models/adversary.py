"""The adversarial game of the GAN methods: one loss, what the discriminator is shown, and how it is kept smooth."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from data.batch import Places
from models.diffaugment import diffaugment
from models.losses import ADVERSARIAL, Adversarial, gradient_penalty, mean_over_scales, r1_penalty
from models.options import GANOptions


def generators_adam(weights: Iterable[nn.Parameter], o: GANOptions) -> torch.optim.Adam:
    return torch.optim.Adam(weights, lr=o.learning_rate, betas=(o.beta1, o.beta2))


def discriminators_adam(weights: Iterable[nn.Parameter], o: GANOptions) -> torch.optim.Adam:
    """At a rate of their own where the options have one (Heusel et al. 2017, arXiv 1706.08500)."""
    return torch.optim.Adam(weights, lr=o.discriminator_rate or o.learning_rate, betas=(o.beta1, o.beta2))


@dataclass(frozen=True)
class Adversary:
    """Discriminators are given with every call, because training wraps them.

    name: of the discriminator, for the log and for draws.
    """

    name: str
    options: GANOptions

    @cached_property
    def loss(self) -> Adversarial:
        return ADVERSARIAL[self.options.adversarial]

    def fools(self, discriminator: nn.Module, fake: Tensor, places: Places) -> Tensor:
        """What the generator lowers; [N, 3, H, W] -> scalar."""
        return mean_over_scales(self.loss.fools, discriminator(self._shown(fake, places, "fools")))

    def judges(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor, places: Places
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the discriminator lowers, and its parts; both [N, 3, H, W], fake without a gradient. Real and generated
        pictures are one batch: norms of single pictures make it the same to rounding."""
        shown, fake = self._shown(real, places, "real"), self._shown(fake, places, "fake")
        scores = discriminator(torch.cat([shown, fake]))
        loss = mean_over_scales(lambda each: self.loss.judges(*each.chunk(2)), scores)
        report = {self.name: loss}
        penalty, weight = None, 0.0
        if self.options.adversarial == "wgan-gp":
            penalty = gradient_penalty(discriminator, shown, fake, places.uniform(self.name))
            weight = self.options.gradient_penalty_weight
        elif self.options.r1_weight and places.step % self.options.r1_every == 0:
            # Of the picture, not of what is shown of it, as StyleGAN2-ADA has it: a hole that is cut has no slope.
            penalty = r1_penalty(lambda pictures: discriminator(self._shown(pictures, places, "real")), real)
            weight = self.options.r1_weight * self.options.r1_every
        if penalty is not None:
            loss = loss + weight * penalty
            report[f"{self.name}_penalty"] = penalty
        return loss, report

    @property
    def at_a_draw(self) -> dict[str, float]:
        """For `Learner.games`."""
        return {} if self.loss.draw is None else {self.name: self.loss.draw}

    @property
    def differentiates_twice(self) -> bool:
        """Whether the discriminator's gradient is part of its loss."""
        return self.options.adversarial == "wgan-gp" or self.options.r1_weight > 0

    def _shown(self, pictures: Tensor, places: Places, whose: str) -> Tensor:
        policy = self.options.diffaugment
        return diffaugment(pictures, policy, places, f"{self.name} {whose}") if policy else pictures
