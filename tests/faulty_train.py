"""train.py with faults in it: `faulty_train.py STEP FAULTS RECORDS recipe key=value ...`.

FAULTS are some of the table below, divided by commas: the first for the first start, the next for when torchrun starts
the processes again, and so on. RECORDS is a folder: after each of its steps every process adds a line there, to
RANK.jsonl: the step, the pictures, a checksum of the weights; and status.jsonl gets what a run's status is when it is
started. A fault happens when all have written down STEP, and whoever causes it waits for its effect: so no test depends
on how fast the machine is.
"""

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import engine.loop  # noqa: E402
import models.cyclegan  # noqa: E402
import train  # noqa: E402
from engine.checkpoint import fingerprint  # noqa: E402
from engine.exits import run_script  # noqa: E402
from engine.logger import read_log  # noqa: E402
from engine.signals import StopRequest  # noqa: E402
from engine.step import Stepper  # noqa: E402
from tests.full_disk import FullDisk  # noqa: E402

RANK = int(os.environ.get("RANK", "0"))
LAST = int(os.environ.get("WORLD_SIZE", "1")) - 1
ATTEMPT = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
AT = int(sys.argv[1])
RECORDS = Path(sys.argv[3])
PATIENCE = 60.0  # seconds
BAD = {2: ("loss", float("nan")), 4: ("loss", float("inf")), 6: ("gradient", float("nan"))}  # by step
ALWAYS_BAD = 8  # this step and all after it
SAVES_THAT_FAIL = (2, 4, 5, 6)  # the first is number 1

AfterStep = Callable[[int], None]


def nothing(step: int) -> None: ...


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def last_recorded(rank: int) -> int:
    rows = read_log(RECORDS / f"{rank}.jsonl")
    return rows[-1]["step"] if rows else 0


def at(happen: Callable[[], None], rank: int = LAST) -> AfterStep:
    """In one process."""

    def after_step(step: int) -> None:
        if (step, RANK) == (AT, rank):
            wait_until(lambda: all(last_recorded(rank) == step for rank in range(LAST + 1)))
            happen()

    return after_step


def send(number: signal.Signals, process: Callable[[], int]) -> Callable[[], None]:
    """Signal a process, and wait until this one has heard of it."""
    heard = []
    note = StopRequest._note

    def noting(stop: StopRequest, *arguments: object) -> None:
        heard.append(1)
        note(stop, *arguments)

    StopRequest._note = noting

    def happen() -> None:
        os.kill(process(), number)
        wait_until(lambda: heard)
        heard.clear()

    return happen


def twice(happen: Callable[[], None]) -> Callable[[], None]:
    def both() -> None:
        happen()
        happen()

    return both


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_out_of_memory() -> None:
    import torch

    torch.empty(1 << 55, dtype=torch.uint8)  # no machine's address space is so large: the allocation fails for real


def have_a_bug() -> None:
    raise ZeroDivisionError("planted")


def lose_numbers() -> AfterStep:
    """Losses and gradients of the second process that are not finite, at the steps of BAD and from ALWAYS_BAD on."""
    honest, step = models.cyclegan.l1, itertools.count(1)
    now = {"step": next(step)}

    def l1(a, b):
        kind, value = BAD.get(now["step"], ("", 1.0)) if now["step"] < ALWAYS_BAD else ("loss", float("nan"))
        loss = honest(a, b)
        if RANK == 1 and kind == "gradient":
            loss.register_hook(lambda gradient: gradient * value)
        return loss * value if RANK == 1 and kind == "loss" else loss

    def after_step(done: int) -> None:
        now["step"] = done + 1

    models.cyclegan.l1 = l1
    return after_step


def fill_the_disk() -> AfterStep:
    """While the saves of SAVES_THAT_FAIL are tried."""
    honest, number = engine.loop.save_checkpoint, itertools.count(1)
    disk = FullDisk(Path(os.environ["DISK"]))

    def save_checkpoint(*arguments):
        if next(number) not in SAVES_THAT_FAIL:
            return honest(*arguments)
        with disk.full():
            return honest(*arguments)

    engine.loop.save_checkpoint = save_checkpoint
    return nothing


FAULTS: dict[str, Callable[[], AfterStep]] = {
    "none": lambda: nothing,
    "SIGTERM to torchrun": lambda: at(send(signal.SIGTERM, os.getppid)),
    "SIGINT to torchrun": lambda: at(send(signal.SIGINT, os.getppid)),
    "SIGINT twice to torchrun": lambda: at(twice(send(signal.SIGINT, os.getppid))),
    "SIGUSR1 to the last": lambda: at(send(signal.SIGUSR1, os.getpid)),
    "SIGKILL to torchrun": lambda: at(send(signal.SIGKILL, os.getppid)),
    "SIGKILL to the last": lambda: at(die),
    "SIGKILL to the first": lambda: at(die, rank=0),
    "out of memory": lambda: at(run_out_of_memory),
    "bug": lambda: at(have_a_bug),
    "not finite": lose_numbers,
    "disk full": fill_the_disk,
}


def record_steps(after_step: AfterStep) -> None:
    """Write down every step, and what it left; then the fault has its turn."""
    honest = Stepper.step

    def step(stepper: Stepper, number: int, batches, plan) -> None:
        honest(stepper, number, batches, plan)
        names = [name for batch in batches for name in batch.content_names]
        weights = fingerprint({name: weight.data for name, weight in stepper.method.named_parameters()})
        row = {"step": number + 1, "process": os.getpid(), "names": names, "weights": weights}
        with open(RECORDS / f"{RANK}.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")
        after_step(number + 1)

    Stepper.step = step


def record_status() -> None:
    run = next(Path(word.removeprefix("run=")) for word in sys.argv if word.startswith("run="))
    status, saved = run / "status.json", sorted(path.name for path in run.glob("checkpoints/*.pt"))
    if RANK == 0 and status.exists():
        with open(RECORDS / "status.jsonl", "a") as rows:
            rows.write(json.dumps(json.loads(status.read_text()) | {"saved": saved}) + "\n")


if __name__ == "__main__":
    faults = sys.argv[2].split(",")
    del sys.argv[1:4]
    record_status()
    record_steps(FAULTS[dict(enumerate(faults)).get(ATTEMPT, "none")]())
    run_script(train.main)
