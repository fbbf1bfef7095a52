"""A trace on demand: ten whole steps, loadable, never in the way."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from engine.trace import Trace


def run_steps(trace: Trace, count: int) -> list[Path]:
    """Paths that were told."""
    told = []
    for _ in range(count):
        torch.ones(4, 4) @ torch.ones(4, 4)
        if path := trace.step():
            told.append(path)
    return told


def marks(path: Path) -> int:
    with gzip.open(path, "rt") as file:
        events = json.load(file)["traceEvents"]
    assert any(event.get("name") == "aten::mm" for event in events)
    return len({e["name"] for e in events if e.get("ph") == "X" and e["name"].startswith("ProfilerStep")})


def test_ten_steps_are_traced_once_a_run_has_settled(tmp_path: Path) -> None:
    folder = tmp_path / "profile"
    with Trace(folder, first_step=100, last_step=1000) as trace:
        told = run_steps(trace, 40)
    assert told == [folder / "steps_126_to_135.json.gz"]
    assert marks(told[0]) == 10
    assert list(folder.iterdir()) == told


@pytest.mark.parametrize(
    ("total", "name", "count"), [(12, "steps_3_to_12", 10), (10, "steps_1_to_10", 10), (3, "steps_1_to_3", 3)]
)
def test_a_short_run_skips_fewer_steps(tmp_path: Path, total: int, name: str, count: int) -> None:
    with Trace(tmp_path, 0, total) as trace:
        told = run_steps(trace, total)
    assert [path.name for path in told] == [f"{name}.json.gz"]
    assert marks(told[0]) == count


def test_a_run_that_is_stopped_writes_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with Trace(tmp_path, 0, 1000, skip=2, steps=10) as trace:
        assert run_steps(trace, 5) == []
    path = tmp_path / "steps_3_to_5.json.gz"
    assert marks(path) in (3, 4)  # the step that was begun is in it, too
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_nothing_recorded_is_nothing_written(tmp_path: Path, steps: int) -> None:
    with Trace(tmp_path, 0, 1000, skip=2) as trace:
        run_steps(trace, steps)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_trace_stays(tmp_path: Path) -> None:
    for _ in range(2):
        with Trace(tmp_path, 0, 100, skip=1, steps=2) as trace:
            told = run_steps(trace, 4)
    assert [path.name for path in told] == ["steps_2_to_3_2.json.gz"]
    assert marks(tmp_path / "steps_2_to_3.json.gz") == 2


def test_a_full_disk_costs_the_trace_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def torn(self: object, path: str) -> None:
        Path(path).write_text('{"traceEvents": [')

    monkeypatch.setattr(torch.profiler.profile, "export_chrome_trace", torn)
    with Trace(tmp_path, 0, 100, skip=1, steps=2) as trace:
        assert run_steps(trace, 9) == []
    assert list(tmp_path.iterdir()) == []
    assert "no trace (" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_costs_the_trace_only(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "profile").write_text("")
    with Trace(tmp_path / "profile", 0, 100, skip=1, steps=2) as trace:
        assert run_steps(trace, 9) == []
    assert capsys.readouterr().err.count("no trace (") == 1
