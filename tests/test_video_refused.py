"""What is no whole video is refused in one line, and what stops the work leaves nothing behind."""

import os
import re
import resource
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from data.images import is_leftover
from data.source import DataError
from data.video import VERSION, VideoError
from tests.processes import ROOT, start
from tests.videos import SOUND_RATE, av, film, sine, times
from translation.video import translate_video


def same(x: torch.Tensor) -> torch.Tensor:
    return x


def broken(kind: str, folder: Path) -> Path:
    path = folder / "a.mp4"
    if kind == "missing":
        return path
    contents = {
        "text": b"milk, bread, butter\n" * 99,
        "empty": b"",
        "playlist": b"ffconcat version 1.0\nfile whole.mp4\n",
        "m3u8": b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:4,\nwhole.mp4\n#EXT-X-ENDLIST\n",
    }
    film(folder / "whole.mp4")
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "before its index":
        path.write_bytes((folder / "whole.mp4").read_bytes()[:2000])
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "sequence":
        (folder / "frames").mkdir()
        path = folder / "frames" / "%03d.png"
    elif kind == "sound alone":
        with av.open(str(path), "w") as out:
            track = out.add_stream("aac", rate=SOUND_RATE)
            for frame in sine(1, 220, "fltp"):
                out.mux(track.encode(frame))
            out.mux(track.encode())
    elif kind == "encrypted":
        film(path, container={"encryption_scheme": "cenc-aes-ctr", "encryption_key": "07" * 16,
                              "encryption_kid": "11" * 16})  # fmt: skip
    elif kind == "no frames":
        content = (folder / "whole.mp4").read_bytes()
        at = content.index(b"mdat") + 4
        length = int.from_bytes(content[at - 8 : at - 4]) - 8
        path.write_bytes(content[:at] + bytes(length) + content[at + length :])
    return path


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("missing", "No such file"),
        ("text", "no video in a known format"),
        ("empty", "the file is empty"),
        ("playlist", "no video in a known format"),
        ("m3u8", "no video in a known format"),
        ("before its index", "cut off before its index"),
        ("pipe", "no regular file"),
        ("sequence", "No such file"),
        ("sound alone", "holds no video"),
        ("encrypted", "is encrypted"),
        ("no frames", "no frame that can be decoded"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, kind: str, word: str) -> None:
    source = broken(kind, tmp_path)
    with pytest.raises(VideoError, match=re.escape(word)) as found:
        translate_video(same, source, tmp_path / "b.mp4")
    assert found.value.exit_code == 2
    assert str(source) in str(found.value)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "b.mp4").exists()
    assert not list(tmp_path.glob("*.tmp*"))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_truncated_video_is_refused_or_on_request_translated_up_to_there(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / f"a{suffix}", tmp_path / "b.mkv"
    film(tmp_path / f"whole{suffix}", 60, container={"movflags": "faststart"} if suffix == ".mp4" else {})
    content = (tmp_path / f"whole{suffix}").read_bytes()
    source.write_bytes(content[: len(content) // 2])
    with pytest.raises(VideoError, match=r"damaged: it ends at [\d.]+ s of 2.4\d s; --partial"):
        translate_video(same, source, target)
    assert not target.exists()
    report = translate_video(same, source, target, partial=True)
    assert 5 < report.frames < 55
    assert "damaged input: it ends" in str(report)
    assert np.diff(times(target)) == pytest.approx(np.full(report.frames, 0.04), abs=1.1e-3)


def test_damage_in_the_middle_is_found(tmp_path: Path) -> None:
    film(tmp_path / "whole.mp4", 40, sounds=0)
    content = bytearray((tmp_path / "whole.mp4").read_bytes())
    start = content.index(b"mdat") + 4
    length = int.from_bytes(content[start - 8 : start - 4]) - 8
    for i in range(start + length // 2, start + length * 3 // 4):
        content[i] ^= 0x5A
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(VideoError, match="the video is damaged"):
        translate_video(same, tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert "damaged input" in str(translate_video(same, tmp_path / "a.mp4", tmp_path / "b.mp4", partial=True))


def test_targets_that_cannot_be_are_refused_before_the_work(tmp_path: Path) -> None:
    source, there = tmp_path / "a.mp4", tmp_path / "there.mp4"
    film(source)
    there.write_text("mine")
    for target, settings, word in (
        (there, {}, "is there already; --overwrite replaces it"),
        (source, {"overwrite": True}, "both input and output"),
        (tmp_path / "b.avi", {}, "cannot write .avi; one of: .mp4"),
        (tmp_path / "b.webm", {}, "cannot hold its sound (aac) as it is; choose b.mkv"),
        (tmp_path / "none" / "b.mp4", {}, "its folder does not exist"),
        (tmp_path / "b.mp4", {"crf": 52}, "crf 52: libx264 takes 0 (best) to 51"),
    ):
        with pytest.raises(VideoError, match=re.escape(word)):
            translate_video(lambda x: pytest.fail("has begun"), source, target, **settings)
    assert there.read_text() == "mine"
    translate_video(same, source, there, overwrite=True)
    assert len(times(there)) == 11


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("a bug")])
@pytest.mark.parametrize("before", [None, b"the old one"])
def test_what_stops_the_work_leaves_no_file(tmp_path: Path, error: BaseException, before: bytes | None) -> None:
    film(tmp_path / "a.mp4")
    if before:
        (tmp_path / "b.mp4").write_bytes(before)
    calls = []

    def translate(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        if len(calls) == 4:
            raise error
        return x

    with pytest.raises(error if isinstance(error, type) else type(error)):
        translate_video(translate, tmp_path / "a.mp4", tmp_path / "b.mp4", batch_size=2, overwrite=True)
    assert not list(tmp_path.glob(".*"))
    assert (tmp_path / "b.mp4").read_bytes() == before if before else not (tmp_path / "b.mp4").exists()


def test_a_kill_leaves_no_file_of_the_final_name(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    (tmp_path / "kill.py").write_text(
        f"import os, pathlib, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from translation.video import translate_video\n"
        "def translate(x, seen=[]):\n    seen.append(x)\n    return x if len(seen) < 3 else os.kill(os.getpid(), 9)\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "translate_video(translate, folder / 'a.mp4', folder / 'b.mp4', batch_size=2)\n"
    )
    process = start(tmp_path / "kill.py")
    process.wait(300)
    assert process.returncode == -signal.SIGKILL
    left = sorted(path.name for path in tmp_path.iterdir() if path.name not in ("a.mp4", "kill.py"))
    assert all(is_leftover(name) for name in left)


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", sounds=3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))  # no file may be larger
    try:
        with pytest.raises(VideoError, match=r"b\.mp4: File too large"):
            translate_video(same, tmp_path / "a.mp4", tmp_path / "b.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_a_missing_library_is_said_with_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert f"av=={VERSION}\n" in (ROOT / "requirements.txt").read_text()
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(DataError, match=f"pip install av=={VERSION}") as found:
        translate_video(same, tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert found.value.exit_code == 2
