"""Metrics follow what is done to pictures: the table of docs/evaluation.md, at a size for tests."""

import math

import pytest
import torch

from benchmarks.degradation import ILLS, UNPROMISED, follows, spoilt
from metrics import METRICS
from metrics.features import FeatureStore
from tests.conftest import ROOT

STEPS = (0.0, 0.5, 1.0)


@pytest.fixture(scope="module")
def values() -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for ill, _, scores in spoilt(24, 32, FeatureStore(torch.device("cpu"), pretrained=False), STEPS):
        for key, value in scores.items():
            found.setdefault(key, {}).setdefault(ill, []).append(value)
    return found


@pytest.mark.parametrize("ill", ILLS)
def test_every_metric_follows_step_by_step(values: dict, ill: str) -> None:
    assert {"psnr_truth", "swd", "frechet_random", "moments_random", "gram_random", "ssim_content"} <= set(values)
    for key, by_ill in values.items():
        assert len(by_ill[ill]) == len(STEPS)
        assert all(map(math.isfinite, by_ill[ill]))
        assert follows(key, ill, by_ill[ill]), (key, by_ill[ill])


def test_every_metric_but_the_judge_sees_every_ill_that_it_is_promised_to(values: dict) -> None:
    for key, by_ill in values.items():
        for ill, series in by_ill.items():
            if key not in UNPROMISED[ill] and METRICS[key].against != "domains":
                assert series[-1] != pytest.approx(series[0], rel=0.02), (key, ill)
    assert values["deception_random"]["identity"][0] > 0.9
    assert values["deception_random"]["identity"][-1] < 0.1


def test_follows_tells_a_step_back() -> None:
    assert follows("swd", "blur", [1.0, 2.0, 3.0])
    assert not follows("swd", "blur", [1.0, 3.0, 2.0])
    assert follows("ssim_content", "identity", [0.3, 0.5, 1.0])
    assert not follows("ssim_content", "identity", [1.0, 0.5, 0.3])


def test_the_documented_table_has_every_metric() -> None:
    text = (ROOT / "docs/evaluation.md").read_text()
    for key in METRICS:
        assert f"`{key}`" in text, key
