"""What a training step of each method costs beside CycleGAN's, on the same pictures.

    OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m benchmarks.methods                                  the demo's recipes
    OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m benchmarks.methods configs/cyclegan.yaml configs/cut.yaml --rounds 3

The recipes take turns, and every ratio is of neighbours; the first recipe is what the others are compared with. A turn
is a step, or as many as lazy penalties need to come round (`method.r1_every`). Settings after `--set` are for all of
them.
"""

import argparse
import math
import os
import statistics
import time

import torch
from tabulate import tabulate

from data import SOURCES
from data.batch import Batch, Share
from engine.config import load_config
from engine.schedule import Plan
from engine.step import Stepper
from engine.training import Training
from models import METHODS, build_method

DEMO = tuple(f"configs/demo{name}.yaml" for name in ("", "_modern", "_cut", "_fastcut"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=DEMO)
    parser.add_argument("--rounds", type=int, default=20, help="2 or more, for the quartiles")
    parser.add_argument("--set", nargs="*", default=(), metavar="key=value")
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error(f"--rounds {arguments.rounds}: 2 or more")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    players = [Player(recipe, arguments.set, device) for recipe in arguments.recipes]
    steps = math.lcm(*(player.period for player in players))
    seconds = [[player.turn(steps) for player in players] for _ in range(arguments.rounds + 1)][1:]
    rows = []
    for player, taken in zip(players, zip(*seconds, strict=True), strict=True):
        ratios = [own / first[0] for own, first in zip(taken, seconds, strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        rows.append([
            player.recipe, player.parameters, statistics.median(taken) / steps * 1000,
            f"{statistics.median(ratios):.3f} ({low:.3f} .. {high:.3f})",
        ])  # fmt: skip
    print(f"{device.type}, {torch.get_num_threads()} threads, {arguments.rounds} rounds of {steps} steps")
    print(tabulate(rows, ["recipe", "parameters, M", "ms a step", "ratio to the first (quartiles)"], floatfmt=".2f"))


class Player:
    """A method and the loop's own steps of it."""

    def __init__(self, recipe: str, words: tuple[str, ...], device: torch.device):
        config = load_config(recipe, ["run=none", *words], METHODS, SOURCES)
        torch.manual_seed(config.seed)
        method = build_method(config.method).to(device)
        side, share = config.data.size, Share(config.train.batch_size)
        self.batch = Batch(*(torch.rand(2, share.whole, 3, side, side, device=device) * 2 - 1))
        self.plan = Plan(config.schedule, 1000, share.whole)
        training = Training(method, config, lambda first, steps: iter(()), self.batch, self.plan, share, device)
        self.stepper = Stepper(training)
        self.recipe = recipe
        self.period = config.method.r1_every if getattr(config.method, "r1_weight", 0) else 1
        self.parameters = sum(weight.numel() for weight in method.parameters()) / 1e6
        self.done = 0
        self.device = device

    def turn(self, steps: int) -> float:
        """Seconds."""
        began = time.perf_counter()
        for _ in range(steps):
            self.stepper.step(self.done, [self.batch], self.plan)
            self.done += 1
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began


if __name__ == "__main__":
    os.environ.setdefault("WANDB_MODE", "disabled")
    main()
