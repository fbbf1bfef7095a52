"""Weights & Biases: the offline file holds what was logged, and a dead service costs nothing."""

import json
import socket
import time
from pathlib import Path

import pytest

from engine.logger import read_log
from tests.conftest import train_tiny

BLOCK = 32768  # bytes; the file is framed as LevelDB's log


def read_offline(folder: Path) -> list:
    """The records of every offline run below a run folder, in order. W&B's own process writes them, and on a busy
    machine its last ones come after `finish` has returned: a run is whole when it ends with its exit."""
    records = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        end = time.monotonic() + 30
        while not ((found := records_in(file)) and found[-1].HasField("exit")) and time.monotonic() < end:
            time.sleep(0.02)
        records += found
    return records


def records_in(file: Path) -> list:
    from wandb.proto.wandb_internal_pb2 import Record

    records, content, at, parts = [], file.read_bytes(), 7, b""  # the file's own header is seven bytes
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:  # no record header fits: the rest of a block is padding
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        if at + 7 + length > len(content):
            break  # half written
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # full, or the last part
            record = Record()
            record.ParseFromString(parts)
            records.append(record)
            parts = b""
    return records


def history(records: list) -> list[dict]:
    rows = []
    for record in records:
        if record.HasField("history"):
            items = record.history.item
            rows.append({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.mark.usefixtures("offline")
def test_the_offline_file_holds_losses_rates_speed_pictures_and_the_configuration(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train_tiny(run) == 0
    records = read_offline(run)
    rows = history(records)
    logged = [row for row in rows if "loss/G" in row]
    assert [row["step"] for row in logged] == [2, 4, 6, 8]
    for row, local in zip(logged, [r for r in read_log(run / "log.jsonl") if "loss/G" in r], strict=True):
        assert {key: row[key] for key in local if key not in ("time",)} == {
            k: v for k, v in local.items() if k != "time"
        }
    assert {"learning_rate/generators", "speed/steps_per_second", "epoch"} <= set(logged[0])
    assert [row["step"] for row in rows if any(key.startswith("samples") for key in row)] == [4, 8]
    assert len(list(run.glob("wandb/offline-run-*/files/media/images/samples*.png"))) == 2
    configured = {u.key for record in records if record.HasField("run") for u in record.run.config.update}
    assert {"method", "data", "seed", "versions"} <= configured


@pytest.mark.usefixtures("offline")
def test_a_resumed_run_goes_on_under_the_same_id(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train_tiny(run, "schedule.decay=0") == 0
    assert train_tiny(run) == 0
    records = read_offline(run)
    assert len(list(run.glob("wandb/offline-run-*"))) == 2
    assert len({record.run.run_id for record in records if record.HasField("run")}) == 1
    assert [row["step"] for row in history(records) if "loss/G" in row] == [2, 4, 6, 8]


def test_disabled_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    assert train_tiny(tmp_path / "run", "log.wandb=disabled") == 0
    assert not (tmp_path / "run/wandb").exists()


def test_a_host_that_refuses_is_left_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert train_tiny(tmp_path / "run") == 0
    assert capsys.readouterr().err.count("does not answer, logging offline") == 1
    assert history(read_offline(tmp_path / "run"))


def test_a_host_that_never_answers_costs_seconds_and_not_the_run(tmp_path: Path, monkeypatch, capsys) -> None:
    from engine.schema import LogConfig
    from engine.wandb_run import WandbRun

    with socket.socket() as deaf:  # accepts the connection and says nothing, as a dead proxy does
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(16)
        monkeypatch.delenv("WANDB_MODE")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        tmp_path.joinpath("run").mkdir()
        began = time.monotonic()
        service = WandbRun(tmp_path / "run", LogConfig(), {"seed": 1})
        waited = time.monotonic() - began
        service.log(1, {"loss/G": 0.5})
        service.finish()
    assert "logging offline" in capsys.readouterr().err
    assert {"step": 1, "loss/G": 0.5}.items() <= history(read_offline(tmp_path / "run"))[0].items()
    assert waited < 15  # the promise is a bound on waiting, not a measure of speed


def test_a_service_that_breaks_in_the_middle_is_mentioned_once(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    import wandb

    def broken(*arguments: object, **settings: object) -> None:
        raise ConnectionError("the service is gone")

    monkeypatch.setattr(wandb.Run, "log", broken)
    assert train_tiny(tmp_path / "run") == 0
    assert capsys.readouterr().err.count("the service is gone") == 1
    assert len([row for row in read_log(tmp_path / "run/log.jsonl") if "loss/G" in row]) == 4
