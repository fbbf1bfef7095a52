"""Trees, houses and boats: what stands on a landscape. DRAW is their table."""

from __future__ import annotations

import numpy as np

from data.drawing.layout import Layout
from data.drawing.scene import DOOR, FOLIAGE, HULL, ROOF, SAIL, TRUNK, WALL, WINDOW, Sun, Thing


def _polygon(layout: Layout, corners: list[tuple[float, float]]) -> tuple[tuple[slice, slice], np.ndarray]:
    """Window and mask of a convex polygon, either way round."""
    across, down = zip(*corners, strict=True)
    window = layout.window(min(across), min(down), max(across), max(down))
    x, y = layout.x[:, window[1]], layout.y[window[0]]
    edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    turn = 1 if sum(ax * by - bx * ay for (ax, ay), (bx, by) in edges) > 0 else -1
    mask = np.ones((y.size, x.size), bool)
    for (ax, ay), (bx, by) in edges:
        mask &= turn * (bx - ax) * (y - ay) >= turn * (by - ay) * (x - ax)
    return window, mask


def _draw_blob(layout: Layout, sun: Sun, cx: float, cy: float, rx: float, ry: float, depth: float, first: bool) -> None:
    """A mass of leaves: a rough ellipsoid, dappled, dark in its gaps and on the far side of the light."""
    window = layout.window(cx - 1.2 * rx, cy - 1.2 * ry, cx + 1.2 * rx, cy + 1.2 * ry)
    u, v = (layout.x[:, window[1]] - cx) / rx, (layout.y[window[0]] - cy) / ry
    clumps = layout.textures["clumps"][window]
    light = 0.40 + 0.26 * (sun.side * 0.7 * u - 0.8 * v) + 0.15 * clumps
    light = light - 0.16 * (clumps < -0.6)
    angle = np.arctan2(u * rx, -v * ry)
    layout.stamp(window, u * u + v * v < 1 + 0.22 * clumps, FOLIAGE, light, depth, angle, region=first)


def _draw_tree(layout: Layout, tree: Thing, sun: Sun) -> None:
    b, h, x = tree.build, tree.height, tree.x
    trunk = 0.035 * h
    if tree.kind != "bush":
        lean = 0.06 * h * (b[0] - 0.5)
        corners = [
            (x - trunk, tree.foot),
            (x + trunk, tree.foot),
            (x + lean + 0.5 * trunk, tree.foot - 0.5 * h),
            (x + lean - 0.5 * trunk, tree.foot - 0.5 * h),
        ]
        window, mask = _polygon(layout, corners)
        across = (layout.x[:, window[1]] - x) / trunk * sun.side
        layout.stamp(window, mask, TRUNK, 0.45 + 0.2 * across, tree.depth, np.pi / 2)
    if tree.kind == "conifer":
        return _draw_conifer(layout, tree, sun)
    if tree.kind == "poplar":
        blobs = [(0, 0.22 + 0.19 * i, 0.15 - 0.026 * i, 0.16) for i in range(4)]
    elif tree.kind == "bush":
        blobs = [(0.3 * (b[i] - 0.5), 0.10 + 0.06 * b[i + 4], 0.2, 0.12) for i in range(3)]
    else:
        around = 2 * np.pi * (np.arange(6) / 6 + b[1])
        blobs = [(0.19 * np.cos(a), 0.66 + 0.17 * np.sin(a), 0.14 + 0.07 * b[i], 0.13 + 0.05 * b[i + 8])
                 for i, a in enumerate(around)]  # fmt: skip
        blobs.append((0.0, 0.70, 0.2, 0.18))
    for i, (dx, up, rx, ry) in enumerate(blobs):
        _draw_blob(layout, sun, x + dx * h, tree.foot - up * h, rx * h, ry * h, tree.depth, first=i == 0)


