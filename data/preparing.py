"""Pictures checked, brought to one size and indexed, in worker processes that a broken file may kill.

What a prepared folder holds (`data/prepared.py` reads it):

    pictures/            the tree of the source; a file that was no JPEG gets .jpg behind its whole name
    index.csv            one row a picture: path, part, size, what it was, its content's hash, its labels
    bad_files.csv        what could not be read, and why
    duplicates.csv       what has the same bytes as a picture that is kept
    prepared.json        how it was made: version, source, its fingerprint, options
    journal.jsonl        one line a file that is done, as it is done: what makes the same command go on
"""

import csv
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from data.images import PictureError, open_picture, save_picture

CHUNK = 16  # files handed to a worker at once
QUEUED = 3  # chunks waiting for each worker


@dataclass(frozen=True)
class Task:
    """How every picture of one source is prepared."""

    source: Path
    pictures: Path  # where to
    size: int  # px, of the shorter side; smaller pictures stay as they are
    min_side: int = 0  # px; smaller pictures are refused
    lossless: bool = False  # PNG instead of JPEG at quality 95

    def output(self, path: str) -> str:
        """Where a picture goes, relative to `pictures`. No two inputs share an output."""
        suffixes = (".png",) if self.lossless else (".jpg", ".jpeg")
        return path if path.lower().endswith(suffixes) else path + suffixes[0]


@dataclass(frozen=True)
class Outcome:
    """What became of one file: `reason` is "" for a picture that was written."""

    path: str  # relative to the source
    file_size: int  # bytes
    modified: int  # ns
    reason: str = ""
    sha256: str = ""  # of the file's bytes
    original_width: int = 0
    original_height: int = 0
    width: int = 0
    height: int = 0


def prepare_picture(task: Task, path: str) -> Outcome:
    """Check, resize and write one file; whatever is wrong with it stands in the outcome."""
    file = task.source / path
    known = {"path": path, "file_size": -1, "modified": -1}
    try:
        stat = file.stat()
        known |= {"file_size": stat.st_size, "modified": stat.st_mtime_ns}
        known["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
        image = open_picture(file)
        known |= {"original_width": image.width, "original_height": image.height}
        if min(image.size) < task.min_side:
            return Outcome(**known, reason=f"{image.width} x {image.height} px is below {task.min_side} px")
        image = shrink(image, task.size)
        output = task.pictures / task.output(path)
        output.parent.mkdir(parents=True, exist_ok=True)
        save_picture(image, output)
        return Outcome(**known, width=image.width, height=image.height)
    except PictureError as error:
        return Outcome(**known, reason=error.reason)
    except OSError as error:
        if file.is_file() and os.access(file, os.R_OK):
            raise  # it is not the picture but the place where it should go
        return Outcome(**known, reason=error.strerror or str(error))


def shrink(image: Image.Image, side: int) -> Image.Image:
    """Shorter side to `side` px, bicubic, antialiased, aspect kept; smaller pictures are returned as they are."""
    scale = side / min(image.size)
    if scale >= 1:
        return image
    return image.resize([max(1, round(length * scale)) for length in image.size], Image.Resampling.BICUBIC)


def prepare_pictures(
    task: Task, paths: Sequence[str], workers: int, prepare: Callable[[Task, str], Outcome] = prepare_picture
) -> Iterator[Outcome]:
    """All outcomes, as they come. A file that kills its worker is found by trying what was under way one by one."""
    chunks = [list(paths[start : start + CHUNK]) for start in range(0, len(paths), CHUNK)]
    while chunks:
        suspects: list[list[str]] = []
        with _pool(workers) as pool:
            yield from _drain(pool, prepare, task, chunks, workers, suspects)
        for path in (path for chunk in suspects for path in chunk):
            yield _prepare_alone(prepare, task, path)


def fingerprint(root: Path, paths: Iterable[str]) -> str:
    """SHA-256 of every path with its size and time of change: another value, another source."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        try:
            stat = (root / path).stat()
            line = f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
        except OSError:
            line = f"{path}\0missing\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


class Journal:
    """The outcomes so far, one JSON line each; a line that was torn by a kill counts as not written."""

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> dict[str, Outcome]:
        outcomes = {}
        if self.path.exists():
            for line in self.path.read_bytes().splitlines():
                try:
                    outcome = Outcome(**json.loads(line))
                except (ValueError, TypeError):
                    continue
                outcomes[outcome.path] = outcome
        return outcomes

    def append(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """Write each outcome down, then pass it on."""
        with self.path.open("ab") as file:
            file.write(b"\n")  # ends a line that a kill has torn
            for outcome in outcomes:
                file.write(json.dumps(asdict(outcome)).encode() + b"\n")
                file.flush()
                yield outcome


def is_done(task: Task, outcome: Outcome) -> bool:
    """The file is still what it was, and its picture is there."""
    try:
        stat = (task.source / outcome.path).stat()
    except OSError:
        return False
    unchanged = (stat.st_size, stat.st_mtime_ns) == (outcome.file_size, outcome.modified)
    return unchanged and (bool(outcome.reason) or (task.pictures / task.output(outcome.path)).exists())


def find_duplicates(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """{path: the earlier path with the same bytes}, by the order given."""
    first: dict[str, str] = {}
    duplicates = {}
    for outcome in outcomes:
        kept = first.setdefault(outcome.sha256, outcome.path)
        if kept != outcome.path:
            duplicates[outcome.path] = kept
    return duplicates


def write_table(path: Path, rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """A CSV file, whole or not at all; names of any bytes survive."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)


def _pool(workers: int) -> ProcessPoolExecutor:
    # Not forked: the parent may hold threads and locks.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data.preparing"])
    return ProcessPoolExecutor(workers, context)


def _drain(
    pool: ProcessPoolExecutor,
    prepare: Callable[[Task, str], Outcome],
    task: Task,
    chunks: list[list[str]],
    workers: int,
    suspects: list[list[str]],
) -> Iterator[Outcome]:
    """Takes from `chunks` until they are done or a worker dies; then `suspects` holds what was under way."""
    running: dict[Future, list[str]] = {}
    while chunks or running:
        while chunks and len(running) < QUEUED * workers and not suspects:
            try:
                running[pool.submit(_prepare_chunk, prepare, task, chunks[0])] = chunks[0]
            except BrokenProcessPool:
                break
            chunks.pop(0)
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            chunk = running.pop(future)
            try:
                yield from future.result()
            except BrokenProcessPool:
                suspects.append(chunk)
        if suspects and not running:
            return


def _prepare_chunk(prepare: Callable[[Task, str], Outcome], task: Task, paths: list[str]) -> list[Outcome]:
    return [prepare(task, path) for path in paths]


def _prepare_alone(prepare: Callable[[Task, str], Outcome], task: Task, path: str) -> Outcome:
    with _pool(1) as pool:
        try:
            return pool.submit(prepare, task, path).result()
        except BrokenProcessPool:
            stat = (task.source / path).stat()
            return Outcome(path, stat.st_size, stat.st_mtime_ns, reason="the decoder crashed on it")
