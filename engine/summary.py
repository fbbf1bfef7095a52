"""What an evaluation found, and what that says in words."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.exits import printable

# The metric that leads in each question, the first that was measured.
TRUTH = ("psnr_truth",)
STYLE = ("kid", "fid", "frechet_random", "swd")
CONTENT = ("lpips", "vgg_content", "ssim_content")
COPIED = 0.5  # of the distance of unseen paintings: nearer to known ones looks like copying

VALUES = ("scores", "missing", "findings", "groups", "cost", "nearest", "configuration")  # of metrics.json

Row = Sequence[Mapping[str, Any]]  # one metric's score of each run


@dataclass(frozen=True)
class Evaluation:
    """What was found of one run.

    facts: what was evaluated and how, in the order in which it is shown; "run" is its folder.
    scores: rows with key, label, better, unit, enough, value, interval, untouched, truth, real, n, m, levels.
    missing: rows with key, label, reason, wanted, of what could not be measured.
    findings: rows with key, label, value, threshold, fires, fired, said, of the detectors of known ills.
    groups: rows with kind, group, n, key, label, better, value, interval: scores by what is known of the pictures.
    by_picture: columns of equal length, "name" and the keys of metrics that compare pictures one by one.
    cost: parameters, gmacs, pictures_per_second, memory, batch, side, device; {} of finished pictures.
    nearest: by (features), ratio, names: of each translation the nearest painting that is known.
    configuration: every setting of the run, as YAML; "" where there is none.
    log: the rows of its training's log.jsonl; not part of the report's values.
    """

    facts: Mapping[str, Any]
    scores: Sequence[Mapping[str, Any]]
    missing: Sequence[Mapping[str, Any]] = ()
    findings: Sequence[Mapping[str, Any]] = ()
    groups: Sequence[Mapping[str, Any]] = ()
    by_picture: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    nearest: Mapping[str, Any] = field(default_factory=dict)
    configuration: str = ""
    log: Sequence[Mapping[str, Any]] = ()

    def values(self) -> dict[str, Any]:
        """What metrics.json holds: the facts, and the rest by name. The pictures' own scores are in pictures.csv."""
        return {**self.facts, **{name: getattr(self, name) for name in VALUES}}

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> "Evaluation":
        facts = {key: value for key, value in values.items() if key not in VALUES}
        return cls(facts, **{name: values[name] for name in VALUES if name in values})


def names_of(evaluations: Sequence[Evaluation]) -> list[str]:
    """The runs' names, or their whole paths where two have one name; numbered where two are one."""
    names = [Path(each.facts["run"]).name for each in evaluations]
    if len(set(names)) < len(names):
        names = [str(each.facts["run"]) for each in evaluations]
    names = [printable(name) for name in names]
    again = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name} ({times + 1})" if times else name for name, times in zip(names, again, strict=True)]


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


def summarise(evaluations: Sequence[Evaluation]) -> list[str]:
    """A sentence for each of truth, style and content that was measured, and warnings that a reader must know."""
    names, rows = names_of(evaluations), by_metric(evaluations)
    found = []
    alone = len(evaluations) == 1
    for several, one, keys, anchors in (
        ("Nearest to the true paintings", "To the true paintings", TRUTH, ("untouched", "real")),
        ("Nearest to the paintings' style", "To the paintings' style", STYLE, ("untouched", "real")),
        ("Keeps most of the photographs", "Of the photographs it keeps", CONTENT, ("unrelated",)),
    ):
        if key := next((key for key in keys if key in rows), None):
            found.append(f"{one if alone else several}: {_ranking(evaluations, rows[key], anchors)}")
    for key in (*TRUTH, *STYLE):
        for name, score in zip(names, rows.get(key, ()), strict=False):
            if score["untouched"] is not None and not _is_better(score, score["value"], score["untouched"]):
                found.append(f"{name} is no better than the untouched photographs in {score['label']}.")
    for name, each in zip(names, evaluations, strict=True):
        found += [f"{name} {finding['said']}." for finding in each.findings if finding["fired"]]
        ratio = each.nearest.get("ratio")
        if ratio is not None and ratio < COPIED:
            found.append(
                f"{name} may repeat paintings that it has learnt from: its translations are {number(ratio)} times as "
                "far from these as unseen paintings are. Look at the nearest paintings."
            )
    if few := [row[0] for row in rows.values() if is_few(row[0])]:
        wanted = "; ".join(f"{score['label']}: {counted(score)} of {score['enough']}" for score in few)
        found.append(f"Too few pictures, so that the value is biased: {wanted}.")
    return found


