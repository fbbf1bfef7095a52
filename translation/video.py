"""A video, frame by frame, through a trained network: the same length, times, size and sound; and how much it flickers.

Every frame is translated by itself: nothing makes a frame agree with the one before. How much they disagree is measured
(metrics/flicker.py) on pairs of frames spread evenly over the video, on what the network made and before it is encoded,
and stands beside the same number of the input.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.images import denormalise, normalise
from data.video import Facts, Frame, VideoError, VideoReader, examine
from data.video_file import VideoWriter, refuse_target, whole_or_nothing
from metrics.flicker import visible_pixels, warping_error
from metrics.optical_flow import optical_flow

FLICKER_PAIRS = 50  # measured at most: the flow of a pair in full HD takes a second or two of a CPU core
CUT = 0.5  # a pair of which less can be followed is a cut, and no motion

Translate = Callable[[Tensor], Tensor]  # [N, 3, H, W] in [-1, 1] -> the same shape and range


@dataclass(frozen=True)
class Flicker:
    """E_warp of the output and of the input, means over `pairs` of neighbouring frames; `visible` is the mean share of
    pixels that both frames of a pair show; `cuts` are pairs that were left out."""

    output: float
    input: float
    pairs: int
    cuts: int
    visible: float

    @property
    def ratio(self) -> float:
        """NaN if the input has none, as a still has."""
        return self.output / self.input if self.input else math.nan

    def __str__(self) -> str:
        beside = f"the input has {self.input * 1000:.3g}"
        times = f", {self.ratio:.3g} times as much" if math.isfinite(self.ratio) else ""
        cuts = f", {self.cuts} cuts left out" if self.cuts else ""
        of = f"n={self.pairs} pairs of frames{cuts}, {self.visible:.0%} of their pixels"
        return f"flicker (warping error x1000) {self.output * 1000:.3g}; {beside}{times} ({of})"


@dataclass(frozen=True)
class VideoReport:
    """What was written. rate: frames a second on average; copied: streams of sound and subtitles; flicker: None if no
    pair of frames could be measured; notes: what differs from the input besides its pictures."""

    source: str
    target: str
    frames: int
    width: int
    height: int
    seconds: float
    rate: float
    copied: int
    codec: str
    pixel_format: str
    flicker: Flicker | None
    notes: tuple[str, ...]

    def __str__(self) -> str:
        size = f"{self.width} x {self.height} px, {self.frames} frames, {self.seconds:.2f} s"
        parts = [f"{self.target}: {size}", *([str(self.flicker)] if self.flicker else []), *self.notes]
        return "; ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Plain values; a number that is not finite is None."""
        found = asdict(self)
        if self.flicker:
            ratio = self.flicker.ratio
            found["flicker"]["ratio"] = ratio if math.isfinite(ratio) else None
        return found


def translate_video(
    translate: Translate,
    source: Path,
    target: Path,
    *,
    batch_size: int = 1,
    progress: Callable[[int, int], object] | None = None,
    crf: int | None = None,
    overwrite: bool = False,
    partial: bool = False,
    flicker_pairs: int = FLICKER_PAIRS,
) -> VideoReport:
    """Translate all frames of a video. What is in memory at a time: a batch, and what the encoder looks ahead.

    Args:
        translate: Translator.translate, or whatever is wrapped around it.
        target: .mp4, .m4v, .mov, .mkv or .webm; it is there whole or not at all.
        progress: is called with the frames done and the frames there are.
        crf: the encoder's rate factor, from 0 (best): 17 of H.264 if it is not given, 24 of VP9.
        partial: of a damaged or truncated video take what can be decoded; else it is refused.
        flicker_pairs: 0 to measure none.

    Raises:
        VideoError: anything that is wrong with either file, out of memory, or a translation that is not finite; then,
            as after Ctrl-C, there is no `target`, or the one of before.
    """
    refuse_target(source, target, crf, overwrite)
    facts = examine(source)
    if facts.damage and not partial:
        readable = f"--partial takes the {facts.frames} frames that can be decoded"
        raise VideoError(source, f"the video is damaged: {facts.damage}; {readable}")
    meter, done = _Meter(facts.frames, flicker_pairs), 0
    with (
        whole_or_nothing(target, overwrite) as temporary,
        VideoReader(source) as video,
        VideoWriter(temporary, target, facts, video, crf) as out,
    ):
        for frames in _batches(video, out, batch_size):
            translations = _translate(translate, [torch.from_numpy(frame.pixels) for frame in frames], source, done)
            for frame, translation in zip(frames, translations, strict=True):
                meter.see(frame.pixels, translation)
                out.write(translation.numpy(), frame.start, frame.duration)
            done += len(frames)
            if progress:
                progress(done, facts.frames)
    return _report(source, target, facts, out, done, meter.read())


