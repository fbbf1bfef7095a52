"""CycleGAN: unpaired image-to-image translation using cycle-consistent adversarial networks.

Zhu, Park, Isola, Efros, ICCV 2017, arXiv 1703.10593.

X photographs, Y paintings; G: X -> Y and F: Y -> X the generators; D_Y judges paintings, D_X photographs.
Departures from the reference code: none by default; the options of CycleGANOptions name the alternatives. What a
network is to do for a step twice is one batch: norms of single pictures make it the same to rounding.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from data.batch import Batch
from models.adversary import Adversary, discriminators_adam, generators_adam
from models.image_pool import ImagePool
from models.method import Method, Style, Turn
from models.networks.build import build_discriminator, build_generator
from models.options import CycleGANOptions

l1 = functional.l1_loss


class CycleGAN(Method):
    """Two generators that undo one another, and two discriminators that hold them to their domains."""

    directions = ("photo2painting", "painting2photo")
    averaged = ("G", "F")

    def __init__(self, options: CycleGANOptions):
        super().__init__()
        g, d = options.generator, options.discriminator
        self.G = build_generator(g)
        self.F = build_generator(g)
        self.size_multiple, self.smallest_side = self.G.size_multiple, self.G.smallest_side
        self.D_Y = build_discriminator(d)
        self.D_X = build_discriminator(d)
        self.pool_y = ImagePool(options.pool_size, "pool_y")
        self.pool_x = ImagePool(options.pool_size, "pool_x")
        self.options = options
        self.game_y, self.game_x = Adversary("D_Y", options), Adversary("D_X", options)
        self.games = self.game_y.at_a_draw | self.game_x.at_a_draw
        self.differentiated_twice = ("D_Y", "D_X") if self.game_y.differentiates_twice else ()
        self.optimizers = {
            "generators": generators_adam([*self.G.parameters(), *self.F.parameters()], options),
            "discriminators": discriminators_adam([*self.D_Y.parameters(), *self.D_X.parameters()], options),
        }

    def turns(self, batch: Batch) -> Iterator[Turn]:
        x, y = batch.content, batch.style
        if self.options.identity_weight:
            (fake_y, same_y), (fake_x, same_x) = _both(self.G, x, y), _both(self.F, y, x)
        else:
            fake_y, fake_x, same_y, same_x = self.G(x), self.F(y), None, None
        if self.options.first == "generators":
            yield self.generators_turn(batch, fake_x, fake_y, same_x, same_y)
            yield self.discriminators_turn(batch, fake_x, fake_y)
        else:
            yield self.discriminators_turn(batch, fake_x, fake_y)
            yield self.generators_turn(batch, fake_x, fake_y, same_x, same_y)

    def generators_turn(
        self, batch: Batch, fake_x: Tensor, fake_y: Tensor, same_x: Tensor | None, same_y: Tensor | None
    ) -> Turn:
        x, y, places = batch.content, batch.style, batch.places
        adversarial_g = self.game_y.fools(self.D_Y, fake_y, places)  # Eq. 1
        adversarial_f = self.game_x.fools(self.D_X, fake_x, places)
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
        loss_y, report_y = self.game_y.judges(self.D_Y, y, self.pool_y(fake_y, places), places)
        loss_x, report_x = self.game_x.judges(self.D_X, x, self.pool_x(fake_x, places), places)
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


def _both(network: nn.Module, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """network(first), network(second), in one pass."""
    return network(torch.cat([first, second])).chunk(2)
