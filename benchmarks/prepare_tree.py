"""prepare.py on a large tree with every kind of broken file, killed with -9 on the way: is anything lost, and how fast?

    .venv/bin/python -m benchmarks.prepare_tree                   20,000 good pictures, 200 bad files, 3 kills

The tree is drawn: small JPEGs and PNGs, now and then an odd one (CMYK, 16 bits, palette, alpha, animation), in nested
folders, some under names that are no UTF-8; and the bad files of tests/broken_files.py in turn, and some too small.
In the end every bad file must stand in bad_files.csv with its reason, and every good one, or one of the same bytes, in
index.csv with a picture that opens at the size that is written there.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from tests.broken_files import BAD, ODD, picture

ROOT = Path(__file__).resolve().parents[1]
SIZE, MIN_SIDE = 32, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--good", type=int, default=20_000)
    parser.add_argument("--bad", type=int, default=200)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree, destination = Path(folder) / "tree", Path(folder) / "prepared"
        print(f"drawing {arguments.good} good and {arguments.bad} bad files", flush=True)
        good, bad = draw_good(tree, arguments.good), draw_bad(tree, arguments.bad)
        command = [sys.executable, str(ROOT / "prepare.py"), "folder", str(tree), str(destination)]
        command += ["--size", str(SIZE), "--min-side", str(MIN_SIDE), "--workers", str(arguments.workers)]
        seconds = kill(command, destination, arguments.kills, len(good) + len(bad))
        began = time.perf_counter()
        last = subprocess.run(command, capture_output=True, text=True)
        seconds += time.perf_counter() - began
        print(last.stdout, end="")
        check(destination, good, bad, last.returncode)
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, check=False)
        again, files = time.perf_counter() - began, len(good) + len(bad)
        print(
            f"{files / seconds:.0f} files/s over {arguments.kills + 1} starts, {seconds:.1f} s in all, "
            f"{arguments.workers} workers; once more, with nothing to do: {again:.1f} s"
        )


def draw_good(tree: Path, count: int) -> set[str]:
    names, odd = set(), list(ODD.values())
    for i in range(count):
        suffix = "png" if i % 10 == 0 else "jpg"
        stem = os.fsdecode(b"\xe9t\xe9") if i % 100 == 7 else f"{i:06d}"
        name = f"{i % 40:02d}/{i % 7}/{stem}-{i}.{suffix}"
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        if i % 50 == 3:
            odd[(i // 50) % len(odd)](tree / name)
        else:
            picture(48, 40, seed=i).save(tree / name, "PNG" if suffix == "png" else "JPEG")
        names.add(name)
    return names


def draw_bad(tree: Path, count: int) -> dict[str, str]:
    """{name: a word of its reason}"""
    words = {}
    kinds = [*BAD.values(), (lambda path: picture(5, 5).save(path, "PNG"), "is below")]
    for i in range(count):
        make, word = kinds[i % len(kinds)]
        name = f"{i % 40:02d}/bad-{i}.jpg"
        make(tree / name)
        words[name] = word
    return words


def kill(command: list[str], destination: Path, kills: int, total: int) -> float:
    """Start and kill with -9, workers and all, each time when another share is done; returns the seconds used."""
    rng, seconds = random.Random(0), 0.0
    for number in range(kills):
        until = round(total * (number + rng.random()) / (kills + 1))
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while lines(destination / "journal.jsonl") < until and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        seconds += time.perf_counter() - began
        print(f"killed at {lines(destination / 'journal.jsonl')} of {total} files", flush=True)
    return seconds


def lines(journal: Path) -> int:
    return journal.read_bytes().count(b'"path"') if journal.exists() else 0


def check(destination: Path, good: set[str], bad: dict[str, str], code: int) -> None:
    listed = {row["path"]: row["reason"] for row in table(destination / "bad_files.csv")}
    rows = table(destination / "index.csv")
    kept = {row["original"] for row in rows}
    same = {row["path"]: row["same_as"] for row in table(destination / "duplicates.csv")}
    assert code == 3, f"exit code {code}"
    assert listed.keys() == bad.keys(), listed.keys() ^ bad.keys()
    assert all(reason and bad[name] in reason for name, reason in listed.items())
    assert kept | same.keys() == good, "a picture is lost"
    assert set(same.values()) <= kept
    for row in rows:
        with Image.open(destination / "pictures" / row["path"]) as image:
            image.load()
            assert image.size == (int(row["width"]), int(row["height"])), row
            assert min(image.size) == min(SIZE, int(row["original_width"]), int(row["original_height"])), row
    files = sum(1 for path in (destination / "pictures").rglob("*") if path.is_file())
    assert files == len(rows), f"{files} files, {len(rows)} rows"
    print(f"all {len(bad)} bad files listed with their reasons")
    print(f"{len(kept)} pictures kept, {len(same)} duplicates, none lost")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
