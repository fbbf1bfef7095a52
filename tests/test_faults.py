"""What training must survive, caused for real, in one process; tests/test_faults_torchrun.py has several.

| row | what happens | test |
|---|---|---|
| T1 | kill -9 in the middle of a save | here; test_resume: test_killed_with_9_and_resumed_is_bit_identical |
| T2 | SIGTERM, SIGUSR1 | torchrun; test_resume: test_a_signal_saves_and_ends_with_75_and_the_same_command_goes_on |
| T3 | Ctrl-C once, twice | here (in the middle of a save); torchrun |
| T4 | disk full | here; torchrun; test_resume: test_failed_saves_are_tried_again_and_end_the_run_after_three |
| T5 | a loss that is not finite | torchrun; test_resume: test_a_loss_that_is_not_finite_is_... |
| T6 | out of memory | here; torchrun |
| T7 | a process dies, or has a bug | torchrun |
| T8 | torchrun dies | torchrun |
| T9 | damaged and foreign checkpoints | torchrun; test_resume: test_torn_..., test_damaged_..., test_an_explicit_... |
| T10 | hostile checkpoints | test_resume: test_no_code_of_a_checkpoint_is_run |
| T11 | another configuration | here; test_resume: test_another_configuration_is_refused_and_a_harmless_one_accepted |
| T12 | another number of processes | torchrun |
| T13 | a finished run | torchrun; test_resume: test_a_finished_run_says_so_and_stays_untouched |
| T14 | two runs on one folder | torchrun; test_resume: test_two_processes_do_not_share_a_run_... |
| T15 | a dead W&B host, no key, no disk for it | here (read-only folder); test_wandb |
| T16 | uneven data | torchrun; test_order: test_processes_and_passes_share_the_same_batches |
| T17 | batch norm with one picture | here; test_vgg_finetune: test_what_a_classifier_is_not_asked_... |
| T18 | a file vanishes | test_order: test_files_that_vanish_or_break_in_a_run_are_replaced_counted_and_said |
"""

import os
import signal
from pathlib import Path

import pytest
import torch

from engine.checkpoint import list_checkpoints, newest_checkpoint, remove_leftovers, save_checkpoint, step_of
from tests.conftest import call, train_tiny
from tests.full_disk import FullDisk, small_disk
from tests.test_resume import assert_same_run, status, weights
from tests.test_vgg_finetune import RECIPE, TINY_CLASSIFIER


def steps_saved(run: Path) -> list[int]:
    return [step_of(path) for path in list_checkpoints(run / "checkpoints")]


@pytest.mark.parametrize("flush", [1, 2, 3, 4])  # the checksum, its folder, the checkpoint, its folder
def test_kill_9_in_the_middle_of_a_save_leaves_a_whole_checkpoint(flush: int, tmp_path: Path, monkeypatch) -> None:
    save_checkpoint(tmp_path, 1, {"a": torch.zeros(1000)})
    honest, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(1)
        if len(calls) == flush:
            os.kill(os.getpid(), signal.SIGKILL)
        honest(descriptor)

    child = os.fork()
    if not child:
        os.fsync = fsync
        save_checkpoint(tmp_path, 2, {"a": torch.ones(1000)})
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    remove_leftovers(tmp_path)
    state, problems = newest_checkpoint(tmp_path)
    assert problems == {}
    assert state["step"] == (2 if flush == 4 else 1)
    assert len(list(tmp_path.iterdir())) == 2 * state["step"]


def test_ctrl_c_again_in_the_middle_of_a_save_is_out_at_once(tiny_run: Path, tmp_path: Path, monkeypatch) -> None:
    import engine.checkpoint

    run, write, flush = tmp_path / "run", engine.checkpoint.write_atomically, os.fsync

    def press(descriptor: int) -> None:
        os.fsync = flush
        os.kill(os.getpid(), signal.SIGINT)

    def press_twice(path: Path, content: bytes) -> None:
        if path.name == "step_00000006.pt":
            os.kill(os.getpid(), signal.SIGINT)
            monkeypatch.setattr(os, "fsync", press)
        write(path, content)

    monkeypatch.setattr(engine.checkpoint, "write_atomically", press_twice)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(run)
    monkeypatch.undo()
    assert status(run) == {"state": "stopped", "step": 3, "exit": 130, "reason": "Ctrl-C twice"}
    assert steps_saved(run) == [3]
    assert not list((run / "checkpoints").glob(".*.tmp"))
    assert train_tiny(run) == 0
    assert_same_run(tiny_run, run)


