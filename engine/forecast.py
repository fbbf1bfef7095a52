"""What a run will take, told after its first steps, and what keeps it waiting."""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import torch

from data.batch import Batch
from engine.flops import matmul_rate, step_flops
from engine.training import Training

STEPS = 20  # after which the forecast is made
WARM_UP = 5  # of them, which are not measured: they compile, and search for cuDNN's fastest kernels
TOLERABLE = 0.05  # of the time spent waiting for data
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}

Item = TypeVar("Item")
Mark = float | torch.cuda.Event


@dataclass(frozen=True)
class Forecast:
    """What is to be expected of a run.

    pairs_per_second: of all processes together.
    seconds_left, ends: of the steps alone; the clock is the local one.
    peak_memory: bytes so far, of the GPU's tensors, or of this process.
    waiting: share in [0, 1] of the time in which the device had nothing to do but wait for pictures.
    flops_per_second, matmul_rate: of one device, what the steps do and what it does in plain matrix products; None
        where it is not known.
    unit: what a batch consists of.
    remedy: what mends the waiting; "" if there is little.
    """

    steps_per_second: float
    pairs_per_second: float
    seconds_left: float
    ends: datetime
    peak_memory: int
    waiting: float
    flops_per_second: float | None = None
    matmul_rate: float | None = None
    precision: str = "fp32"
    unit: str = "pairs"
    remedy: str = ""

    def lines(self) -> list[str]:
        """For people: the forecast, and a warning if the loader is the bottleneck."""
        parts = [f"{_digits(self.steps_per_second)} steps/s ({_digits(self.pairs_per_second)} {self.unit}/s)"]
        if self.seconds_left:
            parts.append(f"ends {self.ends:%a} {self.ends.day} {self.ends:%b %H:%M} (in {_told(self.seconds_left)})")
        parts.append(f"peak memory {_digits(self.peak_memory / 1e9)} GB")
        parts.append(f"{100 * self.waiting:.0f} % of the time waits for data")
        if self.flops_per_second:
            parts.append(self._arithmetic())
        lines = ["forecast: " + ", ".join(parts)]
        if self.remedy:
            lines.append(f"warning: the loader is the bottleneck: {self.remedy}")
        return lines

    def row(self) -> dict[str, float]:
        """Flat, for the log; `ends` is Unix time; what is not known is left out."""
        names = ("steps_per_second", "pairs_per_second", "seconds_left", "waiting", "flops_per_second", "matmul_rate")
        found = {name: getattr(self, name) for name in names}
        row = {f"forecast/{name}": float(f"{value:.5g}") for name, value in found.items() if value is not None}
        return row | {"forecast/ends": round(self.ends.timestamp()), "forecast/peak_memory": self.peak_memory}

    def _arithmetic(self) -> str:
        unit, size = ("TFLOP/s", 1e12) if self.flops_per_second >= 1e12 else ("GFLOP/s", 1e9)
        done = f"{_digits(self.flops_per_second / size)} {unit}"
        if not self.matmul_rate:
            return done
        share = 100 * self.flops_per_second / self.matmul_rate
        return f"{done} = {_digits(share, 2)} % of this device's matmul rate ({self.precision})"


