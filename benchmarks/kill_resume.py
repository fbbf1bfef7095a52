"""Kills with -9 at random moments: is every checkpoint readable, and every resumed run the same to the bit?

    .venv/bin/python -m benchmarks.kill_resume                20 kills over 4 runs, a few minutes

A checkpoint is written every step, so that a good share of the kills falls into a save. Each run uses another number
of loader workers after every kill.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from engine.checkpoint import CheckpointError, list_checkpoints, load_checkpoint, newest_checkpoint, step_of

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = (
    "method.generator.channels=8",
    "method.generator.blocks=1",
    "method.discriminator.channels=8",
    "data.size=32",
    "data.load_size=36",
    *("data.content.scenes=20", "data.content.size=32", "data.content.held_out=4"),
    *("data.style.scenes=20", "data.style.size=32", "data.style.held_out=4"),
    *("schedule.constant=60", "schedule.decay=60", "checkpoints.every=1", "log.every=5", "log.pictures_every=1000"),
    "train.batch_size=2",
    "log.wandb=disabled",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draws = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        start(Path(folder) / "whole", workers=0).wait()
        expected = final_tensors(Path(folder) / "whole")
        outcomes = []
        for number in range(arguments.runs):
            run = Path(folder) / f"killed{number}"
            share = arguments.kills // arguments.runs + (number < arguments.kills % arguments.runs)
            unreadable, steps = kill_repeatedly(run, share, draws)
            if code := start(run, workers=draws.randrange(3)).wait():
                sys.exit(f"{run} could not be finished: exit code {code}")
            identical = same(final_tensors(run), expected)
            outcomes.append((share, unreadable, identical))
            print(
                f"run {number}: killed at steps {steps}, unreadable {unreadable}, bit-identical {identical}", flush=True
            )
    kills, unreadable = sum(o[0] for o in outcomes), sum(o[1] for o in outcomes)
    identical = sum(o[2] for o in outcomes)
    print(f"\n{kills} kills, {unreadable} unreadable checkpoints, {identical} of {len(outcomes)} runs bit-identical")
    sys.exit(unreadable > 0 or identical < len(outcomes))


def start(run: Path, workers: int) -> subprocess.Popen:
    command = [sys.executable, "train.py", "configs/demo.yaml", f"run={run}", f"data.workers={workers}", *SETTINGS]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"WANDB_MODE": "disabled"}, **quiet)


def kill_repeatedly(run: Path, kills: int, draws: random.Random) -> tuple[int, list[int]]:
    """Start and kill; returns how many newest checkpoints were unreadable, and the step at every kill."""
    unreadable, steps = 0, []
    while len(steps) < kills:
        before = newest_step(run)
        process = start(run, workers=draws.randrange(3))
        while newest_step(run) == before and process.poll() is None:
            time.sleep(0.002)
        time.sleep(draws.uniform(0, 0.6))
        process.kill()
        if process.wait() != -signal.SIGKILL:
            sys.exit(f"{run} ended by itself with {process.returncode} before it could be killed")
        steps.append(newest_step(run))
        try:
            load_checkpoint(list_checkpoints(run / "checkpoints")[-1])
        except CheckpointError as error:
            print(f"unreadable: {error}")
            unreadable += 1
    return unreadable, steps


def newest_step(run: Path) -> int:
    paths = list_checkpoints(run / "checkpoints")
    return step_of(paths[-1]) if paths else 0


def final_tensors(run: Path) -> dict[str, torch.Tensor]:
    state, _ = newest_checkpoint(run / "checkpoints")
    return dict(flatten("", {key: state[key] for key in ("method", "optimizers", "random")}))


def flatten(name: str, value: object):
    if isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flatten(f"{name}/{key}", item)
    else:
        yield name, torch.as_tensor(value) if isinstance(value, torch.Tensor | int | float) else torch.tensor(0)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


if __name__ == "__main__":
    main()
