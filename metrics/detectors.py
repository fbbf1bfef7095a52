"""Detectors of what is known to go wrong: each a number of a set of translations, and the threshold where it fires.

All take [N, 3, H, W] in [-1, 1], sides at least SMALLEST, the photographs row by row beside their translations.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.luma import luma
from metrics.sets import PictureSet, to_unit

MOST = 512  # pictures of a set that they look at
SMALLEST = 32  # px, side of a picture
LEVELS = 127.5  # grey levels of 8 bits in a unit of [-1, 1]
COARSE = 16  # px, where only what is where counts
PERIODS = (2, 4)  # px, of what transposed convolutions leave
NEIGHBOURS = (-4, -3, -2, 2, 3, 4)  # frequencies beside a period's, which a smooth spectrum is read from


def change(translations: Tensor, photographs: Tensor) -> float:
    """Median over pictures of the mean absolute change, in grey levels of 255."""
    return float((translations - photographs).abs().mean(dim=(1, 2, 3)).median() * LEVELS)


def constant_share(translations: Tensor, photographs: Tensor) -> float:
    """The share of translations that deviate by less than a grey level from their mean colour."""
    return float((translations.std(dim=(2, 3)).amax(dim=1) * LEVELS < 1).double().mean())


def brightness_correlation(translations: Tensor, photographs: Tensor) -> float:
    """Median over pictures of the correlation of brightness at COARSE px."""
    a, b = (_coarse(luma(x)) for x in (translations, photographs))
    a, b = (x - x.mean(dim=1, keepdim=True) for x in (a, b))
    norms = (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-8)
    return float(((a * b).sum(dim=1) / norms).median())


def diversity(translations: Tensor, photographs: Tensor) -> float:
    """Mean distance between two translations, over that between two photographs, at COARSE px."""
    return float(_spread(translations) / _spread(photographs).clamp_min(1e-8))


def periodic_energy(translations: Tensor, photographs: Tensor) -> float:
    """The power of brightness at one of PERIODS, across or down, over that of its neighbouring frequencies; the
    largest. A spectrum without peaks has about 1."""
    y = luma(translations).squeeze(1)
    found = []
    for x in (y, y.transpose(1, 2)):
        side = x.shape[2] // 8 * 8
        x = x[..., :side] * torch.hann_window(side, periodic=False, device=x.device)
        power = torch.fft.fft(x, dim=2).abs().square().mean(dim=(0, 1))
        for period in PERIODS:
            place = side // period
            beside = torch.stack([power[(place + step) % side] for step in NEIGHBOURS])
            found.append(power[place] / beside.mean().clamp_min(1e-12))
    return float(torch.stack(found).max())


@dataclass(frozen=True)
class Detector:
    """A row of DETECTORS; `said` is what a reader is told when it fires."""

    label: str
    compute: Callable[[Tensor, Tensor], float]
    fires: Literal["below", "above"]
    threshold: float
    said: str


DETECTORS = {
    "constant": Detector(
        "share of pictures of one colour", constant_share, "above", 0.0, "makes pictures of one colour, without content"
    ),
    "identity": Detector(
        "change of a picture, grey levels", change, "below", 4.0, "changes next to nothing: it is nearly the identity"
    ),
    "colour_inversion": Detector(
        "correlation of brightness with the photograph", brightness_correlation, "below", -0.2,
        "turns dark to bright: colours are inverted",
    ),
    "mode_collapse": Detector(
        "diversity of translations over that of photographs", diversity, "below", 0.3,
        "makes nearly the same of all photographs: its modes have collapsed",
    ),
    "checkerboard": Detector(
        "power at periods of 2 and 4 px over their neighbours'", periodic_energy, "above", 3.0,
        "leaves a periodic pattern of 2 or 4 px: a checkerboard",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One detector's number, and whether it fires."""

    key: str
    value: float
    fired: bool


def detect(translations: Tensor, photographs: Tensor) -> Iterator[Finding]:
    """Every row of DETECTORS."""
    for key, detector in DETECTORS.items():
        value = detector.compute(translations, photographs)
        fired = value < detector.threshold if detector.fires == "below" else value > detector.threshold
        yield Finding(key, value, fired)


def detect_in(translations: PictureSet, photographs: PictureSet) -> list[Finding]:
    """Of two sets, of which a part is enough."""
    return list(detect(*(to_unit(each.pixels[:MOST]) for each in (translations, photographs))))


def _coarse(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C * COARSE * COARSE]."""
    return F.adaptive_avg_pool2d(x, COARSE).flatten(1)


def _spread(x: Tensor) -> Tensor:
    return torch.pdist(_coarse(x)).mean()
