"""The videos of a command line, one after another."""

import glob
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.source import DataError
from data.video import EXTENSIONS, VideoError
from data.video_file import written_name
from engine.exits import DONE, INTERRUPTED, SOME_FAILED, STOPPED, UserError, answer, printable
from engine.progress import progress, say
from engine.signals import StopRequest
from translation.claims import claim
from translation.painter import Painter
from translation.plan import Job
from translation.video import VideoReport, translate_video


def name_videos(inputs: Sequence[str]) -> list[Path]:
    """The inputs if they are videos, with those that a pattern names, [] if they are not; raises UserError for both
    together."""
    patterns = [each for each in inputs if glob.has_magic(each) and not os.path.exists(each)]
    matches = {each: sorted(glob.glob(each, recursive=True)) for each in patterns if each.lower().endswith(EXTENSIONS)}
    inputs = [found for each in inputs for found in matches.get(each, [each])]
    videos = [Path(each) for each in inputs if each.lower().endswith(EXTENSIONS) and not os.path.isdir(each)]
    if videos and len(videos) < len(inputs):
        other = next(each for each in inputs if Path(each) not in videos)
        raise UserError(f"{videos[0]} is a video and {other} is none: translate them by two commands")
    return videos


def left_alone(inputs: Sequence[str]) -> int:
    """How many videos lie in the folders among the inputs, which are searched for pictures alone."""
    folders = [each for each in inputs if os.path.isdir(each)]
    return sum(name.lower().endswith(EXTENSIONS) for folder in folders for *_, names in os.walk(folder)
               for name in names)  # fmt: skip


@dataclass(frozen=True)
class VideoOptions:
    """See translation.video.translate_video."""

    batch_size: int
    crf: int | None = None
    partial: bool = False
    overwrite: bool = False


def plan_videos(videos: Sequence[Path], output: Path) -> list[Job]:
    """Each with its place; raises DataError."""
    if len(videos) == 1 and output.suffix and not os.path.isdir(output):
        return [Job(videos[0], output, videos[0].name)]
    jobs = [Job(video, output / written_name(video.name), video.name) for video in videos]
    for i, job in enumerate(jobs):
        if job.target in [other.target for other in jobs[:i]]:
            raise DataError(f"two of the videos would become {job.target}: translate them into two folders")
    return jobs


def translate_videos(
    jobs: Sequence[Job], open_painter: Callable[[], Painter], options: VideoOptions, as_json: bool
) -> int:
    """Those that are not there yet, and that no other process is making; returns the exit code. Of one video alone what
    is wrong is raised, of several the others are done. A signal leaves nothing of the one that is under way."""
    open_jobs = [job for job in jobs if options.overwrite or not os.path.exists(job.target)]
    for job in jobs:
        if job not in open_jobs:
            say(f"there already (--overwrite replaces it): {job.target}")
    if not open_jobs:
        return DONE
    for job in open_jobs:
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{job.target.parent}: cannot be made ({error.strerror})") from error
    painter, failed = open_painter(), 0
    with StopRequest() as stop:
        for job in open_jobs:
            claimed = claim(job.target)
            if claimed is None:
                say(f"another process is making it: {job.target}")
                continue
            try:
                report = _translate(job, painter, options, stop)
            except KeyboardInterrupt:
                say(f"stopped by {stop.signal or 'SIGINT'}: {job.name} is not translated")
                return INTERRUPTED if stop.signal in ("", "SIGINT") else STOPPED
            except VideoError as error:
                if len(jobs) == 1:
                    raise
                failed += 1
                say(f"failed: {error}")
                continue
            finally:
                claimed.release()
            answer(json.dumps(report.as_json()) if as_json else printable(str(report)))
    return SOME_FAILED if failed else DONE


def _translate(job: Job, painter: Painter, options: VideoOptions, stop: StopRequest) -> VideoReport:
    with progress(0, "frame", f"translate {job.name}") as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if stop.signal:
                raise KeyboardInterrupt

        return translate_video(
            painter.apply, job.source, job.target, batch_size=options.batch_size, progress=advance,
            crf=options.crf, overwrite=options.overwrite, partial=options.partial,
        )  # fmt: skip
