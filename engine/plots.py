"""Plots of a report, as SVG that reads on light and dark pages (the door to matplotlib)."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

GREY = "#888888"  # reads on black and on white
DASHES = ("-", "--", ":")
COLOURS = ("#d1495b", "#2e86ab", "#e0a030", "#4f9d69", "#8e6bbf", "#5f7f8f")


def scatter(names: Sequence[str], content: Sequence[Mapping[str, Any]], style: Sequence[Mapping[str, Any]]) -> str:
    """Content against style, a point a run, with the untouched photograph and the real paintings as anchors.

    Args:
        content, style: the two metrics' score of each run.
    """
    figure, axes = _figure(6.0, 4.2)
    labels = []
    for name, x, y, colour in zip(names, style, content, _cycled(len(names)), strict=True):
        axes.plot(x["value"], y["value"], "o", markersize=9, color=colour)
        labels.append(_label(axes, name, (x["value"], y["value"]), colour, xytext=(8, 4)))
    axes.plot(style[0]["untouched"], content[0]["untouched"], "s", color=GREY)
    untouched = (style[0]["untouched"], content[0]["untouched"])
    _label(axes, "untouched photographs", untouched, GREY, xytext=(-8, -14), ha="right")
    if style[0]["real"] is not None:
        axes.axvline(style[0]["real"], color=GREY, linestyle=":", linewidth=1)
        place = {"xycoords": ("data", "axes fraction"), "rotation": 90, "va": "top"}
        _label(axes, "real against real", (style[0]["real"], 1.0), GREY, xytext=(4, 0), **place)
    axes.set_xlabel(_axis(style[0]))
    axes.set_ylabel(_axis(content[0]))
    _keep_apart(figure, labels)
    return _svg(figure)


def curves(rows: Sequence[Mapping[str, Any]], prefix: str = "loss/") -> str:
    """The losses (or other values, by their prefix) of a run's log against its steps; "" if it has none."""
    keys = list(dict.fromkeys(key for row in rows for key in row if key.startswith(prefix)))
    if not keys:
        return ""
    figure, axes = _figure(6.0, 3.2)
    for number, (key, colour) in enumerate(zip(keys, _cycled(len(keys)), strict=True)):
        points = [(row["step"], row[key]) for row in rows if key in row]
        dash = DASHES[number // len(COLOURS) % len(DASHES)]
        axes.plot(*zip(*points, strict=True), dash, label=key.removeprefix(prefix), linewidth=1.3, color=colour)
    axes.set_xlabel("step")
    if keys != [prefix]:  # the title names a single one
        axes.legend(frameon=False, labelcolor=GREY, fontsize=8, ncols=2)
    return _svg(figure)


def _figure(width: float, height: float) -> tuple:
    from matplotlib.figure import Figure  # half a second, and only where it is used

    figure = Figure((width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    axes.tick_params(colors=GREY)
    axes.xaxis.label.set_color(GREY)
    axes.yaxis.label.set_color(GREY)
    for side, spine in axes.spines.items():
        spine.set_color(GREY)
        spine.set_visible(side in ("left", "bottom"))
    return figure, axes


def _label(axes: Any, text: str, point: tuple[float, float], colour: str, **place: object) -> Any:
    """Beside a point; however long it is, the axes keep their room."""
    label = axes.annotate(text, point, textcoords="offset points", color=colour, parse_math=False, **place)
    label.set_in_layout(False)
    return label


def _keep_apart(figure: Any, labels: Sequence[Any]) -> None:
    """Labels of points that lie together stand below one another, in the order of their heights."""
    figure.draw_without_rendering()  # which places the axes
    taken: list[Any] = []
    for label in sorted(labels, key=lambda label: -label.xy[1]):
        while any(label.get_window_extent().overlaps(box) for box in taken):
            x, y = label.xyann
            label.xyann = (x, y - 2)  # points
        taken.append(label.get_window_extent())


def _svg(figure: Any) -> str:
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "atelier", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _axis(score: Mapping[str, Any]) -> str:
    return f"{score['label']} ({score['better']} is better)"


def _cycled(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
