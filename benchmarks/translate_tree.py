"""Is a large folder translated to its end, whatever happens? Thousands of pictures, some broken, and kill -9.

    .venv/bin/python -m benchmarks.translate_tree                 5,000 pictures, 60 of them broken, 5 kills

Draws pictures of many sizes, formats and modes into 40 nested folders, cuts some of them off, and translates the tree
with a small network of random weights (a) in one go, (b) killed with -9 at five places and started again each time,
(c) by two processes at once. Then every output must decode and have its input's size, (b) and (c) must have the bytes
of (a), failures.csv must name exactly the broken ones, and the code must be 3.
"""

import argparse
import csv
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data.images import picture_size
from models.networks.generator import ResnetGenerator
from translation.plan import plan_outputs

ROOT = Path(__file__).resolve().parents[1]
FOLDERS, FORMATS = 40, ("jpg", "png", "webp", "gif", "tif")
SOME_FAILED = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--bad", type=int, default=60)
    parser.add_argument("--kills", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), arguments)


def check(folder: Path, arguments: argparse.Namespace) -> None:
    bad = draw_tree(folder / "in", arguments.pictures, arguments.bad)
    torch.manual_seed(0)
    torch.save(ResnetGenerator(8, 1).state_dict(), folder / "net.pth")

    began = time.monotonic()
    assert start(folder, "one").wait() == SOME_FAILED
    print(f"one process: {time.monotonic() - began:.0f} s")
    whole = contents(folder / "one")
    jobs = plan_outputs([str(folder / "in")], folder / "one")
    good = [job for job in jobs if job.name not in bad]
    assert set(whole) == {str(job.target.relative_to(folder / "one")) for job in good}
    for job in good:
        with Image.open(job.target) as image:
            image.load()
            assert image.size == picture_size(job.source), job.name

    for number in range(arguments.kills):
        process = start(folder, "killed")
        wanted = (number + 1) * arguments.pictures // (arguments.kills + 1)
        while process.poll() is None and count(folder / "killed") < wanted:
            time.sleep(0.05)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        print(f"killed with {count(folder / 'killed')} pictures there")
    assert start(folder, "killed").wait() == SOME_FAILED

    two = [start(folder, "two") for _ in range(2)]
    assert [process.wait() for process in two] == [SOME_FAILED] * 2
    for name in ("killed", "two"):
        assert contents(folder / name) == whole, name
        assert not list((folder / name).rglob(".*")), name
        with (folder / name / "failures.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            assert {row["picture"] for row in csv.DictReader(file)} == bad, name
    print(f"{len(whole)} translations, the same bytes three times; {len(bad)} rows in failures.csv; exit {SOME_FAILED}")


def draw_tree(root: Path, pictures: int, bad: int) -> set[str]:
    """Returns the names of the broken ones."""
    draws = random.Random(0)
    broken = set(draws.sample(range(pictures), bad))
    names = set()
    for number in range(pictures):
        place = number % FOLDERS
        form = draws.choice(FORMATS)
        path = root / "/".join(f"{digit}" for digit in f"{place:02}") / f"picture {number} é.{form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = draws.choice(("RGB", "L", "P")) if form != "jpg" else draws.choice(("RGB", "L", "CMYK"))
        size = draws.choice((32, 33, 40, 57)), draws.choice((32, 45, 64))
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).convert(mode).save(path)
        if number in broken:
            path.write_bytes(path.read_bytes()[: draws.choice((0, 20, 60))])
            names.add(str(path.relative_to(root)))
    return names


def start(folder: Path, out: str) -> subprocess.Popen:
    command = [sys.executable, "translate.py", str(folder / "net.pth"), str(folder / "in"), str(folder / out)]
    log = open(folder / f"{out}.log", "a")  # noqa: SIM115
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


def count(out: Path) -> int:
    return sum(not path.name.startswith(".") for path in out.rglob("picture *"))


def contents(out: Path) -> dict[str, str]:
    """Checksums of the translations."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file() and path.name != "failures.csv"
    }


if __name__ == "__main__":
    main()
