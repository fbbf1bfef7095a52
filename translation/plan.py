"""Which file becomes which: the plan of a translation, made and checked before a model is loaded."""

import glob
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from data.images import EXTENSIONS, MAX_PIXELS, PictureError, find_pictures, picture_size
from data.source import DataError
from engine.exits import UserError
from translation.finish import SizeRule

# Written in their own format, so their name is kept; an animation's frame would lose its colours as a GIF.
WRITABLE = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FORMATS = {"jpg": (".jpg", ".jpeg"), "png": (".png",), "webp": (".webp",)}  # the first is written
BYTES_A_PIXEL = {".jpg": 0.6, ".jpeg": 0.6, ".png": 2.0, ".webp": 1.5}  # of a painting, as they are saved; else 3
OWN = SizeRule()
SAMPLED = 200  # headers that are read to tell how much room is needed


@dataclass(frozen=True)
class Job:
    """One picture to read, and where its translation goes; name is relative to the input folder."""

    source: Path
    target: Path
    name: str


def plan_outputs(inputs: Sequence[str], target: Path, form: str = "", listed: BinaryIO | None = None) -> list[Job]:
    """Every picture of the inputs with its place below `target`, in order of names.

    One folder is mirrored below `target`, with its subfolders. Several inputs, a pattern's matches and a list keep
    their names below the deepest folder that holds them all. Names are kept; a picture that is written in another
    format than its own gets that format's extension, behind its name where the other name is taken. If `target` lies
    inside an input folder, or a pattern fits what is there, the pictures below it are not taken as inputs.

    Args:
        inputs: pictures, folders, patterns ("photos/**/*.jpg"), or "-" for the paths in `listed`, one a line or, if
            there are such, between zero bytes.
        target: a folder; for one picture also a file.
        form: a key of FORMATS to write in; "" keeps each picture's own where it can be written, else PNG.

    Raises:
        DataError: nothing to read, an output that would replace an input, or two outputs of one name.
    """
    if len(inputs) == 1 and inputs[0] != "-" and os.path.isfile(inputs[0]):
        return _checked([_plan_file(Path(inputs[0]), target, form)])
    if os.path.exists(target) and not os.path.isdir(target):  # which raise nothing, however long the name is
        raise DataError(f"{target}: is a file; an output folder is wanted for {' '.join(inputs[:3])}")
    sources = list(dict.fromkeys(_found(inputs, target, listed)))
    root = Path(inputs[0]) if len(inputs) == 1 and os.path.isdir(inputs[0]) else _common_folder(sources)
    names = sorted({os.path.relpath(source, root) for source in sources})
    return _checked(
        [Job(root / name, target / place, name) for name, place in zip(names, _places(names, form), strict=True)]
    )


def _plan_file(source: Path, target: Path, form: str) -> Job:
    if os.path.isdir(target) or not target.suffix:
        return Job(source, target / _places([source.name], form)[0], source.name)
    wanted = FORMATS.get(form, WRITABLE)
    if target.suffix.lower() not in wanted:
        raise DataError(f"{target}: cannot write {target.suffix}; one of: {' '.join(wanted)}")
    return Job(source, target, source.name)


def _found(inputs: Sequence[str], target: Path, listed: BinaryIO | None) -> Iterator[str]:
    for given in inputs:
        if given == "-":
            yield from _listed(listed)
        elif os.path.isdir(given):
            yield from _below(Path(given), target)
        elif os.path.exists(given):
            yield given
        elif glob.has_magic(given):
            found = glob.iglob(given, recursive=True)
            if not (pictures := sorted(x for x in found if x.lower().endswith(EXTENSIONS) and os.path.isfile(x))):
                raise DataError(f"{given}: no picture has such a name (looked for {' '.join(EXTENSIONS)})")
            yield from _outside(target, pictures) or pictures
        else:
            raise DataError(f"{given}: no such file or folder")


def _listed(listed: BinaryIO | None) -> Iterator[str]:
    content = listed.read() if listed else b""
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    paths = [os.fsdecode(line) for line in lines if line]
    if not paths:
        raise DataError("-: no paths came on standard input; one a line is wanted")
    yield from paths


