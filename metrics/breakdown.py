"""Scores by what is known of the pictures: of photographs by what they show, of paintings by style, artist or genre."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metrics.measure import Score, bootstrap_interval
from metrics.sets import Labels
from metrics.vgg_style import moment_distance, moment_error

MANY = ";"  # between the names of a picture that bears several
FEWEST = 5  # pictures of a group
MOST = 12  # groups of a kind, the largest
UNTOLD = ("licence",)  # kinds that say nothing of what is seen


@dataclass(frozen=True)
class GroupScore:
    """One metric of a group of pictures: those whose label of this kind ("artist") is or holds `group`."""

    kind: str
    group: str
    n: int
    key: str
    value: float
    interval: tuple[float, float]


def by_photographs(scores: Sequence[Score], labels: Labels) -> Iterator[GroupScore]:
    """Of every metric that compares translations one by one, its mean over each group."""
    for kind, label, places in _groups(labels):
        for score in scores:
            if score.pictures is not None:
                values = score.pictures[places]
                value = float(values.mean())
                yield GroupScore(kind, label, len(places), score.key, value, bootstrap_interval(values))


def by_paintings(translated: Tensor, paintings: Tensor, labels: Labels, key: str) -> Iterator[GroupScore]:
    """The moment distance of all translations to the paintings of each group: whose manner have they come near?

    Args:
        translated, paintings: their moments, [N, D] and [M, D].
        key: of METRICS.
    """
    for kind, label, places in _groups(labels):
        sets = translated, paintings[places]
        value, margin = moment_distance(*sets), 1.96 * moment_error(*sets)
        yield GroupScore(kind, label, len(places), key, value, (value - margin, value + margin))


def _groups(labels: Labels) -> Iterator[tuple[str, str, Tensor]]:
    """(kind, label, int64 places), the largest groups of each kind first. One that holds every picture says nothing."""
    for kind, values in labels.items():
        if kind in UNTOLD:
            continue
        members: dict[str, list[int]] = {}
        for place, names in enumerate(values):
            for name in filter(None, names.split(MANY)):
                members.setdefault(name, []).append(place)
        large = [item for item in members.items() if FEWEST <= len(item[1]) < len(values)]
        for label, places in sorted(large, key=lambda item: (-len(item[1]), item[0]))[:MOST]:
            yield kind, label, torch.tensor(places)
