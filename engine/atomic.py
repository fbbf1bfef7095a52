"""Files that are there whole or not at all."""

import glob
import os
from pathlib import Path


def write_atomically(path: Path, content: bytes | memoryview | str) -> None:
    """Write `content` under a temporary name, flush it to the disk, then rename it to `path`.

    A process killed at any moment leaves the old file, the new file, or a `*.tmp` beside the old one.
    """
    content = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Those of processes that were killed while they wrote `path`; for when nobody else can be writing it."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable: on most file systems it lives in the folder, not in the file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
