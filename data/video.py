"""Videos on disk -> frames in memory: the door to PyAV, which is optional. `data/video_file.py` writes them.

Frames come upright, as RGB of 8 bits, one by one and each with its own time; whatever else is copied (sound,
subtitles) passes as the packets that were read, never decoded. What a container is, its content says and not its
name; playlists, image sequences and whatever names other files or hosts are no videos here.
"""

import contextlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from data.source import DataError
from data.video_colour import SCALER, Colour, colour_of, conversions

VERSION = "18.1.0"  # of PyAV, as in requirements.txt
EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv",
              ".3gp", ".ogv", ".mxf")  # fmt: skip
# Demuxers that read one file and nothing that it names.
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg,mxf"
SLACK = 0.25  # seconds that a video may end before its header says so
UNIT = 65536  # of a display matrix


class VideoError(ValueError):
    """A video could not be read or written; the message names it."""

    exit_code = 2

    def __init__(self, path: str | Path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


@dataclass(frozen=True)
class Frame:
    """pixels: uint8 [H, W, 3], RGB, upright. start, duration: in ticks of the video."""

    pixels: np.ndarray
    start: int
    duration: int


@dataclass(frozen=True)
class Facts:
    """What is known of a video when all of it has been decoded once.

    width, height: px, upright. tick: seconds; rate: frames a second on average; seconds: from the first frame's start
    to the last one's end. aspect: of a pixel, width to height. damage: what could not be read, or "". notes: what a
    copy in 8 bits loses.
    """

    frames: int
    width: int
    height: int
    tick: Fraction
    rate: Fraction
    seconds: float
    aspect: Fraction
    colour: Colour
    damage: str
    notes: tuple[str, ...]


def library() -> object:
    """PyAV; it comes late, because most who translate have no videos."""
    try:
        import av
        import av.video.reformatter
    except ImportError:
        raise DataError(f"videos need PyAV, which is not installed: pip install av=={VERSION}") from None
    return av


def scaling() -> int:
    """How colours are converted. By default swscale rounds down, a level darker each time, and repeats the chroma."""
    way = library().video.reformatter.Interpolation
    return way.BICUBIC | way.ACCURATE_RND | way.FULL_CHR_H_INT | way.FULL_CHR_H_INP


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Makes what goes wrong with a file a VideoError that names it."""
    try:
        yield
    except VideoError:
        raise
    except library().FFmpegError as error:
        raise VideoError(path, error.strerror or str(error)) from error
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from error


class VideoReader:
    """Within `with VideoReader(path) as video:` its frames and the packets of what is copied, in the file's order.

    Raises:
        VideoError: there is no such file, it is no video, has no picture, is encrypted or cannot be decoded.
    """

    def __init__(self, path: Path):
        self.path = path
        with naming(path):
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise VideoError(path, "is no regular file")
            if not os.path.getsize(path):
                raise VideoError(path, "the file is empty")
            self.container = self._open()
        videos = [s for s in self.container.streams.video if s.codec_context and not _is_cover(s)]
        if not videos:
            self.container.close()
            raise VideoError(path, "holds no video, or one that this build of PyAV cannot decode")
        self.stream = videos[0]
        self.stream.thread_type = "AUTO"
        kinds = ("audio", "subtitle")
        self.copied = [s for s in self.container.streams if s.type in kinds and s.codec_context]
        self.left_out = [f"{s.type} stream {s.index}" for s in self.container.streams
                         if s is not self.stream and s.type in ("video", *kinds) and s not in self.copied]  # fmt: skip
        self.rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        # A clock that starts late (a broadcast's, a cut's) starts at zero in the copy.
        self.zero = Fraction(max(0, self.container.start_time or 0), 1_000_000)

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *exception: object) -> None:
        self.container.close()

    def _open(self):
        av = library()
        # As a file's address, because a name with a colon would be taken for a protocol.
        place = "file:" + os.path.abspath(self.path)
        try:
            options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
            return av.open(place, options=options, metadata_errors="replace")
        except (av.error.InvalidDataError, av.error.ArgumentError):
            reason = "no video in a known format, or one that is cut off before its index (moov)"
            raise VideoError(self.path, reason) from None

    def decoded(self, skipped: list[str]) -> Iterator[object]:
        """PyAV's frames with `pts` and `duration` filled in and rising, and the packets of what is copied.

        Args:
            skipped: gets a line for every packet that cannot be decoded; its frames are missing.
        """
        av, tick = library(), self.stream.time_base
        usual = max(1, round(1 / (self.rate * tick)))  # ticks of a frame
        zero, last, times = round(self.zero / tick), None, deque()
        by_order = self.container.format.name == "avi"  # which knows when a frame is decoded, and not when it is shown
        for packet in self.container.demux([self.stream, *self.copied]):
            if packet.has_sidedata("encryption_info"):
                raise VideoError(self.path, "is encrypted; a copy without protection is needed")
            if packet.stream_index != self.stream.index:
                if packet.size:
                    yield packet
                continue
            if packet.size:
                times.append(packet.dts)
            try:
                frames = packet.decode()
            except av.error.InvalidDataError as error:
                skipped.append(error.strerror)
                continue
            for frame in frames:
                in_order = times.popleft() if times else None
                start = in_order if by_order or frame.pts is None else frame.pts
                if start is None:
                    start = zero if last is None else last + usual + zero
                frame.pts = start - zero if last is None else max(start - zero, last + 1)
                frame.duration = frame.duration if frame.duration and not by_order else usual
                last = frame.pts
                yield frame

    def __iter__(self) -> Iterator[object]:
        """Frame for what is translated; a packet for what is copied."""
        scaler = library().video.reformatter.VideoReformatter()
        with naming(self.path):
            for found in self.decoded([]):
                if hasattr(found, "pict_type"):
                    pixels = _upright(_to_rgb(found, scaler), _matrix(found))
                    found = Frame(pixels, found.pts, found.duration)
                yield found


def examine(path: Path) -> Facts:
    """Decode all of a video once, which costs little beside translating it: so a broken one is refused before the
    work and not after it.

    Raises:
        VideoError: as VideoReader; or there are no frames, or they are of more than one size.
    """
    skipped: list[str] = []
    with VideoReader(path) as video, naming(path):
        count, damaged, first, ends = 0, 0, None, {}
        for found in video.decoded(skipped):
            if not hasattr(found, "pict_type"):
                if found.pts is not None:
                    ends[found.stream_index] = float((found.pts + (found.duration or 0)) * found.time_base)
                continue
            first = first or found
            if (found.width, found.height) != (first.width, first.height):
                raise VideoError(path, f"frame {count} is {found.width} x {found.height} px, the first "
                                       f"{first.width} x {first.height}: one size is needed")  # fmt: skip
            count, damaged, last = count + 1, damaged + found.is_corrupt, found
        if not count:
            raise VideoError(path, "holds no frame that can be decoded" + (f" ({skipped[0]})" if skipped else ""))
        tick = video.stream.time_base
        end = float((last.pts + last.duration) * tick + video.zero)
        damage = _damage(video, end, max([end, *ends.values()]), len(skipped), damaged)
        turned = _upright(np.empty((first.height, first.width, 0)), _matrix(first)).shape
        aspect = video.stream.sample_aspect_ratio or Fraction(1)
        colour, kind = colour_of(first), first.format
        if colour.matrix not in SCALER:
            raise VideoError(path, f"colours by matrix {colour.matrix} of H.273 are not known")
        notes = conversions(colour, kind.components[0].bits, kind.name.startswith(("yuva", "argb", "rgba", "bgra")))
        return Facts(
            count, turned[1], turned[0], tick, video.rate, float((last.pts + last.duration - first.pts) * tick),
            aspect if turned[:2] == (first.height, first.width) else 1 / aspect, colour, damage,
            (*notes, *(f"{name} is left out" for name in video.left_out)),
        )  # fmt: skip


def _damage(video: VideoReader, end: float, end_of_all: float, skipped: int, damaged: int) -> str:
    parts = [f"{skipped} packets cannot be decoded"] if skipped else []
    parts += [f"{damaged} frames are damaged"] if damaged else []
    stream, container = video.stream, video.container
    expected, found = (container.duration or 0) / 1e6 + float(video.zero), end_of_all
    if stream.duration:
        expected, found = float(((stream.start_time or 0) + stream.duration) * stream.time_base), end
    if found < expected - max(SLACK, 2 / float(video.rate)):
        parts.append(f"it ends at {found:.2f} s of {expected:.2f} s")
    return ", ".join(parts)


def _is_cover(stream: object) -> bool:
    return bool(int(stream.disposition) & int(library().stream.Disposition.attached_pic))


def _to_rgb(frame: object, scaler: object) -> np.ndarray:
    """uint8 [H, W, 3]. scaler: one for all frames, because a table of HDR's colours takes seconds to make."""
    colour = colour_of(frame)
    to_sdr = {"dst_color_trc": 1, "dst_color_primaries": 1} if colour.wide else {}
    found = scaler.reformat(
        frame, format="rgb24", src_colorspace=SCALER[colour.matrix], src_color_range=2 if colour.full else 1,
        dst_color_range=2, interpolation=scaling(), **to_sdr,
    )  # fmt: skip
    return found.to_ndarray()


def _matrix(frame: object) -> tuple[int, int, int, int]:
    """How a stored place (x, y) is shown: at (a x + c y, b x + d y), as (a, b, c, d)."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
    return tuple(round(value / UNIT) for value in (a, b, c, d))


def _upright(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """[H, W, ...] turned and mirrored as its file says that it is shown; an angle that is not right is left alone."""
    a, b, c, d = matrix
    if (abs(a), abs(b), abs(c), abs(d)) == (0, 1, 1, 0):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    elif (abs(a), abs(b), abs(c), abs(d)) != (1, 0, 0, 1):
        return pixels
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
