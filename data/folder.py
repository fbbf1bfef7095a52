"""Any folder of pictures as a source."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from data.images import EXTENSIONS, find_pictures, open_picture
from data.labels import Labels
from data.names import Names
from data.options import FolderOptions
from data.source import DataError


@dataclass(frozen=True)
class FolderSource:
    """The named files below a folder, decoded when asked for; `labels`, by kind, is what is known of each."""

    root: Path
    names: Names
    labels: Mapping[str, Labels] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image.Image:
        return open_picture(self.root / self.names[index])

    def name(self, index: int) -> str:
        return self.names[index]


def open_folder(options: FolderOptions, domain: str, part: str) -> FolderSource:
    """The "train" or "held_out" part of a folder.

    The held-out part is the folder `held_out` where one is given; else it is a share of `root`'s files, see
    `split`.

    Raises:
        DataError: the folder is missing, unreadable, a file, or holds no picture for this part.
    """
    option = f"data.{domain}.root"
    if not options.root:
        raise DataError(f"{option} is missing: the folder of the {domain} pictures")
    if part == "held_out" and options.held_out:
        root = Path(options.held_out)
        return FolderSource(root, Names(list_pictures(root, f"data.{domain}.held_out")))
    root = Path(options.root)
    names = list_pictures(root, option)
    if not options.held_out:
        train, held_out = split(names, options.held_out_share)
        names = held_out if part == "held_out" else train
    if not names:
        raise DataError(
            f"{option} = {root}: no picture is left to train on; add pictures or give data.{domain}.held_out"
        )
    return FolderSource(root, Names(names))


def split(names: Sequence[str], share: float) -> tuple[list[str], list[str]]:
    """Names to train on, names to hold out: those whose hash falls below `share`, and at least one.

    The hash looks at nothing but the name, so a file stays on its side when others come or go.
    """
    held_out = {name for name in names if place(name) < share} or {min(names, key=place)}
    return [name for name in names if name not in held_out], [name for name in names if name in held_out]


def place(name: str) -> float:
    """A name's place in [0, 1), as good as random: the first 8 bytes of its SHA-256."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def list_pictures(root: Path, option: str) -> list[str]:
    """Paths of all pictures below `root`, relative to it, sorted; `option` is what a DataError names."""
    if not root.exists():
        raise DataError(f"{option} = {root}: no such folder")
    if not root.is_dir():
        raise DataError(f"{option} = {root}: is a file; a folder of pictures is wanted")
    try:
        next(root.iterdir(), None)
    except OSError as error:
        raise DataError(f"{option} = {root}: cannot be read ({error.strerror})") from error
    names = find_pictures(root)
    if not names:
        files = sum(1 for path in root.rglob("*") if path.is_file())
        looked_for = " ".join(EXTENSIONS)
        raise DataError(f"{option} = {root}: no pictures among its {files} files (looked for {looked_for})")
    return names
