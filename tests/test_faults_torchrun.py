"""What must be survived by several processes that train together; tests/test_faults.py has the table of all rows."""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from engine.checkpoint import checkpoint_path, list_checkpoints, step_of
from engine.config import load_config
from engine.logger import read_log
from engine.run_folder import RunFolder
from tests.conftest import ROOT, TINY, train_tiny
from tests.full_disk import small_disk
from tests.processes import TORCHRUN, start
from tests.test_resume import assert_same_run, status, weights

PATIENCE = 150  # seconds, for what takes five: then a process hangs
# 7 photographs and 5 paintings in whole batches of 4: an epoch is 2 steps.
TEN_STEPS = ("schedule.unit=epochs", "schedule.constant=2", "schedule.decay=3", "checkpoints.keep_last=9")
ONE_LINE = re.compile(r"^(?:error|bug): (.*)$", re.MULTILINE)


@dataclass
class Ended:
    """A torchrun, and all that it started, after their end."""

    said: str
    records: list[list[dict]]  # of tests/faulty_train.py, by rank
    statuses: list[dict]

    @property
    def errors(self) -> list[str]:
        return ONE_LINE.findall(self.said)

    @property
    def error(self) -> str:
        assert len(self.errors) == 1, self.said
        return self.errors[0]

    def column(self, key: str) -> list:
        """The same for all ranks."""
        first, *others = [[row[key] for row in rows] for rows in self.records]
        assert [first] * len(others) == others
        return first


@pytest.fixture
def torchrun(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ended]:
    """Train in two processes; nothing of it is left afterwards, whatever happens."""
    return lambda *words, **options: run_torchrun(tmp_path_factory.mktemp("records"), *words, **options)


def run_torchrun(
    records: Path, run: Path, *settings: str, fault: str = "none", step: int = 5, restarts: int = 0
) -> Ended:
    script = (ROOT / "tests/faulty_train.py", str(step), fault, records)
    words = (ROOT / "configs/demo.yaml", f"run={run}", *TINY, *TEN_STEPS, *settings)
    process = start(*TORCHRUN, "--nproc-per-node=2", f"--max-restarts={restarts}", *script, *words)
    try:
        process.wait(PATIENCE * (1 + restarts))
        wait_until(lambda: not any(map(lives, workers(records))))  # killed with -9, it leaves them behind
    finally:
        ours = [process.pid] if process.poll() is None else []
        for pid in (*ours, *filter(lives, workers(records))):  # torchrun gives each a group of its own
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    rows = [read_log(records / f"{rank}.jsonl") for rank in range(2)]
    return Ended(process.said()[1], rows, read_log(records / "status.jsonl"))


def workers(records: Path) -> set[int]:
    return {row["process"] for file in records.glob("[01].jsonl") for row in read_log(file)}


