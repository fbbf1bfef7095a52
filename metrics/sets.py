"""Sets of pictures that are compared."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

Labels = Mapping[str, tuple[str, ...]]  # by kind, of each picture; several names are parted by ";"


@dataclass(frozen=True)
class PictureSet:
    """Pictures of one size as they would be saved, uint8 [N, 3, H, W], their names, and what is known of them."""

    pixels: Tensor
    names: tuple[str, ...] = ()
    labels: Labels = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pixels)

    @cached_property
    def key(self) -> str:
        """Of the content: equal for equal pictures in the same order."""
        digest = hashlib.sha256(repr(tuple(self.pixels.shape)).encode())
        digest.update(self.pixels.contiguous().numpy().data)
        return digest.hexdigest()

    def take(self, places: slice) -> "PictureSet":
        labels = {kind: values[places] for kind, values in self.labels.items()}
        return PictureSet(self.pixels[places], self.names[places], labels)

    def rolled(self) -> "PictureSet":
        """Every picture in the place of the one before."""
        return PictureSet(self.pixels.roll(1, dims=0), (*self.names[-1:], *self.names[:-1]))


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1]."""
    return pixels.float().div_(127.5).sub_(1.0)


@dataclass(frozen=True)
class References:
    """What translations are compared with. Photographs, truths and other truths belong to the translations one by one;
    the paintings are real, held out, and of other things.

    truths: the right answers, where the data knows them.
    other_truths: other paintings of the same scenes, different only in what nobody could predict.
    known: paintings that methods have learnt from, to see whether any of these is found again.
    """

    photographs: PictureSet
    paintings: PictureSet
    truths: PictureSet | None = None
    other_truths: PictureSet | None = None
    known: PictureSet | None = None
