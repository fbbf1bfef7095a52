"""Several processes on one output folder: who makes which picture.

A claim is a file beside the picture, made by exclusive creation and locked as long as its process lives. The lock is
the kernel's: it goes with the process, however that ends, on network file systems too, so that what a killed process
has claimed is free at once.
"""

import fcntl
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from data.images import is_leftover, temporary_stem
from translation.plan import Job

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
            with suppress(OSError):
                os.fchmod(descriptor, 0o666)  # so that other users of the folder can lock it, too
        except FileExistsError:
            try:
                descriptor, is_new = _open(path), False
            except PermissionError:  # another user's
                return None
        if descriptor is None:  # released in between
            continue
        if not _lock(descriptor, is_new):
            os.close(descriptor)
            return None
        if _is_still(path, descriptor):
            if not is_new:  # of a process that was killed, maybe while it wrote
                with suppress(OSError):
                    os.utime(descriptor)  # where there are no locks it is ours for as long as a new one
                _remove_halves(target)
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
        claims = []
        for folder in folders:
            for entry in os.scandir(folder):
                if is_leftover(entry.name):
                    self._halves[folder / entry.name.split(".")[1]].append(folder / entry.name)
                elif re.fullmatch(r"\.[0-9a-f]{12}\.claim", entry.name):
                    claims.append(folder / entry.name)
        for path in claims:
            self._free(path)

    def remove(self, target: Path) -> None:
        """Those of a picture that this process has claimed, so that nobody else writes it."""
        self._remove(target.parent / temporary_stem(target))

    def _remove(self, stem: Path) -> None:
        for half in self._halves.pop(stem, ()):
            half.unlink(missing_ok=True)

    def _free(self, path: Path) -> None:
        """Remove a claim that nobody holds, and what its holder had written."""
        try:
            descriptor = _open(path)
        except OSError:  # another user's, or no file
            return
        if descriptor is None:
            return
        if _lock(descriptor) and _is_still(path, descriptor):
            self._remove(path.with_name(path.name.split(".")[1]))
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _remove_halves(target: Path) -> None:
    for entry in os.scandir(target.parent):
        if is_leftover(entry.name) and entry.name.split(".")[1] == temporary_stem(target):
            target.with_name(entry.name).unlink(missing_ok=True)


def clean_up(jobs: Sequence[Job], open_jobs: Sequence[Job]) -> None:
    """Free what was left in folders where nothing is to do any more; in the others whoever works there does it."""
    folders = {job.target.parent for job in jobs} - {job.target.parent for job in open_jobs}
    Leftovers(folder for folder in folders if os.path.isdir(folder))
