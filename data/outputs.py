"""Which file becomes which: the plan of translating a file or a folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.images import EXTENSIONS, find_pictures
from data.source import DataError

# Written in their own format, so their name is kept; an animation's frame would lose its colours as a GIF.
WRITABLE = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Job:
    """One picture to read, and where its translation goes; name is relative to the input folder."""

    source: Path
    target: Path
    name: str


def plan_outputs(source: Path, target: Path) -> list[Job]:
    """Every picture below `source` (or the one file) with its place below `target`.

    Nested folders are mirrored and names are kept; only names that cannot be written in their own format get
    `.png` behind them. If `target` lies inside `source`, the pictures below it are not taken as inputs.

    Raises:
        DataError: nothing to read, an output that would replace an input, or two outputs of one name.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if source.is_file():
        is_folder = target.is_dir() or not target.suffix
        place = target / _written_name(source.name) if is_folder else _checked(target)
        jobs = [Job(source, place, source.name)]
    else:
        jobs = _plan_folder(source, target)
    _refuse_collisions(jobs)
    return jobs


def _plan_folder(source: Path, target: Path) -> list[Job]:
    if target.exists() and not target.is_dir():
        raise DataError(f"{target}: is a file; an output folder is wanted for the folder {source}")
    inside = target.resolve()
    names = find_pictures(source)
    if source.resolve() in inside.parents:
        names = [name for name in names if inside not in (source / name).resolve().parents]
    if not names:
        raise DataError(f"{source}: no pictures found (looked for {' '.join(EXTENSIONS)})")
    return [Job(source / name, target / _written_name(name), name) for name in names]


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    sources = {job.source.resolve(): job for job in jobs}
    targets: dict[Path, Job] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in sources:
            raise DataError(f"{job.target}: is both input and output; choose another output folder")
        if target in targets:
            raise DataError(f"{targets[target].source} and {job.source} would both become {job.target}; rename one")
        targets[target] = job


def make_folders(jobs: Sequence[Job]) -> None:
    """Make the output folders; raises DataError if one cannot be made or written to."""
    for folder in sorted({job.target.parent for job in jobs}):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".writable.{os.getpid()}.tmp"
            probe.touch()
            probe.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written to ({error.strerror})") from error


def _written_name(name: str) -> str:
    return name if name.lower().endswith(WRITABLE) else f"{name}.png"


def _checked(target: Path) -> Path:
    if target.suffix.lower() not in WRITABLE:
        raise DataError(f"{target}: cannot write {target.suffix}; one of: {' '.join(WRITABLE)}")
    return target
