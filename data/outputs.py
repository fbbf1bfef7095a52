"""Which file becomes which: the plan of translating a file or a folder."""

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
    `.png` behind them. Pictures below `target` are not taken as inputs if it lies inside `source`.

    Raises:
        DataError: nothing to read, or `source` and `target` are the same.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if source.resolve() == target.resolve():
        raise DataError(f"{source}: is both input and output; choose another output folder")
    if source.is_file():
        is_folder = target.is_dir() or not target.suffix
        return [Job(source, target / _written_name(source.name) if is_folder else _checked(target), source.name)]
    if target.exists() and not target.is_dir():
        raise DataError(f"{target}: is a file; an output folder is wanted for the folder {source}")
    inside = target.resolve()
    names = [name for name in find_pictures(source) if inside not in (source / name).resolve().parents]
    if not names:
        raise DataError(f"{source}: no pictures found (looked for {' '.join(EXTENSIONS)})")
    return [Job(source / name, target / _written_name(name), name) for name in names]


def make_folders(jobs: Sequence[Job]) -> None:
    """Make the output folders; raises DataError if one cannot be made or written to."""
    for folder in sorted({job.target.parent for job in jobs}):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".writable.tmp"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise DataError(f"{folder}: cannot be written to ({error.strerror})") from error


def _written_name(name: str) -> str:
    return name if name.lower().endswith(WRITABLE) else f"{name}.png"


def _checked(target: Path) -> Path:
    if target.suffix.lower() not in WRITABLE:
        raise DataError(f"{target}: cannot write {target.suffix}; one of: {' '.join(WRITABLE)}")
    return target
