"""Files of every kind in one folder: what can be read is translated at its own size, what cannot is listed and why."""

import csv
import os
from pathlib import Path

import pytest
from PIL import Image

from data.images import picture_size
from tests.broken_files import BAD, ODD, picture
from tests.conftest import call


@pytest.fixture(scope="module")
def translated(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """The folder, its translation, the exit code."""
    folder = tmp_path_factory.mktemp("odd")
    for kind, (make, _) in BAD.items():
        make(place(folder / "in", kind))
    for kind, make in ODD.items():
        make(place(folder / "in", kind))
    odd_name = folder / "in" / os.fsdecode(b"D16 \xff\n.png")
    picture(9, 7).save(odd_name)
    (folder / "in/loop").symlink_to(folder / "in")
    return folder / "in", folder / "out", call("translate", tiny_run, folder / "in", folder / "out")


def place(folder: Path, kind: str) -> Path:
    path = folder / kind.replace(" ", "/", 1) / "holiday.jpg"
    path.parent.mkdir(parents=True)
    return path


def test_the_code_is_3_and_nothing_else_lies_there(translated: tuple[Path, Path, int]) -> None:
    source, out, code = translated
    assert code == 3
    found = {str(path.relative_to(out).parent) for path in out.rglob("*.jpg")}
    assert found == {kind.replace(" ", "/", 1) for kind in ODD}
    assert (out / os.fsdecode(b"D16 \xff\n.png")).exists()
    assert not list(out.rglob(".*"))


@pytest.mark.parametrize("kind", ODD)
def test_what_can_be_read_keeps_its_size(kind: str, translated: tuple[Path, Path, int]) -> None:
    name = kind.replace(" ", "/", 1) + "/holiday.jpg"
    with Image.open(translated[1] / name) as image:
        image.load()
        assert image.size == picture_size(translated[0] / name) == (24, 16)


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_is_listed_with_its_reason(kind: str, translated: tuple[Path, Path, int]) -> None:
    with (translated[1] / "failures.csv").open(newline="", errors="surrogateescape") as file:
        rows = {row["picture"]: row for row in csv.DictReader(file)}
    row = rows[kind.replace(" ", "/", 1) + "/holiday.jpg"]
    assert BAD[kind][1] in row["reason"]
    assert row["file"] == str(translated[0] / row["picture"])
