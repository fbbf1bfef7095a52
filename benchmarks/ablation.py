"""What each part of a recipe brings: variants of the demo's recipes, several seeds each, measured against the truth.

    .venv/bin/python -m benchmarks.ablation runs/ablation                    all; stopped, the same command goes on
    .venv/bin/python -m benchmarks.ablation runs/ablation --only cyclegan cut --seeds 3
    .venv/bin/python -m benchmarks.ablation runs/ablation --table            what is there already

Every run is one of train.py, with as many steps and the same drawn pictures (400 scenes a domain, 64 px); its last
evaluation, of 128 held-out pictures, is read from its log. As many runs at once as there are cores, a thread each.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from engine.forecast import cores
from engine.logger import read_log

ROOT = Path(__file__).resolve().parents[1]
STEPS, PICTURES = 1000, 128
COLUMNS = {"psnr_truth": "PSNR to the truth, dB", "ssim_truth": "SSIM to the truth", "swd": "SWD, x1000",
           "gradient_correlation": "gradient correlation"}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A recipe and what is changed in it."""

    name: str
    recipe: str
    words: tuple[str, ...] = ()


PUBLISHED = ("method.learning_rate=2e-4", "method.generator.upsample=transposed", "method.generator.skips=false")

VARIANTS = (
    Variant("published", "demo", PUBLISHED),  # CycleGAN by the paper's options, at the demo's size
    Variant("rate", "demo", PUBLISHED[1:]),
    Variant("resize", "demo", PUBLISHED[2:]),
    Variant("cyclegan", "demo"),
    Variant("cut", "demo_cut"),
    Variant("fastcut", "demo_fastcut"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[variant.name for variant in VARIANTS], metavar="NAME")
    parser.add_argument("--table", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    chosen = [variant for variant in VARIANTS if not arguments.only or variant.name in arguments.only]
    runs = [(variant, seed) for seed in range(arguments.seeds) for variant in chosen]
    if not arguments.table:
        with ThreadPoolExecutor(cores(1)) as pool:
            list(pool.map(lambda run: train(arguments.folder, *run), runs))
    print(table(arguments.folder, chosen, arguments.seeds))


def train(folder: Path, variant: Variant, seed: int) -> None:
    """One run, or the rest of it; an error is told, and the others go on."""
    run = place(folder, variant, seed)
    command = [
        *(sys.executable, "train.py", f"configs/{variant.recipe}.yaml", f"run={run}", f"seed={seed}", *variant.words),
        *(f"eval.every={STEPS}", f"eval.pictures={PICTURES}", "log.wandb=disabled", f"log.pictures_every={STEPS}"),
    ]
    told = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    last = told.stderr.strip().splitlines()[-1:] or [""]
    print(f"{run.name}: {'done' if told.returncode == 0 else last[0]}", flush=True)


def place(folder: Path, variant: Variant, seed: int) -> Path:
    return folder.absolute() / f"{variant.name}-{seed}"


def found(folder: Path, variant: Variant, seed: int) -> dict[str, float]:
    """The scores of a finished run; {} of another."""
    rows = [row for row in read_log(place(folder, variant, seed) / "log.jsonl") if "eval/psnr_truth" in row]
    return {key: rows[-1][f"eval/{key}"] for key in COLUMNS} if rows else {}


def table(folder: Path, variants: Sequence[Variant], seeds: int) -> str:
    """Mean and standard deviation over the seeds."""
    rows = []
    for variant in variants:
        scores = [scores for seed in range(seeds) if (scores := found(folder, variant, seed))]
        cells = [_mean_and_spread([each[key] for each in scores]) for key in COLUMNS]
        rows.append([variant.name, " ".join(variant.words), len(scores), *cells])
    return tabulate(rows, ["variant", "settings", "seeds", *COLUMNS.values()], tablefmt="github")


def _mean_and_spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" +- {statistics.stdev(values):.3g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{spread}"


if __name__ == "__main__":
    main()
