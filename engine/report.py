"""The report of an evaluation: report.html, report.md and grid.png for people, metrics.json and .csv for machines."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from torch import Tensor

from engine.atomic import write_atomically
from engine.exits import UserError
from engine.page import render_page
from engine.plots import curves, scatter
from engine.sheet import draw_sheet
from engine.summary import CONTENT, STYLE, TRUTH, Evaluation, by_metric, by_reason, names_of, summarise
from engine.tables import cost_table, group_tables, ill_table, picture_csv, score_csv, score_table
from engine.wandb_run import WandbRun

NOTES = """\
In brackets: 95 % interval, by bootstrap over pictures (KID and moment distance: 1.96 standard errors).
*untouched photograph*: the score of doing nothing.
*true painting*: the score of a perfect translation.
*real vs real*: for distances between sets, one half of the held-out paintings against the other (the floor of so
few pictures); for a judge, the share of the paintings that he takes for such; for the truth, another painting of the
same scene (the ceiling: no method can know where the brush strokes fall); for the content metrics, unrelated
photographs (having nothing in common). Content metrics measure what was kept: a translation that changes nothing scores
best, so read them beside the distances."""
EXTREMES = 3  # best and worst translations of a metric that are shown


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


def put_report(made: Path, folder: Path) -> None:
    """Bring a report that is whole to its place; an earlier one is kept beside it as report-1, report-2 ...

    Raises:
        ReportError: see `check_report_folder`.
    """
    check_report_folder(folder)
    while True:
        try:
            made.rename(folder)  # onto nothing, or onto an empty folder
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        number = 1
        while (kept := folder.with_name(f"{folder.name}-{number}")).exists():
            number += 1
        with contextlib.suppress(FileNotFoundError, FileExistsError):  # another process was faster
            folder.rename(kept)


def _is_report(folder: Path) -> bool:
    files = (folder / "metrics.json", folder / "report.md")
    return folder.is_dir() and (all(file.is_file() for file in files) or not any(folder.iterdir()))


@dataclass(frozen=True)
class Pictures:
    """What a report shows.

    columns: of the grid, name -> [N, 3, H, W] in [-1, 1].
    photographs, translations: all of them, the latter by the run's name, uint8 [N, 3, H, W]: of these the best and the
        worst are shown.
    """

    columns: Mapping[str, Tensor]
    photographs: Tensor
    translations: Mapping[str, Tensor]


@dataclass(frozen=True)
class Extreme:
    """A translation that is among the best or the worst of its run by one metric; `place` is among the photographs."""

    label: str
    run: str
    best: bool
    place: int
    name: str
    value: float


@dataclass(frozen=True)
class Report:
    """One that is written: where, of whom, and its plots, SVG by title."""

    folder: Path
    evaluations: Sequence[Evaluation]
    plots: Mapping[str, str]


def write_report(
    folder: Path, evaluations: Sequence[Evaluation], shown: Pictures, commands: Sequence[str] = ()
) -> Report:
    """Write the report of one run, or of several side by side.

    It is made beside its place and brought there when it is whole; an earlier one is kept as folder-1, folder-2 ...

    Args:
        commands: that make the report again.

    Raises:
        ReportError: it cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    made = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        made.mkdir(parents=True)
        report = _write(made, evaluations, shown, commands)
        put_report(made, folder)
    except OSError as error:
        raise ReportError(f"{folder}: the report cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return replace(report, folder=folder)


def _write(folder: Path, evaluations: Sequence[Evaluation], shown: Pictures, commands: Sequence[str]) -> Report:
    draw_sheet(shown.columns).save(folder / "grid.png")
    values = [each.values() for each in evaluations]
    whole = values[0] if len(values) == 1 else {"runs": values}
    write_atomically(folder / "metrics.json", json.dumps(whole, indent=1) + "\n")
    write_atomically(folder / "metrics.csv", score_csv(evaluations))
    write_atomically(folder / "pictures.csv", picture_csv(evaluations))
    summary, plots = summarise(evaluations), draw_plots(evaluations)
    write_atomically(folder / "report.md", _text(evaluations, summary, commands))
    page = render_page(evaluations, summary, shown, find_extremes(evaluations), plots, commands)
    write_atomically(folder / "report.html", page)
    return Report(folder, evaluations, plots)


def log_report(wandb: WandbRun, step: int, name: str, report: Report) -> None:
    """The scores, the plots, the grid and the page, under names that begin with `name`."""
    evaluations = report.evaluations
    if len(evaluations) == 1:
        wandb.log(step, {f"{name}/{score['key']}": score["value"] for score in evaluations[0].scores})
    columns = ["key", "label", "better", "value", "untouched", "truth", "real", "n"]
    named = zip(names_of(evaluations), evaluations, strict=True)
    table = [[who, *(score[column] for column in columns)] for who, each in named for score in each.scores]
    wandb.log_table(f"{name}/scores", ["run", *columns], table)
    wandb.log_picture(step, f"{name}/grid", Image.open(report.folder / "grid.png"))
    for title, plot in report.plots.items():
        wandb.log_page(step, f"{name}/{title}", plot)
    wandb.log_page(step, f"{name}/report", (report.folder / "report.html").read_text())


def _text(evaluations: Sequence[Evaluation], summary: Sequence[str], commands: Sequence[str]) -> str:
    names = names_of(evaluations)
    parts = [f"# {', '.join(names)}", *summary, score_table(evaluations, "github"), NOTES, *group_tables(evaluations)]
    if any(each.cost for each in evaluations):
        parts.append(cost_table(evaluations))
    if evaluations[0].findings:
        parts.append(ill_table(evaluations))
    if missing := by_reason(evaluations[0].missing):
        parts.append("Not measured:\n\n" + "\n".join(f"- {', '.join(what)}: {why}" for why, what in missing.items()))
    parts.append("![grid](grid.png)")
    for each, name in zip(evaluations, names, strict=True):
        parts.append(f"## {name}\n\n" + "\n".join(f"- {key}: {value}" for key, value in each.facts.items()))
        if each.configuration:
            parts.append(f"```yaml\n{each.configuration}```")
    parts.append("To make this again:\n\n```sh\n" + "\n".join(commands) + "\n```")
    return "\n\n".join(parts) + "\n"


def find_extremes(evaluations: Sequence[Evaluation]) -> list[Extreme]:
    """By each metric that compares pictures one by one, each run's best EXTREMES translations and its worst."""
    found = []
    for key, row in by_metric(evaluations).items():
        for name, each in zip(names_of(evaluations), evaluations, strict=True):
            values = each.by_picture.get(key)
            if values is None:
                continue
            falling = sorted(range(len(values)), key=values.__getitem__, reverse=row[0]["better"] == "higher")
            count = min(EXTREMES, len(values) // 2)
            chosen = [(place, True) for place in falling[:count]] + [(place, False) for place in falling[-count:]]
            names = each.by_picture["name"]
            found += [Extreme(row[0]["label"], name, best, i, names[i], values[i]) for i, best in chosen if count]
    return found


def draw_plots(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """Content against style, and the curves of each run's training, by title."""
    names, rows = names_of(evaluations), by_metric(evaluations)
    content, style = (next((rows[key] for key in keys if key in rows), None) for keys in (CONTENT, STYLE))
    plots = {"Content against style": scatter(names, content, style)} if content and style else {}
    watched = {f"eval/{key}": row[0]["label"] for key, row in rows.items() if key in (*TRUTH, *STYLE, *CONTENT)}
    for each, name in zip(evaluations, names, strict=True):
        for prefix, title in ({"loss/": "losses"} | watched).items():
            if drawn := curves(each.log, prefix):
                plots[f"{name}, training: {title}"] = drawn
    return plots


def read_evaluations(place: Path) -> list[Evaluation]:
    """Those of a run's last report, or of a report's own folder; none if there is no report.

    Raises:
        ReportError: it cannot be read.
    """
    file = next((file for file in (place / "report/metrics.json", place / "metrics.json") if file.is_file()), None)
    if file is None:
        return []
    try:
        whole = json.loads(file.read_text())
        return [Evaluation.of_values(values) for values in whole.get("runs", [whole])]
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ReportError(f"{file}: is no report that can be read; evaluate.py makes it anew") from error
