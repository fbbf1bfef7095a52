"""CycleGAN: unpaired image-to-image translation using cycle-consistent adversarial networks.

Zhu, Park, Isola, Efros, ICCV 2017, arXiv 1703.10593.

X photographs, Y paintings; G: X -> Y and F: Y -> X the generators; D_Y judges paintings, D_X photographs.
Departures from the reference code: none by default; the options of CycleGANOptions name the alternatives. What a
network is to do for a step twice is one batch: norms of single pictures make it the same to rounding.
One of them, nce_weight, adds the contrast of patches both ways (DCLGAN: Han, Shoeiby, Petersson, Armin, CVPRW 2021,
arXiv 2104.07689): heads H_X and H_Y make what G's encoder finds in photographs and F's in paintings comparable. DCLGAN
has it instead of the cycle, here it stands beside it, since the cycle passes both encoders anyway; the five places are
CUT's, of which DCLGAN leaves out the picture itself; the heads share the generators' optimizer; biases before instance
norms rest, as without it (the heads have their own).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from data.batch import Batch
from models.adversary import Adversary, discriminators_adam, generators_adam
from models.contrast import patch_contrast
from models.image_pool import ImagePool
from models.losses import tint_free_l1
from models.method import Method, Style, Turn
from models.networks.build import build_discriminator, build_generator
from models.networks.generator import Features
from models.networks.heads import ProjectionHeads
from models.options import CycleGANOptions

l1 = functional.l1_loss


@dataclass(frozen=True)
class Made:
    """What a generator makes of pictures.

    fake: of the pictures themselves; same: of pictures of the domain that it leads to, none without the identity loss;
    features: of the pictures, by its encoder; () where they are not compared.
    """

    fake: Tensor
    same: Tensor
    features: Features


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
        generators = [self.G, self.F]
        if options.nce_weight:
            self.H_X = ProjectionHeads(self.G.feature_channels, options.head_channels)
            self.H_Y = ProjectionHeads(self.F.feature_channels, options.head_channels)
            generators += [self.H_X, self.H_Y]
        self.optimizers = {
            "generators": generators_adam(nn.ModuleList(generators).parameters(), options),
            "discriminators": discriminators_adam([*self.D_Y.parameters(), *self.D_X.parameters()], options),
        }

    def turns(self, batch: Batch) -> Iterator[Turn]:
        x, y = batch.content, batch.style
        to_y, to_x = self.make(self.G, x, y), self.make(self.F, y, x)
        if self.options.first == "generators":
            yield self.generators_turn(batch, to_y, to_x)
            yield self.discriminators_turn(batch, to_y.fake, to_x.fake)
        else:
            yield self.discriminators_turn(batch, to_y.fake, to_x.fake)
            yield self.generators_turn(batch, to_y, to_x)

    def make(self, generator: nn.Module, pictures: Tensor, others: Tensor) -> Made:
        both = torch.cat([pictures, others]) if self.options.identity_weight else pictures
        made, features = self.look(generator, both)
        n = len(pictures)
        return Made(made[:n], made[n:], tuple(x[:n] for x in features))

    def look(self, generator: nn.Module, pictures: Tensor) -> tuple[Tensor, Features]:
        """What it makes of them, and what its encoder finds in them, where that is compared."""
        return generator(pictures, "both") if self.options.nce_weight else (generator(pictures), ())

    def generators_turn(self, batch: Batch, to_y: Made, to_x: Made) -> Turn:
        x, y, places, o = batch.content, batch.style, batch.places, self.options
        adversarial_g = self.game_y.fools(self.D_Y, to_y.fake, places)  # Eq. 1
        adversarial_f = self.game_x.fools(self.D_X, to_x.fake, places)
        (back_x, found_y), (back_y, found_x) = self.look(self.F, to_y.fake), self.look(self.G, to_x.fake)
        cycle_x, cycle_y = l1(back_x, x), l1(back_y, y)  # Eq. 2
        loss = adversarial_g + adversarial_f + o.cycle_weight * (cycle_x + cycle_y)  # Eq. 3
        report = {"G": adversarial_g, "F": adversarial_f, "cycle_x": cycle_x, "cycle_y": cycle_y}
        if o.identity_weight:
            free = o.identity_free_tint if places.decaying or o.identity_free_from == "start" else 0.0
            distance = partial(tint_free_l1, free=free) if free else l1
            identity_g, identity_f = distance(to_y.same, y), distance(to_x.same, x)  # Sec. 5.2 (there l1)
            loss = loss + o.identity_weight * (identity_g + identity_f)
            report |= {"identity_g": identity_g, "identity_f": identity_f}
        if o.nce_weight:  # Han et al., Sec. 3.2
            nce_x = patch_contrast((self.H_Y, found_y), (self.H_X, to_y.features), places, o, "positions x").mean()
            nce_y = patch_contrast((self.H_X, found_x), (self.H_Y, to_x.features), places, o, "positions y").mean()
            loss = loss + o.nce_weight * (nce_x + nce_y)
            report |= {"nce_x": nce_x, "nce_y": nce_y}
        return Turn("generators", loss, report)

    def discriminators_turn(self, batch: Batch, fake_y: Tensor, fake_x: Tensor) -> Turn:
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
