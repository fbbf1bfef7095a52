"""Start-up and memory with 200,000 pictures: what a data set costs before its first picture, and in every worker.

    .venv/bin/python -m benchmarks.large_index

A prepared folder and its source are drawn: 200,000 names (hard links to a few pictures), an index, the source's files.
A fresh process then does what train.py does: open both parts of both domains, look for doubts (has the source
changed?), start two workers, wait for the first batch. Memory of a worker is what it does not share with its parent
(private pages of /proc/PID/smaps_rollup) after 100 batches, beside the same for a folder of 200 pictures; for
comparison the worker of a data set that keeps its paths in a Python list.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from data import open_source
from data.batch import Share
from data.doubts import find_doubts
from data.images import save_picture
from data.loader import Positions, open_training_data, read_batches
from data.options import PreparedOptions, SyntheticOptions
from data.prepared import OWN_COLUMNS, fingerprint
from engine.schema import DataConfig

WORKERS, BATCHES, BATCH, SIZE = 2, 100, 4, 64
LINKS = 50_000  # to one file; file systems allow no more than 65,000
FEW = 200


class Listed(Dataset):
    """Paths in a Python list, each of which every worker copies by counting its references."""

    def __init__(self, root: Path):
        self.paths = sorted(str(path) for path in root.rglob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> int:
        return sum(path is None for path in self.paths)  # a shuffle or a choice would touch them, too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for entries in (FEW, arguments.entries):
            root = Path(folder) / str(entries)
            draw(root, entries)
            command = [sys.executable, "-m", "benchmarks.large_index", "--measure", str(root)]
            found[entries] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            report(entries, found[entries])
        extra = found[arguments.entries]["worker"] - found[FEW]["worker"]
        print(f"a worker's extra memory for {arguments.entries} entries instead of {FEW}: {extra / 2**20:.1f} MiB")


def draw(root: Path, entries: int) -> None:
    """A source and its prepared copy."""
    pictures = open_source(SyntheticOptions(scenes=8, size=SIZE), "content", "train")
    stamps, rows = [], []
    for i in range(entries):
        name = f"{i % 100:02d}/{i:012d}.jpg"
        for tree in ("source", "prepared/pictures"):
            path = root / tree / name
            if i < 100:
                path.parent.mkdir(parents=True, exist_ok=True)
            first = root / tree / f"{(i // LINKS) % 100:02d}/first-{i // LINKS}.jpg"
            if i % LINKS == 0:
                save_picture(pictures[i // LINKS], first)
            os.link(first, path)
        part = "held_out" if i % 20 == 0 else "train"
        rows.append((name, part, SIZE, SIZE, name, 640, 480, f"{i:064x}", "cat;dog", str(i % 8), f"kind {i % 12}"))
    for folder, _, files in os.walk(root / "source"):
        for file in files:
            stat = os.stat(os.path.join(folder, file))
            name = os.path.relpath(os.path.join(folder, file), root / "source")
            stamps.append((name, stat.st_size, stat.st_mtime_ns))
    with (root / "prepared/index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([(*OWN_COLUMNS, "categories", "licence", "supercategory"), *rows])
    options = {"source": "folder", "root": str(root / "source")}
    (root / "prepared/prepared.json").write_text(json.dumps({"options": options, "fingerprint": fingerprint(stamps)}))


def measure(root: Path) -> dict[str, float]:
    options = PreparedOptions(root=str(root / "prepared"))
    data = DataConfig(content=options, style=options, size=SIZE, load_size=SIZE)
    seconds = {"start": time.perf_counter()}
    dataset = open_training_data(data, seed=0)
    held_out = {domain: open_source(options, domain, "held_out") for domain in ("content", "style")}
    seconds["open"] = time.perf_counter()
    doubts = list(find_doubts({"content": options}, dataset.sources, held_out))
    assert len(doubts) == 1, doubts  # the same folder for both domains; and not that its source has changed
    seconds["doubts"] = time.perf_counter()
    batches = read_batches(dataset, Positions(Share(BATCH), 0, BATCHES + 1), WORKERS)
    next(batches)
    seconds["first batch"] = time.perf_counter()
    times = list(seconds.items())
    found = {name: now - before for (_, before), (name, now) in zip(times, times[1:], strict=False)}
    found["start-up"] = seconds["first batch"] - seconds["start"]
    return found | {"worker": memory_of_workers(batches), "list": list_memory(root / "source")}


def memory_of_workers(batches: Iterator[object]) -> float:
    """Bytes, of the largest, after the last batch but one."""
    for _ in range(BATCHES - WORKERS * 8):
        next(batches)
    return max(private_bytes(pid) for pid in children())


def list_memory(root: Path) -> float:
    loader = iter(DataLoader(Listed(root), num_workers=1))
    for _ in range(3):
        next(loader)
    return max(private_bytes(pid) for pid in children())


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_"))


def report(entries: int, found: dict[str, float]) -> None:
    steps = ", ".join(f"{name} {found[name]:.2f} s" for name in ("open", "doubts", "first batch"))
    print(f"{entries} entries: start-up {found['start-up']:.2f} s ({steps})")
    print(f"  private memory of a worker: {found['worker'] / 2**20:.1f} MiB; of one with a Python list: "
          f"{found['list'] / 2**20:.1f} MiB", flush=True)  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
