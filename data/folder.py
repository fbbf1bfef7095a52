"""Any pictures as a source: a folder, a list of paths, a pattern, or one side of a data set of two.

data.content.root=PHOTOGRAPHS           a folder, searched with all its subfolders
data.content.root=photographs.txt       a list: one path a line, from the list's own folder
data.content.root='albums/*/best/*.jpg' a pattern; ** stands for any number of folders
data.root=monet2photo                   holds trainA/, trainB/ and, if there are any, testA/, testB/
"""

import fnmatch
import glob
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from data.files import FileSource, FolderFiles, ListedFiles
from data.images import EXTENSIONS, find_pictures
from data.names import Names
from data.options import FolderOptions
from data.source import DataError

SIDES = {"content": "A", "style": "B"}


def open_folder(options: FolderOptions, domain: str, part: str) -> FileSource:
    """The "train" or "held_out" part.

    The held-out part is `held_out` where one is given, test A or B where the data set has one; else it is a share
    of `root`'s files, see `split`.

    Raises:
        DataError: the folder is missing, unreadable, a file, or holds no picture for this part.
    """
    option = f"data.{domain}.root"
    if not options.root:
        raise DataError(f"{option} is missing: the folder of the {domain} pictures")
    if part == "held_out" and options.held_out:
        return FileSource(*find_files(options.held_out, f"data.{domain}.held_out"))
    side = options.side or SIDES[domain]
    if options.side or any((Path(options.root) / f"train{each}").is_dir() for each in SIDES.values()):
        files, names, given = _find_side(Path(options.root), side, part, option)
    else:
        (files, names), given = find_files(options.root, option), False
    if not (given or options.held_out):
        train, held_out = split(names, options.held_out_share)
        names = Names(held_out if part == "held_out" else train)
    if not len(names):
        raise DataError(
            f"{option} = {options.root}: no picture is left to train on; add pictures or give data.{domain}.held_out"
        )
    return FileSource(files, names)


def find_files(where: str, option: str) -> tuple[FolderFiles, Names]:
    """The files of a folder, of a list (.txt) or of a pattern, by their paths below a root; `option` is what a
    DataError names."""
    path = Path(where)
    if path.is_file() and path.suffix == ".txt":
        root, names = path.parent, read_list(path, option)
    elif glob.has_magic(where) and not path.exists():
        root, names = _match(where, option)
    else:
        return FolderFiles(path), Names(list_pictures(path, option))
    listed = Names(names)
    return ListedFiles(root, listed), listed


def read_list(path: Path, option: str) -> list[str]:
    """One path a line, from the list's folder or from the root; what is not there is found out when it is read."""
    try:
        lines = [
            os.fsdecode(line.strip(b"\r")) for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
        ]
    except OSError as error:
        raise DataError(f"{option} = {path}: cannot be read ({error.strerror})") from error
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise DataError(f"{option} = {path}: line {number} holds a NUL byte, which no path can")
    names = list(dict.fromkeys(os.path.normpath(line) for line in lines if line.strip()))
    pictures = [n for n in names if n.lower().endswith(EXTENSIONS) and not os.path.basename(n).startswith(".")]
    if not pictures:
        raise DataError(
            f"{option} = {path}: no pictures among its {len(names)} lines (looked for {' '.join(EXTENSIONS)})"
        )
    return pictures


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
        raise DataError(f"{option} = {root}: is a file; a folder of pictures is wanted, or a list of paths (.txt)")
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


def _find_side(root: Path, side: str, part: str, option: str) -> tuple[FolderFiles, Names, bool]:
    """The files of trainA, say, and whether the data set has a held-out part of its own; of that, testA's."""
    given = (root / f"test{side}").is_dir()
    folder = f"test{side}" if part == "held_out" and given else f"train{side}"
    names = list_pictures(root / folder, option)
    return FolderFiles(root), Names(f"{folder}/{name}" for name in names), given


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """A path against a pattern, part by part; ** stands for any number of parts."""
    if not pattern or not parts:
        return not parts and all(each == "**" for each in pattern)
    if pattern[0] == "**":
        return _fits(parts, pattern[1:]) or _fits(parts[1:], pattern)
    return fnmatch.fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _match(pattern: str, option: str) -> tuple[Path, list[str]]:
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root, rest = Path(*parts[:first]), os.path.join(*parts[first:])
    if "**" in parts:  # glob would follow a loop of links until its names are too long
        found = [name for name in find_pictures(root) if _fits(Path(name).parts, parts[first:])]
    else:
        found = sorted(glob.iglob(rest, root_dir=root))
    names = [name for name in found if name.lower().endswith(EXTENSIONS) and (root / name).is_file()]
    if not names:
        problem = f"no pictures among the {len(found)} files that match" if found else "matches no file"
        raise DataError(f"{option} = {pattern}: {problem} (looked for {' '.join(EXTENSIONS)})")
    return root, names
