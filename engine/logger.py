"""What a run tells: log.jsonl (the source of truth), sample sheets, Weights & Biases."""

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.atomic import write_atomically
from engine.progress import say
from engine.schema import LogConfig
from engine.sheet import draw_sheet
from engine.wandb_run import WandbRun
from models.method import Examination


class Logger:
    """Writes rows and pictures of one run folder from `step` on.

    Rows of log.jsonl are flat: {"time": seconds, "step": n, "loss/G": 0.3, ...}. Rows after `step`, left by a
    process that was killed before it could save, are cut off: those steps are about to be done again. A full
    disk or a dead service costs rows, never the run.
    """

    def __init__(self, folder: Path, log: LogConfig, config: Mapping[str, Any], step: int):
        self.rows = folder / "log.jsonl"
        self.sheets = folder / "samples"
        self._write_failed = False
        try:
            _cut_after(self.rows, step)
        except OSError as error:
            self._complain(error)
        self.wandb = WandbRun(folder, log, config)

    def row(self, step: int, values: Mapping[str, Any]) -> None:
        self._append({"time": round(time.time(), 3), "step": step, **values})
        self.wandb.log(step, values)

    def event(self, step: int, text: str) -> None:
        """A line for people, on the console and in log.jsonl."""
        say(text)
        self._append({"time": round(time.time(), 3), "step": step, "event": text})

    def examination(self, step: int, found: Examination) -> None:
        """Scores and tables as rows, pictures as one sheet: samples/step_00001000.png."""
        if found.scores:
            self.row(step, {f"held_out/{name}": round(value, 5) for name, value in found.scores.items()})
            say(f"step {step}, held out: " + ", ".join(f"{k} {v:.3f}" for k, v in found.scores.items()))
        for name, table in found.tables.items():
            self._append({"time": round(time.time(), 3), "step": step, f"table/{name}": dataclasses.asdict(table)})
            self.wandb.log_table(f"held_out/{name}", list(table.columns), table.rows)
        if found.columns:
            self._sheet(step, found.columns)

    def evaluation(self, step: int, values: Mapping[str, float], remark: str = "") -> None:
        """Metrics of held-out pictures: a row, and a line on the console that ends with a remark."""
        self.row(step, {f"eval/{name}": value for name, value in values.items()})
        found = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        say(f"step {step}, evaluated: {found}" + (f"; {remark}" if remark else ""))

    def close(self) -> None:
        self.wandb.finish()

    def _sheet(self, step: int, columns: Mapping[str, Tensor]) -> None:
        sheet = draw_sheet(columns)
        try:
            sheet.save(self.sheets / f"step_{step:08d}.png")
        except OSError as error:
            self._complain(error)
        self.wandb.log_picture(step, "samples", sheet)

    def _append(self, row: Mapping[str, Any]) -> None:
        try:
            with open(self.rows, "a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._write_failed:
            say(f"{error.filename or self.rows}: could not be written ({error.strerror}); training goes on")
        self._write_failed = True


class Silent:
    """The logger of processes that do not lead."""

    def row(self, step: int, values: Mapping[str, Any]) -> None: ...

    def event(self, step: int, text: str) -> None: ...

    def examination(self, step: int, found: Examination) -> None: ...

    def evaluation(self, step: int, values: Mapping[str, float], remark: str = "") -> None: ...

    def close(self) -> None: ...


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log.jsonl; a torn last line is left out."""
    rows = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def _cut_after(path: Path, step: int) -> None:
    rows = read_log(path)
    kept = [row for row in rows if row.get("step", 0) <= step]
    if len(kept) < len(rows):
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
