"""What a choice of pictures may have got wrong without being an error: said when training starts."""

import csv
import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from data.files import Files, FileSource, FolderFiles, ListedFiles
from data.folder import find_files
from data.options import PreparedOptions
from data.prepared import describe_changes, read_record
from data.source import DataError, Source, some
from data.wikiart_shards import ShardFiles, find_shards

TAIL = 4096  # bytes at a file's end: those of two pictures of one size differ as good as always

Parts = Mapping[str, Source]  # by domain


def find_doubts(options: Mapping[str, object], train: Parts, held_out: Parts) -> Iterator[str]:
    """One line each, which names the option.

    Args:
        options: the source's options, by domain.
    """
    if len(train) == 2 and (common := common_pictures(train["content"], train["style"])):
        yield f"data.content and data.style share {common} pictures: between those there is nothing to translate"
    for domain in options:
        prepared = isinstance(options[domain], PreparedOptions)  # prepare.py has left duplicates out
        if not prepared and (shared := shared_pictures(train[domain], held_out[domain])):
            pairs = some([f"{a} = {b}" for a, b in shared])
            yield (
                f"data.{domain}: {len(shared)} of the {len(held_out[domain])} held-out pictures are trained on, too, "
                f"byte for byte ({pairs}); prepare.py leaves duplicates out"
            )
        if prepared and (change := source_change(Path(options[domain].root))):
            yield f"data.{domain}.root = {options[domain].root}: its source has changed since it was prepared: {change}"


def common_pictures(a: Source, b: Source) -> int:
    """How many pictures are the same files."""
    if not isinstance(a, FileSource) or not isinstance(b, FileSource):
        return len(a) if dataclasses.is_dataclass(a) and a == b else 0
    roots = [os.path.realpath(source.files.root) for source in (a, b)]
    if roots[0] == roots[1] and a.names == b.names:
        return len(a)
    if os.path.commonpath(roots) not in roots and not any(isinstance(source.files, ListedFiles) for source in (a, b)):
        return 0  # neither folder lies in the other
    paths = (
        {os.path.normpath(os.path.join(root, name)) for name in s.names} for root, s in zip(roots, (a, b), strict=True)
    )
    return len(set.intersection(*paths))


def shared_pictures(train: Source, held_out: Source) -> list[tuple[str, str]]:
    """Pairs (held-out name, training name) of files with the same bytes.

    Compared by size, then by their ends, then whole: of two hundred thousand files few are opened, and each but once.
    """
    if not all(
        isinstance(source, FileSource) and isinstance(source.files, FolderFiles) for source in (train, held_out)
    ):
        return []
    sizes = Counter(_size(held_out, name) for name in held_out.names)
    alike = [name for name in train.names if sizes[_size(train, name)]]
    of_train: dict[tuple[int, bytes], list[str]] = {}
    for name in alike:
        of_train.setdefault((_size(train, name), _tail(train, name)), []).append(name)
    wanted = {size for size, _ in of_train}
    pairs = []
    for name in held_out.names:
        size = _size(held_out, name)
        for other in of_train.get((size, _tail(held_out, name)), ()) if size in wanted else ():
            if held_out.files.path(name) != train.files.path(other) and _equal(held_out, name, train, other):
                pairs.append((name, other))
                break
    return pairs


def source_change(root: Path) -> str:
    """What of a prepared folder's source has changed; "" if nothing has, or if the source is not there any more."""
    given = read_record(root).get("options")
    if not isinstance(given, dict):
        return f"it cannot be compared: {root / 'prepared.json'} is damaged; prepare it anew in another folder"
    try:
        places = [given["root"], given.get("held_out", "")]
        stores = [files for place in places if place and (files := _files_of(given["source"], place))]
        if not stores:
            return ""
        return describe_changes(root, sorted({stamp for files in stores for stamp in files.inventory()}))
    except (OSError, TypeError, KeyError, IndexError, ValueError, csv.Error) as error:
        return f"it cannot be compared ({error})"


def _files_of(source: str, root: str) -> Files | None:
    """The files of a source without its choices, for which annotations would have to be read and names hashed."""
    path = Path(root)
    if source == "wikiart" and (shards := find_shards(path)):
        return ShardFiles(path, tuple(shards))
    if path.is_dir():
        return FolderFiles(path)
    try:
        return find_files(root, "source")[0]
    except DataError:
        return None  # it is not there any more


def _size(source: FileSource, name: str) -> int:
    try:
        return source.files.stamp(name)[0]
    except OSError:
        return -1


def _tail(source: FileSource, name: str) -> bytes:
    try:
        with source.files.open(name) as file:
            file.seek(-min(TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            return hashlib.sha256(file.read()).digest()
    except (OSError, ValueError):
        return b""


def _equal(a: FileSource, a_name: str, b: FileSource, b_name: str) -> bool:
    try:
        with a.files.open(a_name) as left, b.files.open(b_name) as right:
            return left.read() == right.read()
    except (OSError, ValueError):
        return False
