"""What the scores of a report say, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

# The metric that leads in each question, the first that was measured.
TRUTH = ("psnr_truth",)
STYLE = ("kid", "fid", "frechet_random", "swd")
CONTENT = ("lpips", "vgg_content", "ssim_content")

Row = Sequence[Mapping[str, Any]]  # one metric's score of each run


def summarise(names: Sequence[str], rows: Mapping[str, Row]) -> list[str]:
    """A sentence for each of truth, style and content that was measured, and warnings that a reader must know.

    Args:
        names: of the runs.
        rows: by the metric's key, its score of each run, as in Evaluation.scores.
    """
    found = []
    for question, keys in (("the true paintings", TRUTH), ("the paintings' style", STYLE)):
        key = next((key for key in keys if key in rows), None)
        if key:
            found.append(f"Nearest to {question}: {_ranking(names, rows[key])}")
    key = next((key for key in CONTENT if key in rows), None)
    if key:
        found.append(f"Keeps most of the photographs: {_ranking(names, rows[key], untouched=False)}")
    for key in (*TRUTH, *STYLE):
        for name, score in zip(names, rows.get(key, ()), strict=False):
            if score["untouched"] is not None and not _is_better(score, score["value"], score["untouched"]):
                found.append(f"{name} is no better than the untouched photographs in {score['label']}.")
    for row in rows.values():
        if row[0]["n"] < row[0]["enough"]:
            found.append(f"{row[0]['label']} wants {row[0]['enough']} pictures, here are {row[0]['n']}: it is biased.")
    return found


def best(row: Row) -> list[bool]:
    """Which runs' scores are the best of their row; several if they are equal, none if there is one run only."""
    values = [score["value"] for score in row]
    if len(values) < 2:
        return [False] * len(values)
    winner = max(values) if row[0]["better"] == "higher" else min(values)
    return [value == winner for value in values]


def _ranking(names: Sequence[str], row: Row, untouched: bool = True) -> str:
    """ "demo (18.69 dB), before other (13.41 dB); PSNR, higher is better, untouched photographs 10.58." """
    ranked = sorted(zip(names, row, strict=True), key=lambda pair: pair[1]["value"], reverse=_rises(row[0]))
    said = [f"{name} ({number(score['value'])})" for name, score in ranked]
    text = said[0] + (f", before {', '.join(said[1:])}" if len(said) > 1 else "")
    if len(ranked) > 1 and _overlap(ranked[0][1], ranked[1][1]):
        text += f" (the first two's 95 % intervals overlap: {ranked[0][0]} and {ranked[1][0]} cannot be told apart)"
    score = row[0]
    unit = f", {score['unit']}" if score["unit"] else ""
    text += f". {score['label']}{unit}, {score['better']} is better"
    if untouched and score["untouched"] is not None:
        text += f"; untouched photographs {number(score['untouched'])}"
        text += f", real against real {number(score['real'])}" if score["real"] is not None else ""
    return f"{text}."


def number(value: float) -> str:
    """As many digits as are of use."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1000 else f"{value:.0f}"


def _rises(score: Mapping[str, Any]) -> bool:
    return score["better"] == "higher"


def _is_better(score: Mapping[str, Any], value: float, than: float) -> bool:
    return value > than if _rises(score) else value < than


def _overlap(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    if a["interval"] is None or b["interval"] is None:
        return False
    return a["interval"][0] <= b["interval"][1] and b["interval"][0] <= a["interval"][1]
