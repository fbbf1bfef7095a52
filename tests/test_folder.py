"""Any pictures are a source: folders, lists, patterns, data sets of two; wrong ones are named, doubtful ones said."""

import os
from pathlib import Path

import numpy as np
import pytest

from data import open_source
from data.doubts import find_doubts
from data.folder import open_folder, place, split
from data.options import FolderOptions, SyntheticOptions
from data.source import DataError
from engine.exits import DONE
from tests.broken_files import picture


def draw(root: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(seed=seed).save(root / name)


def names(root: Path | str, domain: str = "content", part: str = "train", **options: object) -> list[str]:
    return list(open_folder(FolderOptions(root=str(root), **options), domain, part).names)


def test_train_and_held_out_parts_are_apart_and_stable(tmp_path: Path) -> None:
    for i in range(60):
        picture(seed=i).save(tmp_path / f"{i}.png")
    options = FolderOptions(root=str(tmp_path), held_out_share=0.25)
    train, held_out = (set(open_folder(options, "content", part).names) for part in ("train", "held_out"))
    assert not train & held_out
    assert len(train | held_out) == 60
    assert 5 < len(held_out) < 25
    for i in range(60, 80):
        picture(seed=i).save(tmp_path / f"{i}.png")
    assert held_out < set(open_folder(options, "content", "held_out").names)
    assert 0.08 < np.mean([place(f"{i}.jpg") < 0.1 for i in range(5000)]) < 0.12
    assert split(["a", "b", "c"], 1e-9) == (["a", "b"], ["c"])  # one at least is held out, however few there are


@pytest.mark.parametrize("part", ["train", "held_out"])
def test_a_given_held_out_folder_is_used(part: str, tmp_path: Path) -> None:
    for name in ("train/a.png", "test/b.png"):
        (tmp_path / name).parent.mkdir()
        picture().save(tmp_path / name)
    options = FolderOptions(root=str(tmp_path / "train"), held_out=str(tmp_path / "test"))
    assert list(open_folder(options, "style", part).names) == {"train": ["a.png"], "held_out": ["b.png"]}[part]


def test_a_wrong_folder_is_named_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "file.jpg").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("a")
    (tmp_path / "one").mkdir()
    picture().save(tmp_path / "one/only.png")
    for root, reason in (
        ("", "is missing"),
        (str(tmp_path / "one"), "no picture is left to train on"),
        (str(tmp_path / "none"), "no such folder"),
        (str(tmp_path / "file.jpg"), "is a file"),
        (str(tmp_path / "empty"), "no pictures among its 0 files"),
        (str(tmp_path / "texts"), "no pictures among its 1 files .*jpg"),
    ):
        with pytest.raises(DataError, match=rf"data\.style\.root.*{reason}"):
            open_source(FolderOptions(root=root), "style", "train")


def test_an_empty_domain_is_named_with_its_option(tmp_path: Path, capsys) -> None:
    draw(tmp_path / "photographs", "1.png", "2.png")
    (tmp_path / "paintings").mkdir()
    settings = [f"data.{d}.{k}" for d, k in (("content", "source=folder"), ("style", "source=folder"))]
    roots = [f"data.content.root={tmp_path / 'photographs'}", f"data.style.root={tmp_path / 'paintings'}"]
    assert train_folders(tmp_path / "run", *settings, *roots) == 2
    assert f"data.style.root = {tmp_path / 'paintings'}: no pictures among its 0 files" in capsys.readouterr().err


def train_folders(run: Path, *settings: str) -> int:
    """A tiny run on folders: without the settings that only drawn pictures have."""
    from tests.conftest import ROOT, TINY, call

    kept = [word for word in TINY if not word.startswith(("data.content.", "data.style."))]
    return call("train", ROOT / "configs/cyclegan.yaml", f"run={run}", *kept, "schedule.unit=steps", *settings)


def test_pictures_whose_names_differ_in_little_are_kept_apart(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg", "a.png", "A.jpg", "a/a.jpg")
    found = names(tmp_path) + names(tmp_path, part="held_out")
    assert sorted(found) == ["A.jpg", "a.jpg", "a.png", "a/a.jpg"]


def test_a_list_is_read_from_its_own_folder(tmp_path: Path) -> None:
    draw(tmp_path, *(f"art/{i}.png" for i in range(8)), "elsewhere/9.png")
    lines = [
        "art/0.png",
        "art/./1.png",
        "",
        "art/2.png\r",
        "art/0.png",
        "art/3.PNG",
        "notes.txt",
        "../x/elsewhere/9.png",
    ]
    (tmp_path / "art.txt").write_bytes(
        "\n".join([*lines, str(tmp_path / "art/5.png")]).encode() + b"\nart/caf\xe9.png\n"
    )
    listed = {"art/0.png", "art/1.png", "art/2.png", "art/3.PNG", "../x/elsewhere/9.png", str(tmp_path / "art/5.png")}
    found = names(tmp_path / "art.txt") + names(tmp_path / "art.txt", part="held_out")
    assert set(found) == listed | {os.fsdecode(b"art/caf\xe9.png")}
    options = FolderOptions(root=str(tmp_path / "art.txt"))
    # Which part an absolute path falls into is a matter of its hash, and so of the test's folder.
    sources = [open_folder(options, "content", part) for part in ("train", "held_out")]
    sizes = {name: source[i].size for source in sources for i, name in enumerate(source.names) if "art/5" in name}
    assert sizes == {str(tmp_path / "art/5.png"): (24, 16)}
    held_out = names(tmp_path / "art.txt", part="held_out", held_out=str(tmp_path / "elsewhere"))
    assert held_out == ["9.png"]


def test_a_pattern_takes_what_matches(tmp_path: Path) -> None:
    draw(tmp_path, "a/best/1.png", "a/worst/2.png", "b/best/3.png", "b/best/deep/4.png")
    (tmp_path / "b/best/notes.txt").touch()
    both = lambda pattern: sorted(names(pattern) + names(pattern, part="held_out"))  # noqa: E731
    assert both(tmp_path / "*/best/*.png") == ["a/best/1.png", "b/best/3.png"]
    assert both(tmp_path / "*/best/*") == ["a/best/1.png", "b/best/3.png"]
    assert both(tmp_path / "**/*.png") == ["a/best/1.png", "a/worst/2.png", "b/best/3.png", "b/best/deep/4.png"]


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path: Path) -> None:
    draw(tmp_path / "[1890]", "1.png", "2.png")
    assert len(names(tmp_path / "[1890]")) == 1


