"""How good translations are. METRICS is the table; each metric is a pure function of tensors, in its own file.

Pictures are float32 [N, 3, H, W] in [-1, 1] where nothing else is said. A paired metric compares translation i with
partner i and gives one value a picture; a distribution metric compares two sets and gives one value.
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
        knows it), "photographs" (their own inputs), "paintings" (held-out real ones, unpaired), "domains" (a judge who
        has learnt to tell them apart), or "scores" (it is made of the scores that `of` names).
    better: which way is better. For what is kept of the photograph, more is not always better: see the report.
    compare: module and function. Of pairs: (translations, partners) -> [N], with a network (network, translations,
        partners) -> [N]. Against the paintings: (set, real set) -> the distance; or [K], parts of equal weight whose
        mean is the distance; or its value at each level by the level's name, whose mean it is; of features where they
        are named, else of pictures as uint8. Of domains: (translations, photographs, paintings) -> [N]. Of scores:
        (a, b) -> float.
    error: module and function, (set, real set) -> standard error.
    features, network: of metrics.features.NETWORKS.
    enough: with fewer pictures than this the value is biased, and is shown with a warning.
    fewest: with fewer pictures than this in a set it has no meaning and is left out.
    smallest: px, side of the smallest pictures that it can be measured on.
    equal: sets are cut to one size, because the value depends on it; the floor then is of as many.
    """

    label: str
    against: Literal["truth", "photographs", "paintings", "domains", "scores"]
    better: Literal["higher", "lower"]
    unit: str
    compare: str
    error: str = ""
    features: str = ""
    network: str = ""
    of: tuple[str, ...] = ()
    enough: int = 1
    fewest: int = 1
    smallest: int = 1
    equal: bool = False


INCEPTION = "TF-2015 Inception 6726825d, TF bilinear 299 px"
VGG19 = "VGG-19 dcbb9e9d"
RANDOM = "random VGG-16 (seed 0)"

METRICS = {
    "psnr_truth": Metric("PSNR to the truth", "truth", "higher", "dB", "metrics.psnr:psnr"),
    "ssim_truth": Metric("SSIM to the truth", "truth", "higher", "", "metrics.ssim:ssim"),
    "kid": Metric(
        f"KID ({INCEPTION})", "paintings", "lower", "x1000", "metrics.kid:kernel_distance_x1000",
        error="metrics.kid:standard_error_x1000", features="inception", enough=50, fewest=6,
    ),
    "fid": Metric(
        f"FID ({INCEPTION})", "paintings", "lower", "", "metrics.frechet:frechet_distance",
        features="inception", enough=2048, fewest=6,
    ),
    "precision": Metric(
        "precision, k = 5, Inception", "paintings", "higher", "", "metrics.manifold:precision",
        features="inception", enough=500, fewest=6,  # more than five neighbours
    ),
    "recall": Metric(
        "recall, k = 5, Inception", "paintings", "higher", "", "metrics.manifold:recall",
        features="inception", enough=500, fewest=6,  # more than five neighbours
    ),
    "density": Metric(
        "density, k = 5, Inception", "paintings", "higher", "", "metrics.manifold:density",
        features="inception", enough=500, fewest=6,  # more than five neighbours
    ),
    "coverage": Metric(
        "coverage, k = 5, Inception", "paintings", "higher", "", "metrics.manifold:coverage",
        features="inception", enough=500, fewest=6,  # more than five neighbours
    ),
    "moments": Metric(
        f"moment distance ({VGG19}, relu1_1 to relu4_1)", "paintings", "lower", "", "metrics.vgg_style:moment_distance",
        error="metrics.vgg_style:moment_error", features="vgg-moments",
    ),
    "gram": Metric(
        f"Gram distance ({VGG19}, relu1_1 to relu4_1)", "paintings", "lower", "", "metrics.vgg_style:gram_distance",
        features="vgg-gram",
    ),
    "deception": Metric(
        f"deception rate (linear judge of {VGG19}'s moments)", "domains", "higher", "",
        "metrics.deception:taken_for_paintings", features="vgg-moments", enough=100, fewest=10,
    ),
    "deception_classifier": Metric(
        "deception rate (--classifier)", "paintings", "higher", "", "metrics.deception:share_of", features="classifier",
        enough=100,
    ),
    "swd": Metric(
        "sliced Wasserstein distance", "paintings", "lower", "x1000", "metrics.swd:sliced_wasserstein",
        enough=32, equal=True,
    ),
    "frechet_random": Metric(
        f"Frechet distance, {RANDOM}, 64-d", "paintings", "lower", "",
        "metrics.vgg_style:projected_frechet_distance", features="random-moments",
        enough=128, equal=True,  # twice the dimensions
    ),
    "moments_random": Metric(
        f"moment distance, {RANDOM}, relu1_1 to relu5_1", "paintings", "lower", "",
        "metrics.vgg_style:moment_distance", error="metrics.vgg_style:moment_error", features="random-moments",
    ),
    "gram_random": Metric(
        f"Gram distance, {RANDOM}, relu1_1 to relu5_1", "paintings", "lower", "",
        "metrics.vgg_style:gram_distance", features="random-gram",
    ),
    "deception_random": Metric(
        f"deception rate (linear judge of moments, {RANDOM})", "domains", "higher", "",
        "metrics.deception:taken_for_paintings", features="random-moments", enough=100, fewest=10,
    ),
    "lpips": Metric(
        "LPIPS to the photograph (v0.1, AlexNet 7be5be79)", "photographs", "lower", "",
        "metrics.measure:by_network", network="lpips",
    ),
    "vgg_content": Metric(
        "content distance (VGG-19 dcbb9e9d, relu4_1)", "photographs", "lower", "",
        "metrics.measure:by_network", network="vgg-content",
    ),
    "artfid": Metric(
        "ArtFID = (1 + LPIPS) (1 + FID)", "scores", "lower", "", "metrics.frechet:art_fid",
        of=("lpips", "fid"), enough=2048,
    ),
    "ssim_content": Metric("SSIM to the photograph", "photographs", "higher", "", "metrics.ssim:ssim"),
    "ms_ssim_content": Metric(
        "MS-SSIM to the photograph", "photographs", "higher", "", "metrics.ssim:ms_ssim", smallest=176,
    ),
    "gradient_correlation": Metric(
        "gradient correlation with the photograph", "photographs", "higher", "",
        "metrics.gradient:gradient_correlation",
    ),
    "edge_f1": Metric("F1 of the photograph's edges", "photographs", "higher", "", "metrics.gradient:edge_f1"),
}  # fmt: skip


def function(place: str) -> Callable:
    """The function that "module:name" names; imported when it is called for, so that the table is free to read."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
