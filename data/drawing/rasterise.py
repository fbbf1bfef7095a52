"""From a composition to its maps, far to near: sky, distance, water, meadow, and what stands there.

Photograph and painting are rendered from the same maps: the same things under the same light.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.drawing.layout import Layout, noise
from data.drawing.scene import CLOUD, MEADOW, MOUNTAIN, PATH, SKY, SUN, WATER, Ridge, Scene, Sun, Thing
from data.drawing.things import DRAW


def rasterise(scene: Scene, size: int) -> Layout:
    """The scene's maps at [size, size]; the same forms at every size."""
    rng = np.random.default_rng([scene.seed, scene.index, 1])
    axis = ((np.arange(size) + 0.5) / size).astype(np.float32)
    textures = {
        "broad": noise(rng, size, 5, 5),
        "folds": noise(rng, size, 14, 14),
        "clumps": noise(rng, size, 44, 44),
        "ripples": noise(rng, size, 60, 9),
    }
    maps = [np.zeros((size, size), t) for t in (np.uint8, np.uint8) + 4 * (np.float32,)]
    layout = Layout(*maps, axis[None, :], axis[:, None], textures)
    _draw_sky(layout, scene)
    for ridge in scene.distance:
        _draw_ridge(layout, ridge, scene.sun)
    if scene.water:
        _draw_water(layout, scene)
    for thing in scene.far_things:
        DRAW[thing.kind](layout, thing, scene.sun)
    _draw_ridge(layout, scene.meadow, scene.sun)
    if scene.path is not None:
        _draw_path(layout, scene)
    if scene.knoll is None:
        _draw_standing(layout, scene.near_things, scene.sun)
    else:
        behind = [thing.foot < scene.knoll.at(thing.x) for thing in scene.near_things]
        _draw_standing(layout, [t for t, b in zip(scene.near_things, behind, strict=True) if b], scene.sun)
        _draw_ridge(layout, scene.knoll, scene.sun)
        _draw_standing(layout, [t for t, b in zip(scene.near_things, behind, strict=True) if not b], scene.sun)
    layout.light = np.clip(0.5 + (layout.light - 0.5) * (0.4 + 0.6 * scene.sun.contrast), 0, 1)
    return layout


def _draw_sky(layout: Layout, scene: Scene) -> None:
    sun, x, y, folds = scene.sun, layout.x, layout.y, layout.textures["folds"]
    window = layout.window(0, 0, 1, scene.horizon + 0.15)
    y, folds, broad = y[window[0]], folds[window], layout.textures["broad"][window]
    dx, dy = x - sun.x, y - sun.y
    square = dx * dx + dy * dy
    light = 0.30 + 0.42 * (y / scene.horizon) ** 1.4 + 0.30 * np.exp(-square / 0.05) + 0.02 * broad
    pull = 2.2 * np.exp(-square / 0.04)  # strokes wheel about the sun and drift elsewhere
    away = 1 / np.sqrt(square + 1e-4)
    angle = np.arctan2(pull * dx * away + 0.35 * broad, 1 - pull * dy * away)
    layout.stamp(window, np.ones(light.shape, bool), SKY, light, 1.0, angle, region=False)
    if sun.visible:
        layout.stamp(window, square < 0.038**2, SUN, 0.95, 1.0, angle)
    _draw_clouds(layout, scene, window)


def _draw_clouds(layout: Layout, scene: Scene, sky: tuple[slice, slice]) -> None:
    density, light = layout.cover, np.zeros_like(layout.cover)
    for cloud in scene.clouds:
        for px, py, rx, ry in cloud.puffs:
            window = layout.window(px - 1.5 * rx, py - 1.5 * ry, px + 1.5 * rx, py + 1.5 * ry)
            u, v = (layout.x[:, window[1]] - px) / rx, (layout.y[window[0]] - py) / ry
            v = np.where(v > 0, 1.6 * v, v)  # flat below, round above
            puff = 1.25 - (u * u + v * v)
            np.copyto(light[window], 0.72 - 0.28 * v + 0.12 * u * scene.sun.side, where=puff > density[window])
            np.maximum(density[window], puff, out=density[window])
    cover = density[sky] + 0.16 * layout.textures["folds"][sky] + 0.10 * layout.textures["clumps"][sky]
    layout.cover[sky] = np.clip(cover * (density[sky] > 0), 0, 1)
    shade = np.clip(light[sky] + 0.05 * layout.textures["folds"][sky], 0.3, 1)
    layout.stamp(sky, layout.cover[sky] > 0.45, CLOUD, shade, 1.0, layout.angle[sky] - 0.6 * (shade - 0.7))


