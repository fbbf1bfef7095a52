"""What a choice of pictures may have got wrong without being an error: said when training starts."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from data.files import Files, FileSource, FolderFiles
from data.folder import find_files
from data.options import PreparedOptions
from data.prepared import describe_changes, read_record
from data.source import DataError, Source
from data.wikiart_shards import ShardFiles, find_shards

TAIL = 4096  # bytes at a file's end: those of two pictures of one size differ as good as always
NAMED = 3

Parts = Mapping[str, Source]  # by domain


def find_doubts(options: Mapping[str, object], train: Parts, held_out: Parts) -> Iterator[str]:
    """One line each, which names the option.

    Args:
        options: the source's options, by domain.
    """
    if _same_pictures(train["content"], train["style"]):
        yield "data.content and data.style are the same pictures: there is nothing to translate between"
    for domain in options:
        prepared = isinstance(options[domain], PreparedOptions)  # prepare.py has left duplicates out
        if not prepared and (shared := shared_pictures(train[domain], held_out[domain])):
            some = "; ".join(f"{a} = {b}" for a, b in shared[:NAMED])
            more = ", ..." if len(shared) > NAMED else ""
            yield (
                f"data.{domain}: {len(shared)} of the {len(held_out[domain])} held-out pictures are trained on, too, "
                f"byte for byte ({some}{more}); prepare.py leaves duplicates out"
            )
        if prepared and (change := source_change(Path(options[domain].root))):
            yield f"data.{domain}.root = {options[domain].root}: its source has changed since it was prepared: {change}"


def shared_pictures(train: Source, held_out: Source) -> list[tuple[str, str]]:
    """Pairs (held-out name, training name) of files with the same bytes.

    Compared by size, then by their ends, then whole: of two hundred thousand files few are opened.
    """
    if not all(
        isinstance(source, FileSource) and isinstance(source.files, FolderFiles) for source in (train, held_out)
    ):
        return []
    by_size: dict[int, list[str]] = {}
    for name in held_out.names:
        by_size.setdefault(_size(held_out, name), []).append(name)
    by_size.pop(-1, None)
    pairs = []
    for name in train.names:
        for other in by_size.get(_size(train, name), ()):
            if (held_out.files.root / other) != (train.files.root / name) and _equal(held_out, other, train, name):
                pairs.append((other, name))
    return sorted(pairs)


def source_change(root: Path) -> str:
    """What of a prepared folder's source has changed; "" if nothing has, or if the source is not there any more."""
    given = read_record(root).get("options")
    try:
        files = _files_of(given["source"], given["root"])
        return describe_changes(root, files.inventory()) if files else ""
    except (DataError, OSError, TypeError, KeyError, IndexError, ValueError) as error:
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


def _same_pictures(a: Source, b: Source) -> bool:
    if not isinstance(a, FileSource) or not isinstance(b, FileSource) or len(a) != len(b):
        return dataclasses.is_dataclass(a) and a == b
    return a.files.root.resolve() == b.files.root.resolve() and a.names == b.names


def _size(source: FileSource, name: str) -> int:
    try:
        return source.files.stamp(name)[0]
    except OSError:
        return -1


def _equal(a: FileSource, a_name: str, b: FileSource, b_name: str) -> bool:
    try:
        with a.files.open(a_name) as left, b.files.open(b_name) as right:
            for file in (left, right):
                file.seek(-min(TAIL, file.seek(0, 2)), 2)
            if left.read() != right.read():
                return False
            left.seek(0)
            right.seek(0)
            return left.read() == right.read()
    except (OSError, ValueError):
        return False
