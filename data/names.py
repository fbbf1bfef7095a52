"""Many file names in little memory."""

import os
from collections.abc import Iterable, Sequence

import numpy as np


class Names(Sequence[str]):
    """A fixed list of file names as one block of bytes.

    A Python list of 200,000 paths is 200,000 objects; counting their references alone makes every forked worker of a
    loader copy them all. This is two arrays, which workers share, and a name is made when it is asked for.
    """

    def __init__(self, names: Iterable[str]):
        encoded = [os.fsencode(name) for name in names]
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"name {index} of {len(self)}")
        return os.fsdecode(self._bytes[self._ends[index] : self._ends[index + 1]].tobytes())

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Names)
            and np.array_equal(self._ends, other._ends)
            and np.array_equal(self._bytes, other._bytes)
        )

    __hash__ = None

    def take(self, kept: np.ndarray) -> "Names":
        """The names where `kept`, bool [N], is true."""
        lengths = np.diff(self._ends)
        taken = Names([])
        taken._ends = np.concatenate([[0], np.cumsum(lengths[kept])])
        taken._bytes = self._bytes[np.repeat(kept, lengths)]
        return taken