def test_one_root_serves_both_domains(tmp_path: Path) -> None:
    root = tmp_path / "monet2photo"
    draw(root, "trainA/1.png", "trainA/2.png", "trainB/3.png", "testA/4.png")
    assert names(root) == ["trainA/1.png", "trainA/2.png"]
    assert names(root, part="held_out") == ["testA/4.png"]
    assert names(root, "style", side="A") == ["trainA/1.png", "trainA/2.png"]
    draw(root, "trainB/5.png", "testB/6.png")
    assert names(root, "style") == ["trainB/3.png", "trainB/5.png"]
    assert names(root, "style", "held_out") == ["testB/6.png"]
    assert names(root, "content", "held_out", side="B") == ["testB/6.png"]
    assert train_folders(tmp_path / "run", f"data.root={root}", "schedule.constant=1", "schedule.decay=0") == DONE


def test_a_given_held_out_folder_leaves_all_of_a_side_to_train_on(tmp_path: Path) -> None:
    draw(tmp_path / "both", *(f"trainA/{i}.png" for i in range(40)), "trainB/0.png")
    draw(tmp_path / "test", "9.png")
    options = {"held_out": str(tmp_path / "test")}
    assert len(names(tmp_path / "both", **options)) == 40
    assert names(tmp_path / "both", part="held_out", **options) == ["9.png"]


def test_a_pattern_is_not_caught_in_a_loop_of_links(tmp_path: Path) -> None:
    draw(tmp_path, "a/1.png", "a/2.png")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(names(tmp_path / "**/*.png") + names(tmp_path / "**/*.png", part="held_out")) == 2


def test_a_subfolder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch) -> None:
    draw(tmp_path, "a/1.png", "b/2.png")
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match=r"/b: this folder cannot be read \(Permission denied\)"):
        names(tmp_path)


@pytest.mark.parametrize(
    ("root", "options", "problem"),
    [
        ("list.txt", {}, "no pictures among its 1 lines"),
        ("*.jpg", {}, "matches no file"),
        ("*.txt", {}, "no pictures among the 2 files that match"),
        (".", {"side": "A"}, "trainA: no such folder"),
        ("half", {}, "trainA: no such folder"),
        ("nul.txt", {}, "line 2 holds a NUL byte"),
    ],
)
def test_a_wrong_list_pattern_or_side_is_named(root: str, options: dict, problem: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("notes.doc\n")
    (tmp_path / "nul.txt").write_bytes(b"a.jpg\nb\0.jpg\n")
    draw(tmp_path / "half", "trainB/1.png", "trainB/2.png")
    with pytest.raises(DataError, match=rf"data\.content\.root.*{problem}"):
        names(tmp_path / root, **options)


# -- doubts ----------------------------------------------------------------------------------------------------


def doubts(content: object, style: object) -> list[str]:
    options = {"content": content, "style": style}
    train, held_out = (
        {domain: open_source(options[domain], domain, part) for domain in options} for part in ("train", "held_out")
    )
    return list(find_doubts(options, train, held_out))


def test_the_same_folder_for_both_domains_is_said(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png", "c.png", "part/d.png", "part/e.png", "part/f.png")
    same = FolderOptions(root=str(tmp_path))
    assert f"share {len(names(tmp_path))} pictures" in doubts(same, same)[0]
    part = FolderOptions(root=str(tmp_path / "part"))
    assert any("data.content and data.style share" in doubt for doubt in doubts(same, part))
    drawn = SyntheticOptions(scenes=3, held_out=2, size=16)
    assert doubts(same, drawn) == doubts(drawn, drawn) == []


def test_held_out_pictures_that_are_trained_on_are_said(tmp_path: Path) -> None:
    draw(tmp_path / "train", "a.png", "b.png", "c.png")
    draw(tmp_path / "test", "x.png", "y.png", "z.png", "new.png")  # seeds 0 to 2 are those of the training pictures
    (tmp_path / "test/y.png").write_bytes((tmp_path / "train/b.png").read_bytes()[:-1] + b"!")  # of one size, not equal
    overlapping = FolderOptions(root=str(tmp_path / "train"), held_out=str(tmp_path / "test"))
    found = doubts(overlapping, SyntheticOptions(scenes=3, held_out=2, size=16))
    assert len(found) == 1
    assert "data.content: 2 of the 4 held-out pictures are trained on" in found[0]
    assert "x.png = a.png, z.png = c.png" in found[0]
