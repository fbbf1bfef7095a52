"""Tensors that were expensive to compute, kept on the disk under what they were computed from."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

FORMAT = 1  # to be raised when the code computes otherwise what is kept


@dataclass(frozen=True)
class TensorCache:
    """A folder of tensors, or none at all. It is safe to delete at any time, and to share between processes.

    kind: a folder of its own for each, so that a user can see what takes the room.
    """

    folder: Path | None = None

    def read(self, kind: str, of: str) -> Tensor | None:
        """What was kept of `of`, on the CPU. None also for a damaged file: what it held is computed again."""
        file = self._file(kind, of)
        try:
            return torch.load(file, weights_only=True) if file and file.is_file() else None
        except Exception:  # whatever foreign bytes make the reader raise
            return None

    def write(self, kind: str, of: str, found: Tensor) -> None:
        """Whole or not at all; a cache that cannot be written costs time and nothing else."""
        file = self._file(kind, of)
        if file is None:
            return
        temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(found, temporary)
            os.replace(temporary, file)
        except (OSError, RuntimeError):
            temporary.unlink(missing_ok=True)

    def _file(self, kind: str, of: str) -> Path | None:
        name = hashlib.sha256(f"{of} torch {torch.__version__} {FORMAT}".encode()).hexdigest()
        return None if self.folder is None else self.folder / kind / f"{name}.pt"


NO_CACHE = TensorCache()


def default_cache() -> TensorCache:
    """ATELIER_CACHE, or the user's folder of caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return TensorCache(Path(os.environ.get("ATELIER_CACHE") or Path(base) / "atelier"))
