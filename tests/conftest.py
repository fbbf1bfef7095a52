"""Tiny runs that tests share: drawn scenes of 32 px, a few channels, seconds on one core."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT, preload

os.environ["WANDB_MODE"] = "disabled"
os.environ["ATELIER_CACHE"] = tempfile.mkdtemp(prefix="atelier-tests-")
# Tensors of 32 px are too small to share between threads, and threads that spin while they wait slow one another.
os.environ["OMP_NUM_THREADS"] = "1"

TINY = (
    "method.generator.channels=4",
    "method.generator.blocks=1",
    "method.discriminator.channels=4",
    "method.pool_size=6",
    "data.size=32",
    "data.load_size=36",
    "data.content.scenes=7",
    "data.content.held_out=6",
    "data.content.size=32",
    "data.style.scenes=5",
    "data.style.held_out=6",
    "data.style.size=32",
    "data.workers=0",
    "train.batch_size=2",
    "schedule.constant=4",
    "schedule.decay=4",
    "log.wandb=auto",
    "log.every=2",
    "log.num_pictures=2",
    "log.pictures_every=4",
    "checkpoints.every=3",
)


TINY_CUT = (
    *(word for word in TINY if "pool_size" not in word),
    "method.num_patches=16",
    "method.head_channels=8",
)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Where several files are tested, some start processes."""
    if len({item.path for item in session.items}) > 1:
        preload()


def call(script: str, *words: str | Path) -> int:
    """Run a script's `main` in this process with a command line; an error with an exit code becomes that code."""
    import importlib

    module, argv = importlib.import_module(script), sys.argv
    sys.argv = [f"{script}.py", *map(str, words)]
    try:
        return module.main()
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        print(error, file=sys.stderr)
        return error.exit_code
    finally:
        sys.argv = argv


def evaluate(*words: str | Path) -> int:
    """Without the networks that would have to be downloaded."""
    return call("evaluate", *words, "--without-pretrained")


def train_tiny(run: Path, *settings: str) -> int:
    return call("train", ROOT / "configs/demo.yaml", f"run={run}", *TINY, *settings)


def move(method, turn) -> None:
    """What the loop does with a turn, without all that it looks after besides."""
    from engine.optimizers import weights_of

    optimizer = method.optimizers[turn.player]
    optimizer.zero_grad()
    turn.loss.backward(inputs=weights_of(optimizer))
    optimizer.step()


@pytest.fixture(scope="session", autouse=True)
def uncounted() -> Iterator[None]:
    """A run forecasts its speed without its arithmetic, which takes longer to count than the steps of a tiny run do.
    tests/test_forecast.py has a run that counts, and tests/test_flops.py what is counted."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("engine.forecast.step_flops", lambda learner, batch: None)
        yield


@pytest.fixture
def narrow_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of a VGG's channels: what is promised of a run does not hang on their number, its time does."""
    for module in ("networks.vgg", "adain", "johnson", "vgg_finetune"):
        monkeypatch.setattr(f"models.{module}.CHANNELS", (8, 16, 32, 64, 64))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list]:
    """What the next evaluations will find: values of swd, or exceptions."""
    from metrics.watch import Watch, Watched

    values: list = []

    def measure(watch: "Watch") -> "Watched":
        value = values.pop(0)
        if isinstance(value, Exception):
            raise value
        return Watched({"swd": value})

    monkeypatch.setattr(Watch, "measure", measure)
    return values


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 8 steps; tests read it and write nothing into it."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    assert train_tiny(run) == 0
    return run
