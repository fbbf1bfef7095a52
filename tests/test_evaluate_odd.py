"""Evaluations of what should not be, in places where they should not be: one line, or a report all the same."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import engine.report
from metrics.measure import interval_of
from tests.broken_files import picture
from tests.conftest import evaluate


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Photographs, paintings and finished pictures of 32 px."""
    for number, name in enumerate(("photographs", "paintings", "finished")):
        (tmp_path / name).mkdir()
        for i in range(6):
            picture(36, 34, seed=i + 10 * number).save(tmp_path / name / f"p{i}.png")
    return tmp_path


def of(folders: Path, finished: str = "finished", size: int = 32) -> tuple:
    words = ("--content", folders / "photographs", "--style", folders / "paintings", "--size", size)
    return (folders / finished, *words, "--report", folders / "report")


def one_line(capsys: pytest.CaptureFixture) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("measure", "translate"))]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("size", [-3, 1, 15, 9000])
def test_a_size_that_cannot_be_is_refused(folders: Path, size: int, capsys: pytest.CaptureFixture) -> None:
    assert evaluate(*of(folders, size=size)) == 2
    assert f"--size {size}: must be 16 to 8192 px" in one_line(capsys)


def test_pictures_that_are_all_one_are_measured_and_told(folders: Path) -> None:
    for folder in ("photographs", "paintings", "finished"):
        for i in range(12):
            Image.new("RGB", (32, 32), (90, 120, 60)).save(folders / folder / f"p{i}.png")
    assert evaluate(*of(folders)) == 0
    assert "finished makes pictures of one colour" in (folders / "report/report.md").read_text()
    assert "NaN" not in (folders / "report/metrics.json").read_text()


def test_a_kill_while_the_report_is_written_leaves_its_place_free(folders: Path, monkeypatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(engine.report, "picture_csv", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate(*of(folders))
    assert not (folders / "report").exists()
    assert evaluate(*of(folders)) == 0
    before = (folders / "report/report.html").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(engine.report, "picture_csv", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate(*of(folders))
    assert (folders / "report/report.html").read_bytes() == before
    assert not (folders / "report-1").exists()


def test_a_full_disk_is_one_line(folders: Path, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine.report, "write_atomically", full)
    assert evaluate(*of(folders)) == 2
    assert "report: the report cannot be written (No space left on device)" in one_line(capsys)
    assert not (folders / "report").exists()


def test_names_of_any_bytes_and_signs_are_reported(folders: Path) -> None:
    odd = folders / "fin|sh$d_{$x"
    shutil.move(folders / "finished", odd)
    for folder in (folders / "photographs", odd):
        shutil.move(folder / "p0.png", os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
        shutil.move(folder / "p1.png", folder / "</script>.png".replace("/", "\u2215"))
    assert evaluate(*of(folders, odd.name)) == 0
    assert "caf\\udce9.png" in (folders / "report/pictures.csv").read_text()
    table = [line for line in (folders / "report/report.md").read_text().splitlines() if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in table if "better" in line or "SSIM" in line}) == 1


def test_one_finished_picture_is_of_one_photograph(folders: Path, capsys: pytest.CaptureFixture) -> None:
    picture(36, 34, seed=99).save(folders / "photographs/p0.jpg")
    assert evaluate(*of(folders)) == 2
    assert "p0.png would be the finished picture of p0.jpg, p0.png; rename one" in one_line(capsys)
    (folders / "photographs/p0.jpg").unlink()
    shutil.move(folders / "finished/p1.png", folders / "finished/p1.bmp")
    picture(36, 34, seed=98).save(folders / "finished/p1.webp")
    assert evaluate(*of(folders)) == 2
    assert "p1.png has several finished pictures" in one_line(capsys)
    (folders / "finished/p1.webp").unlink()
    picture(36, 34, seed=97).save(folders / "finished/more.png")
    assert evaluate(*of(folders)) == 0
    assert "1 pictures belong to none of the photographs: more.png" in capsys.readouterr().err


def test_show_knows_comparisons_and_says_what_it_cannot_read(folders: Path, capsys: pytest.CaptureFixture) -> None:
    assert evaluate(*of(folders)) == 0
    capsys.readouterr()
    assert evaluate(folders / "report", "--show") == 0
    assert "SSIM to the photograph" in capsys.readouterr().out
    for content in ("{", "{}", "[1]", '{"runs": 3}'):
        (folders / "report/metrics.json").write_text(content)
        assert evaluate(folders / "report", "--show") == 2
        assert "is no report that can be read" in one_line(capsys)


def test_the_best_checkpoint_is_evaluated(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    checkpoint = next((tiny_run / "checkpoints").glob("step_*8.pt"))
    assert evaluate(checkpoint) == 2
    assert "give --report DIR" in one_line(capsys)
    assert evaluate(checkpoint, "--report", tmp_path / "report") == 0
    found = json.loads((tmp_path / "report/metrics.json").read_text())
    assert found["training steps"] == 8
    assert found["run"] == str(checkpoint)


@pytest.mark.parametrize("place", ["file", "file/below", "folder"])
def test_a_cache_that_cannot_be_written_costs_time_only(folders: Path, place: str, monkeypatch) -> None:
    (folders / "file").write_text("mine")
    (folders / "folder").mkdir()
    for kind in ("measured", "translations"):
        (folders / "folder" / kind).write_text("mine")
    monkeypatch.setenv("ATELIER_CACHE", str(folders / place))
    assert evaluate(*of(folders)) == 0
    assert (folders / "file").read_text() == "mine"


def test_a_share_of_all_or_none_has_an_interval_too() -> None:
    low, high = interval_of(torch.ones(24))
    assert high == 1
    assert low == pytest.approx(24 / (24 + 1.96**2))  # Wilson's for n of n
    assert interval_of(torch.zeros(24)) == pytest.approx((0, 1 - low))
    assert interval_of(torch.tensor([0.0, 1.0, 1.0, 1.0] * 25)) == pytest.approx((0.657, 0.825), abs=0.002)
