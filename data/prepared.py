"""A folder that prepare.py made: pictures of one size, and tables that start 200,000 of them in a second.

    pictures/            the tree of the source; a file that was no JPEG gets .jpg behind its whole name
    index.csv            one row a picture: path, part, size, what it was, its content's hash, its labels
    bad_files.csv        what could not be read, and why
    duplicates.csv       what has the same bytes as a picture that is kept
    source.csv           every file of the source with its size and time of change
    prepared.json        how it was made: version, source, options, and the hash of source.csv
    journal.jsonl        one line a file that is done, as it is done: what makes the same command go on

CSV and not Parquet: it needs no library, is read by everybody, and 200,000 rows take half a second.
"""

import contextlib
import csv
import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from data.files import FileSource, FolderFiles, Stamp
from data.labels import MANY, Labels, check_known
from data.names import Names
from data.options import PreparedOptions
from data.source import DataError, some

VERSION = 2  # of this layout
OWN_COLUMNS = ("path", "part", "width", "height", "original", "original_width", "original_height", "sha256")
FIRST = ("prepared.json.tmp", ".lock")  # all that a kill at the very beginning can leave


@dataclass(frozen=True)
class Index:
    """What of index.csv training needs, column by column."""

    paths: Names
    parts: Labels
    labels: Mapping[str, Labels]


def open_prepared(options: PreparedOptions, domain: str, part: str) -> FileSource:
    """The "train" or "held_out" pictures of the index that the options choose, with all its labels.

    Raises:
        DataError: the folder was not prepared to its end, a name is unknown, nothing is left.
    """
    section = f"data.{domain}"
    if not options.root:
        raise DataError(f"{section}.root is missing: a folder that prepare.py made")
    root = Path(options.root)
    index = read_index(root, f"{section}.root")
    kept = index.parts.bear([part])
    for key in ("choose", "exclude"):
        for kind, names in getattr(options, key).items():
            if not names:
                continue  # an empty choice takes all
            if kind not in index.labels:
                known = ", ".join(index.labels) or "none"
                raise DataError(f"{section}.{key}.{kind}: no such label; this folder has: {known}")
            check_known(names, index.labels[kind].counts(), f"{section}.{key}.{kind}")
            borne = index.labels[kind].bear(names)
            kept &= borne if key == "choose" else ~borne
    if not kept.any():
        raise DataError(f"{section}: none of the {len(index.paths)} pictures in {root} is left for the {part} part")
    labels = {kind: labels.take(kept) for kind, labels in index.labels.items()}
    return FileSource(FolderFiles(root / "pictures"), index.paths.take(kept), labels)


def read_index(root: Path, option: str) -> Index:
    """Read once a process, as both parts of a domain ask for it."""
    path = root / "index.csv"
    try:
        stat = path.stat()
        return _read_index(path, stat.st_mtime_ns, stat.st_size)
    except csv.Error as error:
        raise DataError(f"{path}: is damaged ({error}); run prepare.py again") from error
    except OSError as error:
        raise DataError(
            f"{option} = {root}: no finished preparation ({path}: {error.strerror}); run prepare.py"
        ) from error


@lru_cache(maxsize=2)
def _read_index(path: Path, modified: int, size: int) -> Index:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if not set(OWN_COLUMNS) <= set(header):
            raise DataError(f"{path}: not an index of prepare.py")
        wanted = [column for column in header if column in ("path", "part") or column not in OWN_COLUMNS]
        columns: dict[str, list[str]] = {column: [] for column in wanted}
        # Equal cells share one string, and only the columns wanted are kept: memory stays small.
        shared: dict[str, str] = {}
        takers = [(columns[column].append, header.index(column), column == "path") for column in wanted]
        for number, row in enumerate(rows, 2):
            if len(row) != len(header):
                raise DataError(
                    f"{path}, line {number}: {len(row)} columns instead of {len(header)}; run prepare.py again"
                )
            for append, place, unique in takers:
                append(row[place] if unique else shared.setdefault(row[place], row[place]))
    paths, parts = Names(columns.pop("path")), Labels.of(columns.pop("part"))
    return Index(paths, parts, {kind: Labels.of(values) for kind, values in columns.items()})