def _draw_conifer(layout: Layout, tree: Thing, sun: Sun) -> None:
    h, width = tree.height, tree.height * (0.17 + 0.08 * tree.build[2])
    window = layout.window(tree.x - 1.2 * width, tree.foot - h, tree.x + 1.2 * width, tree.foot - 0.1 * h)
    x, y = layout.x[:, window[1]], layout.y[window[0]]
    clumps = layout.textures["clumps"][window]
    down = (y - (tree.foot - h)) / (0.9 * h)
    tier = (down * 5) % 1.0
    half = width * (0.10 + 0.9 * down) * (0.62 + 0.38 * tier) * (1 + 0.12 * clumps)
    across = (x - tree.x) / np.maximum(half, 1e-4)
    light = 0.30 + 0.20 * sun.side * across + 0.24 * tier + 0.10 * clumps
    angle = np.arctan2(np.ones_like(across), 1.3 * np.sign(across))
    layout.stamp(window, (np.abs(across) < 1) & (down > 0), FOLIAGE, light, tree.depth, angle)


def _draw_house(layout: Layout, house: Thing, sun: Sun) -> None:
    b, h, foot = house.build, house.height, house.foot
    turn = 1 if b[0] < 0.5 else -1  # which side the long wall is on
    gable, long, eaves, top = (
        0.42 * h,
        (0.55 + 0.6 * b[1]) * h,
        foot - 0.55 * h,
        foot - (0.95 + 0.2 * b[2]) * h,
    )
    left = house.x - turn * 0.5 * (gable + long)

    def face(points: list, material: int, light: float, angle: float) -> None:
        window, mask = _polygon(layout, [(left + turn * px, py) for px, py in points])
        grain = 0.02 * layout.textures["folds"][window]
        layout.stamp(window, mask, material, light + grain, house.depth, angle)

    def box(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]

    lit = 0.13 * turn * sun.side
    up, end, lap = np.pi / 2, gable + long, 0.04 * h
    face(box(gable, eaves, end, foot), WALL, 0.68 + lit, up)
    face([*box(0, eaves, gable, foot)[2:], (0, eaves), (gable / 2, top), (gable, eaves)], WALL, 0.68 - lit, up)
    slope = float(np.arctan2(eaves - top, gable / 2))
    roof = [(gable / 2 - lap, top - lap), (end - gable / 2 + lap, top - lap), (end + lap, eaves + lap)]
    face([*roof, (gable, eaves + lap)], ROOF, 0.58 + lit, turn * slope)
    rim = [(gable / 2 - lap, top - lap), (gable / 2, top), (0, eaves + 0.5 * lap), (-lap, eaves + 0.5 * lap)]
    face(rim, ROOF, 0.5 - lit, -turn * slope)
    for i in range(2 + (b[1] > 0.5)):
        start = gable + long * (0.12 + 0.3 * i)
        face(box(start, eaves + 0.16 * h, start + 0.14 * h, eaves + 0.34 * h), WINDOW, 0.4, up)
    face(box(0.14 * h, foot - 0.3 * h, 0.28 * h, foot), DOOR, 0.5 - lit, up)


def _draw_boat(layout: Layout, boat: Thing, sun: Sun) -> None:
    h, x, foot = boat.height, boat.x, boat.foot
    lit = 0.1 * sun.side
    hull = [
        (x - 0.42 * h, foot - 0.16 * h),
        (x + 0.46 * h, foot - 0.16 * h),
        (x + 0.3 * h, foot),
        (x - 0.3 * h, foot),
    ]
    main = [(x, foot - 1.1 * h), (x, foot - 0.2 * h), (x + 0.42 * h, foot - 0.2 * h)]
    jib = [(x - 0.04 * h, foot - 0.95 * h), (x - 0.04 * h, foot - 0.2 * h), (x - 0.34 * h, foot - 0.2 * h)]
    parts = ((hull, HULL, 0.45, 0.0), (main, SAIL, 0.72 + lit, 1.3), (jib, SAIL, 0.72 - lit, -1.3))
    for corners, material, light, angle in parts:
        window, mask = _polygon(layout, corners)
        layout.stamp(window, mask, material, light, boat.depth, angle)


DRAW = {"broad": _draw_tree, "conifer": _draw_tree, "poplar": _draw_tree, "bush": _draw_tree,
        "house": _draw_house, "boat": _draw_boat}  # fmt: skip
