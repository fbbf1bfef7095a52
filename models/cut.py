"""CUT and FastCUT: contrastive learning for unpaired image-to-image translation.

Park, Efros, Zhang, Zhu, ECCV 2020, arXiv 2007.15651; where paper and the authors' code differ, the code.

X photographs, Y paintings; G: X -> Y the generator, D judges paintings. What is at a place of G(x) shall be found again
at the same place of x, among all places of x: by features of G's own encoder, which heads H make comparable. No way
back is learnt. FastCUT is the same without the paintings' part, with mirrored pictures and more weight.
Departures: photographs and paintings are compared at the same places of a step, where the code draws twice. Keys are
taken from the pass that translates, which is the same pass.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import l1_loss as l1

from data.batch import Batch
from models.adversary import Adversary, discriminators_adam, generators_adam
from models.contrast import patch_contrast
from models.method import Method, Style, Turn
from models.networks.build import build_discriminator, build_generator
from models.networks.heads import ProjectionHeads
from models.networks.initialise import train_biases
from models.options import CUTOptions


class CUT(Method):
    """One generator, one discriminator, and the heads by which patches are compared."""

    directions = ("photo2painting",)
    averaged = ("G",)

    def __init__(self, options: CUTOptions):
        super().__init__()
        self.G = build_generator(options.generator)
        self.size_multiple, self.smallest_side = self.G.size_multiple, self.G.smallest_side
        self.D = build_discriminator(options.discriminator)
        train_biases(self.G.compared)
        self.H = ProjectionHeads(self.G.feature_channels, options.head_channels)
        self.options = options
        self.game = Adversary("D", options)
        self.games = self.game.at_a_draw
        self.differentiated_twice = ("D",) if self.game.differentiates_twice else ()
        self.optimizers = {
            "generator": generators_adam([*self.G.parameters(), *self.H.parameters()], options),
            "discriminator": discriminators_adam(self.D.parameters(), options),
        }

    def turns(self, batch: Batch) -> Iterator[Turn]:
        x, y, places = batch.content, batch.style, batch.places
        real = torch.cat([x, y]) if self.options.nce_identity else x
        mirrored = self.options.flip_equivariance and places.coin("flip")
        made, keys = self.G(real.flip(3) if mirrored else real, "both")
        if mirrored:  # the translation is compared with the picture as it was
            with torch.no_grad():
                keys = self.G(real, "features")
        fake = made[: len(x)]

        loss, report = self.game.judges(self.D, y, fake.detach(), places)
        yield Turn("discriminator", loss, report)

        adversarial = self.game.fools(self.D, fake, places)  # Eq. 1
        queries = self.G(made, "features")
        if mirrored:
            queries = tuple(features.flip(3) for features in queries)
        compared = patch_contrast((self.H, queries), (self.H, keys), places, self.options)
        nce_x, *nce_y = compared.split(len(x))  # Eq. 4 of x, and of y
        nce = torch.stack([part.mean() for part in (nce_x, *nce_y)])
        report = {"G": adversarial, "nce_x": nce[0]} | ({"nce_y": nce[1]} if self.options.nce_identity else {})
        total = adversarial + self.options.nce_weight * nce.mean()
        if self.options.nce_identity and self.options.identity_weight:
            report["identity"] = l1(made[len(x) :], real[len(x) :].flip(3) if mirrored else real[len(x) :])
            total = total + self.options.identity_weight * report["identity"]
        yield Turn("generator", total, report)

    def translate(self, content: Tensor, style: Style | None = None, direction: str = "") -> Tensor:
        return self.G(content)

    def samples(self, batch: Batch) -> dict[str, Tensor]:
        columns = {"photograph": batch.content, "translation": self.G(batch.content), "painting": batch.style}
        return columns | ({"painting translated": self.G(batch.style)} if self.options.nce_identity else {})
