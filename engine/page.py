"""The evaluation report as one HTML file that opens from a disk, without network (the door to Jinja)."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from torch import Tensor

from data.images import to_picture
from engine.summary import best, number

SMALL = 128  # px; smaller pictures are stored without loss


def render_page(
    title: str,
    summary: Sequence[str],
    names: Sequence[str],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    findings: Sequence[Sequence[Mapping[str, Any]]],
    missing: Mapping[str, Sequence[str]],
    facts: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Tensor],
    plots: Mapping[str, str],
    commands: Sequence[str],
) -> str:
    """The page.

    Args:
        rows: by the metric's key, its score of each run.
        findings: of each detector, each run's.
        missing: what was not measured, by why.
        facts: of each run.
        columns: name -> [N, 3, H, W] in [-1, 1].
        plots: by title, SVG.
        commands: that make the report again.
    """
    environment = Environment(
        loader=FileSystemLoader(__file__.rpartition("/")[0]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["number"] = lambda value: "" if value is None else number(value)
    return environment.get_template("page.html").render(
        title=title,
        summary=summary,
        names=names,
        rows=[(row, best(row)) for row in rows.values()],
        findings=findings,
        missing=missing,
        facts=facts,
        columns=list(columns),
        pictures=[[_data_uri(x[i]) for x in columns.values()] for i in range(len(next(iter(columns.values()))))],
        plots=plots,
        commands=commands,
    )


def _data_uri(picture: Tensor) -> str:
    file = io.BytesIO()
    lossless = min(picture.shape[-2:]) <= SMALL
    to_picture(picture).save(file, "PNG" if lossless else "WEBP", **({} if lossless else {"quality": 90}))
    kind = "png" if lossless else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