def test_a_full_disk_costs_saves_and_three_in_a_row_the_run(tmp_path: Path, monkeypatch, capsys) -> None:
    import engine.loop

    honest, number = engine.loop.save_checkpoint, []
    with small_disk(tmp_path / "disk") as folder:
        run, disk = folder / "run", FullDisk(folder)

        def save(*arguments) -> Path:
            number.append(1)
            if len(number) not in (2, 4, 5, 6):
                return honest(*arguments)
            with disk.full():
                return honest(*arguments)

        monkeypatch.setattr(engine.loop, "save_checkpoint", save)
        assert train_tiny(run, "checkpoints.every=1", "checkpoints.keep_last=2") == 2
        said = capsys.readouterr().err
        assert said.count("bytes needed") == 5
        assert f"{run}/checkpoints/step_00000002.pt: could not be saved (" in said
        assert "Free some space, then give the same command again" in status(run)["reason"]
        assert steps_saved(run) == [1, 3]
        assert not list((run / "checkpoints").glob(".*.tmp"))
        assert train_tiny(run, "checkpoints.every=1", "checkpoints.keep_last=2") == 0
        assert weights(run)["step"] == 8


@pytest.mark.parametrize(
    "fail",
    [
        lambda: torch.empty(1 << 55, dtype=torch.uint8),  # no address space is so large
        lambda: bytearray(1 << 55),
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")),
    ],
    ids=["torch", "Python", "CUDA"],
)
def test_out_of_memory_names_the_options_to_lower(fail, tmp_path: Path, monkeypatch, capsys) -> None:
    import models.cyclegan

    def l1(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return fail()

    monkeypatch.setattr(models.cyclegan, "l1", l1)
    assert train_tiny(tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert "out of memory: lower train.batch_size (raise train.accumulate instead), data.size" in said
    assert status(tmp_path / "run")["exit"] == 2
    assert steps_saved(tmp_path / "run") == []


def test_how_numbers_are_computed_may_change_and_what_is_learnt_may_not(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    assert train_tiny(run, "schedule.constant=1", "schedule.decay=1") == 0
    before = (run / "checkpoints/step_00000002.pt").read_bytes()
    assert train_tiny(run, "train.clip_norm=1", "train.ema=0.9", "train.rate_rule=sqrt", "train.rate_batch=4") == 2
    said = capsys.readouterr().err
    for pair in ("clip_norm was 0.0, is 1.0", "ema was 0.0, is 0.9", "rule was none, is sqrt", "batch was 1, is 4"):
        assert pair in said
    assert train_tiny(run, "train.accumulate=2") == 2
    assert "train.batch_size was 2 in all, is 4 (2 x 2 accumulated x 1 processes)" in capsys.readouterr().err
    assert (run / "checkpoints/step_00000002.pt").read_bytes() == before

    changed = ("train.batch_size=1", "train.accumulate=2", "train.precision=bf16", "train.compile=true")
    more = ("train.channels_last=true", "schedule.constant=1", "schedule.decay=1")
    assert train_tiny(run, *changed, *more) == 0  # finished, so that nothing is compiled; but compared before
    said = capsys.readouterr().err
    for line in ("batch_size: 2 -> 1", "accumulate: 1 -> 2", "precision: fp32 -> bf16", "compile: False -> True"):
        assert f"changed since the checkpoint: train.{line}" in said
    assert train_tiny(run, *changed[:2], "schedule.constant=1", "schedule.decay=2") == 0
    assert status(run)["step"] == 3


def test_a_classifier_with_one_picture_a_process_is_refused_before_anything_is_read(tmp_path: Path, capsys) -> None:
    words = ["data.style.root=nowhere", *TINY_CLASSIFIER, "train.batch_size=1", "train.accumulate=4"]
    assert call("train", RECIPE, f"run={tmp_path / 'run'}", *words) == 2
    assert "train.batch_size = 1: the classifier compares the pictures of a batch" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_weights_and_biases_without_a_writable_folder_costs_no_more_than_its_rows(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").touch()
    (run / "wandb").write_text("a file, where W&B wants its folder: so it is for root, whom no mode keeps from writing")
    assert train_tiny(run, "schedule.constant=2", "schedule.decay=0") == 0
    assert status(run)["state"] == "finished"
    assert capsys.readouterr().err.count("W&B: start failed, going on without it") == 1
