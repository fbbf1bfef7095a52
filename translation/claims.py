"""Several processes on one output folder: who makes which picture.

A claim is a file beside the picture, made by exclusive creation and locked as long as its process lives. The lock is
the kernel's: it goes with the process, however that ends, on network file systems too, so that what a killed process
has claimed is free at once.
"""

import fcntl
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from data.images import is_leftover, temporary_stem

ABANDONED = 3600.0  # seconds, after which a claim counts as nobody's on a file system that knows no locks


class Claim:
    """This process makes the picture; `release` when it is there, or has failed."""

    def __init__(self, path: Path, descriptor: int):
        self.path, self._descriptor = path, descriptor

    def release(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def claim(target: Path) -> Claim | None:
    """None if another process is making `target`, or has made it meanwhile.

    Raises:
        OSError: nothing can be written there.
    """
    path = claim_path(target)
    while True:
        try:
            descriptor, is_new = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), True
        except FileExistsError:
            descriptor, is_new = _open(path), False
        if descriptor is None:  # released in between
            continue
        if not _lock(descriptor, is_new):
            os.close(descriptor)
            return None
        if _is_still(path, descriptor):
            return Claim(path, descriptor)
        os.close(descriptor)  # its maker has released it before it was ours: it is no claim any more


def claim_path(target: Path) -> Path:
    return target.with_name(f".{temporary_stem(target)}.claim")


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None


def _lock(descriptor: int, is_new: bool = False) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # no locks here: then creation alone says whose it is
        return is_new or time.time() - os.fstat(descriptor).st_mtime > ABANDONED


def _is_still(path: Path, descriptor: int) -> bool:
    """The file that was opened is the one of that name."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


class Leftovers:
    """What killed processes have left in the output folders: half files under temporary names, and claims."""

    def __init__(self, folders: Iterable[Path]):
        self._halves: dict[Path, list[Path]] = defaultdict(list)
        for folder in folders:
            for entry in os.scandir(folder):
                if is_leftover(entry.name):
                    self._halves[folder / entry.name.split(".")[1]].append(folder / entry.name)
                elif entry.name.startswith(".") and entry.name.endswith(".claim"):
                    _free(folder / entry.name)

    def remove(self, target: Path) -> None:
        """Those of a picture that this process has claimed, so that nobody else writes it."""
        for half in self._halves.pop(target.parent / temporary_stem(target), ()):
            half.unlink(missing_ok=True)


def _free(path: Path) -> None:
    """Remove a claim that nobody holds."""
    descriptor = _open(path)
    if descriptor is None:
        return
    if _lock(descriptor) and _is_still(path, descriptor):
        path.unlink(missing_ok=True)
    os.close(descriptor)
