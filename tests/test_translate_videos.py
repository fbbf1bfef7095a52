"""Videos on translate.py's command line; tests/test_video.py has what becomes of them."""

import json
from pathlib import Path

import pytest

from data.video import VideoReader, examine
from tests.broken_files import picture
from tests.conftest import call
from tests.videos import film


@pytest.fixture
def video(tmp_path: Path) -> Path:
    film(tmp_path / "a.mp4", frames=4)
    return tmp_path / "a.mp4"


def test_a_video_becomes_a_video_once(tiny_run: Path, video: Path, tmp_path: Path, capsys) -> None:
    words = (tiny_run, video, tmp_path / "out")
    assert call("translate", *words, "--dry-run") == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{video} -> {tmp_path}/out/a.mp4"
    assert call("translate", *words, "--keep-color", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["frames"], found["flicker"]["pairs"]) == (4, 3)
    assert examine(tmp_path / "out/a.mp4").frames == 4
    before = (tmp_path / "out/a.mp4").stat().st_mtime_ns
    assert call("translate", *words) == 0
    assert "there already (--overwrite replaces it)" in capsys.readouterr().err
    assert (tmp_path / "out/a.mp4").stat().st_mtime_ns == before
    assert call("translate", tiny_run, video, tmp_path / "b.mkv", "--blend", "0") == 0
    with VideoReader(tmp_path / "b.mkv") as reader:
        assert len(list(reader)) >= 4


def test_of_several_a_broken_one_costs_only_itself_and_alone_it_is_code_2(
    tiny_run: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    assert call("translate", tiny_run, tmp_path / "broken.mp4", video, tmp_path / "out") == 3
    said = capsys.readouterr()
    assert "failed: " in said.err
    assert "out/a.mp4: 64 x 48 px, 4 frames" in said.out
    assert call("translate", tiny_run, tmp_path / "broken.mp4", tmp_path / "out") == 2


def test_a_folder_is_searched_for_pictures_and_its_videos_are_told(tiny_run: Path, video: Path, tmp_path, capsys):
    picture(16, 16).save(tmp_path / "a.png")
    assert call("translate", tiny_run, tmp_path, tmp_path / "out") == 0
    assert "videos left alone: 1; name them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("{a}", "{p}", "out"), "translate them by two commands"),
        (("{a}", "out", "--side-by-side"), "--side-by-side: is for pictures"),
        (("{a}", "{a}", "{tmp}/out"), "two of the videos would become"),
        (("{a}", "{a}/below/b.mp4"), "cannot be made"),
    ],
)
def test_what_is_refused(words: tuple, message: str, video: Path, tmp_path: Path, capsys) -> None:
    picture(16, 16).save(tmp_path / "p.png")
    assert call("translate", "none", *(word.format(a=video, p=tmp_path / "p.png", tmp=tmp_path) for word in words)) == 2
    assert message in capsys.readouterr().err
