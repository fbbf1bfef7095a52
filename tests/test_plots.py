"""Plots of a report."""

import re
from itertools import pairwise

from engine.plots import scatter


def score(value: float, untouched: float) -> dict:
    return {"value": value, "label": "of something", "better": "higher", "untouched": untouched, "real": None}


def test_labels_of_points_that_lie_together_stand_below_one_another() -> None:
    names = ["one", "another", "a third", "apart"]
    plot = scatter(names, [score(y, 1) for y in (0.5, 0.5, 0.501, 0.8)], [score(x, 1) for x in (0.2, 0.2, 0.201, 0.2)])
    heights = {name: float(re.search(rf'y="([\d.]+)"[^>]*>{name}<', plot).group(1)) for name in names}
    assert heights["apart"] < heights["a third"] < heights["one"] < heights["another"]  # down the page
    together = sorted(heights[name] for name in names[:3])
    assert min(lower - upper for upper, lower in pairwise(together)) >= 8  # a line of text
