"""All metrics of a set of translations, each beside the values that give it a meaning."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from metrics import METRICS, Metric, function
from metrics.features import BATCH, FeatureStore, pixels
from metrics.sets import PictureSet, References, to_unit

BOOTSTRAP_DRAWS = 1000
FEWEST_PHOTOGRAPHS = 2
FEWEST_PAINTINGS = 4  # two halves, each with a spread


class TooFewError(Exception):
    """A metric has no meaning for so few pictures."""

    exit_code = 0


class MetricError(ValueError):
    """The pictures do not allow what is to be measured; the message says what to change."""

    exit_code = 2


@dataclass(frozen=True)
class Score:
    """One metric.

    value: of the translations; interval: its 95 % interval (paired metrics: by bootstrap over pictures; else, where a
        standard error is known, 1.96 of it to either side).
    untouched: of the photographs, as if doing nothing were a method.
    truth: of the true paintings, as if they were the translations; None where no truth is known.
    real: real against real. For distributions, one half of the real paintings against the other half: the floor
        of so few pictures. For the truth, another painting of the same scene: the ceiling. For the content, each
        photograph against another one's scene: what having nothing in common scores.
    n: pictures compared.
    """

    key: str
    value: float
    interval: tuple[float, float] | None
    untouched: float | None
    truth: float | None
    real: float | None
    n: int

    @property
    def metric(self) -> Metric:
        return METRICS[self.key]


@dataclass(frozen=True)
class Missing:
    """A metric that could not be computed; `wanted` is False if nobody asked for it."""

    key: str
    reason: str
    wanted: bool


def check_enough(num_photographs: int, num_paintings: int) -> None:
    """Raises MetricError: fewer than FEWEST_PHOTOGRAPHS or FEWEST_PAINTINGS."""
    if num_photographs < FEWEST_PHOTOGRAPHS or num_paintings < FEWEST_PAINTINGS:
        counts = f"{num_photographs} photographs and {num_paintings} paintings"
        raise MetricError(
            f"{counts} are held out; {FEWEST_PHOTOGRAPHS} and {FEWEST_PAINTINGS} are needed at least: raise "
            "data.content.held_out_share or data.style.held_out_share in a new run, or give folders by "
            "data.content.held_out, data.style.held_out"
        )


class Evaluator:
    """Measures several sets of translations against the same references; what is of these alone is computed once."""

    def __init__(self, references: References, store: FeatureStore):
        check_enough(len(references.photographs), len(references.paintings))
        self.references = references
        self.store = store
        self._anchors: dict[tuple[str, str], float] = {}

    def measure(self, translations: PictureSet) -> Iterator[Score | Missing]:
        """Every row of METRICS that the data allows, in the table's order."""
        found: dict[str, Score] = {}
        for key, metric in METRICS.items():
            if metric.against == "truth" and self.references.truths is None:
                continue
            try:
                score = self._score(key, metric, translations, found)
            except Exception as error:
                if not hasattr(error, "exit_code"):
                    raise
                yield Missing(key, str(error), wanted=error.exit_code != 0)
                continue
            if score is not None:
                found[key] = score
                yield score

    def _score(self, key: str, metric: Metric, translations: PictureSet, found: dict[str, Score]) -> Score | None:
        if metric.against == "scores":
            return _of_scores(key, metric, [found.get(part) for part in metric.of])
        if metric.against == "paintings":
            return self._distribution(key, metric, translations)
        return self._paired(key, metric, translations)

    def _paired(self, key: str, metric: Metric, translations: PictureSet) -> Score:
        r = self.references
        partners = r.truths if metric.against == "truth" else r.photographs
        values = self._compare(metric, translations, partners)
        truth = real = None
        untouched = self._anchor(key, "untouched", lambda: _mean(self._compare(metric, r.photographs, partners)))
        if metric.against == "photographs":
            unrelated = partners.rolled()
            real = self._anchor(key, "real", lambda: _mean(self._compare(metric, unrelated, partners)))
            if r.truths is not None:
                truth = self._anchor(key, "truth", lambda: _mean(self._compare(metric, r.truths, partners)))
        elif r.other_truths is not None:
            real = self._anchor(key, "real", lambda: _mean(self._compare(metric, r.other_truths, partners)))
        return Score(key, _mean(values), bootstrap_interval(values), untouched, truth, real, len(values))

    @torch.inference_mode()
    def _compare(self, metric: Metric, pictures: PictureSet, partners: PictureSet) -> Tensor:
        """[N] on the CPU."""
        compare = function(metric.compare)
        first = (self.store.network(metric.network),) if metric.network else ()
        pairs = zip(*(x.batches(BATCH, self.store.device) for x in (pictures, partners)), strict=True)
        return torch.cat([compare(*first, to_unit(a), to_unit(b)).cpu() for a, b in pairs])

    def _distribution(self, key: str, metric: Metric, translations: PictureSet) -> Score:
        """The floor: one half of the real paintings against the other."""
        r = self.references
        half = len(r.paintings) // 2
        if min(len(translations), half) < metric.fewest:
            least = f"{metric.fewest} translations and {2 * metric.fewest} paintings"
            raise TooFewError(f"{least} are needed, {len(translations)} and {len(r.paintings)} are there")
        n = min(len(translations), half) if metric.equal else len(translations)
        compare, represent = function(metric.compare), self._represent(metric)
        first, second = r.paintings.take(slice(half)), r.paintings.take(slice(half, 2 * half))
        real = first.take(slice(n)) if metric.equal else r.paintings

        def distance(pictures: PictureSet, to: PictureSet = real) -> float:
            return compare(represent(pictures.take(slice(n))), represent(to))

        floor = self._anchor(key, "real", lambda: distance(second, real if metric.equal else first))
        untouched = self._anchor(key, "untouched", lambda: distance(r.photographs))
        truth = None if r.truths is None else self._anchor(key, "truth", lambda: distance(r.truths))
        value, interval = distance(translations), None
        if metric.error:
            margin = 1.96 * function(metric.error)(represent(translations), represent(real))
            interval = (value - margin, value + margin)
        return Score(key, value, interval, untouched, truth, floor, n)

    def _represent(self, metric: Metric) -> Callable[[PictureSet], Tensor]:
        if metric.features:
            return lambda pictures: self.store.features(metric.features, pictures)
        return lambda pictures: pixels(pictures, self.store.device)

    def _anchor(self, key: str, kind: str, compute: Callable[[], float]) -> float:
        if (key, kind) not in self._anchors:
            self._anchors[key, kind] = compute()
        return self._anchors[key, kind]


def by_network(network: nn.Module, pictures: Tensor, partners: Tensor) -> Tensor:
    """The comparison that a network makes by itself."""
    return network(pictures, partners)


def _of_scores(key: str, metric: Metric, parts: list[Score | None]) -> Score | None:
    """Of the parts' values, and of their anchors; None if a part is missing."""
    if None in parts:
        return None
    combine = function(metric.compare)

    def of(name: str) -> float | None:
        values = [getattr(part, name) for part in parts]
        return None if None in values else combine(*values)

    return Score(key, of("value"), None, of("untouched"), of("truth"), None, min(part.n for part in parts))


def bootstrap_interval(values: Tensor, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of [N] values under resampling of the pictures (Efron 1979, percentiles)."""
    draws = np.random.default_rng(seed).integers(len(values), size=(BOOTSTRAP_DRAWS, len(values)))
    means = values.double().cpu().numpy()[draws].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _mean(values: Tensor) -> float:
    return float(torch.as_tensor(values).double().mean())
