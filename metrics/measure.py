"""All metrics of a set of translations, each beside the values that give it a meaning."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from metrics import METRICS, Metric, function

BOOTSTRAP_DRAWS = 1000
FEWEST_PHOTOGRAPHS = 2
FEWEST_PAINTINGS = 4  # two halves, each with a spread


class MetricError(ValueError):
    """The pictures do not allow what is to be measured; the message says what to change."""

    exit_code = 2


@dataclass(frozen=True)
class Pictures:
    """What is compared, each [N, 3, H, W] in [-1, 1]; translations, photographs and truths belong together row
    by row, the paintings are real, held out, and of other things.

    truths: the right answers, where the data knows them.
    other_truths: other paintings of the same scenes, different only in what nobody could predict.
    """

    translations: Tensor
    photographs: Tensor
    paintings: Tensor
    truths: Tensor | None = None
    other_truths: Tensor | None = None


@dataclass(frozen=True)
class Score:
    """One metric.

    value: of the translations; interval: its 95 % interval by bootstrap over pictures (paired metrics only).
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
    untouched: float
    truth: float | None
    real: float | None
    n: int

    @property
    def metric(self) -> Metric:
        return METRICS[self.key]


def check_enough(num_photographs: int, num_paintings: int) -> None:
    """Raises MetricError: fewer than FEWEST_PHOTOGRAPHS or FEWEST_PAINTINGS."""
    if num_photographs < FEWEST_PHOTOGRAPHS or num_paintings < FEWEST_PAINTINGS:
        counts = f"{num_photographs} photographs and {num_paintings} paintings"
        raise MetricError(
            f"{counts} are held out; {FEWEST_PHOTOGRAPHS} and {FEWEST_PAINTINGS} are needed at least: raise "
            "data.content.held_out_share or data.style.held_out_share in a new run, or give folders by "
            "data.content.held_out, data.style.held_out"
        )


def measure(pictures: Pictures) -> Iterator[Score]:
    """Every row of METRICS that the data allows, in the table's order; raises MetricError if there are too few."""
    check_enough(len(pictures.photographs), len(pictures.paintings))
    for key, metric in METRICS.items():
        compare = function(metric.compare)
        represented = _represent(pictures, function(metric.represent)) if metric.represent else pictures
        if metric.against == "paintings":
            yield _distribution_score(key, compare, represented)
        elif metric.against == "photographs":
            yield _content_score(key, compare, represented)
        elif pictures.truths is not None:
            yield _truth_score(key, compare, represented)


def _represent(pictures: Pictures, represent: Callable) -> Pictures:
    values = (getattr(pictures, field.name) for field in fields(pictures))
    return Pictures(*(None if x is None else represent(x) for x in values))


def _truth_score(key: str, compare: Callable, p: Pictures) -> Score:
    values = compare(p.translations, p.truths)
    untouched = _mean(compare(p.photographs, p.truths))
    real = None if p.other_truths is None else _mean(compare(p.other_truths, p.truths))
    return Score(key, _mean(values), bootstrap_interval(values), untouched, None, real, len(values))


def _content_score(key: str, compare: Callable, p: Pictures) -> Score:
    values = compare(p.translations, p.photographs)
    untouched = _mean(compare(p.photographs, p.photographs))
    truth = None if p.truths is None else _mean(compare(p.truths, p.photographs))
    unrelated = _mean(compare(p.photographs.roll(1, dims=0), p.photographs))
    return Score(key, _mean(values), bootstrap_interval(values), untouched, truth, unrelated, len(values))


def _distribution_score(key: str, compare: Callable, p: Pictures) -> Score:
    """Everything is compared with the same half of the real paintings, so that the other half's distance, the floor,
    can be read beside it. Equal counts all round: these distances are biased by the number of pictures."""
    n = min(len(p.translations), len(p.paintings) // 2)
    reference = p.paintings[:n]
    truth = None if p.truths is None else compare(p.truths[:n], reference)
    value, untouched = compare(p.translations[:n], reference), compare(p.photographs[:n], reference)
    return Score(key, value, None, untouched, truth, compare(p.paintings[n : 2 * n], reference), n)


def bootstrap_interval(values: Tensor, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of [N] values under resampling of the pictures (Efron 1979, percentiles)."""
    draws = np.random.default_rng(seed).integers(len(values), size=(BOOTSTRAP_DRAWS, len(values)))
    means = values.double().cpu().numpy()[draws].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _mean(values: Tensor) -> float:
    return float(torch.as_tensor(values).double().mean())
