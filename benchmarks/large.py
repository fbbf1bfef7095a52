"""A picture of 100 megapixels through a generator with instance norm: memory, time, seams, and how near it comes.

    .venv/bin/python -m benchmarks.large                 24 channels, 100 MP: about half an hour on 2 cores
    .venv/bin/python -m benchmarks.large --channels 64 --megapixels 25
    .venv/bin/python -m benchmarks.large --run runs/demo --megapixels 0 --picture PHOTOGRAPH

Each kind of statistics has a process of its own. Its memory is the most that was resident, from before the picture is
drawn, less what was resident then, with the network loaded and tried. Seams: the mean absolute step from row to row
(column to column) across the borders of tiles, against that everywhere else; "exact" has no tiles, and is measured at
the same places: what the picture itself has there. PSNR: a picture that also fits whole, through tiles of a third of
its side or less, against the untiled result. The picture is drawn: waves, discs, and a grain that is finer in one half.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from data.images import denormalise, normalise, open_picture, to_tensor
from engine.schema import Config
from models import load_translator
from models.cyclegan import CycleGAN
from models.options import CycleGANOptions, GeneratorOptions
from models.translator import Translator
from translation.graph import reach, read_graph
from translation.large import bytes_a_pixel, choose_statistics, choose_tile, translate_large

KINDS = ("exact", "sampled", "thumbnail")
ROWS = 256  # drawn at a time


def main() -> None:
    arguments = parse_arguments()
    if arguments.child:
        print(json.dumps(large(arguments)))
        return
    translator = build(arguments)
    last = read_graph(translator)
    print(f"the network looks {reach(last)} px far and takes {bytes_a_pixel(last):,} bytes a pixel", flush=True)
    compare(translator, arguments)
    for kind in arguments.statistics if arguments.megapixels else ():
        row = json.loads(child(arguments, kind).splitlines()[-1])
        print(
            f"{kind:9} {row['megapixels']:.0f} MP: {row['gigabytes']:.2f} GB beyond the model, {row['seconds']:.0f} s, "
            f"tiles of {row['tile']} px; step across borders against elsewhere: rows {row['rows']:.4f}, "
            f"columns {row['columns']:.4f}",
            flush=True,
        )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--run", help="a trained run instead of random weights")
    parser.add_argument("--megapixels", type=float, default=100)
    parser.add_argument("--picture", help="a photograph instead of the drawn picture, for the PSNR")
    parser.add_argument("--whole", type=int, default=2560, help="side of the picture that also fits whole")
    parser.add_argument("--tile", type=int)
    parser.add_argument("--statistics", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def build(arguments: argparse.Namespace) -> Translator:
    if arguments.run:
        return load_translator(arguments.run)
    torch.manual_seed(0)
    generator = GeneratorOptions(channels=arguments.channels, blocks=arguments.blocks, upsample="resize", skips=True)
    options = CycleGANOptions(generator=generator)
    return Translator(CycleGAN(options), "photo2painting", Config(method=options), 0, torch.device("cpu"))


def compare(translator: Translator, arguments: argparse.Namespace) -> None:
    """PSNR to the untiled result, where that can be had."""
    own = arguments.picture and np.array(open_picture(arguments.picture))
    pixels = draw(arguments.whole, arguments.whole) if own is None else own
    begin = time.perf_counter()
    whole = denormalise(translator.translate(normalise(to_tensor(pixels)[None])))[0].permute(1, 2, 0).numpy()
    print(f"whole     {pixels.shape[1]} x {pixels.shape[0]} px: {time.perf_counter() - begin:.1f} s", flush=True)
    tile = arguments.tile or max(64, min(pixels.shape[:2]) // 3)
    for kind in arguments.statistics:
        begin = time.perf_counter()
        found = translate_large(translator, pixels, tile=tile, statistics=kind)
        seconds = time.perf_counter() - begin
        print(f"{kind:9} tiles of {tile} px: {psnr(found, whole):.1f} dB to the whole, {seconds:.1f} s", flush=True)


def child(arguments: argparse.Namespace, kind: str) -> str:
    words = ["--child", "--statistics", kind, "--megapixels", str(arguments.megapixels)]
    words += ["--channels", str(arguments.channels), "--blocks", str(arguments.blocks)]
    words += ["--run", arguments.run] if arguments.run else []
    words += ["--tile", str(arguments.tile)] if arguments.tile else []
    command = [sys.executable, "-m", "benchmarks.large", *words]
    return subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True).stdout


def large(arguments: argparse.Namespace) -> dict:
    """One picture in this process."""
    (kind,) = arguments.statistics
    translator = build(arguments)
    translator.translate(torch.zeros(1, 3, 64, 64))  # what libraries load at their first use is none of the picture's
    before = forget_peak()
    side = round(math.sqrt(arguments.megapixels * 1e6))
    pixels = draw(side, side)
    tile = arguments.tile or choose_tile(translator)
    begin = time.perf_counter()
    found = translate_large(translator, pixels, tile=tile, statistics=kind, progress=Teller(kind))
    seconds = time.perf_counter() - begin
    most = status("VmHWM") - before
    rows, columns = seams(found, tile)
    fits = choose_statistics(translator, side, side)
    return {
        "megapixels": side * side / 1e6, "gigabytes": most / 1e9, "seconds": seconds, "tile": tile, "rows": rows,
        "columns": columns, "auto": fits,
    }  # fmt: skip


class Teller:
    """A line a minute for whoever waits."""

    def __init__(self, kind: str):
        self.kind, self.told = kind, time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        if time.monotonic() - self.told > 60:
            self.told = time.monotonic()
            print(f"{self.kind}: {done / of:.0%}, {status('VmHWM') / 1e9:.2f} GB", file=sys.stderr, flush=True)


def seams(found: np.ndarray, tile: int) -> tuple[float, float]:
    """Mean absolute step across the borders of tiles against that elsewhere, from row to row and column to column."""
    return _seams(found, tile), _seams(found.transpose(1, 0, 2), tile)


def _seams(found: np.ndarray, tile: int) -> float:
    side = len(found)
    count = -(-side // tile)
    borders = [side * i // count for i in range(1, count)]
    steps = np.array([np.abs(found[i].astype(np.int16) - found[i - 1]).mean() for i in range(1, side)])
    across = np.isin(np.arange(1, side), borders)
    return float(steps[across].mean() / steps[~across].mean()) if borders else math.nan


def draw(height: int, width: int) -> np.ndarray:
    """uint8 [H, W, 3]: the same picture at every size but for its grain, which is of single pixels."""
    pixels = np.empty((height, width, 3), np.uint8)
    rng = np.random.default_rng(0)
    discs = [(*rng.random(2), rng.uniform(0.01, 0.12), rng.uniform(-90, 90, 3)) for _ in range(60)]
    x = (np.arange(width, dtype=np.float32) / width)[None, :, None]
    tint = np.array([0.0, 1.0, 2.0], np.float32)
    for first in range(0, height, ROWS):
        y = (np.arange(first, min(first + ROWS, height), dtype=np.float32) / height)[:, None, None]
        picture = 120 + 50 * np.sin(7 * x + 3 * y + tint) + 30 * np.sin(61 * x * y + 2 * tint) * np.cos(43 * y)
        for cx, cy, radius, colour in discs:
            down = (abs(y - cy) < radius)[:, 0, 0].nonzero()[0]
            if not len(down):
                continue
            rows = slice(down[0], down[-1] + 1)
            columns = slice(max(0, int((cx - radius) * width)), int((cx + radius) * width) + 1)
            across, along = x[:, columns], y[rows]
            inside = (across - cx) ** 2 + (along - cy) ** 2 < radius**2
            ribbed = colour.astype(np.float32) * (1 + 0.3 * np.sin(400 * (across + along)))
            picture[rows, columns] += inside * ribbed
        grain = np.random.default_rng([1, first]).standard_normal((*picture.shape[:2], 1), np.float32)
        pixels[first : first + ROWS] = np.clip(picture + grain * (3 + 12 * (x > 0.5)), 0, 255)
    return pixels


def psnr(ours: np.ndarray, theirs: np.ndarray) -> float:
    error = np.square(ours.astype(np.float64) - theirs).mean()
    return 10 * math.log10(255**2 / error) if error else math.inf


def forget_peak() -> int:
    """Start VmHWM again (Linux); returns what is resident now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(name: str) -> int:
    rows = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return next(int(row[1]) * 1024 for row in rows if row[0] == f"{name}:")


if __name__ == "__main__":
    main()
