"""The metrics of a method while it learns, by the same few held-out pictures again and again."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from metrics import METRICS, Metric
from metrics.cost import return_free_memory
from metrics.detectors import SMALLEST, Finding, detect_in
from metrics.features import NETWORKS, FeatureStore
from metrics.measure import Evaluator, Score
from metrics.sets import PictureSet, References


def watchable(has_truth: bool, side: int, count: int) -> tuple[str, ...]:
    """The keys of METRICS that need no pretrained weights, where the data knows none no truth, and no larger or more
    pictures.

    Args:
        side: px, of the pictures; count: of them, in the smaller domain.
    """
    free = {key: metric for key, metric in METRICS.items() if not _needs_more(metric)}
    enough = {key: metric for key, metric in free.items() if metric.smallest <= side and metric.fewest <= count}
    return tuple(key for key, metric in enough.items() if has_truth or metric.against != "truth")


def _needs_more(metric: Metric) -> bool:
    """Pretrained weights, or a network that nobody gives while training."""
    if metric.of:
        return any(_needs_more(METRICS[part]) for part in metric.of)
    return any(name not in NETWORKS or NETWORKS[name].pretrained for name in (metric.features, metric.network) if name)


@dataclass(frozen=True)
class Watched:
    """What the translations of the moment score, by the keys of METRICS, and what the detectors find in them; those of
    pictures that are too small for them find nothing."""

    scores: dict[str, float]
    findings: list[Finding] = field(default_factory=list)


class Watch:
    """Measures what `translate` makes of the references' photographs; what is of the references alone is computed once.

    Args:
        translate: uint8 [N, 3, H, W] -> its translations as they would be saved, uint8, on the CPU.

    Raises:
        MetricError: there are too few references.
    """

    def __init__(self, references: References, translate: Callable[[Tensor], Tensor], device: torch.device):
        self.evaluator = Evaluator(references, FeatureStore(device, pretrained=False))
        self.translate = translate

    def measure(self) -> Watched:
        """What raises is what `translate` raises."""
        photographs = self.evaluator.references.photographs
        translations = PictureSet(self.translate(photographs.pixels), photographs.names)
        try:
            found = [each for each in self.evaluator.measure(translations) if isinstance(each, Score)]
            is_large = min(photographs.pixels.shape[-2:]) >= SMALLEST
            findings = detect_in(translations, photographs) if is_large else []
            return Watched({score.key: score.value for score in found}, findings)
        finally:
            self.evaluator.forget(translations)
            return_free_memory()  # threads come and go in an evaluation, each of which leaves some behind
