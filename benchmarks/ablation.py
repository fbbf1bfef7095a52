"""What each part of a recipe brings: variants of the demo's recipes, several seeds each, measured against the truth.

    .venv/bin/python -m benchmarks.ablation runs/ablation                    all; stopped, the same command goes on
    .venv/bin/python -m benchmarks.ablation runs/ablation --only cyclegan cut --seeds 3
    .venv/bin/python -m benchmarks.ablation runs/ablation --table            what is there already
    .venv/bin/python -m benchmarks.ablation runs/real --steps 2000 --content PHOTOGRAPHS --style PAINTINGS

Every run is one of train.py, with as many steps and the same drawn pictures (400 scenes a domain, 64 px); its last
evaluation, of 128 held-out pictures, is read from its log. Spreads are standard deviations over the seeds. As many runs
at once as there are cores, a thread each.

With folders of one's own there is no truth: likeness to the held-out paintings and content are shown. Every seed holds
out three tenths of the pictures, others each time: what a few hundred pictures say depends much on which they are.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from data import SOURCES
from engine.config import load_config
from engine.forecast import cores
from engine.logger import read_log
from models import METHODS

ROOT = Path(__file__).resolve().parents[1]
PICTURES = 128
LINKS = "pictures"  # a folder beside the runs
COLUMNS = {"psnr_truth": "PSNR to the truth, dB", "ssim_truth": "SSIM to the truth", "swd": "SWD, x1000",
           "gradient_correlation": "gradient correlation"}  # fmt: skip
WITHOUT_TRUTH = {"swd": "SWD, x1000", "frechet_random": "Frechet distance, random features",
                 "moments_random": "moment distance, random features", "ssim_content": "SSIM to the photograph",
                 "gradient_correlation": "gradient correlation"}  # fmt: skip


@dataclass(frozen=True)
class Folders:
    """Photographs and paintings to train on instead of the drawn ones."""

    content: Path
    style: Path

    def link(self, links: Path, seeds: Sequence[int]) -> None:
        """Below each seed's number: what is held out is chosen by a hash of the names.

        Raises:
            OSError: there is no such folder, or other folders were linked there.
        """
        for domain, folder in (("content", self.content), ("style", self.style)):
            if not folder.is_dir():
                raise NotADirectoryError(f"--{domain} {folder}: not a folder")
            for seed in seeds:
                link = self._link(links, domain, seed)
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to(folder.absolute())
                if link.readlink() != folder.absolute():
                    raise FileExistsError(f"--{domain} {folder}: the runs in {links.parent} are of {link.readlink()}")

    def words(self, links: Path, seed: int) -> tuple[str, ...]:
        words = []
        for domain in ("content", "style"):
            words += [f"data.{domain}.source=folder", f"data.{domain}.root={self._link(links, domain, seed).parent}"]
            words += [f"data.{domain}.held_out_share=0.3"]
        return (*words, "data.load_size=72")

    @staticmethod
    def _link(links: Path, domain: str, seed: int) -> Path:
        return links / domain / str(seed) / str(seed)


@dataclass(frozen=True)
class Variant:
    """A recipe and what is changed in it."""

    name: str
    recipe: str
    words: tuple[str, ...] = ()


PUBLISHED = ("method.learning_rate=2e-4", "method.generator.upsample=transposed", "method.generator.skips=false")

WEIGHTS = ("method.cycle_weight=10", "method.identity_weight=5", "method.nce_weight=1")  # CycleGAN's two, CUT's
FROM_START = "method.identity_free_from=start"
WHOLE = ("method.identity_free_tint=0", FROM_START)
# The modern recipe before its norms: over this most else was tried.
INSTANCE = (
    "method.generator.norm=instance",
    "method.discriminator.norm=instance",
    "method.r1_weight=0",
    *WHOLE,
    *WEIGHTS,
)

MORE = {  # each alone over "average"; modern has taken R1 only, instead of a norm
    "diffaugment": ("method.diffaugment=[translation,cutout]",),
    "nonsaturating": ("method.adversarial=nonsaturating",),
    "r1": ("method.r1_weight=0.1", "method.r1_every=4"),
    "scales": ("method.discriminator.scales=2",),
    "spectral": ("method.discriminator.spectral_norm=true",),
    "two_rates": ("method.discriminator_rate=1e-3",),
    "blur": (
        "method.generator.upsample=blur",
        "method.generator.downsample=blur",
        "method.discriminator.downsample=blur",
    ),
    "attention": ("method.generator.attention=true",),
    "unet": ("method.generator.network=unet", "method.generator.levels=5", "method.generator.channels=24"),
    "transposed": ("method.generator.upsample=transposed",),
    "cosine": ("schedule.shape=cosine",),
}
FEW = "data.style.scenes=100"  # paintings
SHOWN = {"plain": (), "diffaugment": ("method.diffaugment=[color,translation,cutout]",)}

VARIANTS = (
    Variant("published", "demo", PUBLISHED),  # CycleGAN by the paper's options, at the demo's size
    Variant("rate", "demo", PUBLISHED[1:]),
    Variant("resize", "demo", PUBLISHED[2:]),
    Variant("cyclegan", "demo"),
    Variant("contrast", "demo_modern", ("train.ema=0", *INSTANCE)),
    Variant("average", "demo_modern", INSTANCE),
    Variant("norms", "demo_modern", (*WHOLE, *WEIGHTS)),
    Variant("weights", "demo_modern", WHOLE),
    Variant("free", "demo_modern", (FROM_START,)),
    Variant("half", "demo_modern", ("method.identity_free_tint=0.5", FROM_START)),
    Variant("modern", "demo_modern"),
    Variant("cut", "demo_cut"),
    Variant("fastcut", "demo_fastcut"),
    *(Variant(name, "demo_modern", (*INSTANCE, *words)) for name, words in MORE.items()),
    *(Variant(f"few_{name}", "demo_modern", (FEW, *words)) for name, words in SHOWN.items()),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for the runs")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=0, help="the lowest of them")
    parser.add_argument(
        "--steps", type=int, default=1000, help="a quarter of them at the full rate; one folder, one number"
    )
    parser.add_argument("--only", nargs="+", choices=[variant.name for variant in VARIANTS], metavar="NAME")
    parser.add_argument("--content", type=Path, metavar="PHOTOGRAPHS", help="instead of drawn ones")
    parser.add_argument("--style", type=Path, metavar="PAINTINGS", help="instead of drawn ones")
    parser.add_argument("--table", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    chosen = [variant for variant in VARIANTS if not arguments.only or variant.name in arguments.only]
    if bool(arguments.content) != bool(arguments.style):
        parser.error("--content and --style go together")
    folders = Folders(arguments.content, arguments.style) if arguments.content else None
    if folders:  # that have as many pictures as they have
        chosen = [variant for variant in chosen if FEW not in variant.words]
        if not chosen:
            parser.error("--only few_plain few_diffaugment: with drawn pictures only")
    folder = arguments.folder.absolute()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    if folders:
        try:
            folders.link(folder / LINKS, seeds)
        except OSError as error:
            parser.error(str(error))
    runs = [Run(folder, variant, seed, arguments.steps, folders) for seed in seeds for variant in chosen]
    if not arguments.table:
        with ThreadPoolExecutor(cores(1)) as pool:
            list(pool.map(Run.train, runs))
    print(table(runs, WITHOUT_TRUTH if folders else COLUMNS))


@dataclass(frozen=True)
class Run:
    folder: Path
    variant: Variant
    seed: int
    steps: int
    folders: Folders | None

    @property
    def path(self) -> Path:
        return self.folder / f"{self.variant.name}-{self.seed}"

    @property
    def recipe(self) -> str:
        return f"configs/{self.variant.recipe}.yaml"

    @property
    def words(self) -> tuple[str, ...]:
        pictures = self.folders.words(self.folder / LINKS, self.seed) if self.folders else ()
        return (
            *(f"run={self.path}", f"seed={self.seed}", *pictures, *self.variant.words),
            *(f"schedule.constant={self.steps // 4}", f"schedule.decay={self.steps - self.steps // 4}"),
            *(f"eval.every={self.steps}", f"eval.pictures={PICTURES}"),
            *("log.wandb=disabled", f"log.pictures_every={self.steps}"),
        )

    def train(self) -> None:
        """All of it, or the rest; an error is told, and the others go on."""
        command = [sys.executable, "train.py", self.recipe, *self.words]
        told = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
        )
        last = told.stderr.strip().splitlines()[-1:] or [""]
        print(f"{self.path.name}: {'done' if told.returncode == 0 else last[0]}", flush=True)

    def scores(self) -> dict[str, float]:
        """After the last step; {} before it, or where the folder holds a run of other settings."""
        if not (self.path / "config.yaml").is_file():
            return {}
        there = load_config(self.path / "config.yaml", (), METHODS, SOURCES)
        if there != load_config(ROOT / self.recipe, self.words, METHODS, SOURCES):
            print(f"{self.path.name}: has other settings than these, and does not count")
            return {}
        rows = [row for row in read_log(self.path / "log.jsonl") if row["step"] == self.steps and "eval/swd" in row]
        return {key: rows[-1].get(f"eval/{key}", math.nan) for key in (COLUMNS | WITHOUT_TRUTH)} if rows else {}


def table(runs: Sequence[Run], columns: Mapping[str, str]) -> str:
    """Mean and standard deviation over the seeds."""
    rows = []
    for variant in dict.fromkeys(run.variant for run in runs):
        scores = [scores for run in runs if run.variant == variant and (scores := run.scores())]
        cells = [_mean_and_spread([each[key] for each in scores]) for key in columns]
        rows.append([variant.name, " ".join(variant.words), len(scores), *cells])
    return tabulate(rows, ["variant", "settings", "seeds", *columns.values()], tablefmt="github")


def _mean_and_spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" +- {statistics.stdev(values):.3g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{spread}"


if __name__ == "__main__":
    main()
