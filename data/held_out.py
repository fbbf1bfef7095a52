"""Fixed sets of pictures, with what is known of each: what evaluations look at."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from data.files import FileSource
from data.loader import Chosen, read_pictures
from data.source import Source


@dataclass(frozen=True)
class ReadPictures:
    """uint8 [N, 3, size, size], their names, and by the kind of label what each bears ("" for none)."""

    pixels: Tensor
    names: tuple[str, ...]
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read_chosen(source: Source, places: Sequence[int], size: int) -> ReadPictures:
    """The readable ones of the pictures at these places of a source.

    Raises:
        DataError: none of them can be read.
    """
    pixels, names = read_pictures(Chosen(source, places), len(places), size)
    known = source.labels if isinstance(source, FileSource) else {}
    place_of = {source.name(place): place for place in places} if known else {}
    labels = {kind: tuple(known[kind][place_of[name]] for name in names) for kind in known}
    return ReadPictures(pixels, names, labels)


def some_of(source: Source, count: int, seed: int | None = None) -> list[int]:
    """At most `count` places: from all over the row in its own order, or, given a seed, drawn by it. Rows are often
    sorted, so the first ones would be of one kind."""
    if seed is None:
        return sorted({place * len(source) // min(count, len(source)) for place in range(min(count, len(source)))})
    return np.random.default_rng(seed).permutation(len(source))[:count].tolist()
