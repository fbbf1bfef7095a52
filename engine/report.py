"""The report of an evaluation: report.html, report.md and grid.png for people, metrics.json and .csv for machines."""

import csv
import errno
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate
from torch import Tensor

from engine.atomic import write_atomically
from engine.exits import UserError
from engine.page import render_page
from engine.plots import curves, scatter
from engine.sheet import draw_sheet
from engine.summary import CONTENT, STYLE, number, summarise

CSV_COLUMNS = (
    *("run", "key", "label", "unit", "better", "value", "low", "high"),
    *("untouched", "truth", "real", "n", "enough"),
)
NOTES = """\
In brackets: 95 % interval by bootstrap over pictures. *untouched photograph*: the score of doing nothing.
*true painting*: the score of a perfect translation.
*real vs real*: for distances between sets, one half of the held-out paintings against the other (the floor of so
few pictures); for the truth, another painting of the same scene (the ceiling: no method can know where the brush
strokes fall); for the content metrics, unrelated photographs (having nothing in common). Content metrics measure
what was kept: a translation that changes nothing scores best, so read them beside the distances."""


class ReportError(UserError):
    """A report has no place where it is wanted."""


def check_report_folder(folder: Path) -> None:
    """Raises ReportError if something else than an earlier report is there, or nothing can be written."""
    if folder.exists() and not _is_report(folder):
        raise ReportError(f"{folder}: is no earlier report and is left alone; choose another place for the report")
    made = [each for each in (folder, *folder.absolute().parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ReportError(f"{folder}: no report can be written there ({error.strerror})") from error
    finally:
        for each in made:
            if each.is_dir():
                each.rmdir()


def new_report_folder(folder: Path) -> Path:
    """An empty folder; an earlier report is kept beside it as report-1, report-2 ...

    Raises:
        ReportError: see `check_report_folder`.
    """
    check_report_folder(folder)
    if folder.exists() and any(folder.iterdir()):
        number = 1
        while (kept := folder.with_name(f"{folder.name}-{number}")).exists():
            number += 1
        folder.rename(kept)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_report(folder: Path) -> bool:
    return folder.is_dir() and ((folder / "metrics.json").is_file() or not any(folder.iterdir()))


@dataclass(frozen=True)
class Evaluation:
    """What was found of one run.

    facts: what was evaluated and how, in the order in which it is shown; "run" is its folder.
    scores: rows with key, label, better, unit, enough, value, interval, untouched, truth, real, n.
    missing: rows with key, label, reason, wanted, of what could not be measured.
    findings: rows with key, label, value, threshold, fires, fired, said, of the detectors of known ills.
    log: the rows of its training's log.jsonl.
    """

    facts: Mapping[str, Any]
    scores: Sequence[Mapping[str, Any]]
    missing: Sequence[Mapping[str, Any]] = ()
    findings: Sequence[Mapping[str, Any]] = ()
    log: Sequence[Mapping[str, Any]] = ()


def names_of(evaluations: Sequence[Evaluation]) -> list[str]:
    """The runs' names, or their whole paths where two have one name."""
    names = [Path(each.facts["run"]).name for each in evaluations]
    return names if len(set(names)) == len(names) else [str(each.facts["run"]) for each in evaluations]


def write_report(
    folder: Path, evaluations: Sequence[Evaluation], columns: Mapping[str, Tensor], commands: Sequence[str] = ()
) -> None:
    """Write the report of one run, or of several side by side.

    Args:
        columns: name -> [N, 3, H, W] in [-1, 1], the pictures of the grid.
        commands: that make the report again.
    """
    draw_sheet(columns).save(folder / "grid.png")
    values = [
        {**each.facts, "scores": each.scores, "missing": each.missing, "findings": each.findings}
        for each in evaluations
    ]
    whole = values[0] if len(values) == 1 else {"runs": values}
    write_atomically(folder / "metrics.json", json.dumps(whole, indent=1) + "\n")
    write_atomically(folder / "metrics.csv", _csv(evaluations))
    names = names_of(evaluations)
    title = ", ".join(names)
    rows = by_metric(evaluations)
    found = [(name, each) for name, e in zip(names, evaluations, strict=True) for each in e.findings]
    summary = [*summarise(names, rows), *(f"{name} {each['said']}." for name, each in found if each["fired"])]
    parts = [f"# {title}", *summary, score_table(evaluations, "github"), NOTES]
    if evaluations[0].findings:
        parts.append(ill_table(evaluations))
    missing = by_reason(evaluations[0].missing)
    if missing:
        parts.append("Not measured:\n\n" + "\n".join(f"- {', '.join(what)}: {why}" for why, what in missing.items()))
    parts.append("![grid](grid.png)")
    for each, name in zip(evaluations, names, strict=True):
        parts.append(f"## {name}\n\n" + "\n".join(f"- {key}: {value}" for key, value in each.facts.items()))
    write_atomically(folder / "report.md", "\n\n".join(parts) + "\n")
    facts = [each.facts for each in evaluations]
    findings = list(zip(*(each.findings for each in evaluations), strict=True))
    page = render_page(
        title, summary, names, rows, findings, missing, facts, columns, draw_plots(evaluations), commands
    )
    write_atomically(folder / "report.html", page)


def by_metric(evaluations: Sequence[Evaluation]) -> dict[str, list[Mapping[str, Any]]]:
    """The scores by the metric's key, of each run; what not all runs have is left out."""
    scores = [{score["key"]: score for score in each.scores} for each in evaluations]
    return {key: [each[key] for each in scores] for key in scores[0] if all(key in each for each in scores)}


def by_reason(missing: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What is missing, by why."""
    found: dict[str, list[str]] = {}
    for each in missing:
        found.setdefault(each["reason"], []).append(each["label"])
    return found


def draw_plots(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """Content against style, and each run's losses, by title."""
    names, rows = names_of(evaluations), by_metric(evaluations)
    content, style = (next((rows[key] for key in keys if key in rows), None) for keys in (CONTENT, STYLE))
    plots = {"Content against style": scatter(names, content, style)} if content and style else {}
    for each, name in zip(evaluations, names, strict=True):
        if drawn := curves(each.log):
            plots[f"Losses of {name}"] = drawn
    return plots


def _csv(evaluations: Sequence[Evaluation]) -> str:
    """One row a run and metric."""
    text = io.StringIO()
    columns = [
        "run",
        "key",
        "label",
        "unit",
        "better",
        "value",
        "low",
        "high",
        "untouched",
        "truth",
        "real",
        "n",
        "enough",
    ]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for each in evaluations:
        for score in each.scores:
            low, high = score["interval"] or (None, None)
            writer.writerow({**score, "run": each.facts["run"], "low": low, "high": high})
    return text.getvalue()


def score_table(evaluations: Sequence[Evaluation], style: str = "simple") -> str:
    """The scores as a text table, a column a run; `style` is one of tabulate's. The anchors are the same for all."""
    names = names_of(evaluations) if len(evaluations) > 1 else ["translation"]
    header = ["metric", "better", *names, "untouched photograph", "true painting", "real vs real"]
    rows = [_row(scores) for scores in by_metric(evaluations).values()]
    return tabulate(rows, headers=header, tablefmt=style, disable_numparse=True)


def ill_table(evaluations: Sequence[Evaluation]) -> str:
    """The detectors' numbers, a column a run; where one fires it says so."""
    rows = [
        [each[0]["label"], *(f"{number(f['value'])}{' FIRES' if f['fired'] else ''}" for f in each),
         f"{each[0]['fires']} {number(each[0]['threshold'])}"]
        for each in zip(*(e.findings for e in evaluations), strict=True)
    ]  # fmt: skip
    return tabulate(
        rows, headers=["known ill", *names_of(evaluations), "fires"], tablefmt="github", disable_numparse=True
    )


def read_evaluation(run: Path) -> Evaluation | None:
    """That of an earlier report, or None."""
    file = run / "report" / "metrics.json"
    if not file.is_file():
        return None
    facts = json.loads(file.read_text())
    scores, missing, findings = facts.pop("scores"), facts.pop("missing", []), facts.pop("findings", [])
    return Evaluation(facts, scores, missing, findings)


def _row(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    """One metric, of every run."""
    score = scores[0]
    label = f"{score['label']}, {score['unit']}" if score["unit"] else score["label"]
    anchors = ["" if score[key] is None else number(score[key]) for key in ("untouched", "truth", "real")]
    count = f"n={score['n']}" if score["n"] >= score["enough"] else f"n={score['n']}: TOO FEW, biased"
    return [f"{label} ({count})", score["better"], *map(_with_interval, scores), *anchors]


def _with_interval(score: Mapping[str, Any]) -> str:
    if score["interval"] is None:
        return number(score["value"])
    low, high = map(number, score["interval"])
    return f"{number(score['value'])} ({low} .. {high})"
