"""Any folder of pictures as a source."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from data.images import EXTENSIONS, find_pictures, open_picture
from data.options import FolderOptions
from data.source import DataError


@dataclass(frozen=True)
class FolderSource:
    """The named files below a folder, decoded when asked for."""

    root: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image.Image:
        return open_picture(self.root / self.names[index])

    def name(self, index: int) -> str:
        return self.names[index]


def open_folder(options: FolderOptions, domain: str, part: str) -> FolderSource:
    """The "train" or "held_out" part of a folder.

    The held-out part is the folder `held_out` where one is given; else it is those files of `root` whose
    name's hash falls below `held_out_share`. The hash looks at nothing but the name, so a file stays on its
    side when others come or go.

    Raises:
        DataError: the folder is missing, unreadable, a file, or holds no picture for this part.
    """
    option = f"data.{domain}.root"
    if not options.root:
        raise DataError(f"{option} is missing: the folder of the {domain} pictures")
    if part == "held_out" and options.held_out:
        root = Path(options.held_out)
        return FolderSource(root, _pictures(root, f"data.{domain}.held_out"))
    root = Path(options.root)
    names = _pictures(root, option)
    if not options.held_out:
        wanted = part == "held_out"
        chosen = [name for name in names if is_held_out(name, options.held_out_share) == wanted]
        if not chosen:
            raise DataError(
                f"{option} = {root}: none of its {len(names)} pictures falls into the {part} part; "
                f"change data.{domain}.held_out_share or give data.{domain}.held_out"
            )
        names = chosen
    return FolderSource(root, names)


def is_held_out(name: str, share: float) -> bool:
    """True for about `share` of all names: by the first 8 bytes of the name's SHA-256."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _pictures(root: Path, option: str) -> list[str]:
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
        raise DataError(f"{option} = {root}: no pictures among its {files} files (looked for {' '.join(EXTENSIONS)})")
    return names