def counted(score: Mapping[str, Any]) -> str:
    """ "128", or "128 against 64 paintings" where sets of two sizes are compared."""
    m = score.get("m")
    return str(score["n"]) if m in (None, score["n"]) else f"{score['n']} against {m} paintings"


def is_few(score: Mapping[str, Any]) -> bool:
    """Fewer pictures, on one side at least, than an unbiased value wants."""
    m = score.get("m")
    return min(score["n"], score["n"] if m is None else m) < score["enough"]


def best(row: Row) -> list[bool]:
    """Which runs' scores are the best of their row; several if they are equal, none if there is one run only."""
    values = [score["value"] for score in row]
    if len(values) < 2:
        return [False] * len(values)
    winner = max(values) if row[0]["better"] == "higher" else min(values)
    return [value == winner for value in values]


def _ranking(evaluations: Sequence[Evaluation], row: Row, anchors: Sequence[str]) -> str:
    """ "demo (18.69 dB), before other (13.41 dB); PSNR, higher is better, untouched photographs 10.58." """
    named = zip(names_of(evaluations), row, evaluations, strict=True)
    ranked = sorted(named, key=lambda each: each[1]["value"], reverse=_rises(row[0]))
    said = [f"{name} ({number(score['value'])})" for name, score, _ in ranked]
    text = said[0] + (f", before {', '.join(said[1:])}" if len(said) > 1 else "")
    if len(ranked) > 1 and (why := _undecided(ranked[0][1:], ranked[1][1:])):
        text += f" ({why}: {ranked[0][0]} and {ranked[1][0]} cannot be told apart)"
    score = row[0]
    unit = f", {score['unit']}" if score["unit"] else ""
    text += f". {score['label']}{unit}, {score['better']} is better"
    said = {
        "untouched": ("untouched photographs", score["untouched"]),
        "real": ("real against real", score["real"]),
        "unrelated": ("unrelated photographs", score["real"]),
    }
    shown = [f"{name} {number(value)}" for name, value in map(said.__getitem__, anchors) if value is not None]
    text += f"; {', '.join(shown)}" if shown else ""
    return f"{text}."


def _undecided(first: tuple[Mapping[str, Any], Evaluation], second: tuple[Mapping[str, Any], Evaluation]) -> str:
    """Why the better one of two need not be better; "" if it is. Where pictures were compared one by one, the two
    methods' differences on the same photographs decide: they scatter less than the values."""
    (a, of_a), (b, of_b) = first, second
    values = [each.by_picture.get(a["key"]) for each in (of_a, of_b)]
    if all(values) and len(values[0]) > 1:
        differences = [x - y for x, y in zip(*values, strict=True)]
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        if abs(statistics.fmean(differences)) < 1.96 * error or a["value"] == b["value"]:
            return "the 95 % interval of their difference holds 0"
        return ""
    if a["interval"] is None or b["interval"] is None:
        return ""
    overlap = a["interval"][0] <= b["interval"][1] and b["interval"][0] <= a["interval"][1]
    return "the first two's 95 % intervals overlap" if overlap else ""


def number(value: float) -> str:
    """As many digits as are of use."""
    if 0 < abs(value) < 0.1:
        return f"{value:.2g}" if abs(value) < 1e-4 else f"{value:.{1 - math.floor(math.log10(abs(value)))}f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1000 else f"{value:.0f}"


def _rises(score: Mapping[str, Any]) -> bool:
    return score["better"] == "higher"


def _is_better(score: Mapping[str, Any], value: float, than: float) -> bool:
    return value > than if _rises(score) else value < than
