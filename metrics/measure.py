"""All metrics of a set of translations, each beside the values that give it a meaning."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from metrics import METRICS, Metric, function
from metrics.features import BATCH, FeatureStore
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


Anchors = dict[str, float | None]
Found = float | Tensor | dict[str, float]  # what a comparison gives: see METRICS


@dataclass(frozen=True)
class Score:
    """One metric.

    value: of the translations; interval: its 95 % interval (of a mean over pictures by bootstrap; else, where a
        standard error is known, 1.96 of it to either side).
    untouched: of the photographs, as if doing nothing were a method.
    truth: of the true paintings, as if they were the translations; None where no truth is known.
    real: real against real. For distributions, one half of the real paintings against the other half: the floor
        of so few pictures. For a judge, how many of the paintings he takes for such. For the truth, another painting of
        the same scene: the ceiling. For the content, each photograph against another one's scene: what having nothing
        in common scores.
    n: translations compared; m: paintings that they are compared with as a set, else None.
    levels: of a metric with levels, by name: value, untouched, truth and real of each.
    pictures: float64 [N], of each translation, for metrics that compare one by one; else None.
    """

    key: str
    value: float
    interval: tuple[float, float] | None
    untouched: float | None
    truth: float | None
    real: float | None
    n: int
    m: int | None = None
    levels: dict[str, Anchors] = field(default_factory=dict)
    pictures: Tensor | None = field(default=None, repr=False, compare=False)

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
        self._anchors: dict[tuple[str, str], Found] = {}

    def measure(self, translations: PictureSet) -> Iterator[Score | Missing]:
        """Every row of METRICS that the data allows, in the table's order."""
        found: dict[str, Score] = {}
        for key, metric in METRICS.items():
            if metric.against == "truth" and self.references.truths is None:
                continue
            if metric.features and metric.features not in self.store.networks:
                continue  # one that nobody has given
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

    def forget(self, translations: PictureSet) -> None:
        """Keep no features of translations that will not come again, nor of as many of them as half the paintings."""
        for pictures in (translations, translations.take(slice(len(self.references.paintings) // 2))):
            self.store.forget(pictures)

    def _score(self, key: str, metric: Metric, translations: PictureSet, found: dict[str, Score]) -> Score | None:
        if metric.against == "scores":
            return _of_scores(key, metric, [found.get(part) for part in metric.of])
        side = min(translations.pixels.shape[-2:])
        if side < metric.smallest:
            raise TooFewError(f"pictures of at least {metric.smallest} px are needed, these have {side}")
        if metric.against == "paintings":
            return self._distribution(key, metric, translations)
        if metric.against == "domains":
            return self._judged(key, metric, translations)
        return self._paired(key, metric, translations)

    def _paired(self, key: str, metric: Metric, translations: PictureSet) -> Score:
        r = self.references
        partners = r.truths if metric.against == "truth" else r.photographs

        def compare(pictures: PictureSet) -> Tensor:
            return self._compare(metric, pictures, partners)

        others = {"untouched": r.photographs}
        if metric.against == "photographs":
            others |= {"truth": r.truths, "real": partners.rolled()}
        else:
            others |= {"real": r.other_truths}
        return self._put_together(key, compare, translations, others, len(translations), paired=True)

    def _compare(self, metric: Metric, pictures: PictureSet, partners: PictureSet) -> Tensor:
        """[N] on the CPU."""
        compare = function(metric.compare)
        first = (self.store.network(metric.network),) if metric.network else ()

        def work(pair: tuple[Tensor, Tensor]) -> Tensor:
            a, b = (to_unit(x.to(self.store.device)) for x in pair)
            return compare(*first, a, b).cpu()

        def compute() -> Tensor:
            pairs = list(zip(*(x.pixels.split(BATCH) for x in (pictures, partners)), strict=True))
            return torch.cat(self.store.map(work, pairs)).double()

        of = f"{metric.compare} {self.store.identity(metric.network)}"
        return self.store.kept(of, (pictures, partners), compute)

    def _distribution(self, key: str, metric: Metric, translations: PictureSet) -> Score:
        """The floor: one half of the real paintings against the other."""
        r = self.references
        half = len(r.paintings) // 2
        self._check_number(metric, len(translations), half, f"{2 * metric.fewest} paintings")
        n = min(len(translations), half) if metric.equal else len(translations)
        first, second = r.paintings.take(slice(half)), r.paintings.take(slice(half, 2 * half))
        real = first.take(slice(n)) if metric.equal else r.paintings
        represent = self._represent(metric)

        def compare(pictures: PictureSet, by: str = metric.compare) -> Found:
            to = first if pictures is second and not metric.equal else real
            sets = (pictures.take(slice(n)), to)

            def compute() -> Found:
                a, b = map(represent, sets)
                return self.store.team.once(lambda: function(by)(a, b))

            return self.store.kept(f"{by} {self.store.identity(metric.features)}", sets, compute)

        others = {"untouched": r.photographs, "truth": r.truths, "real": second}
        score = replace(self._put_together(key, compare, translations, others, n), m=len(real))
        if metric.error:
            margin = 1.96 * compare(translations, metric.error)
            score = replace(score, interval=(score.value - margin, score.value + margin))
        return score

    def _judged(self, key: str, metric: Metric, translations: PictureSet) -> Score:
        r, represent = self.references, self._represent(metric)
        self._check_number(metric, len(translations), len(r.paintings), f"{metric.fewest} paintings")

        def compare(pictures: PictureSet) -> Tensor:
            sets = [represent(each) for each in (pictures, r.photographs, r.paintings)]
            return self.store.team.once(lambda: function(metric.compare)(*sets))

        others = {"untouched": r.photographs, "truth": r.truths, "real": r.paintings}
        score = self._put_together(key, compare, translations, others, len(translations))
        return replace(score, m=len(r.paintings))

    def _put_together(
        self,
        key: str,
        compare: Callable[[PictureSet], Found],
        translations: PictureSet,
        others: dict[str, PictureSet | None],
        n: int,
        paired: bool = False,
    ) -> Score:
        """A score with its anchors, the comparisons of `others`."""
        for kind, pictures in others.items():
            if pictures is not None and (key, kind) not in self._anchors:
                self._anchors[key, kind] = compare(pictures)
        anchors = {kind: self._anchors.get((key, kind)) for kind in ("untouched", "truth", "real")}
        found = compare(translations)
        levels = {}
        if isinstance(found, dict):
            levels = {
                level: {"value": value} | {kind: None if x is None else x[level] for kind, x in anchors.items()}
                for level, value in found.items()
            }
        return Score(
            key,
            _mean(found),
            interval_of(found) if isinstance(found, Tensor) else None,
            **{kind: None if x is None else _mean(x) for kind, x in anchors.items()},
            n=n,
            levels=levels,
            pictures=found if paired else None,
        )

    def _check_number(self, metric: Metric, num_translations: int, num_paintings: int, wanted_paintings: str) -> None:
        if min(num_translations, num_paintings) < metric.fewest:
            there = f"{num_translations} and {len(self.references.paintings)} are there"
            raise TooFewError(f"{metric.fewest} translations and {wanted_paintings} are needed, {there}")

    def _represent(self, metric: Metric) -> Callable[[PictureSet], Tensor]:
        if metric.features:
            return lambda pictures: self.store.features(metric.features, pictures)
        return lambda pictures: pictures.pixels.to(self.store.device)


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


def interval_of(values: Tensor) -> tuple[float, float]:
    """95 % interval of a mean over pictures: Wilson's (1927) for shares, because resampling alike pictures has no
    spread; else by bootstrap."""
    if not bool(((values == 0) | (values == 1)).all()):
        return bootstrap_interval(values)
    n, share, z = len(values), float(values.double().mean()), 1.96
    middle, half = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (max(0.0, (middle - half) / (1 + z**2 / n)), min(1.0, (middle + half) / (1 + z**2 / n)))


def bootstrap_interval(values: Tensor, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of [N] values under resampling of the pictures (Efron 1979, percentiles)."""
    generator = np.random.default_rng(seed)
    numbers = values.double().cpu().numpy()
    means = [numbers[generator.integers(len(numbers), size=len(numbers))].mean() for _ in range(BOOTSTRAP_DRAWS)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _mean(found: Found) -> float:
    values = list(found.values()) if isinstance(found, dict) else found
    return float(torch.as_tensor(values, dtype=torch.double).mean())
