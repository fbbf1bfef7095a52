"""What a training step of CycleGAN costs: ours, and a plain one in fp32, eager, as the field runs it.

    OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m benchmarks.train_step                        256 px, 64 channels
    OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m benchmarks.train_step --size 64 --channels 16 --rounds 20

On whatever device is found: (a) the plain step (benchmarks/plain_cyclegan.py), one pair at a time; (b) ours, one pair
at a time; (c) ours with the batch that does most pairs a second; (d) the plain step with that batch. Ours is
`engine.step.Stepper` as train.py runs it, checks and meter included, once for each of --precision; on a GPU with
channels_last and torch.compile. All of them have their pictures in memory. They take turns, a few steps each; medians
are compared, with the quartiles of the ratios of rounds.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.plain_cyclegan import PlainCycleGAN
from data import SOURCES
from data.batch import Batch, Share
from engine.config import load_config
from engine.flops import matmul_rate, step_flops
from engine.forecast import PRECISIONS
from engine.schedule import Plan
from engine.schema import Config
from engine.step import Stepper
from engine.training import Training
from metrics.cost import Peak
from models import METHODS, build_method

RECIPE = Path(__file__).resolve().parents[1] / "configs/cyclegan.yaml"
WARM_UP = 3  # steps: compiling, cuDNN's search, a pool's first pictures
WORTH = 1.03  # a batch twice as large must do so many times as many pairs


@dataclass
class Side:
    """One way to do a step: its seconds, a step each, and the memory that a step takes at its peak, MiB."""

    name: str
    batch: int
    precision: str
    step: Callable[[], object]
    seconds: list[float] = field(default_factory=list)
    memory: float | None = None

    @property
    def pairs_per_second(self) -> float:
        return self.batch / statistics.median(self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=0, help="of a side in a round; 0: 20 on a GPU, else 1")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=0, help="of (c) and (d); 0: the best")
    parser.add_argument("--most", type=int, default=0, help="largest batch tried; 0: 64 on a GPU, else 4")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    arguments.steps = arguments.steps or (20 if on_gpu else 1)
    arguments.most = arguments.most or (64 if on_gpu else 4)
    flops = flops_a_pair(arguments, device)
    sides = [plain_side("(a) plain, fp32 eager", 1, arguments, device)]
    for precision in arguments.precision:
        sides.append(our_side("(b) ours", 1, precision, arguments, device))
        best = arguments.batch or best_batch(precision, arguments, device)
        if best > 1:
            sides.append(our_side("(c) ours, best batch", best, precision, arguments, device))
            sides.append(plain_side("(d) plain, fp32 eager", best, arguments, device))
    interleave(sides, arguments, device)
    report(sides, flops, arguments, device)


def configure(arguments: argparse.Namespace, precision: str, batch: int, device: torch.device) -> Config:
    fast = str(device.type == "cuda").lower()
    settings = [
        *("run=none", "data.content.root=none", "data.style.root=none"),
        *(f"data.size={arguments.size}", f"data.load_size={arguments.size}", f"train.batch_size={batch}"),
        *(f"method.generator.channels={arguments.channels}", f"method.discriminator.channels={arguments.channels}"),
        *(f"train.precision={precision}", f"train.channels_last={fast}", f"train.compile={fast}"),
    ]
    return load_config(RECIPE, settings, METHODS, SOURCES)


def pictures(batch: int, arguments: argparse.Namespace, device: torch.device) -> Batch:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, batch, 3, arguments.size, arguments.size, generator=generator) * 2 - 1
    return Batch(x.to(device), y.to(device))


def flops_a_pair(arguments: argparse.Namespace, device: torch.device) -> int:
    method = build_method(configure(arguments, "fp32", 1, device).method)
    return step_flops(method, pictures(1, arguments, torch.device("cpu")))


def plain_side(name: str, batch: int, arguments: argparse.Namespace, device: torch.device) -> Side:
    torch.manual_seed(0)
    plain, given = PlainCycleGAN(arguments.channels, device=device), pictures(batch, arguments, device)

    def step() -> None:
        plain.step(given.content, given.style)  # as torch is set: TF32 in cuDNN and not in matrix products

    return Side(name, batch, "fp32", step)


def our_side(name: str, batch: int, precision: str, arguments: argparse.Namespace, device: torch.device) -> Side:
    config = configure(arguments, precision, batch, device)
    torch.manual_seed(0)
    share, given = Share(batch), pictures(batch, arguments, device)
    plan, method = Plan(config.schedule, 1000, batch), build_method(config.method).to(device)
    stepper = Stepper(Training(method, config, lambda plan, first, steps: iter(()), given, plan, share, device))
    done = 0

    def step() -> None:
        nonlocal done
        stepper.step(done, [given], plan)
        done += 1
        if done % config.log.every == 0:
            stepper.meter.settle()

    return Side(name, batch, precision, step)


def best_batch(precision: str, arguments: argparse.Namespace, device: torch.device) -> int:
    best, rate, batch = 1, 0.0, 1
    while batch <= arguments.most:
        try:
            side = our_side("", batch, precision, arguments, device)
            interleave([side], argparse.Namespace(rounds=2, steps=max(1, arguments.steps // 4)), device)
        except torch.OutOfMemoryError:
            break
        print(f"{precision}, batch {batch}: {side.pairs_per_second:.2f} pairs/s", flush=True)
        if side.pairs_per_second < WORTH * rate:
            break
        best, rate, batch = batch, side.pairs_per_second, 2 * batch
    return best


def interleave(sides: list[Side], arguments: argparse.Namespace, device: torch.device) -> None:
    for side in sides:
        peak = Peak(device)
        timed(side.step, WARM_UP if device.type == "cuda" else 1, device)
        side.memory = peak.read()
    for _ in range(arguments.rounds):
        for side in sides:
            side.seconds.append(timed(side.step, arguments.steps, device))


def timed(step: Callable[[], object], steps: int, device: torch.device) -> float:
    """Seconds a step."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / steps


def report(sides: list[Side], flops: int, arguments: argparse.Namespace, device: torch.device) -> None:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"\n{arguments.size} px, {arguments.channels} channels, {flops / 1e12:.2f} TFLOP a pair; {name}, torch "
        f"{torch.__version__}, OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', 'unset')}, {arguments.rounds} rounds"
    )
    rates = {precision: matmul_rate(device, PRECISIONS[precision]) for precision in {s.precision for s in sides}}
    for precision, rate in rates.items():
        print(f"matrix products, {precision}: {rate / 1e12:.3g} TFLOP/s")
    for side in sides:
        done = side.pairs_per_second * flops
        memory = "" if side.memory is None else f", {side.memory:,.0f} MiB"
        line = f"{side.name}, batch {side.batch}, {side.precision}: {side.pairs_per_second:.3g} pairs/s, "
        line += f"{done / 1e12:.3g} TFLOP/s = {done / rates[side.precision]:.0%} of matrix products{memory}"
        for other in sides[:1] + [s for s in sides if s.name.startswith("(d)") and s.batch == side.batch][:1]:
            if side.name.startswith(("(b)", "(c)")):
                line += f"; {ratio(side, other)} times {other.name[:3]}"
        print(line)


def ratio(side: Side, other: Side) -> str:
    """Of pairs a second, as median and quartiles over the rounds."""
    ratios = [(b / other.batch) / (a / side.batch) for a, b in zip(side.seconds, other.seconds, strict=True)]
    if len(ratios) < 2:
        return f"{ratios[0]:.2f}"
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.2f} ({low:.2f} .. {high:.2f})"


if __name__ == "__main__":
    main()
