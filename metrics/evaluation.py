"""All that a report says of a set of translations, and of its plain values for the report."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from metrics import METRICS
from metrics.breakdown import GroupScore, by_paintings, by_photographs
from metrics.detectors import DETECTORS, Finding, detect_in
from metrics.features import FeatureStore
from metrics.measure import Evaluator, Missing, Score
from metrics.nearest import Nearest, find_nearest
from metrics.sets import PictureSet

# What places and groups are told by, the first that can be had: (row of METRICS, its features).
NEARNESS = (("kid", "inception"), ("frechet_random", "random-moments"))
MANNER = (("moments", "vgg-moments"), ("moments_random", "random-moments"))


@dataclass(frozen=True)
class Measured:
    """Of one set of translations. `nearest_by` names the features that the nearest paintings were found by."""

    translations: PictureSet
    scores: list[Score]
    missing: list[Missing]
    findings: list[Finding]
    groups: list[GroupScore]
    nearest: Nearest
    nearest_by: str


def measure_all(translations: PictureSet, evaluator: Evaluator, done: Callable[[], object]) -> Measured:
    """Scores, detectors, scores by group, nearest paintings.

    Args:
        done: is called after each row of METRICS.
    """
    references, store = evaluator.references, evaluator.store
    scores, missing = [], []
    for found in evaluator.measure(translations):
        (scores if isinstance(found, Score) else missing).append(found)
        done()
    findings = detect_in(translations, references.photographs)
    measured = {score.key for score in scores}
    groups = list(by_photographs(scores, references.photographs.labels))
    key, features = _first(MANNER, measured)
    if references.paintings.labels:
        moments = [store.features(features, each) for each in (translations, references.paintings)]
        groups += by_paintings(*moments, references.paintings.labels, key)
    _, features = _first(NEARNESS, measured)
    nearest = _nearest(translations, evaluator, store, features)
    return Measured(translations, scores, missing, findings, groups, nearest, store.networks[features].identity)


def _first(choices: tuple[tuple[str, str], ...], measured: set[str]) -> tuple[str, str]:
    return next((choice for choice in choices if choice[0] in measured), choices[-1])


def _nearest(translations: PictureSet, evaluator: Evaluator, store: FeatureStore, features: str) -> Nearest:
    paintings, known = evaluator.references.paintings, evaluator.references.known
    sets = (translations, paintings) if known is None else (translations, known, paintings)
    return find_nearest(*(store.features(features, each) for each in sets))


def rows_of(measured: Measured) -> dict[str, Any]:
    """Plain values by the names of a report's Evaluation."""
    return {
        "scores": [_labelled(score) | _plain(score) for score in measured.scores],
        "missing": [_labelled(each) | asdict(each) for each in measured.missing],
        "findings": [
            {name: getattr(DETECTORS[each.key], name) for name in ("label", "fires", "threshold", "said")}
            | asdict(each)
            for each in measured.findings
        ],
        "groups": [_labelled(each) | asdict(each) for each in measured.groups],
        "by_picture": {
            "name": list(measured.translations.names),
            **{score.key: score.pictures.tolist() for score in measured.scores if score.pictures is not None},
        },
    }


def _labelled(found: Score | Missing | GroupScore) -> dict[str, Any]:
    return {name: getattr(METRICS[found.key], name) for name in ("label", "better", "unit", "enough")}


def _plain(score: Score) -> dict[str, Any]:
    values = asdict(replace(score, pictures=None))
    del values["pictures"]  # they are in by_picture
    return values
