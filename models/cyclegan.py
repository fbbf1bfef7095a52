"""CycleGAN: unpaired image-to-image translation using cycle-consistent adversarial networks.

Zhu, Park, Isola, Efros, ICCV 2017, arXiv 1703.10593.

X photographs, Y paintings; G: X -> Y and F: Y -> X the generators; D_Y judges paintings, D_X photographs.
Departures from the reference code: none by default; the options of CycleGANOptions name the alternatives. What a
network is to do for a step twice is one batch: norms of single pictures make it the same to rounding.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from data.batch import Batch, Places
from models.image_pool import ImagePool
from models.losses import ADVERSARIAL, gradient_penalty
from models.method import Method, Style, Turn
from models.networks.discriminator import PatchDiscriminator
from models.networks.generator import ResnetGenerator
from models.options import CycleGANOptions

l1 = functional.l1_loss

# The least that `judges` gives where real and generated pictures score alike: 1/2, 0, 0. A critic's has no such value.
DRAW = {"lsgan": 0.25, "nonsaturating": math.log(2), "hinge": 1.0}


class CycleGAN(Method):
    """Two generators that undo one another, and two discriminators that hold them to their domains."""

    directions = ("photo2painting", "painting2photo")
    averaged = ("G", "F")
    size_multiple = 4
    smallest_side = 16

    def __init__(self, options: CycleGANOptions):
        super().__init__()
        g, d = options.generator, options.discriminator
        self.G = ResnetGenerator(g.channels, g.blocks, g.upsample, g.dropout, g.skips)
        self.F = ResnetGenerator(g.channels, g.blocks, g.upsample, g.dropout, g.skips)
        self.D_Y = PatchDiscriminator(d.channels, d.layers)
        self.D_X = PatchDiscriminator(d.channels, d.layers)
        self.pool_y = ImagePool(options.pool_size, "pool_y")
        self.pool_x = ImagePool(options.pool_size, "pool_x")
        self.options = options
        self.adversarial = ADVERSARIAL[options.adversarial]
        self.differentiated_twice = ("D_Y", "D_X") if options.adversarial == "wgan-gp" else ()
        if options.adversarial in DRAW:
            self.games = dict.fromkeys(("D_Y", "D_X"), DRAW[options.adversarial])
        self.optimizers = {
            "generators": self._adam([*self.G.parameters(), *self.F.parameters()]),
            "discriminators": self._adam([*self.D_Y.parameters(), *self.D_X.parameters()]),
        }

    def turns(self, batch: Batch) -> Iterator[Turn]:
        x, y = batch.content, batch.style
        if self.options.identity_weight:
            (fake_y, same_y), (fake_x, same_x) = _both(self.G, x, y), _both(self.F, y, x)
        else:
            fake_y, fake_x, same_y, same_x = self.G(x), self.F(y), None, None
        if self.options.first == "generators":
            yield self.generators_turn(x, y, fake_x, fake_y, same_x, same_y)
            yield self.discriminators_turn(batch, fake_x, fake_y)
        else:
            yield self.discriminators_turn(batch, fake_x, fake_y)
            yield self.generators_turn(x, y, fake_x, fake_y, same_x, same_y)

    def generators_turn(
        self, x: Tensor, y: Tensor, fake_x: Tensor, fake_y: Tensor, same_x: Tensor | None, same_y: Tensor | None
    ) -> Turn:
        fools = self.adversarial.fools
        adversarial_g, adversarial_f = fools(self.D_Y(fake_y)), fools(self.D_X(fake_x))  # Eq. 1
        cycle_x, cycle_y = l1(self.F(fake_y), x), l1(self.G(fake_x), y)  # Eq. 2
        loss = adversarial_g + adversarial_f + self.options.cycle_weight * (cycle_x + cycle_y)  # Eq. 3
        report = {"G": adversarial_g, "F": adversarial_f, "cycle_x": cycle_x, "cycle_y": cycle_y}
        if self.options.identity_weight:
            identity_g, identity_f = l1(same_y, y), l1(same_x, x)  # Sec. 5.2
            loss = loss + self.options.identity_weight * (identity_g + identity_f)
            report |= {"identity_g": identity_g, "identity_f": identity_f}
        return Turn("generators", loss, report)

    def discriminators_turn(self, batch: Batch, fake_x: Tensor, fake_y: Tensor) -> Turn:
        x, y, places = batch.content, batch.style, batch.places
        loss_y, report_y = self._judge(self.D_Y, y, self.pool_y(fake_y, places), places, "D_Y")
        loss_x, report_x = self._judge(self.D_X, x, self.pool_x(fake_x, places), places, "D_X")
        return Turn("discriminators", loss_y + loss_x, report_y | report_x)

    def translate(self, content: Tensor, style: Style | None = None, direction: str = "") -> Tensor:
        return (self.F if direction == "painting2photo" else self.G)(content)

    def samples(self, batch: Batch) -> dict[str, Tensor]:
        x, y = batch.content, batch.style
        fake_y, fake_x = self.G(x), self.F(y)
        return {
            "photograph": x,
            "translation": fake_y,
            "reconstruction": self.F(fake_y),
            "painting": y,
            "painting to photograph": fake_x,
            "painting reconstructed": self.G(fake_x),
        }

    def _judge(
        self,
        D: PatchDiscriminator,  # noqa: N803
        real: Tensor,
        fake: Tensor,
        places: Places,
        name: str,
    ) -> tuple[Tensor, dict]:
        loss = self.adversarial.judges(*_both(D, real, fake))
        report = {name: loss}
        if self.options.adversarial == "wgan-gp":
            penalty = gradient_penalty(D, real, fake, places.uniform(name))
            loss = loss + self.options.gradient_penalty_weight * penalty
            report[f"{name}_penalty"] = penalty
        return loss, report

    def _adam(self, weights: list[nn.Parameter]) -> torch.optim.Adam:
        o = self.options
        return torch.optim.Adam(weights, lr=o.learning_rate, betas=(o.beta1, o.beta2))


def _both(network: nn.Module, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """network(first), network(second), in one pass."""
    return network(torch.cat([first, second])).chunk(2)
