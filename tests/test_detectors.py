"""Each detector fires on a made example of its ill, and none of them on a healthy translation."""

import pytest
import torch
from torch import Tensor

from data.images import normalise
from data.loader import read_pictures
from data.options import SyntheticOptions
from data.synthetic import open_synthetic
from metrics.detectors import DETECTORS, detect

SOURCE = open_synthetic(SyntheticOptions(held_out=12, size=64), "content", "held_out")


@pytest.fixture(scope="module")
def photographs() -> Tensor:
    return normalise(read_pictures(SOURCE, 12, 64)[0])


@pytest.fixture(scope="module")
def healthy() -> Tensor:
    """The true paintings of the photographs."""
    return normalise(read_pictures(SOURCE.counterpart(), 12, 64)[0])


def checkerboard(period: int, strength: float) -> Tensor:
    step = torch.arange(64) // (period // 2)
    return ((step[:, None] + step[None]) % 2 * 2 - 1) * strength


def fired(translations: Tensor, photographs: Tensor) -> set[str]:
    return {finding.key for finding in detect(translations, photographs) if finding.fired}


def test_a_healthy_translation_fires_nothing(photographs: Tensor, healthy: Tensor) -> None:
    assert fired(healthy, photographs) == set()


def test_doing_nothing_is_found(photographs: Tensor) -> None:
    assert "identity" in fired(photographs, photographs)
    noise = 0.01 * torch.randn(photographs.shape, generator=torch.Generator().manual_seed(0))
    assert "identity" in fired(photographs + noise, photographs)


def test_inverted_colours_are_found(photographs: Tensor) -> None:
    assert fired(-photographs, photographs) == {"colour_inversion"}


def test_collapsed_modes_are_found(photographs: Tensor, healthy: Tensor) -> None:
    alike = healthy[:1] + 0.05 * (healthy - healthy[:1])
    assert "mode_collapse" in fired(alike, photographs)


def test_pictures_of_one_colour_are_found(photographs: Tensor, healthy: Tensor) -> None:
    one = torch.cat([healthy[:11], torch.tensor([0.1, -0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 64, 64)])
    assert fired(one, photographs) == {"constant"}


@pytest.mark.parametrize("period", [2, 4])
def test_checkerboards_are_found(period: int, photographs: Tensor, healthy: Tensor) -> None:
    assert fired(healthy + checkerboard(period, 0.1), photographs) == {"checkerboard"}


def test_every_detector_has_its_ill_here(photographs: Tensor, healthy: Tensor) -> None:
    grey = photographs.mean(dim=(1, 2, 3), keepdim=True).expand_as(photographs)
    ills = (grey, photographs, -photographs, healthy[:1].expand(12, -1, -1, -1), healthy + checkerboard(2, 0.2))
    assert set().union(*(fired(ill, photographs) for ill in ills)) == set(DETECTORS)
