"""Pictures checked, brought to one size and written, in worker processes that a broken file may kill.

What the folder holds in the end, `data/prepared.py` says.
"""

import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from data import open_source
from data.files import Files, is_below
from data.images import PictureError, decode, save_picture, upright_size
from data.source import DataError

CHUNK = 16  # files handed to a worker at once
SUFFIXES = {"jpeg": (".jpg", ".jpeg"), "png": (".png",), "bmp": (".bmp",)}  # the first is put behind other names
OUTSIDE = "outside"  # folder of the pictures that a list names by paths that lead out of its own folder
QUEUED = 3  # chunks waiting for each worker


@dataclass(frozen=True)
class Task:
    """How every picture of one source is prepared."""

    files: Files
    pictures: Path  # where to
    size: int  # px, of the shorter side; smaller pictures stay as they are
    min_side: int = 0  # px; smaller pictures are refused
    format: str = "jpeg"  # of SUFFIXES
    stretch: bool = False  # to size x size, as the recipe's first step does; else the aspect is kept

    def output(self, path: str) -> str:
        """Where a picture goes, relative to `pictures`. No two inputs below the root share an output."""
        if not is_below(path):
            path = os.path.join(OUTSIDE, *(part for part in Path(os.path.abspath(self.files.root / path)).parts[1:]))
        suffixes = SUFFIXES[self.format]
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


def list_entries(options: object) -> tuple[Files, dict[str, dict[str, str]], list[str]]:
    """Every picture that a source's options choose, by its path, held-out ones first: {"part": ..., and its labels};
    and why a part has none.

    Raises:
        DataError: nothing is there, or the parts do not lie below one root.
    """
    entries: dict[str, dict[str, str]] = {}
    stores, problems = [], {}
    for part in ("held_out", "train"):
        try:
            source = open_source(options, "content", part)
        except DataError as error:
            problems[part] = error
            continue
        stores.append(source.files)
        labels = {kind: source.labels[kind] for kind in source.labels}
        for index, name in enumerate(source.names):
            entries[name] = {"part": part} | {kind: values[index] for kind, values in labels.items()}
    if not entries:
        raise next(iter(problems.values()))
    if len({files.root for files in stores}) > 1:
        raise DataError("held_out: lies outside of the source; prepare it by itself, or list both below one folder")
    return stores[-1], entries, [f"no picture for the {part} part: {error}" for part, error in problems.items()]


def index_rows(
    task: Task, entries: Mapping[str, Mapping[str, str]], outcomes: Mapping[str, Outcome]
) -> tuple[list[dict[str, object]], dict[str, str], dict[str, str]]:
    """The rows of the index, by path; the bad files with their reasons; and the duplicates, {path: path that is kept},
    whose pictures are taken away again."""
    read = [outcomes[path] for path in entries if not outcomes[path].reason]
    bad = {path: outcomes[path].reason for path in entries if outcomes[path].reason}
    duplicates = find_duplicates(read)
    for path in duplicates:
        (task.pictures / task.output(path)).unlink(missing_ok=True)
    kept = sorted((outcome for outcome in read if outcome.path not in duplicates), key=lambda outcome: outcome.path)
    facts = ("width", "height", "original_width", "original_height", "sha256")
    rows = [
        {"path": task.output(outcome.path), "original": outcome.path}
        | {fact: getattr(outcome, fact) for fact in facts}
        | entries[outcome.path]
        for outcome in kept
    ]
    return rows, bad, duplicates


def prepare_picture(task: Task, path: str) -> Outcome:
    """Check, resize and write one file; whatever is wrong with it stands in the outcome.

    Raises:
        OSError: the picture cannot be written.
    """
    known = {"path": path, "file_size": -1, "modified": -1}
    try:
        known["file_size"], known["modified"] = task.files.stamp(path)
        with task.files.open(path) as file:
            known["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            image = decode(file, path, task.size)
            file.seek(0)
            size = upright_size(file)
    except PictureError as error:
        return Outcome(**known, reason=error.reason)
    except OSError as error:
        return Outcome(**known, reason=error.strerror or str(error))
    if min(size) < task.min_side:
        return Outcome(**known, reason=f"{size[0]} x {size[1]} px is below {task.min_side} px")
    if task.stretch:
        image = image.resize((task.size, task.size), Image.Resampling.BICUBIC)
    else:
        image = shrink(image, size, task.size)
    output = task.pictures / task.output(path)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_picture(image, output)
    return Outcome(**known, original_width=size[0], original_height=size[1], width=image.width, height=image.height)


def shrink(image: Image.Image, size: tuple[int, int], side: int) -> Image.Image:
    """Shorter side to `side` px, bicubic, antialiased, aspect kept; smaller pictures are returned as they are.

    Args:
        size: of the picture in its file, of which `image` may be a draft.
    """
    scale = side / min(size)
    if scale >= 1:
        return image
    width, height = (max(1, round(length * scale)) for length in size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def prepare_pictures(
    task: Task, paths: Sequence[str], workers: int, prepare: Callable[[Task, str], Outcome] = prepare_picture
) -> Iterator[Outcome]:
    """All outcomes, as they come. A file that kills its worker is found by trying what was under way one by one."""
    chunks = [list(paths[start : start + CHUNK]) for start in range(0, len(paths), CHUNK)]
    while chunks:
        suspects: list[list[str]] = []
        pool = _pool(workers)
        try:
            yield from _drain(pool, prepare, task, chunks, workers, suspects)
        finally:
            pool.shutdown(cancel_futures=True)  # whoever has seen enough need not wait for the rest
        for path in (path for chunk in suspects for path in chunk):
            yield _prepare_alone(prepare, task, path)


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


def still_good(task: Task, outcomes: Mapping[str, Outcome], paths: Iterable[str]) -> dict[str, Outcome]:
    """Of the outcomes of an earlier start, by path, those that stand: the file is what it was, and its picture is there
    unless it needs none."""
    unchanged = {path: outcomes[path] for path in paths if path in outcomes and _is_unchanged(task, outcomes[path])}
    duplicates = find_duplicates([outcome for outcome in unchanged.values() if not outcome.reason])
    return {
        path: outcome
        for path, outcome in unchanged.items()
        if outcome.reason or path in duplicates or (task.pictures / task.output(path)).exists()
    }


def _is_unchanged(task: Task, outcome: Outcome) -> bool:
    try:
        return task.files.stamp(outcome.path) == (outcome.file_size, outcome.modified)
    except OSError:
        return False


def remove_leftovers(pictures: Path) -> None:
    """Half-written pictures of a preparation that was killed."""
    for path in pictures.rglob(".*.tmp.*"):
        path.unlink()


def find_duplicates(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """{path: the earlier path with the same bytes}, by the order given."""
    first: dict[str, str] = {}
    duplicates = {}
    for outcome in outcomes:
        kept = first.setdefault(outcome.sha256, outcome.path)
        if kept != outcome.path:
            duplicates[outcome.path] = kept
    return duplicates


def _pool(workers: int) -> ProcessPoolExecutor:
    # Not forked: the parent may hold threads and locks.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data.preparing"])
    return ProcessPoolExecutor(workers, context, initializer=_live_with_parent)


def _live_with_parent() -> None:
    """A worker leaves signals to its parent, and ends when that is gone: other workers hold the ends of its queue open,
    so it would wait there for ever."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)

    def watch() -> None:
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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
            return Outcome(path, *task.files.stamp(path), reason="the decoder crashed on it")