def lives(process: int) -> bool:
    """A zombie, which nobody has waited for, does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A run of ten steps in two processes that nobody stopped."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ended = run_torchrun(folder, folder / "run")
    assert status(folder / "run")["state"] == "finished", ended.said
    return folder / "run", ended


def steps_saved(run: Path) -> list[int]:
    assert not list((run / "checkpoints").glob(".*.tmp"))
    return [step_of(path) for path in list_checkpoints(run / "checkpoints")]


def content_row(run: Path, *settings: str) -> Callable[[int, int], list[str]]:
    """The names of the photographs from one position of the endless row to another."""
    from data import SOURCES
    from data.loader import open_training_data
    from models import METHODS

    config = load_config(ROOT / "configs/demo.yaml", [f"run={run}", *TINY, *settings], METHODS, SOURCES)
    dataset = open_training_data(config.data, config.seed)
    return lambda first, last: [dataset[position][0].name for position in range(first, last)]


def copy_up_to(step: int, run: Path, copy: Path) -> Path:
    """A run as it was after a step."""
    shutil.copytree(run, copy)
    for path in list_checkpoints(copy / "checkpoints"):
        if step_of(path) > step:
            path.unlink()
    return copy


def test_uneven_data_give_every_process_the_same_steps_and_the_same_weights(undisturbed, tmp_path: Path) -> None:
    run, ended = undisturbed
    assert ended.column("step") == list(range(1, 11))
    assert len(set(ended.column("weights"))) == 10
    names = [name for rows in zip(*ended.records, strict=True) for row in rows for name in row["names"]]
    assert names == content_row(run)(0, 40)
    assert len(set(names[:7])) == 7


def test_a_run_that_is_stopped_again_and_again_is_the_same_run(undisturbed, torchrun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert torchrun(run, fault="SIGTERM to torchrun", step=2).column("step") == [1, 2, 3]
    assert status(run) == {"state": "stopped", "step": 3, "exit": 75, "reason": "SIGTERM"}

    assert torchrun(run, fault="SIGUSR1 to the last", step=4).column("step") == [4, 5]
    assert status(run) == {"state": "stopped", "step": 5, "exit": 75, "reason": "a signal to another process"}

    killed = torchrun(run, fault="SIGKILL to torchrun", step=6)  # its processes hear of it
    assert killed.column("step") == [6, 7]
    assert status(run) == {"state": "stopped", "step": 7, "exit": 75, "reason": "SIGTERM"}
    assert steps_saved(run) == [3, 5, 6, 7]

    newest = checkpoint_path(run / "checkpoints", 7)
    newest.write_bytes(newest.read_bytes()[:-100])
    ended = torchrun(run)
    assert ended.said.count("passed over") == 1
    assert ended.column("step") == [7, 8, 9, 10]
    assert (run / "checkpoints/step_00000007.pt.damaged").exists()
    assert_same_run(undisturbed[0], run)


def test_what_ends_one_process_ends_all_nobody_saves_and_torchrun_may_start_them_again(
    undisturbed, torchrun, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    faults = ("SIGKILL to the last", "out of memory", "bug", "SIGKILL to the first")
    ended = torchrun(run, fault=",".join(faults), restarts=len(faults))
    gone = "another process is gone; the same command goes on from the last checkpoint"
    reasons = [(1, gone), (2, "out of memory: lower train.batch_size"), (1, "ZeroDivisionError: planted"), (1, gone)]
    for line, found, (code, reason) in zip(ended.errors, ended.statuses, reasons, strict=True):
        assert line.startswith(reason)
        assert found["reason"].startswith(reason)
        assert (found["state"], found["exit"], found["step"]) == ("failed", code, 3)
        assert found["saved"] == ["step_00000003.pt"]
    assert f"(traceback in {run / 'traceback.log'})" in ended.errors[2]
    assert (run / "traceback.log").read_text().count("in have_a_bug") == 1
    assert ended.column("step") == [1, 2, 3, 4, 5, *[4, 5] * 3, *range(4, 11)]
    assert_same_run(undisturbed[0], run)


def test_ctrl_c_twice_is_out_at_once(torchrun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert torchrun(run, fault="SIGINT twice to torchrun").column("step") == [1, 2, 3, 4, 5]
    assert status(run) == {"state": "stopped", "step": 3, "exit": 130, "reason": "Ctrl-C twice"}
    assert steps_saved(run) == [3]
    assert weights(run)["step"] == 3


def test_a_full_disk_costs_saves_and_after_three_in_a_row_the_run_of_all(
    torchrun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        monkeypatch.setenv("DISK", str(disk))
        run = disk / "run"
        ended = torchrun(run, "checkpoints.every=1", "checkpoints.keep_last=2", fault="disk full")
        assert re.match(
            r".*step_00000006\.pt: could not be saved \(.*\): [\d,]+ bytes needed, [\d,]+ free", ended.error
        )
        assert status(run)["exit"] == 2
        assert "Free some space" in status(run)["reason"]
        assert "exitcode  : -15" not in ended.said  # nobody is ended by torchrun's SIGTERM, with words yet to say
        assert ended.column("step") == [1, 2, 3, 4, 5, 6]
        assert ended.said.count("the earlier checkpoints are whole") == 4
        assert steps_saved(run) == [1, 3]
        assert weights(run)["step"] == 3


def test_a_loss_that_one_process_finds_not_finite_moves_nobody(torchrun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = torchrun(run, "train.max_bad_steps=3", fault="not finite")
    after = ended.column("weights")
    moved = [step for step in range(2, 11) if after[step - 1] != after[step - 2]]
    assert moved == [3, 5, 7]
    events = [row["event"] for row in read_log(run / "log.jsonl") if row.get("event", "").endswith("skipped")]
    assert [event.split(":")[0] for event in events] == [f"step {step}" for step in (2, 4, 6, 8, 9, 10)]
    for step in (2, 4):
        pictures = ", ".join(ended.records[1][step - 1]["names"])
        assert f"(cycle_x, cycle_y, identity_g, identity_f; pictures {pictures}, " in events[step // 2 - 1]
    assert "(the gradient; pictures " in events[2]
    assert "step 10: the loss of the generators is not finite" in ended.error
    assert status(run) == {"state": "failed", "step": 3, "exit": 2, "reason": ended.error}
    assert "lower method.learning_rate" in ended.error
    assert "exitcode  : -15" not in ended.said
    assert steps_saved(run) == [3]
    assert all(value.isfinite().all() for value in weights(run).values())


def test_a_second_torchrun_on_a_folder_is_refused_and_a_finished_run_is_left_alone(
    undisturbed, torchrun, tmp_path: Path
) -> None:
    from data import SOURCES
    from models import METHODS

    run = undisturbed[0]
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    with RunFolder(load_config(ROOT / "configs/demo.yaml", [f"run={run}"], METHODS, SOURCES)):
        refused = torchrun(run)
    assert "another process is training there; wait for it or choose another run=" in refused.error
    finished = torchrun(run)
    assert finished.said.count("is finished: 10 of 10 steps are done") == 1
    assert "exitcode" not in finished.said  # torchrun says which, if it is not 0
    assert refused.records == finished.records == [[], []]
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"} == before


def test_one_process_goes_on_where_two_were(undisturbed, tmp_path: Path, capsys, monkeypatch) -> None:
    run, _ = undisturbed
    exact, rounded, other = (copy_up_to(6, run, tmp_path / name) for name in ("exact", "rounded", "other"))
    assert train_tiny(exact, *TEN_STEPS, "train.accumulate=2") == 0
    assert "2 -> 1 processes, the same whole batch of 4: the same run" in capsys.readouterr().err
    assert_same_run(run, exact)

    assert train_tiny(rounded, *TEN_STEPS, "train.batch_size=4") == 0
    one, two = weights(run), weights(rounded)
    # Not the biases: before a norm their gradients are nothing but rounding, which Adam makes large.
    networks = [name for name in one if re.match(r"method\.[GFD].*weight", name)]
    assert len(networks) > 20
    assert max((one[name] - two[name]).abs().max() for name in networks) < 1e-5

    names = record_names(monkeypatch)
    assert train_tiny(other, *TEN_STEPS) == 0
    said = capsys.readouterr().err
    assert "2 -> 1 processes, and a whole batch of 4 -> 2: the run goes on with the pictures that come next" in said
    assert names == content_row(run)(24, 24 + 2 * 8)  # three epochs of 2 steps are over, two of 4 steps to come
    assert status(other)["step"] == 6 + 8


def record_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from engine.step import Stepper

    names, honest = [], Stepper.step

    def step(stepper, number, batches, plan) -> None:
        names.extend(name for batch in batches for name in batch.content_names)
        honest(stepper, number, batches, plan)

    monkeypatch.setattr(Stepper, "step", step)
    return names


def test_two_processes_go_on_where_one_was_and_ctrl_c_once_saves(torchrun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train_tiny(run, *TEN_STEPS, "schedule.constant=1", "schedule.decay=0") == 0
    assert status(run)["step"] == 4  # whole batches of 2
    ended = torchrun(run, fault="SIGINT to torchrun")
    assert "1 -> 2 processes, and a whole batch of 2 -> 4: the run goes on" in ended.said
    names = [name for rows in zip(*ended.records, strict=True) for row in rows for name in row["names"]]
    assert names == content_row(run)(8, 16)
    assert status(run) == {"state": "stopped", "step": 6, "exit": 75, "reason": "SIGINT"}
    assert torch.equal(weights(run)["step"], torch.tensor(6))
