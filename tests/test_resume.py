"""A run is the same run, whatever happens to its process; and it is never lost."""

import json
import os
import re
import resource
import signal
import time
from pathlib import Path

import pytest
import torch

from engine.checkpoint import (
    CheckpointError,
    SaveError,
    checkpoint_path,
    list_checkpoints,
    load_checkpoint,
    newest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
    step_of,
)
from engine.logger import read_log
from engine.signals import StopRequest
from tests.conftest import ROOT, TINY, call, train_tiny
from tests.processes import start


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the newest checkpoint: networks, pools, optimizers."""
    state, _ = newest_checkpoint(run / "checkpoints")
    flat = {"step": torch.tensor(state["step"])}

    def walk(name: str, value: object) -> None:
        if isinstance(value, torch.Tensor):
            flat[name] = value
        elif isinstance(value, dict | list | tuple):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in pairs:
                walk(f"{name}.{key}", item)

    walk("method", state["method"])
    walk("optimizers", state["optimizers"])
    return flat


def assert_same_run(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert len(a) > 50
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def status(run: Path) -> dict:
    return json.loads((run / "status.json").read_text())


def tiny_process(run: Path, *settings: str, **environment: str):
    return start(ROOT / "train.py", ROOT / "configs/demo.yaml", f"run={run}", *TINY, *settings, **environment)


def wait_for(condition, process, seconds: float = 300) -> None:
    end = time.time() + seconds
    while not condition() and process.poll() is None and time.time() < end:
        time.sleep(0.01)
    assert condition(), process.communicate()


def test_a_run_in_two_parts_with_other_workers_is_bit_identical_to_one_in_one(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "parts"
    assert train_tiny(run) == 0
    for path in list_checkpoints(run / "checkpoints"):
        if step_of(path) > 3:  # as if the process had died after step 3
            path.unlink()
    assert train_tiny(run, "data.workers=2") == 0
    assert_same_run(tiny_run, run)


def test_killed_with_9_and_resumed_is_bit_identical(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "killed"
    process = tiny_process(run, "checkpoints.every=1")
    wait_for(lambda: any(step_of(p) >= 2 for p in list_checkpoints(run / "checkpoints")), process)
    process.kill()
    process.wait()
    (run / "checkpoints" / ".step_00000009.pt.1.tmp").write_bytes(b"half")
    assert train_tiny(run, "data.workers=1", "checkpoints.every=1") == 0
    assert_same_run(tiny_run, run)
    assert not list((run / "checkpoints").glob(".*.tmp"))
    steps = [row["step"] for row in read_log(run / "log.jsonl") if "loss/G" in row]
    assert steps == [2, 4, 6, 8]  # what the killed process had logged beyond its checkpoint is not there twice


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_is_noted_and_the_old_handler_comes_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.signal == ""
        os.kill(os.getpid(), number)
        assert stop.signal == number.name
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(number) is before


def test_a_signal_saves_and_ends_with_75_and_the_same_command_goes_on(tmp_path: Path) -> None:
    number = signal.SIGTERM
    run = tmp_path / "stopped"
    slow = ("schedule.constant=2000", "checkpoints.every=100000", "log.pictures_every=100000")
    process = tiny_process(run, *slow, "data.workers=1")
    wait_for(lambda: (run / "log.jsonl").exists() and len(read_log(run / "log.jsonl")) > 0, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 75, errors
    assert status(run) | {"step": 0} == {"state": "stopped", "step": 0, "exit": 75, "reason": number.name}
    state, _ = newest_checkpoint(run / "checkpoints")
    assert state["step"] == status(run)["step"] > 0
    done = state["step"]
    assert train_tiny(run, f"schedule.constant={done}", "schedule.decay=2") == 0
    assert status(run)["step"] == done + 2


def test_a_finished_run_says_so_and_stays_untouched(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = tmp_path / "run"
    assert train_tiny(run) == 0
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    assert train_tiny(run) == 0
    assert "finished: 8 of 8 steps" in capsys.readouterr().err
    assert train_tiny(run, "seed=3") == 2  # a mistaken command does not make it a failed one either
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"} == before
    assert status(run)["state"] == "finished"


def test_torn_and_flipped_checkpoints_are_passed_over(tiny_run: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    assert train_tiny(run) == 0
    newest, older = checkpoint_path(run / "checkpoints", 8), checkpoint_path(run / "checkpoints", 6)
    newest.write_bytes(newest.read_bytes()[:-100])
    flipped = bytearray(older.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    older.write_bytes(flipped)
    assert train_tiny(run) == 0
    said = capsys.readouterr().err
    assert said.count("passed over") == 2
    assert "resuming" in said
    assert "at step 3" in said
    assert_same_run(tiny_run, run)
    assert sorted(p.name for p in (run / "checkpoints").glob("*.damaged")) == [
        "step_00000006.pt.damaged",
        "step_00000008.pt.damaged",
    ]


def test_damaged_checkpoints_never_push_out_good_ones_and_a_run_without_a_good_one_is_not_begun_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    assert train_tiny(run) == 0
    rows = (run / "log.jsonl").read_bytes()
    for path in list_checkpoints(run / "checkpoints"):
        path.write_bytes(b"damaged")
    assert train_tiny(run) == 2
    assert "No good one is left" in capsys.readouterr().err
    assert (run / "log.jsonl").read_bytes() == rows
    assert len(list_checkpoints(run / "checkpoints")) == 3


def test_an_explicit_checkpoint_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "step_00000001.pt")
    path = save_checkpoint(tmp_path, 1, {"a": torch.ones(3)})
    assert load_checkpoint(path)["a"].tolist() == [1, 1, 1]
    (tmp_path / "step_00000001.pt.sha256").unlink()
    with pytest.raises(CheckpointError, match="checksum .* is missing"):
        load_checkpoint(path)


def test_no_code_of_a_checkpoint_is_run(tmp_path: Path) -> None:
    import hashlib
    import pickle

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    path = checkpoint_path(tmp_path, 1)
    for content in (pickle.dumps(Hostile()), b"", b"text"):
        path.write_bytes(content)
        path.with_name(path.name + ".sha256").write_text(hashlib.sha256(content).hexdigest())
        with pytest.raises(CheckpointError, match="is not a checkpoint"):
            load_checkpoint(path)
    torch.save(Hostile(), path)
    path.with_name(path.name + ".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        load_checkpoint(path)
    assert not (tmp_path / "owned").exists()


def test_the_last_k_and_every_nth_checkpoint_are_kept(tmp_path: Path) -> None:
    for step in range(1, 11):
        save_checkpoint(tmp_path, step, {})
    prune_checkpoints(tmp_path, keep_last=2, keep_every=4)
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [4, 8, 9, 10]
    assert len(list(tmp_path.iterdir())) == 8  # each with its checksum, nothing else


def test_a_full_disk_costs_a_save_and_no_earlier_checkpoint(tmp_path: Path) -> None:
    """The limit on a file's size makes write(2) fail in the middle, as a full disk does."""
    save_checkpoint(tmp_path, 1, {"a": torch.zeros(1000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(SaveError, match=r"step_00000002\.pt: could not be saved .* bytes needed, .* free"):
            save_checkpoint(tmp_path, 2, {"a": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert newest_checkpoint(tmp_path)[0]["step"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000001.pt", "step_00000001.pt.sha256"]


@pytest.mark.parametrize(("failures", "code", "state"), [(2, 0, "finished"), (3, 2, "failed")])
def test_failed_saves_are_tried_again_and_end_the_run_after_three(
    failures: int, code: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine.loop

    saved, tried = engine.loop.save_checkpoint, []

    def failing(folder: Path, step: int, content: dict) -> Path:
        tried.append(step)
        if len(tried) <= failures:
            raise SaveError(f"{folder}: could not be saved (No space left on device)")
        return saved(folder, step, content)

    monkeypatch.setattr(engine.loop, "save_checkpoint", failing)
    assert train_tiny(tmp_path / "run", "checkpoints.every=1") == code
    assert status(tmp_path / "run")["state"] == state
    assert len(tried) == (8 if code == 0 else 3)


def test_another_configuration_is_refused_and_a_harmless_one_accepted(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    assert train_tiny(run) == 0
    for setting in ("method.cycle_weight=3", "data.content.scenes=6", "seed=3", "train.batch_size=1"):
        assert train_tiny(run, setting) == 2
        assert re.search(rf"{setting.split('=')[0]} was .*, is ", capsys.readouterr().err)
    assert train_tiny(run, "log.every=1", "schedule.decay=5") == 0
    assert "schedule.decay: 4 -> 5" in capsys.readouterr().err
    assert status(run)["step"] == 9


def test_a_run_of_a_version_that_knew_fewer_options_goes_on(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    assert train_tiny(run) == 0
    state = load_checkpoint(checkpoint_path(run / "checkpoints", 8))
    for section, name in (("method", "cycle_weight"), ("schedule", "warmup"), ("train", "clip_norm")):
        del state["config"][section][name]
    save_checkpoint(run / "checkpoints", 8, state)
    assert train_tiny(run, "method.cycle_weight=3") == 2  # it was the default's, 10
    assert "method.cycle_weight was 10.0, is 3.0" in capsys.readouterr().err
    assert train_tiny(run) == 0
    assert "changed since" not in capsys.readouterr().err


def test_two_processes_do_not_share_a_run_and_kill_9_frees_it_at_once(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    process = tiny_process(run, "schedule.constant=100000", "checkpoints.every=1", "data.workers=2")
    wait_for(lambda: bool(list_checkpoints(run / "checkpoints")), process)
    assert train_tiny(run) == 2
    assert "another process is training there" in capsys.readouterr().err
    assert status(run)["state"] == "running"
    process.kill()
    process.wait()
    done = step_of(list_checkpoints(run / "checkpoints")[-1])
    assert train_tiny(run, f"schedule.constant={done}", "schedule.decay=1") == 0


def test_a_folder_of_somebody_elses_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert train_tiny(tmp_path) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_loss_that_is_not_finite_is_skipped_and_then_ends_the_run(tmp_path: Path, monkeypatch, capsys) -> None:
    import models.cyclegan

    honest = models.cyclegan.l1
    calls = []

    def sometimes_nan(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return honest(a, b) * (float("nan") if len(calls) == 5 else 1.0)  # in the second step

    monkeypatch.setattr(models.cyclegan, "l1", sometimes_nan)
    assert train_tiny(tmp_path / "once") == 0
    assert "step 2: the loss of the generators is not finite (cycle_x; pictures scene_" in capsys.readouterr().err
    assert all(value.isfinite().all() for value in weights(tmp_path / "once").values())

    monkeypatch.setattr(models.cyclegan, "l1", lambda a, b: honest(a, b) * float("inf"))
    assert train_tiny(tmp_path / "always", "train.max_bad_steps=3") == 2
    assert status(tmp_path / "always")["state"] == "failed"
    assert "lower method.learning_rate" in status(tmp_path / "always")["reason"]


def test_a_bug_leaves_one_line_and_a_traceback_in_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.step.Stepper.step", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call("train", ROOT / "configs/demo.yaml", f"run={tmp_path / 'run'}", *TINY)
    assert status(tmp_path / "run")["exit"] == 1
    assert "ZeroDivisionError" in (tmp_path / "run" / "traceback.log").read_text()