@contextlib.contextmanager
def claimed(destination: Path, record: Mapping[str, object]) -> Iterator[None]:
    """One folder, one preparation: a lock while it goes on, and prepared.json for ever.

    Args:
        record: how it is to be made, as it will stand in prepared.json.

    Raises:
        DataError: another source or other options were used there, another process is at it, it holds other files, it
            cannot be written.
    """
    path = destination / "prepared.json"
    before = _read_record(path) if path.exists() else None
    if before is not None:
        changed = [key for key, value in record.items() if before.get(key) != value]
        if changed:
            was = ", ".join(f"{key} = {before.get(key)}" for key in changed)
            raise DataError(f"{destination}: was prepared otherwise ({was}); choose another folder")
    elif destination.is_dir() and any(path.name not in FIRST for path in destination.iterdir()):
        raise DataError(f"{destination}: holds other files; choose an empty folder")
    try:
        destination.mkdir(parents=True, exist_ok=True)
        if before is None:
            _write(path, json.dumps(record, indent=1))
        (destination / "pictures").mkdir(exist_ok=True)
        lock = open(destination / ".lock", "w")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"{destination}: cannot be made ({error.strerror})") from error
    with lock:
        try:
            fcntl.lockf(
                lock, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # not inherited by workers, so that no kill leaves it behind
        except OSError:
            raise DataError(f"{destination}: another process prepares it; wait for that") from None
        yield


def finish(
    destination: Path,
    rows: Sequence[Mapping[str, object]],
    bad: Mapping[str, str],
    duplicates: Mapping[str, str],
    stamps: Sequence[Stamp],
    record: Mapping[str, object],
) -> None:
    """Write the tables; prepared.json with the source's fingerprint comes last."""
    labels = sorted({key for row in rows for key in row} - set(OWN_COLUMNS))
    _write_table(destination / "bad_files.csv", ("path", "reason"), bad.items())
    _write_table(destination / "duplicates.csv", ("path", "same_as"), sorted(duplicates.items()))
    _write_table(destination / "source.csv", ("path", "size", "modified"), stamps)
    columns = (*OWN_COLUMNS, *labels)
    _write_table(destination / "index.csv", columns, ([row.get(column, "") for column in columns] for row in rows))
    _write(destination / "prepared.json", json.dumps({**record, "fingerprint": fingerprint(stamps)}, indent=1))


def fingerprint(stamps: Iterable[Stamp]) -> str:
    """SHA-256 of every file's path, size and time of change: another value, another source."""
    text = "\n".join(f"{name}\0{size}\0{modified}" for name, size, modified in sorted(stamps))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def read_record(root: Path) -> dict:
    """prepared.json; empty if it cannot be read."""
    try:
        return _read_record(root / "prepared.json")
    except DataError:
        return {}


def _read_record(path: Path) -> dict:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is damaged ({error}); choose another folder") from error
    if not isinstance(record, dict):
        raise DataError(f"{path}: is damaged; choose another folder")
    return record


def describe_changes(root: Path, now: Iterable[Stamp]) -> str:
    """What of the source is not as it was when it was prepared, in one line; "" if nothing is."""
    stamps = list(now)
    if fingerprint(stamps) == read_record(root).get("fingerprint"):
        return ""
    with (root / "source.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        before = {row[0]: (int(row[1]), int(row[2])) for row in list(csv.reader(file))[1:]}
    after = {name: (size, modified) for name, size, modified in stamps}
    kinds = {
        "new": sorted(after.keys() - before.keys()),
        "gone": sorted(before.keys() - after.keys()),
        "changed": sorted(name for name in after.keys() & before.keys() if after[name] != before[name]),
    }
    said = [f"{len(names)} {kind} ({some(names)})" for kind, names in kinds.items() if names]
    return "; ".join(said)


def summary(rows: Sequence[Mapping[str, object]], bad: int, duplicates: int, destination: Path) -> str:
    """What there is, in some lines."""
    parts = Counter(row["part"] for row in rows)
    lines = [f"{destination}: {parts['train']} pictures to train on, {parts['held_out']} held out"]
    for label in sorted({key for row in rows for key in row} - set(OWN_COLUMNS)):
        counts = Counter(name for row in rows for name in row.get(label, "").split(MANY) if name)
        if counts:
            more = f", and {len(counts) - 8} more" if len(counts) > 8 else ""
            lines.append(f"  {label}: {', '.join(f'{name} {n}' for name, n in counts.most_common(8))}{more}")
    if rows:
        sides = sorted(min(row["original_width"], row["original_height"]) for row in rows)
        lines.append(f"  shorter side before: {sides[0]} to {sides[-1]} px, median {sides[len(sides) // 2]}")
    if duplicates:
        lines.append(f"  {duplicates} duplicates left out: {destination / 'duplicates.csv'}")
    if bad:
        lines.append(f"  {bad} bad files left out: {destination / 'bad_files.csv'}")
    return "\n".join(lines)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file, whole or not at all; names of any bytes survive."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    os.replace(temporary, path)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)
