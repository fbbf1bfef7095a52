"""A translated video has the length, the times, the size, the colours and the sound of its source."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from data.video import EXTENSIONS, VideoError, VideoReader, examine
from data.video_file import WRITABLE, written_name
from tests.videos import av, film, packets, pictures, scene, times
from translation.video import Flicker, translate_video

VARIABLE = [0, 3600, 5000, 14000, 14700, 27000, 27900, 28800, 40000, 41000]


def same(x: torch.Tensor) -> torch.Tensor:
    return x


def negative(x: torch.Tensor) -> torch.Tensor:
    return -x


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".m4v"])
@pytest.mark.parametrize("size", [(64, 48), (63, 47)], ids=["even", "odd"])
def test_length_times_rate_size_and_sound_are_kept(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    film(source, size=size, pixel_format="yuv444p" if size[0] % 2 and suffix != ".webm" else "yuv420p")
    report = translate_video(negative, source, target, batch_size=3)
    assert times(target) == times(source)
    assert packets(target) == packets(source)
    assert len(packets(target)[0]) > 5
    assert (report.frames, report.width, report.height, report.rate, report.copied) == (10, *size, 25, 1)
    assert report.seconds == pytest.approx(0.4, abs=1e-3)
    for i, picture in enumerate(pictures(target)):
        assert picture.shape == (size[1], size[0], 3)
        assert np.abs(255 - picture.astype(int) - scene(i, *size)).mean() < 5
    with VideoReader(target) as video:
        assert video.rate == 25
    assert sorted(os.listdir(tmp_path)) == [source.name, target.name]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_variable_rate_is_kept_frame_by_frame(tmp_path: Path, suffix: str) -> None:
    film(tmp_path / "a.mp4", starts=VARIABLE)
    translate_video(same, tmp_path / "a.mp4", tmp_path / f"b{suffix}", batch_size=4)
    found, wanted = times(tmp_path / f"b{suffix}"), times(tmp_path / "a.mp4")
    assert wanted[:-1] == pytest.approx([start / 90_000 for start in VARIABLE], abs=1e-9)
    if suffix == ".mkv":  # counts milliseconds from zero, and AAC starts before the picture
        ((_, before), *_), ((_, after), *_) = packets(tmp_path / "a.mp4")[0], packets(tmp_path / "b.mkv")[0]
        assert after == 0
        assert before < 0
        found = [t + before for t in found]
    assert found == pytest.approx(wanted, abs=0 if suffix == ".mp4" else 1.1e-3)


@pytest.mark.parametrize("count", [0, 3])
def test_all_streams_of_sound_are_copied(tmp_path: Path, count: int) -> None:
    film(tmp_path / "a.mkv", sounds=count)
    report = translate_video(same, tmp_path / "a.mkv", tmp_path / "b.mkv")
    assert report.copied == count
    assert packets(tmp_path / "b.mkv") == packets(tmp_path / "a.mkv")
    assert len(packets(tmp_path / "b.mkv")) == count


def test_a_clock_that_starts_late_starts_at_zero_and_sound_stays_with_its_frames(tmp_path: Path) -> None:
    film(tmp_path / "a.ts", starts=range(900_000, 936_000, 3600))
    translate_video(same, tmp_path / "a.ts", tmp_path / "b.mp4")
    before, after = times(tmp_path / "a.ts"), times(tmp_path / "b.mp4")
    shift = before[0] - after[0]
    assert shift > 0
    assert after[0] < 10.1
    assert after == pytest.approx([t - shift for t in before[:-1]] + [after[-1]], abs=1e-4)
    (a,), (b,) = packets(tmp_path / "a.ts"), packets(tmp_path / "b.mp4")
    assert [t for _, t in b] == pytest.approx([t - shift for _, t in a], abs=2e-3)


@pytest.mark.parametrize(
    ("rotation", "shown"),
    [
        ((0, True), lambda x: x[:, ::-1]),
        ((90, False), lambda x: np.rot90(x, 1)),  # counterclockwise
        ((-90, False), lambda x: np.rot90(x, -1)),
        ((180, False), lambda x: np.rot90(x, 2)),
    ],
    ids=["mirrored", "90", "-90", "180"],
)
def test_frames_are_upright_and_say_nothing_of_turning(tmp_path: Path, rotation: tuple, shown) -> None:
    film(tmp_path / "a.mp4", rotation=rotation)
    seen = []
    translate_video(lambda x: seen.append(x) or x, tmp_path / "a.mp4", tmp_path / "b.mp4")
    wanted = shown(scene(0))
    assert seen[0].shape[2:] == wanted.shape[:2]
    assert np.abs((seen[0][0].permute(1, 2, 0).numpy() + 1) * 127.5 - wanted).mean() < 3
    assert np.abs(pictures(tmp_path / "b.mp4")[0].astype(int) - wanted).mean() < 4
    with VideoReader(tmp_path / "b.mp4") as video:
        assert next(f for f in video.decoded([]) if hasattr(f, "rotation")).rotation == 0


BARS = np.array(
    [(235, 235, 235), (235, 235, 16), (16, 235, 235), (16, 235, 16), (235, 16, 235), (235, 16, 16), (16, 16, 235),
     (128, 128, 128)], np.uint8,
)  # fmt: skip


def bars(_: int, width: int, height: int) -> np.ndarray:
    return np.repeat(np.repeat(BARS[None], height, 0), width // len(BARS), 1)


@pytest.mark.parametrize(
    ("matrix", "tags", "full", "pixel_format"),
    [
        (6, None, False, "yuv420p"),
        (6, (6, 6, 6), False, "yuv420p"),
        (5, (5, 5, 6), False, "yuv422p"),
        (1, (1, 1, 1), False, "yuv420p"),
        (1, (1, 1, 1), True, "yuvj420p"),
        (9, (9, 1, 1), False, "yuv420p10le"),
    ],
)
def test_colours_survive(tmp_path: Path, matrix: int, tags: tuple | None, full: bool, pixel_format: str) -> None:
    film(tmp_path / "a.mp4", 3, (128, 48), bars, matrix=matrix, tags=tags, full=full, pixel_format=pixel_format)
    seen = []
    report = translate_video(lambda x: seen.append(x) or x, tmp_path / "a.mp4", tmp_path / "b.mp4")
    middles = slice(7, None, 16)  # of the bars: at their borders 4:2:0 mixes
    assert np.abs((seen[0][0, :, 24, middles].T.numpy() + 1) * 127.5 - BARS).max() <= 4
    assert np.abs(pictures(tmp_path / "b.mp4")[1][24, middles].astype(int) - BARS).max() <= 4
    facts = examine(tmp_path / "b.mp4")
    assert facts.colour.matrix == (matrix if matrix in (1, 5, 6) else 1)
    if tags and matrix != 9:
        assert (facts.colour.primaries, facts.colour.transfer) == tags[1:]
    assert not facts.colour.full
    assert ("full range" in str(report)) == full
    assert ("10 bits" in str(report)) == pixel_format.endswith("10le")


def test_hdr_is_brought_to_sdr_and_said(tmp_path: Path) -> None:
    def grey(_: int, width: int, height: int) -> np.ndarray:
        return np.full((height, width, 3), 128, np.uint8)

    film(tmp_path / "a.mp4", 1, draw=grey, matrix=9, tags=(9, 9, 16), pixel_format="yuv420p10le")
    seen = []
    report = translate_video(lambda x: seen.append(x) or x, tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert "PQ (HDR) is brought to BT.709" in str(report)
    assert float(seen[0].mean() + 1) * 127.5 > 135  # half of PQ's scale is brighter than half of SDR's
    assert examine(tmp_path / "b.mp4").colour.transfer == 1


def test_names_and_sound_of_other_containers(tmp_path: Path) -> None:
    assert [written_name(name) for name in ("a.MP4", "a.webm", "b/a.avi", "a.b.wmv")] == [
        "a.MP4", "a.webm", "b/a.avi.mkv", "a.b.wmv.mkv",
    ]  # fmt: skip
    assert set(WRITABLE) <= set(EXTENSIONS)
    film(tmp_path / "a.webm")
    translate_video(same, tmp_path / "a.webm", tmp_path / "b.mp4")  # MP4 holds Opus
    assert [b for b, _ in packets(tmp_path / "b.mp4")[0]] == [b for b, _ in packets(tmp_path / "a.webm")[0]]


def test_frames_are_read_as_they_are_translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "a.mp4", 30)
    read, shown = [], []
    import data.video as module

    convert = module._to_rgb
    monkeypatch.setattr(module, "_to_rgb", lambda frame, scaler: read.append(frame.pts) or convert(frame, scaler))

    def translate(x: torch.Tensor) -> torch.Tensor:
        assert len(read) <= (shown[-1][0] if shown else 0) + 4
        return x

    translate_video(
        translate, tmp_path / "a.mp4", tmp_path / "b.mp4", batch_size=4, progress=lambda *of: shown.append(of)
    )
    assert shown == [(done, 30) for done in (*range(4, 30, 4), 30)]


def test_out_of_memory_halves_the_batch_and_numbers_must_be_finite(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    sizes = []

    def small(x: torch.Tensor) -> torch.Tensor:
        if len(x) > 2:
            raise torch.OutOfMemoryError
        sizes.append(len(x))
        return x

    translate_video(small, tmp_path / "a.mp4", tmp_path / "b.mp4", batch_size=8)
    assert sizes == [2] * 5

    def none(x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(VideoError, match="out of memory at 64 x 48 px"):
        translate_video(none, tmp_path / "a.mp4", tmp_path / "c.mp4", batch_size=2)
    with pytest.raises(VideoError, match="the translation of frame 0 is not finite: nothing is saved"):
        translate_video(lambda x: x * torch.nan, tmp_path / "a.mp4", tmp_path / "c.mp4", batch_size=2)
    assert not (tmp_path / "c.mp4").exists()


def test_flicker_stands_beside_that_of_the_input(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", 12)
    generator = torch.Generator().manual_seed(0)

    def noisy(x: torch.Tensor) -> torch.Tensor:
        return (x * 0.7 + 0.2 * torch.randn(x.shape, generator=generator)).clamp(-1, 1)

    steady = translate_video(same, tmp_path / "a.mp4", tmp_path / "b.mp4").flicker
    assert steady.output == steady.input
    assert steady.ratio == 1
    assert steady.pairs == 11
    loud = translate_video(noisy, tmp_path / "a.mp4", tmp_path / "c.mp4", batch_size=5)
    assert loud.flicker.input == pytest.approx(steady.input)
    assert loud.flicker.ratio > 5
    assert "flicker (warping error x1000)" in str(loud)
    assert "times as much (n=11 pairs" in str(loud)
    few = translate_video(same, tmp_path / "a.mp4", tmp_path / "d.mp4", flicker_pairs=3)
    assert few.flicker.pairs == 3
    assert few.as_json()["flicker"]["ratio"] == 1
    assert translate_video(same, tmp_path / "a.mp4", tmp_path / "e.mp4", flicker_pairs=0).flicker is None


def test_a_still_and_a_single_frame(tmp_path: Path) -> None:
    film(tmp_path / "still.mp4", draw=bars)
    report = translate_video(negative, tmp_path / "still.mp4", tmp_path / "b.mp4")
    assert report.flicker.output < 1e-4
    assert report.flicker.visible > 0.9
    film(tmp_path / "one.mp4", 1)
    report = translate_video(negative, tmp_path / "one.mp4", tmp_path / "c.mp4")
    assert report.frames == 1
    assert report.flicker is None
    assert times(tmp_path / "c.mp4") == times(tmp_path / "one.mp4")
    assert "times" not in str(Flicker(0.0, 0.0, 1, 0, 1.0))


def test_names_that_would_be_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "whole.mp4", 3)
    for name in ("http:a.mp4", "caf\udce9.mp4", "%03d.mp4", "-a b.mp4"):
        os.link("whole.mp4", name)
        translate_video(same, Path(name), Path(f"of {name}"))
        assert examine(Path(f"of {name}")).frames == 3


def test_subtitles_chapters_and_tags_go_along(tmp_path: Path) -> None:
    film(tmp_path / "plain.mkv", 10)
    with av.open(str(tmp_path / "plain.mkv")) as plain, av.open(str(tmp_path / "a.mkv"), "w") as out:
        tracks = {stream.index: out.add_stream_from_template(stream, opaque=True) for stream in plain.streams}
        text = out.add_mux_stream("subrip", time_base=Fraction(1, 1000))
        out.metadata["title"] = "a walk"
        out.set_chapters(
            [{"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "I"}}]
        )
        said = av.Packet(b"hello")
        said.pts = said.dts = 100
        said.duration, said.time_base, said.stream = 100, Fraction(1, 1000), text
        for packet in plain.demux():
            if packet.size:
                packet.stream = tracks[packet.stream_index]
                out.mux(packet)
        out.mux(said)
    assert translate_video(same, tmp_path / "a.mkv", tmp_path / "b.mkv").copied == 2
    assert packets(tmp_path / "b.mkv", "subtitle") == [[(b"hello", 0.1)]]
    report = translate_video(same, tmp_path / "a.mkv", tmp_path / "b.mp4")
    assert "subtitles (subrip) are left out: .mp4 cannot hold them" in str(report)
    for path in (tmp_path / "b.mkv", tmp_path / "b.mp4"):
        with av.open(str(path)) as file:
            assert file.metadata["title"] == "a walk"
            assert [chapter["metadata"]["title"] for chapter in file.chapters()] == ["I"]
