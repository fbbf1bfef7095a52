"""A prepared folder holds every good picture once, names every bad one, and survives kills."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from data import open_source
from data.doubts import source_change
from data.files import FolderFiles
from data.options import PreparedOptions
from data.preparing import Journal, Outcome, Task, find_duplicates, prepare_picture, prepare_pictures
from data.source import DataError
from engine.exits import DONE, SOME_FAILED, USER_ERROR
from tests.broken_files import BAD, ODD, picture
from tests.conftest import ROOT, TINY, call
from tests.processes import start


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def prepare(source: Path, destination: Path, *words: str, kind: str = "folder") -> int:
    return call("prepare", kind, source, destination, "--size", "16", "--workers", "1", *words)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Twelve good pictures, one of them twice, and four bad files."""
    root = tmp_path / "tree"
    (root / "deep" / "er").mkdir(parents=True)
    for i in range(10):
        picture(40, 30, seed=i).save(root / "deep" / f"{i}.jpg")
    picture(30, 50, seed=20).save(root / "deep/er/0.png")
    picture(12, 10, seed=21).save(root / "deep/er/0.jpg")
    (root / "copy.jpg").write_bytes((root / "deep/3.jpg").read_bytes())
    (root / "zero.jpg").touch()
    (root / "text.png").write_text("no picture")
    (root / "cut.jpg").write_bytes((root / "deep/4.jpg").read_bytes()[:500])
    (root / os.fsdecode(b"\xff.jpg")).write_bytes(b"\xff\xd8broken")
    return root


def test_good_pictures_are_indexed_bad_ones_listed_copies_left_out(tree: Path, tmp_path: Path) -> None:
    assert prepare(tree, tmp_path / "out") == SOME_FAILED
    rows = {row["original"]: row for row in table(tmp_path / "out/index.csv")}
    bad = {row["path"]: row["reason"] for row in table(tmp_path / "out/bad_files.csv")}
    same = table(tmp_path / "out/duplicates.csv")
    assert set(bad) == {"zero.jpg", "text.png", "cut.jpg", os.fsdecode(b"\xff.jpg")}
    assert all(bad.values())
    assert len(rows) == 12
    assert {same[0]["path"], same[0]["same_as"]} == {"copy.jpg", "deep/3.jpg"}
    assert rows["deep/er/0.png"]["path"] == "deep/er/0.png.jpg"  # beside deep/er/0.jpg
    for row in rows.values():
        with Image.open(tmp_path / "out/pictures" / row["path"]) as image:
            assert image.size == (int(row["width"]), int(row["height"]))
            assert min(image.size) == min(16, int(row["original_width"]), int(row["original_height"]))
    written = [path for path in (tmp_path / "out/pictures").rglob("*") if path.is_file()]
    assert len(written) == 12


def test_too_small_pictures_are_left_out_by_rule(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "out", "--min-side", "20")
    reasons = {row["path"]: row["reason"] for row in table(tmp_path / "out/bad_files.csv")}
    assert reasons["deep/er/0.jpg"] == "12 x 10 px is below 20 px"


def test_a_prepared_folder_is_a_source(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "out")
    options = PreparedOptions(root=str(tmp_path / "out"))
    parts = [open_source(options, "content", part) for part in ("train", "held_out")]
    assert sum(map(len, parts)) == 12
    assert parts[0][0].mode == "RGB"
    with pytest.raises(DataError, match="choose.style: no such label"):
        open_source(PreparedOptions(root=str(tmp_path / "out"), choose={"style": ["Cubism"]}), "content", "train")
    with pytest.raises(DataError, match="no finished preparation"):
        open_source(PreparedOptions(root=str(tree)), "content", "train")


def test_labels_of_a_data_set_are_kept_and_chosen_by(tmp_path: Path) -> None:
    for i, name in enumerate(("Cubism/a_1", "Cubism/b_2", "Realism/a_3")):
        for j in range(8):
            (tmp_path / "art" / name).parent.mkdir(parents=True, exist_ok=True)
            picture(20, 20, seed=10 * i + j).save(tmp_path / "art" / f"{name}{j}.jpg")
    assert prepare(tmp_path / "art", tmp_path / "out", kind="wikiart") == DONE
    everything = {"root": str(tmp_path / "out"), "choose": {"artist": ["a"]}, "exclude": {"style": ["realism"]}}
    source = open_source(PreparedOptions(**everything), "style", "train")
    assert {source.labels["artist"][i] for i in range(len(source))} == {"a"}
    assert {source.labels["style"][i] for i in range(len(source))} == {"Cubism"}
    with pytest.raises(DataError, match=r"choose.artist: c is on no picture"):
        open_source(PreparedOptions(root=str(tmp_path / "out"), choose={"artist": ["c"]}), "style", "train")


