"""What is known of each picture, and the choice of pictures by it."""

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from data.source import DataError

MANY = ";"  # between the names of a picture that bears several
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

    def take(self, kept: np.ndarray) -> "Labels":
        """Of the pictures where `kept`, bool [N], is true."""
        return Labels(self.names, self.codes[kept])

    def counts(self) -> Counter[str]:
        """How many pictures bear each name; one that bears several counts for each."""
        found: Counter[str] = Counter()
        for name, count in zip(self.names, np.bincount(self.codes, minlength=len(self.names)), strict=True):
            found.update({each: int(count) for each in name.split(MANY)})
        return found

    def bear(self, wanted: Iterable[str]) -> np.ndarray:
        """bool [N]: which pictures bear one of these names, whatever its case."""
        folded = {name.lower() for name in wanted}
        bears = [not folded.isdisjoint(name.lower().split(MANY)) for name in self.names]
        return np.array(bears, bool)[self.codes]


@dataclass(frozen=True)
class LazyLabels(Mapping[str, Labels]):
    """Labels by kind, made when one is asked for: training asks for none."""

    kinds: tuple[str, ...]
    make: Callable[[], Mapping[str, Labels]]
    _made: dict[str, Labels] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.kinds)

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds)

    def __getitem__(self, kind: str) -> Labels:
        if not self._made:
            self._made.update(self.make())
        return self._made[kind]


def check_known(
    wanted: Iterable[str], found: Iterable[str] | Counter[str], option: str, fold: Callable[[str], str] = str.lower
) -> None:
    """Every wanted name must be among the names found on the pictures.

    Args:
        found: the names, one for every time that a picture bears it, or their counts.
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