def _draw_ridge(layout: Layout, ridge: Ridge, sun: Sun) -> None:
    window = layout.window(0, float(ridge.crest.min()), 1, 1)
    n = layout.x.size
    crest = ridge.at(layout.x[0]).astype(np.float32)
    slope = np.gradient(crest) * n
    below = layout.y[window[0]] - crest
    broad, folds, clumps = (layout.textures[name][window] for name in ("broad", "folds", "clumps"))
    if ridge.material == MOUNTAIN:  # facets run down from the crest on a slant
        column = np.arange(n) + n * (0.35 * below + 0.022 * folds)
        face = slope[np.clip(column, 0, n - 1).astype(np.int32)]
        light = 0.52 + 0.32 * np.tanh(2.5 * face * sun.side) + 0.05 * clumps - 0.25 * below
        angle = np.arctan(0.9 * np.sign(face)) + 0.2 * folds
    else:
        form = np.tanh(2 * slope * sun.side) * np.exp(-below / 0.2)
        light = 0.55 + 0.20 * form + 0.08 * broad + 0.16 * np.exp(-np.abs(below) / 0.04) - 0.14 * below
        light += 0.025 * folds + 0.01 * clumps
        angle = np.arctan(slope) * np.exp(-below / 0.3) + 0.12 * broad
    depth = ridge.depth
    if ridge.material == MEADOW:
        depth = np.maximum(0, ridge.depth * (1 - below / 0.35))
    layout.stamp(window, below > 0, ridge.material, light, depth, angle)


def _draw_water(layout: Layout, scene: Scene) -> None:
    window = layout.window(0, scene.horizon, 1, scene.meadow.crest.max())
    down = (layout.y[window[0]] - scene.horizon) / 0.3
    ripples = layout.textures["ripples"][window]
    light = 0.60 - 0.28 * down + (0.05 + 0.10 * down) * ripples - 0.22 * np.exp(-down / 0.06)
    glints = np.exp(-(((layout.x - scene.sun.x) / 0.09) ** 2)) * (ripples > 0.3)
    light = light + (0.4 if scene.sun.visible else 0.15) * glints
    layout.stamp(window, down > 0, WATER, light, 0.55 - 0.3 * down, 0.0)


def _draw_path(layout: Layout, scene: Scene) -> None:
    bottom, top, swing, half = scene.path
    start = float(scene.meadow.at(top)) + 0.005
    window = layout.window(0, start, 1, 1)
    t = np.clip((layout.y[window[0]] - start) / (1 - start), 0, 1)
    centre = top + (bottom - top) * t**1.4 + swing * np.sin(np.pi * t) * (1 - 0.3 * t)
    width = half * (0.12 + 0.88 * t) * (1 + 0.08 * layout.textures["folds"][window])
    drift = (bottom - top) * 1.4 * t**0.4 + swing * np.pi * np.cos(np.pi * t)
    light = 0.62 + 0.06 * layout.textures["folds"][window]
    angle = np.arctan2(1 - start, drift)
    inside = (np.abs(layout.x - centre) < width) & (layout.material[window] == MEADOW)
    layout.stamp(window, inside, PATH, light, 0.25 * (1 - t), angle)


def _draw_standing(layout: Layout, things: Sequence[Thing], sun: Sun) -> None:
    for thing in things:  # all shadows first: they lie on the ground, under every thing
        _cast_shadow(layout, thing, sun)
    for thing in things:
        DRAW[thing.kind](layout, thing, sun)


def _cast_shadow(layout: Layout, thing: Thing, sun: Sun) -> None:
    reach = 0.55 * thing.height
    cx, cy, ry = thing.x - sun.side * 0.55 * reach, thing.foot + 0.02 * thing.height, 0.10 * thing.height
    window = layout.window(cx - reach, cy - 2 * ry, cx + reach, cy + 2 * ry)
    u, v = (layout.x[:, window[1]] - cx) / reach, (layout.y[window[0]] - cy) / ry
    shade = np.clip(1.5 - 1.5 * (u * u + v * v), 0, 1) * np.isin(layout.material[window], (MEADOW, PATH))
    layout.light[window] *= 1 - 0.5 * shade
