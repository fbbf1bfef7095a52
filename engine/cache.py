"""What was expensive to compute, kept on the disk under what it was computed from."""

import hashlib
import io
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from engine.atomic import write_atomically
from engine.checkpoint import fingerprint

CODE = ("data", "metrics", "models")  # packages whose every change makes what they computed before another thing


@dataclass(frozen=True)
class TensorCache:
    """A folder of tensors and plain values, or none at all. It is safe to delete at any time, and to share between
    processes."""

    folder: Path | None = None

    def read(self, kind: str, of: str) -> Any:
        """What was kept of `of`, tensors on the CPU. None also for a damaged file: what it held is computed again.

        Args:
            kind: a folder of its own for each, so that a user sees what takes the room.
        """
        file = self._file(kind, of)
        try:
            state = torch.load(file, weights_only=True) if file and file.is_file() else {}
            return state.get("found") if state.get("sha256") == fingerprint({"found": state.get("found")}) else None
        except Exception:  # whatever foreign bytes make the reader raise
            return None

    def write(self, kind: str, of: str, found: Any) -> None:
        """Whole or not at all; a cache that cannot be written costs time and nothing else."""
        file = self._file(kind, of)
        if file is None:
            return
        buffer = io.BytesIO()
        torch.save({"found": found, "sha256": fingerprint({"found": found})}, buffer)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, buffer.getbuffer())
        except OSError:
            return

    def _file(self, kind: str, of: str) -> Path | None:
        name = hashlib.sha256(f"{of} torch {torch.__version__} {_code()}".encode()).hexdigest()
        return None if self.folder is None else self.folder / kind / f"{name}.pt"


NO_CACHE = TensorCache()


@lru_cache(maxsize=1)
def _code() -> str:
    """Of the sources that compute what is kept."""
    root, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for file in sorted(file for package in CODE for file in (root / package).rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def default_cache() -> TensorCache:
    """ATELIER_CACHE, or the user's folder of caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return TensorCache(Path(os.environ.get("ATELIER_CACHE") or Path(base) / "atelier"))
