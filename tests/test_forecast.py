"""The forecast of a run, with clocks that are set by hand."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import torch

import engine.forecast
from engine.flops import step_flops
from engine.forecast import Forecast, Forecaster, cores, peak_memory, remedy
from engine.logger import read_log
from tests.conftest import train_tiny

CPU = torch.device("cpu")
NOON = datetime(2026, 11, 22, 12, 0)


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.forecast, "matmul_rate", lambda device, dtype: 4e12)
    monkeypatch.setattr(engine.forecast, "peak_memory", lambda device: 14_200_000_000)
    monkeypatch.setattr(engine.forecast, "cores", lambda ranks: 8 // ranks)


def simulate(forecaster: Forecaster, clock: Clock, first: int, last: int, wait: float, step: float) -> dict:
    """The forecasts by step; steps of the warm-up take ten times as long."""

    def batches() -> Iterator[int]:
        for number in range(first, last):
            clock.time += wait
            yield number

    found = {}
    for number in forecaster.watch(batches()):
        clock.time += step * (10 if number < first + engine.forecast.WARM_UP else 1)
        if forecast := forecaster.after(number + 1):
            found[number + 1] = forecast
    return found


def make(clock: Clock, first: int, total: int, flops: int | None = 10**12, **options: object) -> Forecaster:
    return Forecaster(first, total, 4, lambda: flops, CPU, clock=clock, now=lambda: NOON, **options)


def test_it_is_made_once_after_twenty_steps_without_the_warm_up() -> None:
    clock = Clock()
    found = simulate(make(clock, 1000, 5020), clock, 1000, 1050, wait=0.0, step=0.5)
    (forecast,) = found.values()
    assert list(found) == [1020]
    assert forecast.steps_per_second == pytest.approx(2)
    assert forecast.pairs_per_second == pytest.approx(8)
    assert forecast.seconds_left == pytest.approx(2000)
    assert forecast.ends == datetime(2026, 11, 22, 12, 33, 20)
    assert (forecast.waiting, forecast.remedy) == (0, "")
    assert forecast.lines() == [
        "forecast: 2 steps/s (8 pairs/s), ends Sun 22 Nov 12:33 (in 33 min), peak memory 14.2 GB, 0 % of the time "
        "waits for data, 2 TFLOP/s = 50 % of this device's matmul rate (fp32)"
    ]
    assert forecast.row() == {
        "forecast/steps_per_second": 2,
        "forecast/pairs_per_second": 8,
        "forecast/seconds_left": 2000,
        "forecast/ends": round(forecast.ends.timestamp()),
        "forecast/peak_memory": 14_200_000_000,
        "forecast/waiting": 0,
        "forecast/flops_per_second": 2e12,
        "forecast/matmul_rate": 4e12,
    }


@pytest.mark.parametrize("steps", [1, 3, 8, 20])
def test_a_short_run_is_forecast_at_its_end(steps: int) -> None:
    clock = Clock()
    found = simulate(make(clock, 0, steps), clock, 0, steps, wait=0.25, step=0.25)
    (forecast,) = found.values()
    assert list(found) == [steps]
    assert forecast.seconds_left == 0
    assert "ends" not in forecast.lines()[0]


def test_waiting_is_counted_and_the_remedy_named() -> None:
    clock = Clock()
    (forecast,) = simulate(make(clock, 0, 90, workers=2), clock, 0, 90, wait=0.125, step=0.375).values()
    assert forecast.waiting == pytest.approx(0.25)
    said, warning = forecast.lines()
    assert "25 % of the time waits for data" in said
    assert warning.startswith("warning: the loader is the bottleneck: data.workers=4 ")


def test_what_is_done_aside_is_no_part_of_the_steps() -> None:
    clock = Clock()
    forecaster = make(clock, 0, 40, flops=None)
    for number in forecaster.watch(range(40)):
        clock.time += 1
        if number in (2, 10):
            with forecaster.aside():
                clock.time += 100
        if forecast := forecaster.after(number + 1):
            break
    assert forecast.steps_per_second == pytest.approx(1)
    assert (forecast.flops_per_second, forecast.matmul_rate) == (None, None)
    assert "FLOP" not in forecast.lines()[0]
    assert "forecast/matmul_rate" not in forecast.row()


@pytest.mark.parametrize(
    ("workers", "cores_here", "said"),
    [(0, 1, "data.workers=2 "), (2, 8, "data.workers=4 "), (6, 8, "data.workers=8 "), (8, 8, "--format bmp --stretch")],
)
def test_the_remedy(workers: int, cores_here: int, said: str) -> None:
    assert said in remedy(workers, cores_here)


def test_ranks_share_the_cores_of_their_host() -> None:
    assert cores(1) >= 1
    assert cores(10**6) == 1
    assert peak_memory(CPU) > 2**20
    clock = Clock()
    forecaster = make(clock, 0, 20, workers=2, ranks_here=4)
    (forecast,) = simulate(forecaster, clock, 0, 20, wait=0.5, step=0.5).values()
    assert "prepare.py" in forecast.remedy


def test_the_loaders_end_with_the_loop() -> None:
    ended = []

    def batches() -> Iterator[int]:
        try:
            yield from range(9)
        finally:
            ended.append(True)

    watched = make(Clock(), 0, 9).watch(batches())
    next(watched)
    watched.close()
    assert ended == [True]


def test_memory_that_is_full_costs_only_the_matmul_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(device: torch.device, dtype: torch.dtype) -> float:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(engine.forecast, "matmul_rate", full)
    clock = Clock()
    (forecast,) = simulate(make(clock, 0, 20, flops=10**9), clock, 0, 20, wait=0.0, step=0.5).values()
    assert forecast.lines()[0].endswith("0 % of the time waits for data, 2 GFLOP/s")


class Gpu:
    """A device behind the host: it passes an event when it has done what was launched before."""

    def __init__(self, clock: Clock, monkeypatch: pytest.MonkeyPatch):
        self.clock, self.free = clock, 0.0
        gpu = self

        class Event:
            def __init__(self, enable_timing: bool):
                assert enable_timing

            def record(self, stream: object) -> None:
                self.passed = max(gpu.free, gpu.clock.time)

            def elapsed_time(self, other: "Event") -> float:
                return 1000 * (other.passed - self.passed)

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
        monkeypatch.setattr(torch.cuda, "synchronize", self.synchronize)

    def launch(self, seconds: float) -> None:
        self.free = max(self.free, self.clock.time) + seconds

    def synchronize(self, device: torch.device) -> None:
        self.synchronised = getattr(self, "synchronised", 0) + 1
        self.clock.time = max(self.clock.time, self.free)


@pytest.mark.parametrize(("wait", "share"), [(0.25, 0.0), (0.5, 0.0), (1.0, 0.5)])
def test_a_gpu_waits_only_where_it_has_nothing_to_do(
    wait: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    gpu = Gpu(clock, monkeypatch)
    forecaster = Forecaster(0, 40, 1, lambda: None, torch.device("cuda"), clock=clock, now=lambda: NOON)

    def batches() -> Iterator[int]:
        for number in range(40):
            clock.time += wait
            yield number

    for number in forecaster.watch(batches()):
        gpu.launch(0.5)
        if forecast := forecaster.after(number + 1):
            break
    # The synchronisation before the measured steps leaves the GPU without work for the first batch.
    assert forecast.waiting == pytest.approx(share, abs=0.07)
    assert gpu.synchronised == 2


def test_a_number_is_said_in_three_digits_and_without_an_exponent() -> None:
    def said(steps: float, left: float) -> str:
        return Forecast(steps, 1234.5 * steps, left, NOON, 0, 0.0).lines()[0].partition(", peak")[0]

    assert said(3.4149, 39900) == "forecast: 3.41 steps/s (4220 pairs/s), ends Sun 22 Nov 12:00 (in 11 h 5 min)"
    assert said(0.012345, 12) == "forecast: 0.0123 steps/s (15.2 pairs/s), ends Sun 22 Nov 12:00 (in 12 s)"
    assert said(1, 400_000) == "forecast: 1 steps/s (1230 pairs/s), ends Sun 22 Nov 12:00 (in 4 d 15 h)"


def test_a_run_counts_its_arithmetic_and_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(engine.forecast, "step_flops", step_flops)
    assert train_tiny(tmp_path / "run") == 0
    (row,) = (row for row in read_log(tmp_path / "run/log.jsonl") if "forecast/seconds_left" in row)
    assert row["forecast/flops_per_second"] > 0
    assert row["forecast/matmul_rate"] == 4e12
    assert re.search(r"FLOP/s = [\d.]+ % of this device's matmul rate \(fp32\)", capsys.readouterr().err)
