"""Small videos for tests, made by PyAV on the spot: a square that moves over stripes, and a sine for each stream of
sound."""

import contextlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")  # optional: without it, no test that wants a video is run

TICK = Fraction(1, 90_000)
RATE = 25
SOUND_RATE = 48_000
SOUND = {".webm": "libopus"}  # else AAC


def scene(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """uint8 [H, W, 3]: the square is `index` px further right in each frame."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 3 + 20, y * 4 + 10, (x + y) * 2], axis=2).clip(0, 235).astype(np.uint8)
    pixels[10:22, 4 + index : 16 + index] = (220, 40, 40)
    return pixels


def film(
    path: Path,
    frames: int = 10,
    size: tuple[int, int] = (64, 48),
    draw: Callable[..., np.ndarray] = scene,
    starts: Sequence[int] | None = None,
    sounds: int = 1,
    codec: str = "",
    pixel_format: str = "yuv420p",
    matrix: int = 6,
    tags: tuple[int, int, int] | None = None,
    rotation: tuple[float, bool] | None = None,
    container: dict[str, str] | None = None,
    full: bool = False,
) -> list[int]:
    """Write a video; returns the frames' starts, in ticks of 1/90,000 s.

    Args:
        tags: matrix, primaries, transfer as written down; by default nothing is said.
        rotation: degrees counterclockwise, and whether it is mirrored.
        full: all of 0 to 255, and said so.
    """
    starts = list(starts or range(0, frames * 3600, 3600))
    with av.open(str(path), "w", options=container or {}) as out:
        video = out.add_stream(codec or ("libvpx-vp9" if path.suffix == ".webm" else "libx264"), rate=RATE)
        context = video.codec_context
        context.width, context.height, context.pix_fmt, context.time_base = *size, pixel_format, TICK
        context.flags |= av.codec.context.Flags.frame_duration
        video.options = {"crf": "5", "b:v": "0", "cpu-used": "8"} if path.suffix == ".webm" else {"crf": "5"}
        if tags:
            context.colorspace, context.color_primaries, context.color_trc = tags
        if full:
            context.color_range = 2
        if rotation:
            video.set_display_rotation(rotation[0], hflip=rotation[1])
        tracks = [out.add_stream(SOUND.get(path.suffix, "aac"), rate=SOUND_RATE) for _ in range(sounds)]
        last = starts[-1] - starts[-2] if len(starts) > 1 else 3600
        for i, (start, end) in enumerate(zip(starts, [*starts[1:], starts[-1] + last], strict=True)):
            frame = av.VideoFrame.from_ndarray(draw(i, *size), format="rgb24").reformat(
                format=pixel_format, src_color_range=2, dst_colorspace={1: 1, 9: 9}.get(matrix, 5),
                dst_color_range=2 if full else 1,
            )  # fmt: skip
            frame.pts, frame.duration, frame.time_base = start, end - start, TICK
            out.mux(video.encode(frame))
        out.mux(video.encode())
        for number, track in enumerate(tracks):
            for frame in sine(end * TICK, 220 * (number + 1), track.codec_context.format.name):
                out.mux(track.encode(frame))
            out.mux(track.encode())
    return starts


def sine(seconds: Fraction, hertz: float, kind: str) -> list[av.AudioFrame]:
    values = np.sin(np.arange(int(SOUND_RATE * seconds)) * (2 * np.pi * hertz / SOUND_RATE))
    frames = []
    for start in range(0, len(values), 960):
        block = values[start : start + 960]
        planar = kind == "fltp"
        pixels = np.stack([block, block]).astype(np.float32) if planar else np.repeat(block * 2**14, 2)[None]
        frame = av.AudioFrame.from_ndarray(
            pixels if planar else pixels.astype(np.int16), format=kind if planar else "s16", layout="stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
        frames.append(frame)
    return frames


def times(path: Path) -> list[float]:
    """Seconds at which each frame starts, and at which the last one ends; of what can be decoded."""
    with av.open(str(path)) as file:
        frames = []
        for packet in file.demux(video=0):
            with contextlib.suppress(av.error.InvalidDataError):
                frames += packet.decode()
        return [float(f.pts * f.time_base) for f in frames] + [
            float((frames[-1].pts + frames[-1].duration) * frames[-1].time_base)
        ]


def pictures(path: Path) -> list[np.ndarray]:
    """uint8 [H, W, 3], as the tags of the file say."""
    with av.open(str(path)) as file:
        found = []
        for frame in file.decode(video=0):
            matrix = 1 if frame.colorspace == 1 else 5
            found.append(
                frame.reformat(format="rgb24", src_colorspace=matrix, src_color_range=1, dst_color_range=2).to_ndarray()
            )
        return found


def packets(path: Path, kind: str = "audio") -> list[list[tuple[bytes, float]]]:
    """Of each stream: the bytes of its packets, and when they start."""
    with av.open(str(path)) as file:
        streams = [stream for stream in file.streams if stream.type == kind]
        found = {stream.index: [] for stream in streams}
        for packet in file.demux(streams) if streams else ():
            if packet.size:
                found[packet.stream_index].append((bytes(packet), round(float(packet.pts * packet.time_base), 3)))
        return list(found.values())
