"""The tables of a report as text and as CSV (the door to tabulate)."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from engine.summary import CONTENT, Evaluation, by_metric, counted, is_few, names_of, number

COLUMNS = (
    *("run", "key", "level", "label", "unit", "better", "value", "low", "high"),
    *("untouched", "truth", "real", "n", "m", "enough"),
)
ANCHORS = ("untouched", "truth", "real")
COSTS = {
    "parameters": "parameters, million",
    "gmacs": "GMACs a picture of 256 px",
    "pictures_per_second": "pictures/s",
    "memory": "peak memory, MiB",
}


def score_table(evaluations: Sequence[Evaluation], style: str = "simple") -> str:
    """The scores as a text table, a column a run; `style` is one of tabulate's. The anchors are the same for all."""
    names = names_of(evaluations) if len(evaluations) > 1 else ["translation"]
    header = ["metric", "better", *names, "untouched photograph", "true painting", "real vs real"]
    rows = [row for scores in by_metric(evaluations).values() for row in _rows(scores)]
    if style == "github":
        return _github(rows, header)
    return tabulate(rows, headers=header, tablefmt=style, disable_numparse=True)


def _rows(scores: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """One metric, of every run, and its levels."""
    score = scores[0]
    label = f"{score['label']}, {score['unit']}" if score["unit"] else score["label"]
    count = f"n={counted(score)}" + (": TOO FEW, biased" if is_few(score) else "")
    first = [f"{label} ({count})", score["better"], *map(_with_interval, scores), *_shown(score, ANCHORS)]
    levels = [
        [f"  at {level}", "", *(number(each["levels"][level]["value"]) for each in scores), *_shown(anchors, ANCHORS)]
        for level, anchors in score.get("levels", {}).items()
    ]
    return [first, *levels]


def _shown(values: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    return ["" if values[key] is None else number(values[key]) for key in keys]


def _with_interval(score: Mapping[str, Any]) -> str:
    if score["interval"] is None:
        return number(score["value"])
    low, high = map(number, score["interval"])
    return f"{number(score['value'])} ({low} .. {high})"


def ill_table(evaluations: Sequence[Evaluation]) -> str:
    """The detectors' numbers, a column a run; where one fires it says so."""
    rows = [
        [each[0]["label"], *(f"{number(f['value'])}{' FIRES' if f['fired'] else ''}" for f in each),
         f"{each[0]['fires']} {number(each[0]['threshold'])}"]
        for each in zip(*(e.findings for e in evaluations), strict=True)
    ]  # fmt: skip
    return _github(rows, ["known ill", *names_of(evaluations), "fires"])


def cost_rows(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    """What translating costs, a row a kind of cost, a column a run; finished pictures cost nothing that is known."""
    rows = []
    for key, label in COSTS.items():
        scale = 1e-6 if key == "parameters" else 1
        values = [each.cost.get(key) if each.cost else None for each in evaluations]
        rows.append([label, *("" if value is None else number(scale * value) for value in values)])
    how = [f"{e.cost['batch']} of {e.cost['side']} px on {e.cost['device']}" if e.cost else "" for e in evaluations]
    return [*rows, ["measured with", *how]]


def cost_table(evaluations: Sequence[Evaluation]) -> str:
    return _github(cost_rows(evaluations), ["cost of translating", *names_of(evaluations)])


def group_rows(evaluations: Sequence[Evaluation]) -> dict[tuple[str, str], list[list[str]]]:
    """By (kind of label, metric's label): rows of group, n, and each run's value. Of photographs the leading metric of
    the content alone."""
    leading = next((key for key in CONTENT if key in by_metric(evaluations)), None)
    tables: dict[tuple[str, str], list[list[str]]] = {}
    for rows in zip(*(each.groups for each in evaluations), strict=True):
        first = rows[0]
        if first["key"] == leading or first["key"] not in evaluations[0].by_picture:
            table = tables.setdefault((first["kind"], f"{first['label']}, {first['better']} is better"), [])
            table.append([first["group"], str(first["n"]), *map(_with_interval, rows)])
    return tables


def group_tables(evaluations: Sequence[Evaluation]) -> list[str]:
    names = names_of(evaluations)
    return [
        f"{label}, by {kind}:\n\n{_github(rows, [kind, 'n', *names])}"
        for (kind, label), rows in group_rows(evaluations).items()
    ]


def score_csv(evaluations: Sequence[Evaluation]) -> str:
    """One row a run and metric, and one a level."""
    rows = []
    for each in evaluations:
        for score in each.scores:
            low, high = score["interval"] or (None, None)
            row = {**score, "run": each.facts["run"], "low": low, "high": high}
            rows.append(row)
            for level, values in score.get("levels", {}).items():
                rows.append(row | {"level": level, "low": None, "high": None} | values)
    return _csv(COLUMNS, rows)


def picture_csv(evaluations: Sequence[Evaluation]) -> str:
    """One row a run and picture, a column a metric."""
    columns = list(dict.fromkeys(key for each in evaluations for key in each.by_picture))
    rows = [
        {"run": each.facts["run"]} | dict(zip(each.by_picture, values, strict=True))
        for each in evaluations
        for values in zip(*each.by_picture.values(), strict=True)
    ]
    return _csv(["run", *columns], rows)


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _github(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    return tabulate(cells[1:], headers=cells[0], tablefmt="github", disable_numparse=True)
