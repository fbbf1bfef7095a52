"""Do the metrics say what they should? Good translations are spoilt in steps, and every metric must follow.

    OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m benchmarks.degradation --random-pretrained

The good translations are the true paintings of drawn landscapes. They are blurred, made noisy, brought to a wrong
palette, or taken back to the photograph, each in steps. A row of the table is a metric, a cell its values from no harm
to the worst. What does not go, step by step, where `expected` says (or stays) is marked, and ends with code 1; networks
with random weights in the place of published ones promise nothing and are only marked.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torchvision
from tabulate import tabulate
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from data.held_out import read_chosen
from data.options import SyntheticOptions
from data.synthetic import open_synthetic
from engine.progress import progress
from engine.summary import number
from metrics import METRICS
from metrics.features import NETWORKS, FeatureStore, Network
from metrics.inception import Inception, random_state
from metrics.measure import Evaluator, Score
from metrics.perceptual import Lpips, VggContent
from metrics.sets import PictureSet, References, to_unit
from metrics.vgg_style import VggGram, VggMoments, vgg19

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)


def blurred(pictures: Tensor, photographs: Tensor, strength: float) -> Tensor:
    """By a Gaussian of up to a thirtieth of the side."""
    sigma = strength * pictures.shape[-1] / 30
    return gaussian_blur(pictures, 2 * int(3 * sigma) + 1, sigma) if sigma else pictures


def noisy(pictures: Tensor, photographs: Tensor, strength: float) -> Tensor:
    """By up to 40 grey levels."""
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    return pictures + strength * 40 / 127.5 * noise


def in_a_wrong_palette(pictures: Tensor, photographs: Tensor, strength: float) -> Tensor:
    """Towards the same picture with its channels exchanged in a ring."""
    return pictures.lerp(pictures.roll(1, dims=1), strength)


def back_to_the_photograph(pictures: Tensor, photographs: Tensor, strength: float) -> Tensor:
    return pictures.lerp(photographs, strength)


# What may go either way. A picture without brush strokes is more like a photograph, which has none; exchanged channels
# change brightness; and what strokes hide of edges, some noise brings above the threshold.
UNPROMISED = {
    "blur": ("ssim_content", "ms_ssim_content", "lpips", "vgg_content"),
    "noise": ("edge_f1",),
    "wrong palette": ("ssim_content", "ms_ssim_content", "lpips", "vgg_content", "gradient_correlation", "edge_f1"),
    "identity": (),
}


@dataclass(frozen=True)
class Ill:
    """What is done to translations, and what it does to metrics of each kind (Metric.against)."""

    spoil: Callable[[Tensor, Tensor, float], Tensor]
    expected: dict[str, str]


ILLS = {
    "blur": Ill(blurred, {"truth": "worse", "paintings": "worse", "domains": "worse", "photographs": "worse"}),
    "noise": Ill(noisy, {"truth": "worse", "paintings": "worse", "domains": "worse", "photographs": "worse"}),
    "wrong palette": Ill(
        in_a_wrong_palette, {"truth": "worse", "paintings": "worse", "domains": "worse", "photographs": "worse"}
    ),
    "identity": Ill(
        back_to_the_photograph,
        {"truth": "worse", "paintings": "worse", "domains": "worse", "photographs": "better"},
    ),
}


def spoilt(
    scenes: int, size: int, store: FeatureStore, steps: Sequence[float] = STEPS
) -> Iterator[tuple[str, float, dict[str, float]]]:
    """(ill, strength, value by metric) of every step of every ill."""
    source = open_synthetic(SyntheticOptions(held_out=scenes, size=size), "content", "held_out")
    style = open_synthetic(SyntheticOptions(held_out=scenes, size=size, seed=1), "style", "held_out")
    sets = [
        PictureSet(**vars(read_chosen(each, range(scenes), size))) for each in (source, style, source.counterpart())
    ]
    photographs, truths = (to_unit(sets[i].pixels) for i in (0, 2))
    evaluator = Evaluator(References(*sets), store)
    for name, ill in ILLS.items():
        for strength in steps:
            pixels = ((ill.spoil(truths, photographs, strength) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            found = evaluator.measure(PictureSet(pixels, sets[0].names))
            yield name, strength, {score.key: score.value for score in found if isinstance(score, Score)}


def follows(key: str, ill: str, values: list[float]) -> bool:
    """Every step goes the way that is expected, or stays."""
    metric = METRICS[key]
    expected = ILLS[ill].expected.get(metric.against)
    if expected is None or key in UNPROMISED[ill]:
        return True
    rises = (metric.better == "higher") == (expected == "better")
    steps = [(b - a) if rises else (a - b) for a, b in zip(values, values[1:], strict=False)]
    return all(step >= 0 for step in steps)


def random_pretrained() -> dict[str, Network]:
    """Random weights where published ones belong: what they give is no FID and no LPIPS, but takes the same path."""
    torch.manual_seed(0)
    vgg, alexnet = map(_random_features, (torchvision.models.vgg19, torchvision.models.alexnet))
    networks = {
        "inception": Inception(random_state()),
        "lpips": Lpips(alexnet),
        "vgg-content": VggContent(vgg),
        "vgg-moments": VggMoments(*vgg19(vgg)),
        "vgg-gram": VggGram(*vgg19(vgg)),
    }
    return {
        name: Network(lambda network=network: network, f"{name}, random", False, NETWORKS[name].summed)
        for name, network in networks.items()
    }


def _random_features(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """Of torchvision's network the convolutions alone, from torch's global generator; nobody reads its classifier."""
    with torch.device("meta"):
        features = build().features
    for module in features.to_empty(device="cpu"):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return features.state_dict(prefix="features.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=128)
    parser.add_argument("--size", type=int, default=64, help="px; MS-SSIM wants 176")
    parser.add_argument("--random-pretrained", action="store_true", help="also FID and its kin, on random weights")
    arguments = parser.parse_args()
    networks = NETWORKS | (random_pretrained() if arguments.random_pretrained else {})
    store = FeatureStore(torch.device("cpu"), pretrained=False, networks=networks)
    found: dict[str, dict[str, list[float]]] = {}
    with progress(len(ILLS) * len(STEPS), "step", "degrade") as bar:
        for ill, _, values in spoilt(arguments.scenes, arguments.size, store):
            for key, value in values.items():
                found.setdefault(key, {}).setdefault(ill, []).append(value)
            bar.update()
    rows, failed = [], 0
    for key, by_ill in found.items():
        cells = []
        for ill, values in by_ill.items():
            good = follows(key, ill, values)
            failed += not good and not is_pretrained(key)
            cells.append(" ".join(map(number, values)) + ("" if good else " not monotone"))
        rows.append([f"{key} (random weights)" if is_pretrained(key) else key, METRICS[key].better, *cells])
    print(tabulate(rows, headers=["metric", "better", *ILLS], tablefmt="github", disable_numparse=True))
    raise SystemExit(1 if failed else 0)


def is_pretrained(key: str) -> bool:
    """Needs published weights."""
    metric = METRICS[key]
    parts = [METRICS[part] for part in metric.of] or [metric]
    return any(NETWORKS[name].pretrained for p in parts for name in (p.features, p.network) if name)


if __name__ == "__main__":
    main()
