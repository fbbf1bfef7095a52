"""Several processes on one output folder, and one that is stopped: nothing lost, nothing twice, the same bytes."""

import csv
import errno
import fcntl
import json
import os
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

import translation.folder
from engine.signals import StopRequest
from models import load_translator
from tests.broken_files import picture
from tests.conftest import ROOT, call
from tests.full_disk import FullDisk, small_disk
from tests.processes import TORCHRUN, start
from tests.test_translate import contents
from translation.claims import Leftovers, claim, claim_path
from translation.failures import update_failures
from translation.folder import Folder, HowToSave, Tally
from translation.painter import Painter
from translation.plan import Job, plan_outputs
from translation.summary import sum_up

HOLD = """
import time
from pathlib import Path
from translation.claims import claim

held = claim(Path({target!r}))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """30 pictures in three folders, three of them broken."""
    for i in range(30):
        path = tmp_path / f"in/{i % 3}/{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(20 + i % 4, 24, seed=i).save(path)
        if i % 10 == 5:
            path.write_bytes(path.read_bytes()[:100])
    return tmp_path / "in"


@pytest.fixture
def whole(tiny_run: Path, photographs: Path, tmp_path: Path) -> dict[str, str]:
    """What one process makes of them that nobody disturbs."""
    assert call("translate", tiny_run, photographs, tmp_path / "whole") == 3
    return contents(tmp_path / "whole")


def failures(folder: Path) -> list[str]:
    with (folder / "failures.csv").open(newline="") as file:
        return [row["picture"] for row in csv.DictReader(file)]


def test_two_processes_of_torchrun_share_a_folder(tiny_run, photographs, whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(*TORCHRUN, "--nproc-per-node=2", ROOT / "translate.py", tiny_run, photographs, out, "--json")
    assert process.wait(120) == 1, process.said()  # torchrun's own, of 3
    assert contents(out) == whole
    found = json.loads(process.said()[0])
    assert (found["translated"], found["failed"], found["there"], found["exit"]) == (27, 3, 0, 3)


def test_independent_processes_share_a_folder(tiny_run, photographs, whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    processes = [start(ROOT / "translate.py", tiny_run, photographs, out, "--json") for _ in range(2)]
    assert [process.wait(120) for process in processes] == [3, 3]
    assert contents(out) == whole
    found = [json.loads(process.said()[0]) for process in processes]
    assert sum(each["translated"] for each in found) == 27
    assert all(each["translated"] + each["there"] + each["failed"] + each["busy"] == 30 for each in found)


def test_killed_again_and_again_it_ends_complete(tiny_run, photographs, whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for share in (3, 9, 15):
        process = start(ROOT / "translate.py", tiny_run, photographs, out)
        while len(list(out.rglob("[0-9]*.png"))) < share and process.poll() is None:
            time.sleep(0.002)
        process.kill()
        process.wait()
    (out / ".failures.csv.1.tmp").touch()  # killed while it wrote the list
    assert call("translate", tiny_run, photographs, out) == 3
    assert contents(out) == whole  # no claim, no half file
    assert failures(out) == ["0/15.png", "1/25.png", "2/05.png"]


def test_what_a_process_holds_nobody_else_touches_until_it_is_gone(tiny_run, photographs, tmp_path: Path, capsys):
    out = tmp_path / "out"
    (out / "0").mkdir(parents=True)
    target = out / "0/00.png"
    (tmp_path / "hold.py").write_text(HOLD.format(target=str(target)))
    process = start(tmp_path / "hold.py", PYTHONPATH=str(ROOT))
    while not process.said()[0]:
        time.sleep(0.01)
    assert call("translate", tiny_run, photographs, out) == 3
    assert "26 translated, 0 there already, 3 failed, 1 being made by other processes" in capsys.readouterr().out
    assert not target.exists()
    process.kill()
    process.wait()
    assert call("translate", tiny_run, photographs, out) == 3
    assert "1 translated, 26 there already" in capsys.readouterr().out
    assert not list(out.rglob(".*"))


def test_a_claim_is_its_makers_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    first = claim(target)
    child = os.fork()  # locks are a process's
    if not child:
        os._exit(0 if claim(target) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    first.release()
    assert not claim_path(target).exists()
    claim_path(target).touch()  # of one that was killed
    half = tmp_path / f"{claim_path(target).stem}.123.tmp.png"
    half.touch()
    Leftovers([tmp_path])
    assert list(tmp_path.iterdir()) == []
    half.touch()  # without a claim: whoever makes the picture removes it
    leftovers = Leftovers([tmp_path])
    assert half.exists()
    leftovers.remove(target)
    assert list(tmp_path.iterdir()) == []


def test_where_there_are_no_locks_creation_alone_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lockf(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", lockf)
    first = claim(tmp_path / "a.png")
    assert claim(tmp_path / "a.png") is None
    os.utime(first.path, (0, 0))
    assert claim(tmp_path / "a.png") is not None
    assert claim(tmp_path / "a.png") is None  # one alone inherits it


def test_ctrl_c_ends_with_a_summary_and_130_and_sigterm_with_75(tiny_run, photographs, whole, tmp_path: Path) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 75)):
        out = tmp_path / number.name
        process = start(ROOT / "translate.py", tiny_run, *[photographs] * 1, out, "--threads", "1")
        while len(list(out.rglob("[0-9]*.png"))) < 2 and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(number)
        assert process.wait(300) == code, process.said()
        said, errors = process.said()
        assert " left: " in said
        assert "Traceback" not in errors
        assert len(list(out.rglob("[0-9]*.png"))) == int(said.split(" translated")[0].split()[-1]) < 27
        assert not list(out.rglob(".*"))
        assert call("translate", tiny_run, photographs, out) == 3
        assert contents(out) == whole


def test_a_full_disk_stops_it_with_what_is_left(tiny_run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    photographs = tmp_path / "in"
    photographs.mkdir()
    for i in range(8):
        picture(250, 200, seed=i).save(photographs / f"{i}.bmp")  # 150 kB
    with small_disk(tmp_path / "disk") as folder:
        if not os.path.ismount(folder):
            pytest.skip("no file system can be mounted here")
        out, disk, saved = folder / "out", FullDisk(folder), []
        honest = translation.folder.save_picture

        def save_picture(*arguments) -> None:
            saved.append(1)
            with ExitStack() as stack:
                if len(saved) > 4:
                    stack.enter_context(disk.full())
                honest(*arguments)

        monkeypatch.setattr(translation.folder, "save_picture", save_picture)
        assert call("translate", tiny_run, photographs, out, "--threads", "1") == 2
        said = capsys.readouterr()
        assert "left, because the disk is full; the same command does them:" in said.err
        assert said.err.splitlines()[-4:] == [f"{i}.bmp" for i in range(4, 8)]
        assert "4 translated, 0 there already, 0 failed, 4 left" in said.out
        assert len(list(out.iterdir())) == 4
        monkeypatch.undo()
        assert call("translate", tiny_run, photographs, out) == 0
        assert "4 translated, 4 there already" in capsys.readouterr().out


def test_two_that_replace_share_the_work_too(tiny_run, photographs, whole, tmp_path: Path) -> None:
    out = tmp_path / "whole"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    words = (tiny_run, photographs, out, "--overwrite", "--json")
    process = start(*TORCHRUN, "--nproc-per-node=2", ROOT / "translate.py", *words)
    assert process.wait(120) == 1
    assert contents(out) == whole
    assert all(path.stat().st_mtime_ns > time_ns for path, time_ns in before.items())
    assert json.loads(process.said()[0])["translated"] == 27


def test_the_list_of_failures_is_that_of_all_processes(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in "abc":
        (tmp_path / name).touch()
    jobs = [Job(tmp_path / name, tmp_path / "out" / name, name) for name in "abc"]
    assert update_failures(tmp_path / "out", jobs[:2], {"a": "torn"})[0] == {"a"}
    assert update_failures(tmp_path / "out", jobs[2:], {"c": "empty"})[0] == {"c"}
    assert failures(tmp_path / "out") == ["a", "c"]
    assert update_failures(tmp_path / "out", jobs, {"a": "torn"}) == ({"a", "c"}, tmp_path / "out/failures.csv")
    (tmp_path / "out/a").touch()  # translated since, by whomever
    (tmp_path / "c").unlink()  # gone
    assert update_failures(tmp_path / "out", jobs, {})[0] == set()
    assert not (tmp_path / "out/failures.csv").exists()


def test_the_second_ctrl_c_does_not_wait(tiny_run: Path, photographs: Path, tmp_path: Path) -> None:
    """Of a method that optimises for minutes, between two iterations."""
    stop, told = StopRequest(), []
    jobs = plan_outputs([str(photographs)], tmp_path / "out")
    for job in jobs:
        job.target.parent.mkdir(parents=True, exist_ok=True)

    def paint(photographs, names):
        raise KeyboardInterrupt

    painter = Painter(load_translator(str(tiny_run)))
    painter.paint = paint
    folder = Folder(painter, HowToSave(threads=1), stop, lambda *told_of: told.append(told_of))
    folder.translate(jobs)
    assert stop.signal == "SIGINT"
    assert not folder.tally.translated
    assert threading.active_count() < 10
    assert Image.open(jobs[0].source).size == (20, 24)


def test_large_pictures_come_by_themselves_and_are_the_same(tiny_run, photographs, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(translation.folder, "LARGE", 500)  # px; the pictures have 480 to 552
    assert call("translate", tiny_run, photographs, tmp_path / "out") == 3
    assert contents(tmp_path / "out") == whole


def test_what_others_have_left_is_freed_whole_and_what_is_not_ours_is_kept(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("a.png", "b.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        picture().save(tmp_path / "in" / name)
    assert call("translate", tiny_run, tmp_path / "in", out) == 0
    stem = claim_path(out / "a.png").name.removesuffix(".claim")
    claim_path(out / "a.png").touch()
    (out / f"{stem}.77.tmp.png").touch()
    (out / ".mine.claim").touch()
    (out / f".{'0' * 12}.claim").mkdir()
    assert call("translate", tiny_run, tmp_path / "in", out) == 0
    assert sorted(path.name for path in out.glob(".*")) == [f".{'0' * 12}.claim", ".mine.claim"]


def test_who_inherits_a_claim_removes_the_half_picture(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    half = claim_path(target).with_suffix(".77.tmp.png")
    claim_path(target).touch()
    half.touch()
    claim(target).release()
    assert not list(tmp_path.iterdir())


def test_a_claim_of_another_user_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim_path(tmp_path / "a.png").touch()

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("translation.claims._open", refuse)
    assert claim(tmp_path / "a.png") is None
    Leftovers([tmp_path])
    assert claim_path(tmp_path / "a.png").exists()


@pytest.mark.parametrize("kind", ["folder", "pipe", "not a table"])
def test_what_stands_in_the_way_of_the_list_is_passed_by(kind: str, tmp_path: Path) -> None:
    job = Job(tmp_path / "a", tmp_path / "out/a", "a")
    path = tmp_path / "failures.csv"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("picture,reason,file\n" + "x" * 200_000)
    rows, found = update_failures(tmp_path, [job], {"a": "torn"})
    assert (rows, found.name) == ({"a"}, "failures.csv" if kind == "not a table" else "failures-1.csv")


def test_what_has_failed_before_and_is_left_counts_once(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    jobs = [Job(tmp_path / name, tmp_path / "out" / name, name) for name in "ab"]
    for job in jobs:
        job.source.touch()
    update_failures(tmp_path / "out", jobs, {"a": "torn"})
    jobs[1].target.touch()
    found = sum_up(jobs, jobs[:1], [(Tally(), "SIGINT")], tmp_path / "out", 1.0)
    assert (found.there, found.failed, found.left, found.exit_code) == (1, 0, ["a"], 130)


def test_a_list_that_cannot_be_written_costs_no_summary(tmp_path: Path, monkeypatch, capsys) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("translation.failures.write_atomically", full)
    jobs = [Job(tmp_path / "a", tmp_path / "out/a", "a")]
    jobs[0].source.touch()
    found = sum_up(jobs, jobs, [(Tally(failed={"a": "torn"}), "")], tmp_path, 1.0)
    assert (found.failed, found.failures, found.exit_code) == (1, "", 3)
    assert "No space left" in capsys.readouterr().err


def test_what_others_make_moves_the_bar_too(tiny_run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        picture(16, 16).save(tmp_path / "in" / f"{name}.png")
    assert call("translate", tiny_run, tmp_path / "in/a.png", tmp_path / "out") == 0
    monkeypatch.setattr("translation.folder.not_there", lambda jobs: jobs)  # as if a.png had come since then
    capsys.readouterr()
    assert call("translate", tiny_run, tmp_path / "in", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "1 translated, 1 there already" in said.out
    assert "photo2painting: 2/2 [" in said.err