def _below(folder: Path, target: Path) -> Iterator[str]:
    inside, around = (os.path.join(os.path.realpath(path), "") for path in (target, folder))
    pictures = [str(folder / name) for name in find_pictures(folder)]
    if inside.startswith(around) and inside != around:
        pictures = _outside(target, pictures)
    if not pictures:
        raise DataError(f"{folder}: no pictures found (looked for {' '.join(EXTENSIONS)})")
    yield from pictures


def _outside(target: Path, pictures: Sequence[str]) -> list[str]:
    """Those that do not lie below `target`: there translations are."""
    inside = os.path.join(os.path.realpath(target), "")
    return [picture for picture in pictures if not os.path.realpath(picture).startswith(inside)]


def _common_folder(sources: Sequence[str]) -> Path:
    return Path(os.path.commonpath([os.path.dirname(os.path.abspath(source)) for source in sources]))


def _places(names: Sequence[str], form: str) -> list[str]:
    """The outputs' names. Where two pictures would become one, the one whose own name it is keeps it."""
    short = [_with_extension(name, form) for name in names]
    taken = Counter(short)
    return [
        place if place == name or taken[place] == 1 else f"{name}{FORMATS[form or 'png'][0]}"
        for name, place in zip(names, short, strict=True)
    ]


def _with_extension(name: str, form: str) -> str:
    if not form:
        return name if name.lower().endswith(WRITABLE) else f"{name}.png"
    return name if name.lower().endswith(FORMATS[form]) else os.path.splitext(name)[0] + FORMATS[form][0]


def _checked(jobs: list[Job]) -> list[Job]:
    folders: dict[str, object] = {}
    sources = {_place(job.source, folders) for job in jobs}
    targets: dict[object, Job] = {}
    for job in jobs:
        target = _place(job.target, folders)
        if target in sources:
            raise DataError(f"{job.target}: is both input and output; choose another output folder")
        if target in targets:
            raise DataError(f"{targets[target].source} and {job.source} would both become {job.target}; rename one")
        targets[target] = job
    return jobs


def _place(path: Path, folders: dict[str, object]) -> object:
    """Equal for what is one file under two names: a link, or a folder that is mounted twice.

    Args:
        folders: what is known of them already.
    """
    folder, name = os.path.split(os.path.realpath(path))
    if folder not in folders:
        try:
            found = os.stat(folder)
            folders[folder] = (found.st_dev, found.st_ino)
        except OSError:  # not made yet
            folders[folder] = folder
    return folders[folder], name


def make_folders(jobs: Sequence[Job]) -> None:
    """Make the output folders.

    Raises:
        DataError: one cannot be made or written to, or takes two names that differ in case only for one.
    """
    folders = sorted({job.target.parent for job in jobs})
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".writable.{os.getpid()}.tmp"
            probe.touch()
            blind = probe.with_name(probe.name.upper()).exists()
            probe.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written to ({error.strerror})") from error
        if blind:
            _refuse_twins([job.target for job in jobs if job.target.parent == folder])


def _refuse_twins(targets: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for target in targets:
        twin = seen.setdefault(target.name.casefold(), target)
        if twin is not target:
            raise DataError(f"{target}: this file system takes it for {twin.name}; translate them into two folders")


def room_needed(jobs: Sequence[Job], size: SizeRule = OWN) -> int:
    """Bytes that the outputs will take, estimated from some pictures' sizes; those that cannot be read, or would be too
    large to be made, take none."""
    step = max(1, len(jobs) // SAMPLED)
    sample = list(islice(jobs, 0, None, step))
    return round(sum(_bytes_of(job, size) for job in sample) * len(jobs) / max(1, len(sample)))


def _bytes_of(job: Job, size: SizeRule) -> float:
    try:
        width, height = size(picture_size(job.source))
    except PictureError:
        return 0
    if width * height > MAX_PIXELS:
        return 0
    return width * height * BYTES_A_PIXEL.get(job.target.suffix.lower(), 3.0)


def check_room(jobs: Sequence[Job], target: Path, size: SizeRule = OWN) -> tuple[int, int]:
    """(bytes that the outputs will take, bytes that are free); raises UserError where not even half is there."""
    folder = next(path for path in (target, *target.absolute().parents) if os.path.isdir(path))
    needed, free = room_needed(jobs, size), shutil.disk_usage(folder).free
    if needed > 2 * free:
        raise UserError(f"{target}: the translations take about {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free")
    return needed, free