def test_the_same_command_goes_on_and_notices_what_changed(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "out")
    kept = tmp_path / "out/pictures/deep/7.jpg"
    before = kept.stat().st_mtime_ns
    lost = tmp_path / "out/pictures/deep/8.jpg"
    lost.unlink()
    picture(40, 30, seed=99).save(tree / "deep/9.jpg")
    os.utime(tree / "deep/9.jpg", ns=(1, 1))
    first = table(tmp_path / "out/index.csv")
    prepare(tree, tmp_path / "out")
    second = table(tmp_path / "out/index.csv")
    assert kept.stat().st_mtime_ns == before
    assert lost.exists()
    assert [a["original"] for a, b in zip(first, second, strict=True) if a != b] == ["deep/9.jpg"]


def test_other_options_and_foreign_folders_are_refused(tree: Path, tmp_path: Path, capsys) -> None:
    prepare(tree, tmp_path / "out")
    assert prepare(tree, tmp_path / "out", "--size", "20") == USER_ERROR
    assert "size = 16" in capsys.readouterr().err
    assert prepare(tree, tree / "out") == USER_ERROR
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").touch()
    assert prepare(tree, tmp_path / "mine") == USER_ERROR
    assert prepare(tmp_path / "nowhere", tmp_path / "new") == USER_ERROR


def crash_on_odd(task: Task, path: str) -> Outcome:
    if int(Path(path).stem) % 20 == 5:
        os.kill(os.getpid(), signal.SIGSEGV)
    return prepare_picture(task, path)


def test_a_decoder_crash_loses_one_file(tmp_path: Path) -> None:
    paths = [f"{i}.jpg" for i in range(40)]
    for i, path in enumerate(paths):
        picture(20, 20, seed=i).save(tmp_path / path)
    task = Task(FolderFiles(tmp_path), tmp_path / "pictures", 16)
    outcomes = {o.path: o.reason for o in prepare_pictures(task, paths, 1, crash_on_odd)}
    assert set(outcomes) == set(paths)
    assert {path for path, reason in outcomes.items() if reason} == {"5.jpg", "25.jpg"}
    assert outcomes["5.jpg"] == "the decoder crashed on it"


def test_a_killed_preparation_goes_on_to_the_same_index(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(300):
        picture(80, 60, seed=i % 250).save(tmp_path / "in" / f"{i}.png")
    prepare(tmp_path / "in", tmp_path / "whole")
    command = [sys.executable, "prepare.py", "folder", str(tmp_path / "in"), str(tmp_path / "killed"), "--size", "16"]
    marked = os.environ | {"MARK": str(tmp_path / "killed")}
    process = subprocess.Popen([*command, "--workers", "1"], cwd=ROOT, stderr=subprocess.DEVNULL, env=marked)
    journal = tmp_path / "killed/journal.jsonl"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > 2000):
        time.sleep(0.002)
    process.kill()
    process.wait()
    wait_until_none_is_left(str(tmp_path / "killed"))
    with journal.open("ab") as file:
        file.write(b'{"path": "0.png", "file_si')  # torn
    done = len(Journal(journal).read())
    assert 0 < done < 300
    prepare(tmp_path / "in", tmp_path / "killed")
    for name in ("index.csv", "bad_files.csv", "duplicates.csv"):
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "whole" / name).read_text()


def wait_until_none_is_left(mark: str) -> None:
    """No process that has MARK=mark in its environment, within ten seconds."""

    def left() -> list[str]:
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"MARK={mark}".encode() in environ.read_bytes().split(b"\0"):
                    found.append(environ.parent.name)
        return found

    for _ in range(200):
        if not left():
            return
        time.sleep(0.05)
    raise AssertionError(f"still running: {left()}")


