"""How many pictures one worker brings to the training loop, against the plain pipeline of the reference recipe.

    OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m benchmarks.loading --coco COCO

COCO is a folder of MS-COCO as released; its prepared copies are made by prepare.py. Five pipelines, each with one
worker of a DataLoader, at 256 px, up to the batch in the host's memory:

    original   ours on the pictures as released: Pillow's decoder, resize to 286 x 286 by torch, crop, flip, bytes
    prepared   ours on the prepared copy
    stretched  ours on a copy prepared with --stretch
    bmp        ours on a copy prepared with --format bmp
    plain      on the pictures as released: Pillow's decoder and bicubic resize, crop, flip, float tensor, normalise

They take turns, a round each, and medians are compared. A round is one epoch of all pictures; what the worker does for
the first batch, and its start, are left out.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from data.batch import Share
from data.loader import Positions, open_training_data, read_batches
from data.options import CocoOptions, PreparedOptions
from engine.schema import DataConfig

SIZE, LOAD_SIZE, BATCH = 256, 286, 8
ROOT = Path(__file__).resolve().parents[1]


class Plain(Dataset):
    """The reference recipe, written out; pictures in pairs, as training takes them."""

    def __init__(self, folder: Path):
        self.paths = sorted(folder.glob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.read(self.paths[index]), self.read(random.choice(self.paths))

    def read(self, path: Path) -> torch.Tensor:
        image = Image.open(path).convert("RGB").resize((LOAD_SIZE, LOAD_SIZE), Image.Resampling.BICUBIC)
        left, top = random.randint(0, LOAD_SIZE - SIZE), random.randint(0, LOAD_SIZE - SIZE)
        image = image.crop((left, top, left + SIZE, top + SIZE))
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return pixels.to(torch.float32).div(255).sub(0.5).div(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coco", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40, help=f"batches of {BATCH} pairs in a round")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(arguments.coco, Path(folder) / "prepared")
        stretched = prepare(arguments.coco, Path(folder) / "stretched", "--stretch")
        bmp = prepare(arguments.coco, Path(folder) / "bmp", "--format", "bmp")
        sides = {
            "original": lambda: ours(CocoOptions(root=str(arguments.coco)), arguments.steps),
            "prepared": lambda: ours(PreparedOptions(root=str(prepared)), arguments.steps),
            "stretched": lambda: ours(PreparedOptions(root=str(stretched)), arguments.steps),
            "bmp": lambda: ours(PreparedOptions(root=str(bmp)), arguments.steps),
            "plain": lambda: plain(arguments.coco / "train2017", arguments.steps),
        }
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(arguments.rounds):
            for name, side in sides.items():
                speeds[name].append(speed(side()))
            print(
                f"round {number + 1}: " + ", ".join(f"{name} {s[-1]:.0f}/s" for name, s in speeds.items()), flush=True
            )
    report(speeds)


def prepare(coco: Path, destination: Path, *words: str) -> Path:
    command = [sys.executable, str(ROOT / "prepare.py"), "coco", str(coco), str(destination), *words]
    subprocess.run(command, check=True, capture_output=True)
    return destination


def ours(options: object, steps: int) -> Iterator[object]:
    data = DataConfig(content=options, style=options, size=SIZE, load_size=LOAD_SIZE)
    return read_batches(open_training_data(data, seed=0), Positions(Share(BATCH), 0, steps), workers=1)


def plain(folder: Path, steps: int) -> Iterator[object]:
    dataset = Plain(folder)
    sampler = [index % len(dataset) for index in range(steps * BATCH)]
    return iter(DataLoader(dataset, BATCH, sampler=sampler, num_workers=1))


def speed(source: Iterator[object]) -> float:
    """Pictures per second of one round."""
    next(source)
    began, count = time.perf_counter(), 0
    for _ in source:
        count += 2 * BATCH
    return count / (time.perf_counter() - began)


def report(speeds: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    print(f"\n{SIZE} px, one worker, batches of {BATCH} pairs, {len(speeds['plain'])} rounds, medians")
    for name, median in medians.items():
        spread = f"{min(speeds[name]):.0f} to {max(speeds[name]):.0f}"
        print(f"{name:9}{median:6.0f} pictures/s ({spread}), {median / medians['plain']:.2f} times plain")
    print(f"OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', 'unset')}, {os.cpu_count()} CPUs")


if __name__ == "__main__":
    main()
