"""What every source of pictures offers, and the error that all of them raise."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image

NAMED = 3  # files in a message


class DataError(ValueError):
    """The pictures are not what the options say; the message names the path or the option and the mend."""

    exit_code = 2


class EmptyPartError(DataError):
    """A data set has no picture for one of its parts; the other may have."""


class Source(Protocol):
    """An indexable collection of pictures of one domain, cheap to copy into a loader's worker."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Image.Image:
        """An RGB picture; raises images.PictureError if it cannot be read."""

    def name(self, index: int) -> str:
        """A name for messages and for files, stable between runs."""

    def drafted(self, side: int) -> "Source":
        """The same pictures for a reader who wants at most `side` px a side: they may come smaller, and faster."""


@runtime_checkable
class SourceWithTruth(Source, Protocol):
    """A source that also knows how its pictures look in the other domain."""

    def counterpart(self, variant: int = 0) -> Source:
        """The same things in the other domain, item by item: the truth of a translation. Another `variant`
        differs only in what nobody could predict (the places of the brush strokes)."""

    def materials(self, index: int) -> np.ndarray:
        """uint8 [H, W]: what is seen at each pixel."""


def some(names: Sequence[str]) -> str:
    """The first of them, for a message."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
