"""The report of an evaluation: metrics.json for machines, report.md and grid.png for people."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate
from torch import Tensor

from engine.atomic import write_atomically
from engine.sheet import draw_sheet

HEADER = [
    "metric",
    "better",
    "translation",
    "95 % interval",
    "untouched photograph",
    "true painting",
    "real vs real",
]
NOTES = """\
*untouched photograph*: the score of doing nothing. *true painting*: the score of a perfect translation.
*real vs real*: for distances between sets, one half of the held-out paintings against the other (the floor of so
few pictures); for the truth, another painting of the same scene (the ceiling: no method can know where the brush
strokes fall); for the content metrics, unrelated photographs (having nothing in common). Content metrics measure
what was kept: a translation that changes nothing scores best, so read them beside the distances."""


def new_report_folder(run: Path) -> Path:
    """`run/report`, empty; an earlier one is kept beside it as report-1, report-2 ..."""
    folder = run / "report"
    if folder.exists():
        number = 1
        while (kept := run / f"report-{number}").exists():
            number += 1
        folder.rename(kept)
    folder.mkdir(parents=True)
    return folder


def write_report(
    folder: Path, facts: Mapping[str, Any], scores: Sequence[Mapping[str, Any]], columns: Mapping[str, Tensor]
) -> None:
    """Write metrics.json, grid.png and report.md.

    Args:
        facts: what was evaluated and how, in the order in which it is shown.
        scores: rows with key, label, better, unit, enough, value, interval, untouched, truth, real, n.
        columns: name -> [N, 3, H, W] in [-1, 1], the pictures of the grid.
    """
    draw_sheet(columns).save(folder / "grid.png")
    write_atomically(folder / "metrics.json", json.dumps({**facts, "scores": list(scores)}, indent=1) + "\n")
    listed = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    text = f"# {facts['run']}\n\n{listed}\n\n{score_table(scores, 'github')}\n\n{NOTES}\n\n![grid](grid.png)\n"
    write_atomically(folder / "report.md", text)


def score_table(scores: Sequence[Mapping[str, Any]], style: str = "simple") -> str:
    """The scores as a text table; `style` is one of tabulate's."""
    return tabulate([_row(score) for score in scores], headers=HEADER, tablefmt=style, disable_numparse=True)


def read_scores(run: Path) -> list[dict[str, Any]] | None:
    """The rows of an earlier report, or None."""
    file = run / "report" / "metrics.json"
    return json.loads(file.read_text())["scores"] if file.is_file() else None


def _row(score: Mapping[str, Any]) -> list[str]:
    label = f"{score['label']}, {score['unit']}" if score["unit"] else score["label"]
    interval = "" if score["interval"] is None else " .. ".join(_number(x) for x in score["interval"])
    values = [score["value"], score["untouched"], score["truth"], score["real"]]
    value, untouched, truth, real = ("" if v is None else _number(v) for v in values)
    count = f"n={score['n']}" if score["n"] >= score["enough"] else f"n={score['n']}: TOO FEW, biased"
    return [f"{label} ({count})", score["better"], value, interval, untouched, truth, real]


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1000 else f"{value:.0f}"
