"""failures.csv in the output folder: what could not be translated, and why."""

import csv
import fcntl
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.atomic import remove_leftovers, write_atomically
from translation.plan import Job

HEADER = ["picture", "reason", "file"]
NAMES = ("failures.csv", *(f"failures-{i}.csv" for i in range(1, 1000)))  # the first that is not somebody else's
ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}  # names are bytes


def update_failures(folder: Path, jobs: Sequence[Job], failed: Mapping[str, str]) -> tuple[set[str], Path]:
    """Bring the list up to date. A row goes when its picture has been translated since, by whatever process, or its
    file is gone; so several processes, and runs that were killed, end with the list that one run alone would write.
    Without rows there is no list.

    Args:
        failed: reasons by name, of what this process has tried.

    Returns which of `jobs` failed, and where the list is.

    Raises:
        OSError: it cannot be written.
    """
    ours = {os.path.abspath(job.source): job for job in jobs}
    reasons = {file: failed[job.name] for file, job in ours.items() if job.name in failed}
    with _locked(folder) as alone:
        path = next(path for name in NAMES if not (path := folder / name).exists() or _is_ours(path))
        if alone:
            remove_leftovers(path)
        rows = {row[2]: row for row in _read(path) if _stands(row, ours)}
        rows |= {file: [ours[file].name, reason, file] for file, reason in reasons.items()}
        if rows:
            write_atomically(path, _table(sorted(rows.values())).encode(**ENCODING))
        else:
            path.unlink(missing_ok=True)
    return {ours[file].name for file in rows.keys() & ours.keys()}, path


def _stands(row: list[str], ours: Mapping[str, Job]) -> bool:
    job = ours.get(row[2])
    return os.path.exists(row[2]) and not (job and os.path.isfile(job.target))


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """One process at a time, where the file system knows locks: told is whether it does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        alone = False
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            alone = True
        yield alone
    finally:
        os.close(descriptor)


def _read(path: Path) -> list[list[str]]:
    if not path.exists():
        return []
    with path.open(newline="", **ENCODING) as file, suppress(csv.Error):  # not as we have written it
        return [row for row in csv.reader(file) if len(row) == len(HEADER) and row != HEADER]
    return []


def _table(rows: Sequence[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([HEADER, *rows])
    return text.getvalue()


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open(errors="replace") as file:
        return file.readline().startswith(",".join(HEADER[:2]))
