"""The evaluation report as one HTML file that opens from a disk, without network (the door to Jinja)."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from torch import Tensor

from data.images import normalise, to_picture
from engine.summary import Evaluation, best, by_metric, by_reason, counted, is_few, names_of, number
from engine.tables import cost_rows, group_rows

if TYPE_CHECKING:
    from engine.report import Extreme, Pictures

SMALL = 128  # px; smaller pictures are stored without loss


class _Store:
    """Pictures of the page, each kept once: the page names them by number."""

    def __init__(self) -> None:
        self.sources: dict[str, int] = {}

    def add(self, picture: Tensor) -> int:
        return self.sources.setdefault(_data_uri(picture), len(self.sources))


def render_page(
    evaluations: Sequence[Evaluation],
    summary: Sequence[str],
    shown: Pictures,
    extremes: Sequence[Extreme],
    plots: Mapping[str, str],
    commands: Sequence[str],
) -> str:
    """The page.

    Args:
        summary: sentences.
        extremes: the best and the worst translations by metric, in the order in which they are shown.
        plots: by title, SVG.
        commands: that make the report again.
    """
    environment = Environment(
        loader=FileSystemLoader(__file__.rpartition("/")[0]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"counted": counted, "is_few": is_few}
    environment.filters["number"] = lambda value: "" if value is None else number(value)
    store, names, columns = _Store(), names_of(evaluations), shown.columns
    return environment.get_template("page.html").render(
        title=", ".join(names),
        summary=summary,
        names=names,
        rows=[(row, best(row)) for row in by_metric(evaluations).values()],
        costs=cost_rows(evaluations) if any(each.cost for each in evaluations) else [],
        groups=group_rows(evaluations),
        findings=list(zip(*(each.findings for each in evaluations), strict=True)),
        nearest=[(name, each.nearest) for name, each in zip(names, evaluations, strict=True) if each.nearest],
        missing=by_reason(evaluations[0].missing),
        evaluations=evaluations,
        columns=list(columns),
        grid=[[store.add(x[i]) for x in columns.values()] for i in range(len(next(iter(columns.values()))))],
        extremes=_by_metric_and_run(extremes, shown, store),
        plots=plots,
        commands=commands,
        sources=list(store.sources),
    )


def _by_metric_and_run(
    extremes: Sequence[Extreme], shown: Pictures, store: _Store
) -> dict[str, dict[str, list[tuple[Extreme, int, int]]]]:
    """By metric and run: the extremes with the numbers of the photograph and of the translation."""
    found: dict[str, dict[str, list]] = {}
    for each in extremes:
        pair = (shown.photographs[each.place], shown.translations[each.run][each.place])
        numbers = (store.add(normalise(picture)) for picture in pair)
        found.setdefault(each.label, {}).setdefault(each.run, []).append((each, *numbers))
    return found


def _data_uri(picture: Tensor) -> str:
    file = io.BytesIO()
    lossless = min(picture.shape[-2:]) <= SMALL
    to_picture(picture).save(file, "PNG" if lossless else "WEBP", **({} if lossless else {"quality": 90}))
    kind = "png" if lossless else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
