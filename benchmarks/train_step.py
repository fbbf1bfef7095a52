"""What our loop costs: a training step of ours against the same arithmetic as plain torch calls.

    OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m benchmarks.train_step                  256 px, 64 channels, batch 1
    OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m benchmarks.train_step --size 64 --channels 16 --steps 40

Ours is `engine.loop.fit` as train.py runs it: pictures decoded from files, augmented, batched; seeds, schedule,
checks, a log row and an offline W&B row every step. The plain side gets a batch that is in memory already. The two
take turns, a step each, in one process. Medians are compared, and the steps pairwise, with the standard error: on a
busy machine single steps differ by more than the overhead. The first step, which warms up, and the last, which draws
the sample sheet and saves, are left out.
"""

import argparse
import itertools
import math
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.plain_cyclegan import PlainCycleGAN
from data import SOURCES, open_source
from data.images import save_picture
from data.loader import batches, fixed_batch, open_training_data, steps_per_epoch
from data.options import SyntheticOptions
from engine.config import load_config
from engine.loop import Plan, fit
from engine.run_folder import RunFolder
from engine.schema import Config
from models import METHODS, build_method

RECIPE = Path(__file__).resolve().parents[1] / "configs/cyclegan.yaml"
PICTURES = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12, help="measured steps of each side, 2 or more")
    arguments = parser.parse_args()
    os.environ["WANDB_MODE"] = "offline"
    with tempfile.TemporaryDirectory() as folder:
        config = prepare(Path(folder), arguments)
        ours, plain = measure(config, arguments.steps)
    report(ours[1:-1], plain[1:-1], arguments)


def prepare(folder: Path, arguments: argparse.Namespace) -> Config:
    """Draw pictures of MS-COCO's usual size into files, and configure the full recipe on them."""
    options = SyntheticOptions(scenes=PICTURES, size=480)
    for domain in ("content", "style"):
        (folder / domain).mkdir()
        source = open_source(options, domain, "train")
        for index in range(PICTURES):
            save_picture(source[index], folder / domain / f"{index}.jpg")
    size, channels = arguments.size, arguments.channels
    settings = [
        f"run={folder / 'run'}",
        *(f"data.{domain}.{key}={folder / domain}" for domain in ("content", "style") for key in ("root", "held_out")),
        *(f"data.size={size}", f"data.load_size={size * 286 // 256}", "data.workers=0", "train.device=cpu"),
        *(f"method.generator.channels={channels}", f"method.discriminator.channels={channels}"),
        *("schedule.unit=steps", f"schedule.constant={arguments.steps + 2}", "schedule.decay=0"),
        *("log.every=1", "log.pictures_every=100000", "log.num_pictures=1", "checkpoints.every=100000"),
    ]
    return load_config(RECIPE, settings, METHODS, SOURCES)


def measure(config: Config, steps: int) -> tuple[list[float], list[float]]:
    """Seconds of every step of ours and of the plain side."""
    data, cpu = config.data, torch.device("cpu")
    torch.manual_seed(config.seed)
    plain = PlainCycleGAN(config.method.generator.channels)
    torch.manual_seed(config.seed)
    method = build_method(config.method)
    dataset = open_training_data(data, config.seed)
    samples = fixed_batch(*(open_source(o, d, "held_out") for d, o in data.domains()), 1, data.size)
    in_memory = next(batches(dataset, 1, 0, 1, 0, cpu))
    ours_seconds, plain_seconds = [], []

    def read(first: int, last: int):
        """Our batches; the plain step runs whenever the loop comes back for the next one."""
        source = batches(dataset, 1, first, last, data.workers, cpu)
        for _ in itertools.count():
            began = time.perf_counter()
            batch = next(source, None)
            if batch is None:
                return
            yield batch
            ours_seconds.append(time.perf_counter() - began)  # the loop is back: its step is done, log and all
            began = time.perf_counter()
            plain.step(in_memory.content, in_memory.style)
            plain_seconds.append(time.perf_counter() - began)
            print(
                f"step {len(ours_seconds)}: ours {ours_seconds[-1]:.3f} s, plain {plain_seconds[-1]:.3f} s", flush=True
            )

    with RunFolder(config) as run:
        fit(method, read, samples, Plan(config.schedule, steps_per_epoch(dataset, 1)), run)
    return ours_seconds, plain_seconds


def report(ours: list[float], plain: list[float], arguments: argparse.Namespace) -> None:
    logs = [math.log(a / b) for a, b in zip(ours, plain, strict=True)]
    mean, error = math.exp(statistics.mean(logs)), statistics.stdev(logs) / len(logs) ** 0.5
    medians = statistics.median(ours), statistics.median(plain)
    print(
        f"\n{arguments.size} px, {arguments.channels} channels, batch 1, fp32, CPU, {torch.get_num_threads()} threads, "
        f"OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', 'unset')}, {len(ours)} steps each\n"
        f"ours  {medians[0]:.3f} s a step\nplain {medians[1]:.3f} s a step\n"
        f"ratio of medians {medians[0] / medians[1]:.4f}; mean of the ratios {mean:.4f}, standard error {error:.4f}"
    )


if __name__ == "__main__":
    main()
