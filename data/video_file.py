"""Frames in memory -> a video on disk, with the packets that are copied from another one. PyAV comes from
`data/video.py`."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.images import temporary_stem
from data.video import Facts, VideoError, VideoReader, library, naming, scaling
from data.video_colour import SCALER, written

WRITABLE = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
# By container: the encoder, its rate factor (crf) if none is asked for, the largest one, its other options.
H264 = ("libx264", 17, 51, {"preset": "medium"})
VP9 = ("libvpx-vp9", 24, 63, {"b:v": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"})
NOT_COPIED = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")  # said anew by the writer


def written_name(name: str) -> str:
    """The name of a video's translation: its own, or with .mkv behind it, which holds the sound of any container."""
    return name if Path(name).suffix.lower() in WRITABLE else f"{name}.mkv"


def refuse_target(source: Path, target: Path, crf: int | None, overwrite: bool) -> None:
    """Raises VideoError if `target` cannot become the translation of `source`, before any work is done."""
    container = WRITABLE.get(target.suffix.lower())
    if container is None:
        raise VideoError(target, f"cannot write {target.suffix or 'this'}; one of: {' '.join(WRITABLE)}")
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(target, source):
        raise VideoError(target, "is both input and output; choose another output")
    if os.path.exists(target) and not overwrite:
        raise VideoError(target, "is there already; --overwrite replaces it")
    if not target.parent.is_dir():
        raise VideoError(target, "its folder does not exist")
    name, _, largest, _ = _encoder(container)
    if crf is not None and not 0 <= crf <= largest:
        raise VideoError(target, f"crf {crf}: {name} takes 0 (best) to {largest}")
    if name not in library().codecs_available:
        raise VideoError(target, f"this build of PyAV has no {name}; the wheel of pip install av has it")
    with VideoReader(source) as video:
        for stream in video.copied:
            codec = stream.codec_context.codec.canonical_name
            if stream.type == "audio" and codec not in supported(container):
                unchanged = f"cannot hold its sound ({codec}) as it is"
                raise VideoError(target, f"{container} {unchanged}; choose {target.with_suffix('.mkv').name}")


def supported(container: str) -> set[str]:
    """Names of the codecs that a container can hold."""
    with library().open(os.devnull, "w", format=container) as probe:
        return probe.supported_codecs


@contextlib.contextmanager
def whole_or_nothing(target: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary path beside `target` that becomes it when the block ends well, and is removed when it does not."""
    temporary = target.with_name(f".{temporary_stem(target)}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        if os.path.exists(target) and not overwrite:
            raise VideoError(target, "has come into being meanwhile; --overwrite replaces it")
        with naming(target):
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


class VideoWriter:
    """Within `with VideoWriter(path, container, facts, video) as out:` frames and packets are written as they come.

    H.264, or VP9 in WebM. The size is kept exactly: 4:2:0 where it can hold it, which everything plays, and H.264 of
    odd sides as 4:4:4, because its 4:2:0 knows even sides only. Times are those of the input, in its ticks; Matroska
    and WebM count in milliseconds.

    Args:
        target: stands in the message of an error.
        video: whose streams, chapters and tags are copied.
    """

    def __init__(self, path: Path, target: Path, facts: Facts, video: VideoReader, crf: int | None = None):
        self.target, self.facts, self.colour = target, facts, written(facts.colour)
        container = WRITABLE[target.suffix.lower()]
        self.codec, usual, _, options = _encoder(container)
        odd = facts.width % 2 or facts.height % 2
        self.pixel_format = "yuv444p" if odd and self.codec == "libx264" else "yuv420p"
        self.left_out: list[str] = []
        extra = {"movflags": "+faststart"} if container in ("mp4", "mov") else {}
        with naming(target):
            self.container = library().open(f"file:{path.absolute()}", "w", format=container, options=extra)
        self.stream = self._add_video({**options, "crf": str(usual if crf is None else crf)})
        self.copies = self._add_copies(video, supported(container))
        self.scaler, self.zero = library().video.reformatter.VideoReformatter(), video.zero
        tags = {key: value for key, value in video.container.metadata.items() if key.lower() not in NOT_COPIED}
        self.container.metadata.update(tags)
        self.container.set_chapters(video.container.chapters())

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        with naming(self.target) if kind is None else contextlib.suppress(Exception):
            if kind is None:
                self.container.mux(self.stream.encode())
            self.container.close()

    def write(self, pixels: np.ndarray, start: int, duration: int) -> None:
        """uint8 [H, W, 3], RGB, to be shown from `start` on, in ticks."""
        av, colour = library(), self.colour
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = self.scaler.reformat(
            frame, format=self.pixel_format, src_color_range=2, dst_color_range=1, dst_colorspace=SCALER[colour.matrix],
            interpolation=scaling(),
        )  # fmt: skip
        frame.colorspace, frame.color_range = colour.matrix, 1
        frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
        frame.pts, frame.duration, frame.time_base = start, duration, self.facts.tick
        with naming(self.target):
            self.container.mux(self.stream.encode(frame))

    def copy(self, packet: object) -> None:
        """A packet of the input, unchanged but for the zero of its clock."""
        if packet.stream_index not in self.copies:
            return
        shift = round(self.zero / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = self.copies[packet.stream_index]
        with naming(self.target):
            self.container.mux(packet)

    def _add_video(self, options: dict[str, str]) -> object:
        facts, colour = self.facts, self.colour
        stream = self.container.add_stream(self.codec, rate=facts.rate, options=options)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = facts.width, facts.height, self.pixel_format
        context.time_base, context.sample_aspect_ratio = facts.tick, facts.aspect
        context.colorspace, context.color_range = colour.matrix, 1
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        # Else the last frame, and every one of a variable rate, would be shown for as long as an average one.
        context.flags |= library().codec.context.Flags.frame_duration
        stream.time_base = facts.tick
        context.thread_type = "AUTO"
        return stream

    def _add_copies(self, video: VideoReader, holds: set[str]) -> dict[int, object]:
        copies = {}
        for stream in video.copied:
            codec = stream.codec_context.codec.canonical_name
            if codec not in holds:
                self.left_out.append(f"subtitles ({codec}) are left out: {self.target.suffix} cannot hold them")
                continue
            with naming(self.target):
                copies[stream.index] = added = self.container.add_stream_from_template(stream)
            added.metadata.update(stream.metadata)
            added.disposition = stream.disposition
        return copies


def _encoder(container: str) -> tuple[str, int, int, dict[str, str]]:
    return VP9 if container == "webm" else H264