class Forecaster:
    """Measures the first steps after a start, and forecasts once.

        for batch in forecaster.watch(batches):
            ...                                  # one step
            if forecast := forecaster.after(done):
                ...

    The device is synchronised at the two ends of what is measured only, and nothing is measured afterwards.

    Args:
        first_step, total_steps: steps done before this start, and at the end of the plan.
        pairs_a_step: of all processes together.
        flops_a_step: floating-point operations of this process's share of a step, None if unknown
            (engine.flops.step_flops); called once, when the forecast is made.
        precision: of the matrix products, a key of PRECISIONS.
        workers: the loader processes of this process.
        ranks_here: training processes on this host, which share its cores.
        clock, now: seconds, and the local date and time.
    """

    def __init__(
        self,
        first_step: int,
        total_steps: int,
        pairs_a_step: int,
        flops_a_step: Callable[[], int | None],
        device: torch.device,
        precision: str = "fp32",
        workers: int = 0,
        ranks_here: int = 1,
        unit: str = "pairs",
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], datetime] = datetime.now,
    ):
        self.total_steps = total_steps
        self.pairs_a_step = pairs_a_step
        self.flops_a_step = flops_a_step
        self.device = device
        self.precision, self.dtype = precision, PRECISIONS[precision]
        self.workers = workers
        self.ranks_here = ranks_here
        self.unit = unit
        self.clock, self.now = clock, now
        steps = min(STEPS, total_steps - first_step)
        self._end = first_step + steps
        self._start = first_step + max(0, min(WARM_UP, steps - 1))
        self._measured = self._end - self._start
        self._since: float | None = None  # set while the measured steps are under way
        self._waits: list[tuple[Mark, Mark]] = []
        if self._start == first_step:
            self._since = self._synchronised()

    def watch(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The same batches; how long the device waits for each is noted."""
        iterator = iter(batches)
        try:
            while True:
                before = self._mark()
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
                if before is not None:
                    self._waits.append((before, self._mark()))
                yield batch
        finally:
            if hasattr(iterator, "close"):  # a generator's loader processes end now, and not when it is collected
                iterator.close()

    def after(self, done: int) -> Forecast | None:
        """To be called after every step, with the number of steps done; the forecast, once."""
        if done == self._end and self._since is not None:
            return self._forecast(done)
        if done == self._start and self._since is None:
            self._since = self._synchronised()
        return None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done inside is no part of the steps: samples, evaluations, saves."""
        if self._since is None:
            yield
            return
        begun = self._synchronised()
        yield
        self._since += self._synchronised() - begun

    def _forecast(self, done: int) -> Forecast:
        seconds = max(self._synchronised() - self._since, 1e-9)
        waiting = min(1.0, sum(self._between(*wait) for wait in self._waits) / seconds)
        self._since, self._waits, self._start = None, [], -1
        memory = peak_memory(self.device)  # before the matrices of the matmul rate
        steps_per_second = self._measured / seconds
        seconds_left = (self.total_steps - done) / steps_per_second
        flops = self.flops_a_step()
        return Forecast(
            steps_per_second=steps_per_second,
            pairs_per_second=steps_per_second * self.pairs_a_step,
            seconds_left=seconds_left,
            ends=self.now() + timedelta(seconds=seconds_left),
            peak_memory=memory,
            waiting=waiting,
            flops_per_second=flops and flops * steps_per_second,
            matmul_rate=self._matmul_rate() if flops else None,
            precision=self.precision,
            unit=self.unit,
            remedy=remedy(self.workers, cores(self.ranks_here)) if waiting > TOLERABLE else "",
        )

    def _matmul_rate(self) -> float | None:
        try:
            return matmul_rate(self.device, self.dtype)
        except RuntimeError:  # training fills the memory
            return None

    def _mark(self) -> Mark | None:
        """A moment on the device, None if nothing is measured. A GPU lags behind the host: it passes an event when it
        has done all that was launched before. Of two events around a wait it passes the second at once if it is still
        busy when the batch comes, so that the time between them is the time for which it had nothing to do."""
        if self._since is None:
            return None
        if self.device.type != "cuda":
            return self.clock()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _between(self, before: Mark, after: Mark) -> float:
        """Seconds."""
        return after - before if isinstance(before, float) else before.elapsed_time(after) / 1000

    def _synchronised(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.clock()


def peak_memory(device: torch.device) -> int:
    """Bytes: of the tensors on a GPU at their peak, else of this process at its peak."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def cores(ranks_here: int) -> int:
    """CPU cores for each of the training processes of this host."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, allowed // ranks_here)


def remedy(workers: int, cores: int) -> str:
    """What makes pictures come faster, by the loader's processes and the cores that there are for them."""
    if workers == 0:
        return "data.workers=2 reads ahead while a step is computed"
    if workers < cores:
        return f"data.workers={min(cores, 2 * workers)} reads faster (now {workers}, for {cores} cores)"
    return (
        f"data.workers={workers} are all that {cores} cores can feed; prepare the pictures once, by prepare.py with "
        '--format bmp --stretch (README, "Large sets")'
    )


def _digits(value: float, count: int = 3) -> str:
    """With so many significant digits, and never with an exponent: 3.41, 1230."""
    rounded = float(f"{value:.{count}g}")
    return f"{rounded:.0f}" if rounded >= 10 ** (count - 1) else f"{rounded:.6f}".rstrip("0").rstrip(".")


def _told(seconds: float) -> str:
    """11 h 5 min."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def forecaster_of(training: Training, first: int, total: int) -> Forecaster:
    """Of the steps first, ..., total - 1."""
    config, share, samples = training.config, training.share, training.samples

    def flops() -> int | None:
        counted = step_flops(training.method, samples)
        return counted and counted * share.own // len(samples)

    ranks_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    unit = "pairs" if isinstance(samples, Batch) else "pictures"
    options = config.train.precision, config.data.workers, ranks_here, unit
    return Forecaster(first, total, share.whole, flops, training.device, *options)
