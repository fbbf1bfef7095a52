"""Labelled pictures of one domain, every class as often as any other, however many pictures each has.

Each round of the row shows every class once, in an order of its own; a class shows its pictures in an endless shuffle
of its own. So a picture of a small class comes round more often (with other draws of its augmentation).
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch.utils.data import Dataset

from data.batch import LabelledBatch
from data.files import FileSource
from data.images import on_device
from data.labels import MANY, Labels
from data.source import DataError, Source
from data.stream import Picture, Stream, generator, report, stack_pixels
from data.transforms import Augmentation

SAME_CLASS = 5  # attempts
FOLDER = "folder"  # the kind of label that any source has: the first folder of a picture's path


def read_labels(source: Source, kind: str) -> Labels:
    """What a source knows of its pictures by this name.

    Raises:
        DataError: it knows nothing of the kind; those that it knows are named.
    """
    if kind == FOLDER:  # a file beside the folders has none
        return Labels.of([source.name(index).rpartition("/")[0].partition("/")[0] for index in range(len(source))])
    known = source.labels if isinstance(source, FileSource) else {}
    if kind not in known:
        kinds = ", ".join([*known, FOLDER])
        raise DataError(f"method.label = {kind}: the pictures of data.style have no such label; one of: {kinds}")
    return known[kind]


def classes_of(labels: Labels) -> tuple[str, ...]:
    """The names that pictures bear, in order; pictures without one (""), or with several, are in no class.

    Raises:
        DataError: there are not two.
    """
    borne = {labels.names[code] for code in set(labels.codes.tolist())}
    found = tuple(sorted(name for name in borne if name and MANY not in name))
    if len(found) < 2:
        said = f"the training pictures of data.style are all labelled {found[0]}" if found else "no picture is labelled"
        raise DataError(
            f"method.label: {said}; two classes with a training picture each are needed (for method.label=folder two "
            "folders below data.style.root)"
        )
    return found


def numbers_of(labels: Labels, classes: Sequence[str]) -> np.ndarray:
    """int64 [N]: each picture's class, -1 where it bears the name of none."""
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number.get(name, -1) for name in labels.names], np.int64)[labels.codes]


@dataclass
class BalancedStream(Stream):
    """One domain's endless row in which all classes come equally often.

    classes: of every picture, int64 [N], -1 for those that are never shown.
    """

    classes: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    _orders: dict[int, tuple[int, np.ndarray]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._members = [np.flatnonzero(self.classes == c) for c in range(self.classes.max() + 1)]

    def place(self, position: int) -> tuple[int, int]:
        turn, slot = divmod(position, len(self._members))
        c = int(generator(self.seed, self.number, turn).permutation(len(self._members))[slot])
        members = self._members[c]
        number, offset = divmod(turn, len(members))
        if self._orders.get(c, (-1,))[0] != number:
            order = generator(self.seed, self.number, number, c).permutation(len(members))
            self._orders[c] = (number, order)
        return number, int(members[self._orders[c][1][offset]])

    def another(self, index: int, draws: np.random.Generator, attempt: int) -> int:
        """Of the same class, unless too many of that cannot be read."""
        same = self._members[self.classes[index]]
        return int(draws.choice(same if attempt < SAME_CLASS else np.flatnonzero(self.classes >= 0)))


class Labelled(Dataset):
    """Item t of the row for t = 0, 1, 2, ...: a picture and the number of its class.

    classes: the names; shares: of each class in all the pictures.
    """

    def __init__(self, source: Source, labels: Labels, seed: int, augment: Augmentation, size: int):
        self.size = size
        self.classes = classes_of(labels)
        self.stream = BalancedStream(source, 1, seed, augment, classes=numbers_of(labels, self.classes))

    def calm_from(self, position: int) -> "Labelled":
        """The same row, but without jitter from a position on: resized to `size`, and flipped as before."""
        calm = copy(self)
        calm.stream = replace(self.stream, calm_from=position)
        return calm

    @property
    def shares(self) -> tuple[float, ...]:
        counts = np.bincount(self.stream.classes[self.stream.classes >= 0], minlength=len(self.classes))
        return tuple(float(share) for share in counts / counts.sum())

    @property
    def sources(self) -> dict[str, Source]:
        return {"style": self.stream.source}

    @property
    def items_per_epoch(self) -> int:
        return int((self.stream.classes >= 0).sum())

    def __getitem__(self, position: int) -> tuple[Picture, int] | DataError:
        def make() -> tuple[Picture, int]:
            picture = self.stream.draw(position)
            return picture, int(self.stream.classes[picture.index])

        return report(make)

    @staticmethod
    def stack(items: list[tuple[Picture, int]]) -> dict:
        """Items -> all that makes a LabelledBatch, pictures still as uint8 [N, H, W, 4]."""
        pictures, classes = zip(*items, strict=True)
        return {
            "pictures": stack_pixels(pictures),
            "classes": torch.tensor(classes),
            "names": tuple(picture.name for picture in pictures),
            "unreadable": tuple(line for picture in pictures for line in picture.unreadable),
        }

    @staticmethod
    def batch(arrays: dict, device: torch.device) -> LabelledBatch:
        moved = {"pictures": on_device(arrays["pictures"], device), "classes": arrays["classes"].to(device)}
        return LabelledBatch(**arrays | moved)
