"""How good translations are. METRICS is the table; each metric is a pure function of tensors, in its own file.

All pictures are float32 [N, 3, H, W] in [-1, 1]. A paired metric compares translation i with partner i and gives
one value a picture; a distribution metric compares two sets and gives one value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A row of METRICS.

    against: what the translations are compared with: "truth" (the same scene in the other domain, where the data
        knows it), "photographs" (their own inputs) or "paintings" (held-out real ones, unpaired).
    better: which way is better. For what is kept of the photograph, more is not always better: see the report.
    compare: module and function, (translations, partners) -> [N] or, against the paintings, -> float.
    represent: module and function applied to every set of pictures before, once; "" compares the pictures.
    enough: with fewer pictures than this the value is biased, and is shown with a warning.
    """

    label: str
    against: Literal["truth", "photographs", "paintings"]
    better: Literal["higher", "lower"]
    unit: str
    compare: str
    represent: str = ""
    enough: int = 1


METRICS = {
    "psnr_truth": Metric("PSNR to the truth", "truth", "higher", "dB", "metrics.psnr:psnr"),
    "ssim_truth": Metric("SSIM to the truth", "truth", "higher", "", "metrics.ssim:ssim"),
    "swd": Metric(
        "sliced Wasserstein distance", "paintings", "lower", "x1000",
        "metrics.swd:sliced_wasserstein", enough=32,
    ),
    "frechet_random": Metric(
        "Frechet distance, random VGG-16 (seed 0), 64-d", "paintings", "lower", "",
        "metrics.frechet:frechet_distance", represent="metrics.features:random_features",
        enough=128,  # twice the dimensions
    ),
    "ssim_content": Metric("SSIM to the photograph", "photographs", "higher", "", "metrics.ssim:ssim"),
    "gradient_correlation": Metric(
        "gradient correlation with the photograph", "photographs", "higher", "",
        "metrics.gradient:gradient_correlation",
    ),
}  # fmt: skip


def function(place: str) -> Callable:
    """The function that "module:name" names; imported when it is called for, so that the table is free to read."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