def _report(
    source: Path, target: Path, facts: Facts, out: VideoWriter, done: int, flicker: Flicker | None
) -> VideoReport:
    damage = (f"damaged input: {facts.damage}",) if facts.damage else ()
    notes = (*damage, *facts.notes, *out.left_out)
    return VideoReport(
        str(source), str(target), done, facts.width, facts.height, facts.seconds, float(facts.rate), len(out.copies),
        out.codec, out.pixel_format, flicker, notes,
    )  # fmt: skip


def _batches(video: VideoReader, out: VideoWriter, batch_size: int) -> Iterator[list[Frame]]:
    """Frames, by `batch_size`; what comes between them is copied on the way."""
    batch: list[Frame] = []
    for found in video:
        if not isinstance(found, Frame):
            out.copy(found)
            continue
        batch.append(found)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _translate(translate: Translate, frames: list[Tensor], source: Path, before: int) -> list[Tensor]:
    """uint8 [H, W, 3] -> the same; what is too large for the memory together is done in halves."""
    try:
        pictures = normalise(torch.stack(frames).permute(0, 3, 1, 2))
        found = translate(pictures).detach().float().cpu()
    except RuntimeError as error:  # torch.OutOfMemoryError is one, and the CPU has no class of its own
        if not (isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)):
            raise
        found = None
    half = len(frames) // 2
    if found is None and half:
        first = _translate(translate, frames[:half], source, before)
        return first + _translate(translate, frames[half:], source, before + half)
    if found is None:
        height, width = frames[0].shape[:2]
        raise VideoError(source, f"out of memory at {width} x {height} px")
    finite = found.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        number = before + int((~finite).nonzero()[0])
        raise VideoError(source, f"the translation of frame {number} is not finite: nothing is saved")
    return list(denormalise(found).permute(0, 2, 3, 1))


@dataclass
class _Meter:
    """Sees all frames and their translations in order; measures every pair, or `most` of them spread evenly."""

    frames: int
    most: int
    seen: int = 0
    before: tuple[Tensor, Tensor] | None = None
    found: list[tuple[float, float, float]] = field(default_factory=list)  # output, input, visible
    cuts: int = 0

    def __post_init__(self) -> None:
        pairs = self.frames - 1
        count = min(pairs, self.most)
        self.chosen = {(2 * i + 1) * pairs // (2 * count) for i in range(count)} if count > 0 else set()

    def see(self, frame: Any, translation: Tensor) -> None:
        """uint8 [H, W, 3], twice."""
        ends, starts = self.seen - 1 in self.chosen, self.seen in self.chosen
        self.seen += 1
        if not ends and not starts:
            self.before = None
            return
        now = tuple(normalise(x.permute(2, 0, 1)[None]) for x in (torch.from_numpy(frame), translation))
        if ends:
            self._measure(self.before, now)
        self.before = now

    def _measure(self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> None:
        forward, backward = optical_flow(first[0], second[0]), optical_flow(second[0], first[0])
        visible = visible_pixels(forward, backward)
        share = float(visible.float().mean())
        if share < CUT:
            self.cuts += 1
            return
        of_input, of_output = (float(warping_error(a, b, forward, visible)) for a, b in zip(first, second, strict=True))
        self.found.append((of_output, of_input, share))

    def read(self) -> Flicker | None:
        if not self.found:
            return None
        output, of_input, visible = torch.tensor(self.found, dtype=torch.double).mean(dim=0).tolist()
        return Flicker(output, of_input, len(self.found), self.cuts, visible)
