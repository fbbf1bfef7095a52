"""A disk that is really full for a while: a small file system of its own, or, where none can be mounted, the
kernel's limit on the size of files."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOUNTED_SIZE = 8 * 2**20  # bytes
BLOCK = 4096  # bytes
LEFT = 16 * BLOCK  # bytes, when it is full: for rows and checksums, but for no checkpoint


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """`folder` as a disk of its own, if that is allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MOUNTED_SIZE}", "tmpfs", str(folder)]
    allowed = os.geteuid() == 0 and shutil.which("mount")
    mounted = allowed and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


class FullDisk:
    """What `small_disk` made, as the process that writes there can fill it."""

    def __init__(self, folder: Path):
        self.folder = folder

    @contextmanager
    def full(self) -> Iterator[None]:
        with self._filled() if os.path.ismount(self.folder) else _limited():
            yield

    @contextmanager
    def _filled(self) -> Iterator[None]:
        filler = self.folder / "filler"
        try:
            with open(filler, "wb", buffering=0) as file:
                while _free(self.folder) > LEFT:
                    file.write(bytes(BLOCK))
            yield
        finally:
            filler.unlink()


@contextmanager
def _limited() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LEFT, hard))  # Python ignores the signal, so that writing fails
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
