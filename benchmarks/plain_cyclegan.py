"""A CycleGAN step as plain torch calls, the way it is usually written: the other side of train_step.py.

Losses and optimizers are the recipe's, in fp32 and contiguous, one call for every picture. The networks are plain, too,
and share only the initial weights with ours, so that what makes ours fast shows. No loop, log, loader or check stands
around them.
"""

import itertools
import random

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.plain_networks import plain_discriminator, plain_generator

POOL_SIZE = 50


class PlainCycleGAN:
    def __init__(self, channels: int, blocks: int = 9):
        self.g, self.f = plain_generator(channels, blocks), plain_generator(channels, blocks)
        self.d_y, self.d_x = plain_discriminator(channels), plain_discriminator(channels)
        self.generators = [*self.g.parameters(), *self.f.parameters()]
        self.discriminators = [*self.d_y.parameters(), *self.d_x.parameters()]
        self.g_adam = torch.optim.Adam(self.generators, lr=2e-4, betas=(0.5, 0.999))
        self.d_adam = torch.optim.Adam(self.discriminators, lr=2e-4, betas=(0.5, 0.999))
        self.pools: dict[str, list[Tensor]] = {"x": [], "y": []}

    def step(self, x: Tensor, y: Tensor) -> None:
        fake_y, fake_x = self.g(x), self.f(y)
        for weight in self.discriminators:
            weight.requires_grad_(False)
        score_y, score_x = self.d_y(fake_y), self.d_x(fake_x)
        loss = F.mse_loss(score_y, torch.ones_like(score_y)) + F.mse_loss(score_x, torch.ones_like(score_x))
        loss = loss + 10 * F.l1_loss(self.f(fake_y), x) + 10 * F.l1_loss(self.g(fake_x), y)
        loss = loss + 5 * F.l1_loss(self.g(y), y) + 5 * F.l1_loss(self.f(x), x)
        self.g_adam.zero_grad()
        loss.backward()
        self.g_adam.step()
        for weight in self.discriminators:
            weight.requires_grad_(True)
        self.d_adam.zero_grad()
        for judge, real, fake, pool in ((self.d_y, y, fake_y, "y"), (self.d_x, x, fake_x, "x")):
            right, wrong = judge(real), judge(self._exchange(fake.detach(), self.pools[pool]))
            loss = F.mse_loss(right, torch.ones_like(right)) + F.mse_loss(wrong, torch.zeros_like(wrong))
            (0.5 * loss).backward()
        self.d_adam.step()

    def _exchange(self, fakes: Tensor, pool: list[Tensor]) -> Tensor:
        returned = []
        for fake in itertools.chain(fakes):
            if len(pool) < POOL_SIZE:
                pool.append(fake.clone())
                returned.append(fake)
            elif random.random() < 0.5:
                slot = random.randrange(POOL_SIZE)
                returned.append(pool[slot])
                pool[slot] = fake.clone()
            else:
                returned.append(fake)
        return torch.stack(returned)
