"""What came of a translation, for people, for machines, and as an exit code."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.exits import DONE, INTERRUPTED, SOME_FAILED, STOPPED, USER_ERROR
from engine.progress import say
from translation.failures import update_failures
from translation.folder import Tally
from translation.plan import Job

SHOWN = 20  # names of what is left


@dataclass(frozen=True)
class Summary:
    """translated: by this process, or all of torchrun's; there: before, or by other processes meanwhile; failed: as
    many as failures.csv has rows of these pictures; busy: being made by other processes still; left: names of what
    is to do; stopped: the signal's name, or "disk full", or "" where all was tried."""

    output: str
    translated: int
    there: int
    failed: int
    failures: str
    busy: int
    left: Sequence[str]
    stopped: str
    seconds: float

    @property
    def exit_code(self) -> int:
        if self.stopped:
            return {"SIGINT": INTERRUPTED, "disk full": USER_ERROR}.get(self.stopped, STOPPED)
        return SOME_FAILED if self.failed else DONE

    def lines(self, replaces: bool) -> list[str]:
        """The last is the summary; before it, what a full disk has left."""
        hint = "" if replaces or not self.there else " (--overwrite replaces them)"
        parts = [f"{self.translated} translated", f"{self.there} there already{hint}", f"{self.failed} failed"]
        parts += [f"{self.busy} being made by other processes"] * bool(self.busy)
        parts += [f"{len(self.left)} left"] * bool(self.left)
        line = f"{', '.join(parts)}: {self.output}"
        if self.failures:
            line += f" (why: {self.failures})"
        if self.stopped != "disk full":
            return [line]
        more = [f"and {len(self.left) - SHOWN} more"] * (len(self.left) > SHOWN)
        return ["left, because the disk is full; the same command does them:", *self.left[:SHOWN], *more, line]

    def values(self) -> dict[str, Any]:
        rate = self.translated / self.seconds if self.seconds else 0.0
        return asdict(self) | {"pictures_per_second": round(rate, 3), "exit": self.exit_code}


def sum_up(
    jobs: Sequence[Job], open_jobs: Sequence[Job], tallies: Sequence[tuple[Tally, str]], output: Path, seconds: float
) -> Summary:
    """Of all jobs, and of those that were not there when the processes began; brings failures.csv up to date.

    Args:
        tallies: of each process, with the signal that has stopped it or "".
    """
    translated = {name for tally, _ in tallies for name in tally.translated}
    failed = {name: reason for tally, _ in tallies for name, reason in tally.failed.items() if name not in translated}
    busy = {name for tally, _ in tallies for name in tally.busy} - translated - failed.keys()
    done = translated.union(failed, busy, *(tally.made for tally, _ in tallies))
    left = [job.name for job in open_jobs if job.name not in done]
    stopped = next((signal for _, signal in tallies if signal), "")
    if any(tally.disk_full for tally, _ in tallies):
        stopped = "disk full"
    rows, failures = list_failures(output, jobs, failed)
    num_failed = len(rows - translated - busy - set(left))  # those have failed before, and are tried again
    there = len(jobs) - len(translated) - num_failed - len(busy) - len(left)
    return Summary(
        str(output), len(translated), there, num_failed, failures if num_failed else "",
        len(busy), left, stopped if left else "", round(seconds, 3),
    )  # fmt: skip


def list_failures(output: Path, jobs: Sequence[Job], failed: Mapping[str, str]) -> tuple[set[str], str]:
    """See update_failures. A list that cannot be written, on a full disk for example, is no reason to end without a
    summary: the reasons have been told."""
    folder = output if os.path.isdir(output) else output.parent
    try:
        rows, path = update_failures(folder, jobs, failed)
        return rows, str(path)
    except OSError as error:
        say(f"failures.csv cannot be written ({error.strerror}): {folder}")
        return set(failed), ""
