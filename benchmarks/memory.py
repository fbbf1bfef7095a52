"""Does a long run hold its memory? Thousands of steps of a tiny run, whose process is looked at from outside.

    .venv/bin/python -m benchmarks.memory                     10,000 steps, about 15 minutes on one core

train.py trains the demo's recipe at 16 px with everything that a run does besides: log rows, sheets of samples,
evaluations, checkpoints, offline W&B, two loader workers. What counts is the resident memory of the training process
after step 500 and what is due there: its median over the last tenth of the steps against that over the tenth after step
500. (An evaluation takes more while it lasts.)
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.logger import read_log

ROOT = Path(__file__).resolve().parents[1]
SETTLED = 500  # steps
WORDS = (
    *("method.generator.channels=4", "method.generator.blocks=1", "method.discriminator.channels=4"),
    *("method.discriminator.layers=2", "data.size=16", "data.load_size=18", "data.content.scenes=40"),
    *("data.style.scenes=40", "data.content.size=16", "data.style.size=16", "data.content.held_out=8"),
    *("data.style.held_out=8", "data.workers=2", "log.every=50", "log.pictures_every=500", "eval.every=500"),
    *("eval.pictures=8", "checkpoints.every=500", "train.ema=0.99", "log.wandb=offline", "schedule.decay=0"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = watch(Path(folder) / "run", arguments.steps)
    tenth = (arguments.steps - SETTLED) // 10
    first = [memory for step, memory in rows if SETTLED < step <= SETTLED + tenth]
    last = [memory for step, memory in rows if step > arguments.steps - tenth]
    begin, end, most = statistics.median(first), statistics.median(last), max(m for s, m in rows if s > SETTLED)
    print(
        f"{arguments.steps:,} steps: {begin:.1f} MiB after step {SETTLED}, {end:.1f} MiB at the end: "
        f"{end / begin - 1:+.2%}; most {most:.1f} MiB"
    )


def watch(run: Path, steps: int) -> list[tuple[int, float]]:
    """(steps done, MiB) every second or so."""
    command = [sys.executable, str(ROOT / "train.py"), str(ROOT / "configs/demo.yaml"), f"run={run}", *WORDS]
    process = subprocess.Popen([*command, f"schedule.constant={steps}"], cwd=ROOT, stderr=subprocess.DEVNULL)
    rows, told = [], 0
    while process.poll() is None:
        time.sleep(1)
        logged = [row["step"] for row in read_log(run / "log.jsonl")[-3:]]
        if logged and process.poll() is None:
            rows.append((logged[-1], resident(process.pid)))
            if rows[-1][0] >= told + 500:
                told = rows[-1][0]
                print(f"step {told}: {rows[-1][1]:.1f} MiB", flush=True)
    assert process.returncode == 0, process.returncode
    return rows


def resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
