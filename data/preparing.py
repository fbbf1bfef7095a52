"""Pictures checked, brought to one size and written, in worker processes that a broken file may kill.

What the folder holds in the end, `data/prepared.py` says.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from PIL import Image

from data import open_source
from data.files import Files, Stamp, is_below
from data.images import EXTENSIONS, PictureError, decode, is_leftover, save_picture, upright_size
from data.source import DataError, EmptyPartError
from data.worker_pool import in_workers

SUFFIXES = {"jpeg": (".jpg", ".jpeg"), "png": (".png",), "bmp": (".bmp",)}  # the first is put behind other names
# Errors of writing one picture that say nothing of the disk: its size or its name, or a folder of that name.
OF_THIS_NAME = (None, errno.ENAMETOOLONG, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
OUTSIDE = "_outside"  # folder of the pictures that a list names by paths that lead out of its own folder


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
        """Where a picture goes, relative to `pictures`. No two inputs share an output: a name is kept if it cannot be
        that of another input with the suffix behind it, and else it gets the suffix, too."""
        if not is_below(path):
            path = os.path.join(OUTSIDE, *Path(os.path.abspath(self.files.root / path)).parts[1:])
        suffixes = SUFFIXES[self.format]
        stem, suffix = os.path.splitext(path)
        keeps_name = suffix.lower() in suffixes and os.path.splitext(stem)[1].lower() not in EXTENSIONS
        return path if keeps_name else path + suffixes[0]


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


@dataclass(frozen=True)
class Entries:
    """Every picture that a source's options choose.

    files: where they are.
    entries: by path, held-out ones first: {"part": ..., and its labels}.
    stamps: of the whole source, before its pictures are read, so that what changes meanwhile is noticed later.
    problems: why a part has no picture.
    """

    files: Files
    entries: dict[str, dict[str, str]]
    stamps: list[Stamp]
    problems: list[str]


def list_entries(options: object) -> Entries:
    """Both parts of a source; a picture that is in both is held out.

    Raises:
        DataError: nothing is there, or the parts do not lie below one root.
    """
    entries: dict[str, dict[str, str]] = {}
    stores, problems = [], {}
    for part in ("held_out", "train"):
        try:
            source = open_source(options, "content", part)
        except EmptyPartError as error:
            problems[part] = _without_domain(error)
            continue
        except DataError as error:
            raise DataError(_without_domain(error)) from error
        stores.append(source.files)
        labels = {kind: source.labels[kind] for kind in source.labels}
        for index, name in enumerate(source.names):
            entries.setdefault(name, {"part": part} | {kind: values[index] for kind, values in labels.items()})
    if not entries:
        raise DataError(next(iter(problems.values())))
    if len({files.root for files in stores}) > 1:
        raise DataError("held_out: lies outside of the source; prepare it by itself, or list both below one folder")
    stamps = sorted({stamp for files in stores for stamp in files.inventory()})
    said = [f"no picture for the {part} part: {problem}" for part, problem in problems.items()]
    return Entries(stores[-1], entries, stamps, said)


def _without_domain(error: DataError) -> str:
    """Here a source is given by itself and not as data.content."""
    return str(error).replace("data.content.", "").replace("data.content", "the source")


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
        OSError: the place where the picture should go cannot be written to.
    """
    known = {"path": path, "file_size": -1, "modified": -1}
    try:
        known["file_size"], known["modified"] = task.files.stamp(path)
        with task.files.open(path) as file:
            known["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            image = decode(file, path, task.size)
            file.seek(0)
            size = upright_size(file, image)
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
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        save_picture(image, output)
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) not in OF_THIS_NAME:
            raise
        return Outcome(**known, reason=f"cannot be written as {output.name[-20:]}: {error}")
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
    """All outcomes, as they come; a file that crashes its decoder is one of them."""

    def lost(path: str) -> Outcome:
        return Outcome(path, *_stamp(task, path), reason="the decoder crashed on it")

    return in_workers(partial(prepare, task), paths, workers, lost)


def prepare_rest(
    task: Task, entries: Mapping[str, Mapping[str, str]], outcomes: Mapping[str, Outcome], workers: int, stretch: bool
) -> Iterator[Outcome]:
    """The outcomes that are still lacking, held-out pictures first: of equal pictures the first is kept.

    Args:
        stretch: the training pictures; held-out ones are measured with their aspect kept.
    """
    todo = [path for path in entries if path not in outcomes]
    for part, of_part in (("held_out", task), ("train", replace(task, stretch=stretch))):
        yield from prepare_pictures(of_part, [path for path in todo if entries[path]["part"] == part], workers)


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
                if isinstance(outcome.path, str):
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


def _stamp(task: Task, path: str) -> tuple[int, int]:
    try:
        return task.files.stamp(path)
    except OSError:
        return -1, -1  # it is gone


def _is_unchanged(task: Task, outcome: Outcome) -> bool:
    try:
        return task.files.stamp(outcome.path) == (outcome.file_size, outcome.modified)
    except OSError:
        return False


def remove_leftovers(pictures: Path) -> None:
    """Half-written pictures of a preparation that was killed."""
    for path in pictures.rglob(".*.tmp.*"):
        if is_leftover(path.name):
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
