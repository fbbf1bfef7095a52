"""What a step costs beside its arithmetic: sharing gradients by DistributedDataParallel, and waiting for the loader.

    OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m benchmarks.step_overhead --coco COCO

1. A step with its networks in DistributedDataParallel, in a group of one process (gloo on a CPU, NCCL on a GPU),
   against the same step without; they take turns, and the steps' ratios are compared pairwise. (A run of one process
   does without: engine/distributed.py.)
2. The loader at 256 px from a prepared copy of COCO (--format bmp --stretch), feeding steps that only sleep: how many
   pictures a second it brings with each number of workers, and how long a step of 16 pairs has to be for at most 2 % of
   it to be spent waiting, until bytes are in the host's memory (what is left to do, the device does). A number of
   workers is what --step-ms would want at that rate for each of them.
"""

import argparse
import math
import os
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.loading import LOAD_SIZE, SIZE, prepare
from data import SOURCES
from data.batch import Batch, Share
from data.loader import Positions, open_training_data, read_batches
from data.options import PreparedOptions
from engine.config import load_config
from engine.distributed import Team
from engine.forecast import cores
from engine.schedule import Plan
from engine.schema import DataConfig
from engine.step import Stepper
from engine.training import Training
from models import METHODS, build_method

RECIPE = Path(__file__).resolve().parents[1] / "configs/cyclegan.yaml"
BATCH = 16
TOLERABLE = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coco", type=Path, help="MS-COCO as released; without it the loader is left out")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--step-ms", type=float, default=10.0)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    report_sharing(*measure_sharing(arguments, device), arguments, device)
    if arguments.coco:
        with tempfile.TemporaryDirectory() as folder:
            measure_loader(prepare(arguments.coco, Path(folder) / "bmp", "--format", "bmp", "--stretch"), arguments)


def measure_sharing(arguments: argparse.Namespace, device: torch.device) -> tuple[list[float], list[float]]:
    """Seconds of every step, with and without."""
    store = dist.HashStore()
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=0, world_size=1, timeout=timedelta(minutes=5))
    words = [
        *("run=none", "data.content.root=none", "data.style.root=none", f"data.size={arguments.size}"),
        *(f"data.load_size={arguments.size}", f"method.generator.channels={arguments.channels}"),
        f"method.discriminator.channels={arguments.channels}",
    ]
    config = load_config(RECIPE, words, METHODS, SOURCES)
    given = Batch(*(torch.rand(2, 1, 3, arguments.size, arguments.size, device=device) * 2 - 1))
    plan = Plan(config.schedule, 1000)
    methods = [build_method(config.method).to(device) for _ in range(2)]
    trained = [Training(m, config, lambda plan, first, steps: iter(()), given, plan, Share(), device) for m in methods]
    steppers = [Stepper(each) for each in trained]
    for name, network in steppers[0].accelerated.wrapped.items():
        steppers[0].accelerated.wrapped[name] = Team().share_gradients(network)
    seconds: list[list[float]] = [[], []]
    for step in range(arguments.steps + 1):
        for stepper, taken in zip(steppers, seconds, strict=True):
            began = time.perf_counter()
            stepper.step(step, [given], plan)
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - began)
    dist.destroy_process_group()
    return seconds[0][1:], seconds[1][1:]


def report_sharing(
    shared: list[float], alone: list[float], arguments: argparse.Namespace, device: torch.device
) -> None:
    logs = [math.log(a / b) for a, b in zip(shared, alone, strict=True)]
    mean, error = math.exp(statistics.mean(logs)), statistics.stdev(logs) / len(logs) ** 0.5
    medians = statistics.median(shared), statistics.median(alone)
    print(
        f"{device.type}, {arguments.size} px, {arguments.channels} channels, {len(shared)} steps each: "
        f"DistributedDataParallel {medians[0] * 1000:.1f} ms, without {medians[1] * 1000:.1f} ms; ratio of medians "
        f"{medians[0] / medians[1]:.4f}, median of ratios {math.exp(statistics.median(logs)):.4f}, "
        f"mean {mean:.4f}, standard error {error:.4f}"
    )


def measure_loader(folder: Path, arguments: argparse.Namespace) -> None:
    here = cores(1)
    for workers in range(1, here + 1):
        rate = BATCH / drain(folder, workers, 40, 0.0)[0]
        needed = math.ceil(BATCH / (arguments.step_ms / 1000) / (rate / workers))
        print(
            f"loader, {SIZE} px, {workers} workers of {here} cores: {2 * rate:.0f} pictures/s; steps of {BATCH} pairs "
            f"and {arguments.step_ms:.0f} ms want {needed} workers as quick as these"
        )
    lengths = [arguments.step_ms / 1000 * 2**k for k in range(8)]
    for length in lengths:
        seconds, waiting = drain(folder, here, max(12, math.ceil(3 / length)), length)
        print(f"steps of {1000 * length:.0f} ms, {here} workers: {waiting:.1%} of the time waits for the loader")
        if waiting <= TOLERABLE:
            break


def drain(folder: Path, workers: int, steps: int, length: float) -> tuple[float, float]:
    """Seconds a step, and the share of them that waited, of steps that sleep."""
    options = PreparedOptions(root=str(folder))
    data = DataConfig(content=options, style=options, size=SIZE, load_size=LOAD_SIZE)
    positions = Positions(Share(BATCH), 0, steps + 3)
    source = read_batches(open_training_data(data, seed=0), positions, workers)
    for _ in range(3):
        next(source)
    waited, began = 0.0, time.perf_counter()
    for _ in range(steps):
        asked = time.perf_counter()
        next(source)
        waited += time.perf_counter() - asked
        time.sleep(length)
    return (time.perf_counter() - began) / steps, waited / (time.perf_counter() - began)


if __name__ == "__main__":
    os.environ.setdefault("WANDB_MODE", "disabled")
    main()