def test_a_signal_stops_with_75_and_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(400):
        picture(80, 60, seed=i).save(tmp_path / "in" / f"{i}.png")
    journal = tmp_path / "out/journal.jsonl"
    process = start("prepare.py", "folder", tmp_path / "in", tmp_path / "out", "--size", "16", "--workers", "1")
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > 2000):
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: to the workers, too
    said = process.communicate(60)[1]
    assert process.returncode == 75
    assert "stopped by SIGINT" in said
    assert "Traceback" not in said
    assert prepare(tmp_path / "in", tmp_path / "out") == DONE
    assert len(table(tmp_path / "out/index.csv")) == 400


def test_of_equal_files_the_first_is_kept() -> None:
    outcomes = [Outcome(path, 1, 1, sha256=sha) for path, sha in (("b", "x"), ("a", "x"), ("c", "y"))]
    assert find_duplicates(outcomes) == {"a": "b"}


# -- a source that changes -------------------------------------------------------------------------------------


def test_training_says_that_the_source_has_changed(tree: Path, tmp_path: Path, capsys) -> None:
    prepare(tree, tmp_path / "out")
    assert source_change(tmp_path / "out") == ""
    picture(40, 30, seed=98).save(tree / "deep/9.jpg")
    os.utime(tree / "deep/9.jpg", ns=(1, 1))
    (tree / "deep/0.jpg").rename(tree / "deep/new.jpg")
    said = source_change(tmp_path / "out")
    assert said == "1 new (deep/new.jpg); 1 gone (deep/0.jpg); 1 changed (deep/9.jpg)"
    root = tmp_path / "out"
    settings = (f"data.content.source=prepared data.content.root={root} data.style.source=synthetic").split()
    tiny = [word for word in TINY if not word.startswith("data.content.")]
    assert call("train", ROOT / "configs/demo.yaml", f"run={tmp_path / 'run'}", *tiny, *settings) == DONE
    assert f"data.content.root = {root}: its source has changed" in " ".join(capsys.readouterr().err.split())


def test_a_source_that_is_gone_is_no_change(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "out")
    tree.rename(tmp_path / "elsewhere")
    assert source_change(tmp_path / "out") == ""


# -- choices and forms -----------------------------------------------------------------------------------------


