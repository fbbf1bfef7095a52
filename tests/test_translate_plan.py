"""Which file becomes which: patterns, lists, several inputs, other formats; what is found out before a model loads."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from data.source import DataError
from tests.broken_files import picture
from tests.conftest import ROOT, call
from translation.finish import SizeRule
from translation.plan import Job, check_room, plan_outputs, room_needed


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.jpg", "a.png", "b.webp", "deep/a.jpg", "deep/er/c.gif", "notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("notes") if name.endswith("txt") else picture(8, 6).save(path)
    return tmp_path / "in"


def planned(*inputs: object, form: str = "", listed: bytes = b"") -> dict[str, str]:
    jobs = plan_outputs([str(each) for each in inputs], Path("out"), form, io.BytesIO(listed))
    return {str(job.source): str(job.target.relative_to("out")) for job in jobs}


def test_a_folder_is_mirrored_and_what_cannot_be_written_becomes_png(tree: Path) -> None:
    names = ("a.jpg", "a.png", "b.webp", "deep/a.jpg")
    assert planned(tree) == {f"{tree}/{name}": name for name in names} | {f"{tree}/deep/er/c.gif": "deep/er/c.gif.png"}


def test_in_another_format_no_two_become_one_and_a_name_of_its_own_is_kept(tree: Path) -> None:
    found = planned(tree, form="png")
    assert list(found.values()) == ["a.jpg.png", "a.png", "b.png", "deep/a.png", "deep/er/c.png"]
    assert planned(tree, form="jpg")[f"{tree}/a.jpg"] == "a.jpg"


def test_patterns_lists_and_several_inputs_keep_their_names_below_what_holds_them_all(tree: Path) -> None:
    assert planned(f"{tree}/**/a.*") == {f"{tree}/{name}": name for name in ("a.jpg", "a.png", "deep/a.jpg")}
    assert planned(tree / "a.jpg", tree / "deep") == {
        f"{tree}/a.jpg": "a.jpg",
        f"{tree}/deep/a.jpg": "deep/a.jpg",
        f"{tree}/deep/er/c.gif": "deep/er/c.gif.png",
    }
    lines = os.fsencode(f"{tree}/deep/a.jpg\n\n{tree}/deep/er/c.gif\n")
    wanted = {f"{tree}/deep/a.jpg": "a.jpg", f"{tree}/deep/er/c.gif": "er/c.gif.png"}
    assert planned("-", listed=lines) == planned("-", listed=lines.replace(b"\n", b"\0")) == wanted


def test_names_that_are_no_text_are_kept(tree: Path) -> None:
    odd = os.fsdecode(b"caf\xe9\n.png")
    shutil.copy(tree / "a.png", tree / "deep" / odd)
    assert planned(tree)[f"{tree}/deep/{odd}"] == f"deep/{odd}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{tree}/*.tif"], "no picture has such a name"),
        (["{tree}/none"], "no such file or folder"),
        (["-"], "no paths came on standard input"),
        (["{tree}/empty"], r"empty: no pictures found \(looked for .jpg"),
        (["{tree}/a.jpg", "{tree}/none"], "no such file or folder"),
    ],
)
def test_what_is_not_there_is_named(words: list[str], message: str, tree: Path) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        planned(*(word.format(tree=tree) for word in words))


def test_a_list_comes_on_standard_input(tiny_run: Path, tree: Path, tmp_path: Path, monkeypatch) -> None:
    lines = f"{tree}/a.jpg\n{tree}/deep/a.jpg\n".encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines)))
    assert call("translate", tiny_run, "-", tmp_path / "out") == 0
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.jpg")) == [
        "a.jpg",
        "deep/a.jpg",
    ]


def test_a_dry_run_tells_all_and_makes_nothing(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert call("translate", tmp_path / "no model is loaded", tree, out, "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tree}/a.jpg -> {out}/a.jpg"
    assert lines[-1].startswith("5 to translate, 0 there already; about")
    assert not out.exists()
    assert call("translate", "none", tree, out, "--dry-run", "--json", "--format", "webp") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["to_translate"][1] == [f"{tree}/a.png", f"{out}/a.png.webp"]
    assert found["bytes_needed"] == round(5 * 48 * 1.5)


def test_room_is_foretold_from_headers_and_a_folder_without_it_is_refused(tree: Path, tmp_path: Path, capsys) -> None:
    jobs = [Job(tree / "a.png", tmp_path / "out/a.png", "a.png")] * 1000
    assert room_needed(jobs) == 1000 * 8 * 6 * 2
    assert room_needed([Job(tree / "notes.txt", tmp_path / "out/a.png", "a")]) == 0
    assert check_room(jobs, tmp_path / "out/deep/er")[0] == 96000
    full = SimpleNamespace(free=1000)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda folder: full)
        assert call("translate", "none", tree / "a.png", tmp_path / "out", "--dry-run") == 0
        full.free = 10
        assert call("translate", "none", tree / "a.png", tmp_path / "out", "--dry-run") == 2
    assert "the translations take about 0.0 MB, 0.0 MB are free" in capsys.readouterr().err


def test_a_pattern_that_fits_the_output_takes_no_translation_for_a_photograph(tmp_path: Path) -> None:
    for name in ("a.png", "out/a.png", "out/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    jobs = plan_outputs([f"{tmp_path}/**/*.png"], tmp_path / "out")
    assert [job.name for job in jobs] == ["a.png"]


def test_one_folder_under_two_names_is_found(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounted").mkdir()
    real, folder = os.stat, os.stat(tree)
    monkeypatch.setattr(
        os, "stat", lambda path, **how: folder if path == str(tmp_path / "mounted") else real(path, **how)
    )
    with pytest.raises(DataError, match="both input and output"):
        plan_outputs([str(tree)], tmp_path / "mounted")


def test_names_that_are_too_long_are_told(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    long = "x" * 300
    (tmp_path / "in").mkdir()
    picture(9, 9).save(tmp_path / "in" / f"{long[:251]}.gif")  # its translation's name has four more
    picture(9, 9).save(tmp_path / "in/a.png")
    assert call("translate", tiny_run, tmp_path / long, tmp_path / "out") == 2
    assert call("translate", tiny_run, tmp_path / "in", tmp_path / long) == 2
    assert call("translate", tiny_run, tmp_path / "in/a.png", tmp_path / f"{long}.png") == 3
    assert call("translate", tiny_run, tmp_path / "in", tmp_path / "out") == 3
    assert "File name too long" in capsys.readouterr().err
    assert (tmp_path / "out/a.png").exists()


def test_room_is_that_of_the_reduced_pictures(tmp_path: Path) -> None:
    picture(400, 200).save(tmp_path / "a.png")
    jobs = [Job(tmp_path / "a.png", tmp_path / "out/a.png", "a.png")]
    assert room_needed(jobs, SizeRule(longest=40)) == 40 * 20 * 2
    assert room_needed(jobs, SizeRule(training=100_000)) == 0  # nobody makes it, so nobody needs room for it


def test_a_reader_that_has_gone_and_a_closed_input_are_no_bugs(tree: Path, tmp_path: Path) -> None:
    words = [sys.executable, ROOT / "translate.py", tmp_path / "no-run"]
    with subprocess.Popen([*words, tree, tmp_path / "out", "--dry-run"], stdout=subprocess.PIPE, stderr=-1) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    closed = ["bash", "-c", 'exec "$@" <&-', "bash", *words, "-", tmp_path / "out"]
    found = subprocess.run(closed, capture_output=True, text=True)
    assert (found.returncode, found.stderr.count("\n")) == (2, 1)
    assert "no paths came on standard input" in found.stderr


def test_a_folder_of_the_outputs_name_is_no_translation(tiny_run: Path, tmp_path: Path, capsys) -> None:
    picture(9, 9).save(tmp_path / "a.png")
    (tmp_path / "out/a.png").mkdir(parents=True)
    for _ in range(2):
        assert call("translate", tiny_run, tmp_path / "a.png", tmp_path / "out") == 3
        assert "Is a directory" in capsys.readouterr().err
