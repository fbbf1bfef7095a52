"""What crosses from data to methods: batches, and which part of a step's pictures each of them is."""

import zlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Where a batch's pictures stand in the whole batch of their step: number `first` and the following, of `total`.

    Processes, and passes whose gradients are accumulated, share a whole batch. What is drawn for a picture, and what is
    remembered from step to step, goes by its place: so a step is the same, however its batch is shared.
    """

    first: int
    count: int
    total: int
    seed: int = 0
    step: int = 0
    decaying: bool = False  # whether learning rates fall in this step

    def __iter__(self):
        return iter(range(self.first, self.first + self.count))

    def uniform(self, purpose: str, columns: int = 1) -> Tensor:
        """[count, columns] in [0, 1) on the CPU: a function of (seed, step, purpose, place)."""
        drawn = self._draws(purpose).random((self.total, columns), dtype=np.float32)
        return torch.from_numpy(drawn[self.first : self.first + self.count].copy())

    def coin(self, purpose: str) -> bool:
        """One for the whole batch, wherever its pictures are: a function of (seed, step, purpose)."""
        return bool(self._draws(purpose).random() < 0.5)

    def choose(self, purpose: str, length: int, count: int) -> Tensor:
        """`count` different numbers below `length`, or all of them, in any order: int64 on the CPU, the same for the
        whole batch."""
        return torch.from_numpy(self._draws(purpose).choice(length, min(count, length), replace=False))

    def _draws(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.step, zlib.crc32(purpose.encode())])


@dataclass(frozen=True)
class Share:
    """What one of `count` processes takes of every step: `passes` batches of `batch_size` pictures, one by one."""

    batch_size: int = 1
    passes: int = 1
    rank: int = 0
    count: int = 1

    @property
    def own(self) -> int:
        """Pictures of a step that are this process's."""
        return self.batch_size * self.passes

    @property
    def whole(self) -> int:
        """Pictures of a step of all processes: the global batch."""
        return self.own * self.count

    def places(self, number: int, seed: int = 0, step: int = 0, decaying: bool = False) -> Places:
        """Of the pictures of one of the passes."""
        first = self.rank * self.own + number * self.batch_size
        return Places(first, self.batch_size, self.whole, seed, step, decaying)


@dataclass(frozen=True)
class Batch:
    """Unpaired pictures of the two domains.

    content, style: [N, 3, H, W] in [-1, 1], photographs and paintings.
    content_names, style_names: the N pictures' names, for messages.
    unreadable: what could not be read and was replaced by other pictures of its domain.
    places: in the step's whole batch; None: these are all of it.
    """

    content: Tensor
    style: Tensor
    content_names: tuple[str, ...] = ()
    style_names: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    places: Places | None = None

    def __post_init__(self) -> None:
        if self.places is None:
            object.__setattr__(self, "places", Places(0, len(self), len(self)))

    def __len__(self) -> int:
        return len(self.content)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.content_names, *self.style_names)

    def to(self, device: torch.device) -> "Batch":
        content, style = (x.to(device, non_blocking=True) for x in (self.content, self.style))
        return replace(self, content=content, style=style)


@dataclass(frozen=True)
class LabelledBatch:
    """Pictures of one domain that are to be told apart.

    pictures: [N, 3, H, W] in [-1, 1]; classes: int64 [N]; names, unreadable, places: as of a Batch.
    """

    pictures: Tensor
    classes: Tensor
    names: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    places: Places | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def to(self, device: torch.device) -> "LabelledBatch":
        return replace(self, pictures=self.pictures.to(device), classes=self.classes.to(device))


AnyBatch = Batch | LabelledBatch
