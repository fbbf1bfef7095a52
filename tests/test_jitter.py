"""data.jitter=constant: where the decay begins the pictures change, at the same one whatever reads them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data import SOURCES
from data.options import AugmentOptions
from data.transforms import build_augmentation
from engine.config import load_config
from engine.distributed import ALONE
from engine.schema import AugmentConfig
from engine.training import Training
from models import METHODS
from tests.conftest import ROOT, TINY, train_tiny
from tests.test_order import drawn
from tests.test_resume import assert_same_run, checkpoint_path, weights
from train import prepare

CONSTANT = ("data.jitter=constant", "data.load_size=48")


def prepared(*words: str) -> Training:
    """What train.py trains on."""
    config = load_config(ROOT / "configs/demo.yaml", [*TINY, "run=none", *words], METHODS, SOURCES)
    return prepare(config, ALONE, torch.device("cpu"))


def seen(training: Training, step: int, whole_batch: int | None = None) -> dict[int, bytes]:
    """The content's pixels by the place in the row, from a step on in which training is resumed.

    Args:
        whole_batch: of the steps before; None: as after it.
    """
    before = replace(training.plan, whole_batch=whole_batch or training.plan.whole_batch)
    plan = training.plan.resume(step, before.record())
    found = list(training.read(plan, step, plan.total_steps - step))
    pixels = torch.cat([batch.content for batch in found]).numpy()
    return {plan.item(step) + i: each.tobytes() for i, each in enumerate(pixels)}


def test_from_the_decay_on_pictures_are_resized_and_flipped_and_nothing_else() -> None:
    dataset = drawn(scenes=8, size=40)
    calm, resized_alone = dataset.calm_from(10), build_augmentation(16, 16, flip=False)
    mirrored = set()
    for position in range(24):  # three passes, the change in the middle of the second
        for now, before, stream in zip(
            calm[position], dataset[position], (dataset.content, dataset.style), strict=True
        ):
            assert (now.name, now.index) == (before.name, before.index)
            resized = resized_alone(stream.source[now.index], np.random.default_rng(0))
            if position < 10:
                assert np.array_equal(now.pixels, before.pixels)
                assert not np.array_equal(now.pixels, resized)
            else:
                mirrored.add(np.array_equal(now.pixels, resized[:, ::-1]))
                assert np.array_equal(now.pixels, resized) or np.array_equal(now.pixels, resized[:, ::-1])
    assert mirrored == {True, False}
    assert dataset.content.calm_from > 24  # the row that it was made of is what it was


def test_without_jitter_what_augmentation_adds_stays() -> None:
    brighter = AugmentConfig(AugmentOptions(brightness=0.4), AugmentOptions())
    (x, y), (plain_x, plain_y) = drawn(8, 48, augment=brighter).calm_from(0)[0], drawn(8, 48).calm_from(0)[0]
    assert not np.array_equal(x.pixels[..., :3], plain_x.pixels[..., :3])
    assert np.array_equal(y.pixels[..., :3], plain_y.pixels[..., :3])


@pytest.mark.parametrize("unit", ["steps", "epochs"])
def test_the_change_is_at_the_same_picture_for_any_workers_resume_and_whole_batch(unit: str) -> None:
    constant = 6 if unit == "steps" else 2  # epochs of eight pictures
    words = ("data.content.scenes=8", f"schedule.unit={unit}", f"schedule.constant={constant}")
    words += (f"schedule.decay={constant}", *CONSTANT)
    always, once = seen(prepared(*words, "data.jitter=always"), 0), seen(prepared(*words), 0)
    first = 12 if unit == "steps" else 16
    assert len(once) == 2 * first
    assert {position for position in once if once[position] != always[position]} == set(range(first, 2 * first))
    for step in (2, first // 2 + 1):
        for workers in (0, 2):
            resumed = seen(prepared(*words, f"data.workers={workers}"), step)
            assert resumed == {position: pixels for position, pixels in once.items() if position >= 2 * step}
    if unit == "epochs":
        for step in (4, 10):  # before and after the change
            resumed = seen(prepared(*words, "train.batch_size=4"), step, whole_batch=2)
            assert resumed == {position: pixels for position, pixels in once.items() if position >= 2 * step}


def test_a_run_that_goes_on_in_the_decay_is_the_same_run(tmp_path) -> None:
    assert train_tiny(tmp_path / "whole", *CONSTANT, "data.workers=2") == 0
    run = tmp_path / "parts"
    assert train_tiny(run, *CONSTANT) == 0
    for lost in ((6, 8), (8,)):  # as if the process had died after step 3, and after step 6, in the decay
        for step in lost:
            checkpoint_path(run / "checkpoints", step).unlink()
        assert train_tiny(run, *CONSTANT) == 0
    assert_same_run(tmp_path / "whole", run)
    assert train_tiny(tmp_path / "always", *CONSTANT, "data.jitter=always") == 0
    a, b = weights(run), weights(tmp_path / "always")
    assert any(not torch.equal(a[name], b[name]) for name in a)


def test_jitter_is_no_setting_that_may_change_on_the_way(tmp_path, capsys: pytest.CaptureFixture) -> None:
    assert train_tiny(tmp_path / "run") == 0
    assert train_tiny(tmp_path / "run", "data.jitter=constant") == 2
    assert "data.jitter was always, is constant" in capsys.readouterr().err
