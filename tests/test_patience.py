"""eval.patience ends a run that gets no better, at the same step whatever happens to its process."""

from pathlib import Path

import pytest

from engine.best import Best, BestKeeper
from engine.checkpoint import checkpoint_path, list_checkpoints, step_of
from engine.logger import read_log
from engine.schema import EvalConfig
from tests.conftest import train_tiny
from tests.processes import start
from tests.test_distributed import by_two
from tests.test_eval_during_training import EVALUATED, best_of, evaluations
from tests.test_resume import assert_same_run, status

PATIENT = (*EVALUATED, "eval.every=1", "eval.patience=2", "log.every=3")  # 8 steps


def untouched(run: Path) -> dict:
    return {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}


def test_it_ends_as_at_the_plans_end_and_says_the_best(tmp_path: Path, scripted: list, capsys) -> None:
    run = tmp_path / "run"
    scripted[:] = [5.0, 6.0, 3.0, 3.0, 4.0, 1.0]  # of equals the first is the best; the sixth is never measured
    assert train_tiny(run, *PATIENT, "checkpoints.every=100", "log.pictures_every=100") == 0
    assert scripted == [1.0]
    said = (
        "it ended early, at step 5 of 8, after 2 evaluations in a row without a better swd; the best: swd 3 at step 3"
    )
    assert capsys.readouterr().err.count(said) == 1
    reason = "2 evaluations in a row without a better swd"
    assert status(run) == {"state": "finished", "step": 5, "exit": 0, "reason": reason}
    assert step_of(list_checkpoints(run / "checkpoints")[-1]) == 5
    assert [path.name for path in sorted((run / "samples").iterdir())] == ["step_00000005.png"]
    assert list(evaluations(run)) == [1, 2, 3, 4, 5]
    assert [row["step"] for row in read_log(run / "log.jsonl") if "loss/G" in row] == [3, 5]
    assert best_of(run)["step"] == 3


def test_the_same_command_says_so_and_touches_nothing(tmp_path: Path, scripted: list, capsys) -> None:
    run = tmp_path / "run"
    scripted[:] = [1.0, 2.0, 3.0]
    assert train_tiny(run, *PATIENT) == 0
    before = untouched(run)
    capsys.readouterr()
    assert train_tiny(run, *PATIENT) == 0
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "is finished: it ended early, at step 3 of 8" in line
    assert "the best: swd 1 at step 1" in line
    assert "the same command with eval.patience=0 goes on" in line
    assert untouched(run) == before


def test_with_other_patience_it_goes_on_as_if_it_had_never_stopped(tiny_run: Path, tmp_path: Path, scripted) -> None:
    run = tmp_path / "run"
    scripted[:] = [1.0, 2.0, 3.0]
    assert train_tiny(run, *PATIENT) == 0
    scripted[:] = [4.0]
    assert train_tiny(run, *PATIENT, "eval.patience=3") == 0
    assert status(run)["step"] == 4
    assert best_of(run)["step"] == 1
    scripted[:] = [5.0] * 4
    assert train_tiny(run, *PATIENT, "eval.patience=0") == 0
    assert status(run) == {"state": "finished", "step": 8, "exit": 0, "reason": ""}
    assert_same_run(run, tiny_run)


@pytest.mark.parametrize("died", [3, 4, 5])
def test_a_resumed_run_ends_at_the_same_step(died: int, tmp_path: Path, scripted: list) -> None:
    run, values = tmp_path / "run", [5.0, 4.0, 6.0, 6.0, 6.0]
    words = (*PATIENT, "eval.patience=3", "checkpoints.every=1", "checkpoints.keep_last=9")
    scripted[:] = values
    assert train_tiny(run, *words) == 0
    for step in range(died, 6):
        checkpoint_path(run / "checkpoints", step).unlink()
    (run / "status.json").unlink()
    scripted[:] = values[died - 1 :]
    assert train_tiny(run, *words) == 0
    assert scripted == []
    assert (status(run)["step"], status(run)["state"]) == (5, "finished")


def test_killed_between_the_last_save_and_the_status_it_is_finished_all_the_same(tmp_path: Path, scripted) -> None:
    run = tmp_path / "run"
    scripted[:] = [1.0, 2.0, 3.0]
    assert train_tiny(run, *PATIENT) == 0
    whole = (run / "status.json").read_text()
    (run / "status.json").write_text(whole.replace("finished", "running"))
    assert train_tiny(run, *PATIENT) == 0
    assert (run / "status.json").read_text() == whole


def test_at_the_plans_end_nothing_is_early(tmp_path: Path, scripted: list, capsys) -> None:
    scripted[:] = [1.0, *[2.0] * 7]
    assert train_tiny(tmp_path / "run", *PATIENT, "eval.patience=7") == 0
    assert status(tmp_path / "run") == {"state": "finished", "step": 8, "exit": 0, "reason": ""}
    assert "the best: swd 1 at step 1, kept as" in capsys.readouterr().err


def test_an_evaluation_that_fails_is_no_better_and_without_a_best_nothing_ends(tmp_path: Path, scripted) -> None:
    scripted[:] = [1.0, ZeroDivisionError("a bug"), float("nan")]
    assert train_tiny(tmp_path / "run", *PATIENT) == 0
    assert status(tmp_path / "run")["step"] == 3
    scripted[:] = [ZeroDivisionError("a bug")] * 8
    assert train_tiny(tmp_path / "never", *PATIENT) == 0
    assert status(tmp_path / "never")["step"] == 8


SCRIPTED = """
import runpy
from metrics.watch import Watch, Watched
values = [1.0, 2.0, 3.0, 0.0]
Watch.measure = lambda watch: Watched({"swd": values.pop(0)})
runpy.run_path("train.py", run_name="__main__")
"""


def test_all_processes_end_together(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run, words = tmp_path / "run", (*PATIENT, "schedule.constant=1000")
    (tmp_path / "scripted.py").write_text(SCRIPTED)
    process = start(*by_two(run, str(tmp_path / "scripted.py"), *words))
    assert process.wait(300) == 0, process.said()
    assert process.said()[1].count("it ended early, at step 3 of 1004") == 1
    assert (status(run)["step"], status(run)["state"], status(run)["exit"]) == (3, "finished", 0)
    before = untouched(run)
    assert train_tiny(run, *words, "train.batch_size=4") == 0  # the same whole batch
    assert "is finished: it ended early, at step 3 of 1004" in capsys.readouterr().err
    assert untouched(run) == before


def test_evaluations_are_counted_from_the_best(tmp_path: Path) -> None:
    keeper = BestKeeper(tmp_path, "swd", higher_is_better=False, pictures=5)
    options = EvalConfig(every=10, patience=3)
    assert keeper.worn_out(90, options) == ""
    keeper.kept = Best("swd", 1.0, 20, 5)
    assert [step for step in range(20, 56) if keeper.worn_out(step, options)] == [50]
    keeper.kept = Best("swd", 1.0, 24, 5)  # of an earlier eval.every
    assert [step for step in range(24, 56) if keeper.worn_out(step, options)] == [50]
    assert keeper.worn_out(50, EvalConfig(every=10)) == ""
