"""A step is the same, however its batch is shared: by processes of torchrun, and by passes that are accumulated.

Processes and passes of the same size give the same bits. One large batch gives the same to rounding, 1e-6 after 20
steps of a small learning rate; with the recipe's rate the game itself makes more of rounding: an L1 loss has kinks, and
where the difference of two pictures changes its sign, so does a gradient.
"""

import shutil
from pathlib import Path

import pytest
import torch

from engine.checkpoint import newest_checkpoint
from tests.conftest import ROOT, TINY, TINY_CUT, call, train_tiny
from tests.processes import TORCHRUN, start
from tests.test_resume import assert_same_run, status

STEPS = 20
SMOOTH = ("method.learning_rate=1e-6", "data.size=16", "data.load_size=18", "method.discriminator.layers=2")
WORDS = (f"schedule.constant={STEPS}", "schedule.decay=0", "checkpoints.every=10", *SMOOTH)
NETWORKS = ("G", "F", "D_X", "D_Y")


# The compiler's own code takes minutes to make; test_step.py has it. Here the networks are captured and split into
# forward and backward by it, and run by torch.
QUICKLY_COMPILED = """
import functools, runpy, torch
torch.compile = functools.partial(torch.compile, backend="aot_eager")
runpy.run_path("train.py", run_name="__main__")
"""


def by_two(run: Path, *words: str, recipe: str = "demo", tiny: tuple[str, ...] = TINY) -> tuple[str, ...]:
    """What python is told; `words` begin with the script."""
    script, *settings = words
    recipe = str(ROOT / f"configs/{recipe}.yaml")
    return (*TORCHRUN, "--nproc-per-node=2", script, recipe, f"run={run}", *tiny, *settings)


def assert_close(one: Path, other: Path, networks: tuple[str, ...] = NETWORKS, tolerance: float = 1e-6) -> None:
    """Every network's weights, as vectors, to a share of their length."""
    states = [newest_checkpoint(run / "checkpoints")[0] for run in (one, other)]
    assert [state["step"] for state in states] == [STEPS] * 2
    for part in ("method", "average"):
        for network in networks:
            names = [n for n, v in states[0][part].items() if n.startswith(f"{network}.") and torch.is_tensor(v)]
            if part == "method":
                assert names
            a, b = (
                torch.cat([state[part][n].flatten().double() for n in names] or [torch.ones(1)]) for state in states
            )
            assert (a - b).norm() <= tolerance * a.norm(), (part, network, float((a - b).norm() / a.norm()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 steps of one process with batches of four."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert train_tiny(run, *WORDS, "train.batch_size=4", "train.ema=0.9") == 0
    return run


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same by two processes with batches of two."""
    run = tmp_path_factory.mktemp("shared") / "run"
    process = start(*by_two(run, "train.py", *WORDS, "train.batch_size=2", "train.ema=0.9"))
    assert process.wait(300) == 0, process.said()
    return run


def test_two_processes_are_one_with_the_double_batch(whole: Path, shared: Path) -> None:
    assert_close(whole, shared)
    assert status(shared)["state"] == "finished"


def test_passes_are_processes_to_the_bit(shared: Path, tmp_path: Path) -> None:
    assert train_tiny(tmp_path / "run", *WORDS, "train.batch_size=2", "train.accumulate=2", "train.ema=0.9") == 0
    assert_same_run(shared, tmp_path / "run")


def halfway(run: Path, copy: Path) -> Path:
    """The run as it was after ten steps."""
    shutil.copytree(run, copy)
    for path in (copy / "checkpoints").glob("step_00000020*"):
        path.unlink()
    return copy


def test_one_process_goes_on_where_two_have_stopped(whole: Path, shared: Path, tmp_path: Path, capsys) -> None:
    run = halfway(shared, tmp_path / "run")
    assert train_tiny(run, *WORDS, "train.batch_size=4", "train.ema=0.9") == 0
    assert "2 -> 1 processes, the same whole batch of 4: the same run" in capsys.readouterr().err
    assert_close(whole, run)
    run = halfway(shared, tmp_path / "passes")
    assert train_tiny(run, *WORDS, "train.batch_size=2", "train.accumulate=2", "train.ema=0.9") == 0
    assert_same_run(shared, run)


@pytest.mark.parametrize(
    ("recipe", "words", "networks"),
    [
        ("demo_cut", ("method.flip_equivariance=true",), ("G", "D", "H")),
        ("demo_modern", ("method.r1_weight=1e4",), (*NETWORKS, "H_X", "H_Y")),
    ],
)
def test_patches_by_two_processes_in_passes_are_those_of_the_whole_batch(
    recipe: str, words: tuple[str, ...], networks: tuple[str, ...], tmp_path: Path
) -> None:
    """Where positions and mirrors are drawn for the whole batch, and CUT's generator is passed three times a step. (At
    16 px and so early R1 is 1e-9 of the demo's losses; a wrong share of it shall show.)"""
    whole, shared, words = tmp_path / "whole", tmp_path / "shared", (*TINY_CUT, *WORDS, *words)
    assert call("train", ROOT / f"configs/{recipe}.yaml", f"run={whole}", *words, "train.batch_size=4") == 0
    words = (*words, "train.batch_size=1", "train.accumulate=2")
    process = start(*by_two(shared, "train.py", *words, recipe=recipe, tiny=()))
    assert process.wait(300) == 0, process.said()
    assert_close(whole, shared, networks)


def test_two_processes_go_on_where_one_has_stopped_compiled_and_in_passes(whole: Path, tmp_path: Path) -> None:
    run = halfway(whole, tmp_path / "run")
    (tmp_path / "quickly.py").write_text(QUICKLY_COMPILED)
    words = (*WORDS, "train.batch_size=1", "train.accumulate=2", "train.compile=true", "train.ema=0.9")
    process = start(*by_two(run, str(tmp_path / "quickly.py"), *words))
    assert process.wait(300) == 0, process.said()
    assert_close(whole, run)
    assert "cannot be compiled" not in (run / "log.jsonl").read_text()
