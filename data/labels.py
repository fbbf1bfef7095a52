"""What is known of each picture, and the choice of pictures by it."""

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from data.source import DataError

NEAREST = 5  # names offered for one that is unknown


@dataclass(frozen=True)
class Labels:
    """One name a picture, for example its style: small whole numbers into a list of names."""

    names: tuple[str, ...]
    codes: np.ndarray  # int32 [N]

    @classmethod
    def of(cls, values: Sequence[str]) -> "Labels":
        names = tuple(sorted(set(values)))
        code = {name: i for i, name in enumerate(names)}
        return cls(names, np.array([code[value] for value in values], np.int32))

    def __getitem__(self, index: int) -> str:
        return self.names[self.codes[index]]


def check_known(
    wanted: Iterable[str], found: Iterable[str], option: str, fold: Callable[[str], str] = str.lower
) -> None:
    """Every wanted name must be among the names found on the pictures.

    Args:
        found: the names, one for every time that a picture bears it.
        fold: brings a name to the form in which names are compared.

    Raises:
        DataError: naming the nearest names that exist, each with its number of pictures.
    """
    counts = Counter(found)
    known = {fold(name): name for name in counts}
    for name in wanted:
        if fold(name) not in known:
            near = difflib.get_close_matches(fold(name), known, n=NEAREST, cutoff=0.5)
            offered = [known[match] for match in near] or [each for each, _ in counts.most_common(NEAREST)]
            said = ", ".join(f"{each} ({counts[each]} pictures)" for each in offered) or "none: nothing is labelled"
            raise DataError(f"{option}: {name} is on no picture; {'nearest' if near else 'the commonest'}: {said}")
