"""Some steps of a run seen by torch.profiler: what the host and the GPU did when, as a file for a viewer."""

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import torch
from torch.profiler import ProfilerAction, ProfilerActivity, profile

from engine.progress import say

VIEWER = "https://ui.perfetto.dev"


class Trace:
    """Records `steps` steps after the first `skip` ones of a start; afterwards it costs nothing.

        with Trace(run / "profile", first_step, last_step) as trace:
            ...                                  # one step
            if path := trace.step():
                ...                              # tell it

    The file is PROFILE/steps_A_to_B.json.gz, a Chrome trace of steps A to B counted from 1, there whole or not at all;
    an earlier one of the same steps keeps its name and the new one gets a number. A disk that is full, or a profiler
    that fails, costs the trace and a line, never the run.

    Args:
        folder: is made if it is missing.
        first_step: steps done before this start.
        last_step: steps done at its end; a start of few steps skips fewer.
        wanted: False records nothing.
        skip: by default so many that the forecast (engine.forecast) is made before: what is profiled is slower.
    """

    def __init__(
        self, folder: Path, first_step: int, last_step: int, wanted: bool = True, skip: int = 25, steps: int = 10
    ):
        self.folder = folder
        self.done = first_step
        self.skipped = first_step + max(0, min(skip, last_step - first_step - steps))
        self.end = min(last_step, self.skipped + steps)
        self._profiler: profile | None = None
        self._finished = not wanted or self.end <= first_step
        self._begin_if_due()

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if path := self.close():
            say(f"trace: {path} (open it at {VIEWER})")

    def step(self) -> Path | None:
        """To be called after every training step; the path of the trace, once."""
        if self._finished:
            return None
        self.done += 1
        if self.done >= self.end:
            return self.close()
        if self._profiler:
            self._attempt(self._profiler.step)
        self._begin_if_due()
        return None

    def close(self) -> Path | None:
        """Stop; the path of what has been recorded, if that is any whole step and was not told yet."""
        profiler, self._profiler, self._finished = self._profiler, None, True
        if profiler is None or not self._attempt(profiler.stop) or self.done <= self.skipped:
            return None
        path = self._free_path()
        return path if self._attempt(lambda: _write(profiler, path)) else None

    def _begin_if_due(self) -> None:
        """One step before the first that is recorded: the profiler is slow to start."""
        warm_up = min(1, self.skipped - self.done)
        if self._finished or self._profiler or self.done < self.skipped - 1:
            return
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        else:
            os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # it would print that there is no GPU as an error

        def action(step: int) -> ProfilerAction:
            return ProfilerAction.WARMUP if step < warm_up else ProfilerAction.RECORD

        profiler = profile(activities=activities, schedule=action)
        self._profiler = profiler
        self._attempt(profiler.start)

    def _attempt(self, action: Callable[[], object]) -> bool:
        try:
            action()
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            say(f"{self.folder}: no trace ({reason}); training goes on")
            self._profiler, self._finished = None, True
            return False
        return True

    def _free_path(self) -> Path:
        name = f"steps_{self.skipped + 1}_to_{self.done}"
        path, number = self.folder / f"{name}.json.gz", 1
        while path.exists():
            number += 1
            path = self.folder / f"{name}_{number}.json.gz"
        return path


def _write(profiler: profile, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain, packed = path.with_name(".trace.json.tmp"), path.with_name(".trace.json.gz.tmp")
    try:
        profiler.export_chrome_trace(str(plain))
        with open(plain, "rb") as source, open(packed, "wb") as file:
            _check_whole(source)
            with gzip.open(file, "wb", compresslevel=5) as target:
                shutil.copyfileobj(source, target, 2**20)
            file.flush()
            os.fsync(file.fileno())
        os.replace(packed, path)
    finally:
        plain.unlink(missing_ok=True)
        packed.unlink(missing_ok=True)


def _check_whole(file: BinaryIO) -> None:
    """The profiler itself says nothing when it cannot write on."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - 64))
    if not file.read().rstrip().endswith(b"}"):
        raise OSError("the trace could not be written to its end: is the disk full?")
    file.seek(0)