def test_settings_choose_what_is_prepared(tmp_path: Path, capsys) -> None:
    for i, name in enumerate(("Cubism/a_1.jpg", "Cubism/a_2.jpg", "Cubism/b_3.jpg", "Realism/a_4.jpg")):
        (tmp_path / "art" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(20, 20, seed=i).save(tmp_path / "art" / name)
    words = ("artists=[a]", "styles=[Cubism]")
    assert prepare(tmp_path / "art", tmp_path / "out", *words, kind="wikiart") == DONE
    assert {row["original"] for row in table(tmp_path / "out/index.csv")} == {"Cubism/a_1.jpg", "Cubism/a_2.jpg"}
    assert prepare(tmp_path / "art", tmp_path / "out", "artists=[b]", kind="wikiart") == USER_ERROR
    assert "was prepared otherwise" in capsys.readouterr().err
    assert prepare(tmp_path / "art", tmp_path / "new", "artist=[b]", kind="wikiart") == USER_ERROR
    assert "artist is no key; did you mean artists?" in capsys.readouterr().err


def test_training_pictures_can_be_stretched_and_held_out_ones_keep_their_aspect(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "out", "--stretch")
    sizes = {(row["part"], row["width"], row["height"]) for row in table(tmp_path / "out/index.csv")}
    assert all(size == ["16", "16"] for part, *size in sizes if part == "train")
    assert all(size != ["16", "16"] for part, *size in sizes if part == "held_out")


@pytest.mark.parametrize("form", ["png", "bmp"])
def test_other_forms_are_lossless(form: str, tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "out", "--format", form)
    row = next(row for row in table(tmp_path / "out/index.csv") if row["original"] == "deep/er/0.jpg")
    assert row["path"] == f"deep/er/0.jpg.{form}"
    with Image.open(tmp_path / "out/pictures" / row["path"]) as got, Image.open(tree / "deep/er/0.jpg") as given:
        assert got.tobytes() == given.tobytes()


def test_a_list_that_leads_out_of_its_folder_is_prepared_inside(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    lines = ["../tree/deep/0.jpg", str(tree / "deep/1.jpg"), "../tree/deep/2.jpg"]
    (tmp_path / "lists/mine.txt").write_text("\n".join(lines))
    assert prepare(tmp_path / "lists/mine.txt", tmp_path / "out") == DONE
    rows = table(tmp_path / "out/index.csv")
    assert {row["original"] for row in rows} == set(lines)
    assert all((tmp_path / "out/pictures" / row["path"]).resolve().is_relative_to(tmp_path / "out") for row in rows)
    assert source_change(tmp_path / "out") == ""


def test_a_whole_preparation_has_nothing_left_to_do(tree: Path, tmp_path: Path, capsys) -> None:
    prepare(tree, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/pictures").rglob("*")}
    journal = (tmp_path / "out/journal.jsonl").read_text().strip()
    capsys.readouterr()
    assert prepare(tree, tmp_path / "out") == SOME_FAILED
    assert "going on: 17 of 17 files are done" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out/pictures").rglob("*")} == before
    assert (tmp_path / "out/journal.jsonl").read_text().strip() == journal


def test_every_broken_file_is_listed_and_none_stops_the_rest(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i, (make, _) in enumerate(BAD.values()):
        make(tmp_path / "in" / f"bad-{i}.jpg")
    for i, make in enumerate(ODD.values()):
        make(tmp_path / "in" / f"odd-{i}.jpg")
    assert prepare(tmp_path / "in", tmp_path / "out") == SOME_FAILED
    reasons = {row["path"]: row["reason"] for row in table(tmp_path / "out/bad_files.csv")}
    assert reasons.keys() == {f"bad-{i}.jpg" for i in range(len(BAD))}
    assert all(word in reasons[f"bad-{i}.jpg"] for i, (_, word) in enumerate(BAD.values()))
    assert len(table(tmp_path / "out/index.csv")) == len(ODD)


# -- names and places ------------------------------------------------------------------------------------------


def test_no_two_pictures_share_an_output(tmp_path: Path) -> None:
    names = ("a.png", "a.png.jpg", "a.png.jpg.jpg", "a.jpg", "a.JPG", "b.jpeg", "b.jpeg.jpg")
    (tmp_path / "in").mkdir()
    for seed, name in enumerate(names):
        picture(20 + seed, 20, seed=seed).save(tmp_path / "in" / name)
    assert prepare(tmp_path / "in", tmp_path / "out") == DONE
    rows = table(tmp_path / "out/index.csv")
    assert {row["original"] for row in rows} == set(names)
    assert len({row["path"] for row in rows}) == len(names)
    widths = {row["original"]: Image.open(tmp_path / "out/pictures" / row["path"]).width for row in rows}
    assert widths == {name: round((20 + seed) * 16 / 20) for seed, name in enumerate(names)}


def test_sources_are_taken_as_they_are_written(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for i, folder in enumerate(("a", "a #1", "x: y")):
        Path(folder).mkdir()
        for j in range(i + 1):
            picture(20, 20, seed=10 * i + j).save(Path(folder) / f"{j}.png")
    for source, count in (("a #1", 2), ("x: y", 3), ("*/0.png", 3)):
        assert prepare(source, tmp_path / f"out of {count}{source[0] == '*'}") == DONE
        assert len(table(tmp_path / f"out of {count}{source[0] == '*'}" / "index.csv")) == count
    assert prepare("**/*", tmp_path / "everything") == DONE
    capsys.readouterr()
    assert prepare("**/*", tmp_path / "everything") == USER_ERROR
    assert "is also a picture of the source" in capsys.readouterr().err


def test_what_cannot_be_written_as_a_jpeg_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (2, 66000)).save(tmp_path / "in/tower.png")
    long_name = "画" * 83 + ".jpg"
    picture(20, 20).save(tmp_path / "in" / long_name)
    picture(20, 20, seed=1).save(tmp_path / "in" / ("n" * 251 + ".png"))
    assert prepare(tmp_path / "in", tmp_path / "out") == SOME_FAILED
    assert [row["original"] for row in table(tmp_path / "out/index.csv")] == [long_name]
    reasons = [row["reason"] for row in table(tmp_path / "out/bad_files.csv")]
    assert all("cannot be written as" in reason for reason in reasons)
    assert len(reasons) == 2


def test_a_picture_in_both_lists_is_held_out(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("".join(f"tree/deep/{i}.jpg\n" for i in range(5)))
    (tmp_path / "test.txt").write_text("tree/deep/2.jpg\ntree/deep/9.jpg\n")
    assert prepare(tmp_path / "train.txt", tmp_path / "out", f"held_out={tmp_path / 'test.txt'}") == DONE
    parts = {row["original"][-5:]: row["part"] for row in table(tmp_path / "out/index.csv")}
    assert {name for name, part in parts.items() if part == "held_out"} == {"2.jpg", "9.jpg"}
    assert source_change(tmp_path / "out") == ""
    (tree / "deep/9.jpg").unlink()
    assert "9.jpg" in source_change(tmp_path / "out")


def test_one_process_at_a_time(tree: Path, tmp_path: Path, capsys) -> None:
    prepare(tree, tmp_path / "out")
    holder = (
        f"import fcntl, time; f = open({str(tmp_path / 'out/.lock')!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); "
        "print(flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        assert prepare(tree, tmp_path / "out") == USER_ERROR
        assert "another process prepares it" in capsys.readouterr().err
    finally:
        process.kill()
        process.wait()


def test_of_a_data_set_of_two_the_side_must_be_said(tmp_path: Path, capsys) -> None:
    for i, name in enumerate(("trainA/1.png", "trainB/2.png", "testB/3.png")):
        (tmp_path / "both" / name).parent.mkdir(parents=True)
        picture(20, 20, seed=i).save(tmp_path / "both" / name)
    assert prepare(tmp_path / "both", tmp_path / "out") == USER_ERROR
    assert "say side=A or side=B" in capsys.readouterr().err
    assert prepare(tmp_path / "both", tmp_path / "out", "side=B") == DONE
    found = {row["original"]: row["part"] for row in table(tmp_path / "out/index.csv")}
    assert found == {"trainB/2.png": "train", "testB/3.png": "held_out"}


# -- damage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", ["[]", "3", "", "{", "{}"])
def test_a_damaged_record_is_one_line_and_a_warning(record: str, tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "out")
    (tmp_path / "out/prepared.json").write_text(record)
    assert prepare(tree, tmp_path / "out") == USER_ERROR
    assert "prepared.json is damaged" in source_change(tmp_path / "out")


def test_a_kill_at_the_very_beginning_leaves_nothing_in_the_way(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/prepared.json.tmp").write_text("{")
    assert prepare(tree, tmp_path / "out") == SOME_FAILED
    assert prepare(tree, tmp_path / "out") == SOME_FAILED


def test_a_damaged_journal_and_odd_neighbours_cost_nothing(tree: Path, tmp_path: Path) -> None:
    (tree / ".x.tmp.d").mkdir()
    picture(20, 20, seed=30).save(tree / ".x.tmp.d/a.jpg")
    (tree / "deep/0.png.jpg").mkdir()
    picture(20, 20, seed=31).save(tree / "deep/0.png.jpg/in.jpg")
    picture(20, 20, seed=32).save(tree / "deep/0.png")
    assert prepare(tree, tmp_path / "out") == SOME_FAILED
    with (tmp_path / "out/journal.jsonl").open("a") as file:
        file.write('{"path": [1], "file_size": 1, "modified": 2}\n{"path"\n[]\nnull\n')
    (tmp_path / "out/pictures/.my.tmp.png").touch()
    assert prepare(tree, tmp_path / "out") == SOME_FAILED
    assert (tmp_path / "out/pictures/.my.tmp.png").exists()
    kept = {row["original"] for row in table(tmp_path / "out/index.csv")}
    bad = {row["path"] for row in table(tmp_path / "out/bad_files.csv")}
    assert {"deep/0.png", "deep/0.png.jpg/in.jpg"} <= kept | bad
    assert ".x.tmp.d/a.jpg" in kept


def test_a_damaged_index_is_one_line(tree: Path, tmp_path: Path) -> None:
    prepare(tree, tmp_path / "out")
    index = tmp_path / "out/index.csv"
    text = index.read_text()
    index.write_text(text.replace("\n", '\n"', 1) + "x" * 200_000)
    with pytest.raises(DataError, match="index.csv: is damaged|line 2: .* columns instead of"):
        open_source(PreparedOptions(root=str(tmp_path / "out")), "content", "train")


def test_drawing_answers_mistakes_in_one_line(tmp_path: Path) -> None:
    assert call("prepare", "synthetic", tmp_path / "a", "--seed", "-1") == USER_ERROR
    (tmp_path / "b/scenes.json").mkdir(parents=True)
    assert call("prepare", "synthetic", tmp_path / "b") == USER_ERROR
