"""A drawn scene as a photograph: smooth light, haze, lens and sensor; no outlines.

Materials that look alike share one ramp here, on purpose (see ``LOOK_ALIKES``): sky and water are one blue,
grass and leaves one green, clouds, walls and sails one white, and all wood, tiles and earth one brown.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from data.drawing.layout import Layout, noise
from data.drawing.rasterise import rasterise
from data.drawing.scene import CLOUD, MATERIALS, SKY, Scene

LEVELS = 64  # steps of a ramp, from light 0 to light 1
BLUE = ((70, 112, 158), (124, 164, 204), (206, 222, 234))
GREEN = ((26, 40, 20), (92, 118, 56), (170, 184, 104))
WHITE = ((112, 114, 120), (198, 198, 196), (252, 250, 244))
BROWN = ((50, 34, 26), (132, 96, 70), (204, 170, 134))
RAMPS = {  # RGB at light 0, 0.5 and 1
    "sky": BLUE, "water": BLUE,
    "meadow": GREEN, "hill": GREEN, "foliage": GREEN,
    "cloud": WHITE, "wall": WHITE, "sail": WHITE,
    "trunk": BROWN, "roof": BROWN, "path": BROWN, "door": BROWN, "hull": BROWN,
    "sun": ((255, 236, 190), (255, 246, 214), (255, 252, 236)),
    "mountain": ((58, 66, 78), (116, 122, 130), (188, 188, 184)),
    "window": ((20, 24, 30), (52, 58, 66), (110, 120, 130)),
}  # fmt: skip
GRAIN = {"meadow": 5.0, "hill": 4.0, "foliage": 7.0, "mountain": 5.0, "path": 6.0, "wall": 2.5, "roof": 5.0}


def ramp_table(ramps: dict[str, tuple]) -> np.ndarray:
    """Ramps as one table, float32 [len(MATERIALS) * LEVELS, 3] in [0, 255], row material * LEVELS + level."""
    stops, levels = np.array([0, 0.5, 1]), np.linspace(0, 1, LEVELS)
    rows = [[np.interp(levels, stops, channel) for channel in zip(*ramps[m], strict=True)] for m in MATERIALS]
    return np.array(rows, np.float32).transpose(0, 2, 1).reshape(-1, 3).copy()


def ramp_rows(material: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Where in a ramp table each pixel's colour stands. int32, the shape of ``material``."""
    return material.astype(np.int32) * LEVELS + (light * (LEVELS - 1) + 0.5).astype(np.int32)


def working_scale(size: int) -> int:
    """How many times larger than ``size`` to draw before averaging down; big pictures need it less."""
    return max(1, min(3, 512 // size))


_TABLE = ramp_table(RAMPS)
_GRAIN = np.array([GRAIN.get(m, 0.8) for m in MATERIALS], np.float32)


def photograph(scene: Scene, size: int) -> np.ndarray:
    """The scene through a lens. uint8 [size, size, 3], RGB."""
    scale = working_scale(size)
    layout = rasterise(scene, size * scale)
    rng = np.random.default_rng([scene.seed, scene.index, 2])
    colour = _TABLE[ramp_rows(layout.material, layout.light)]
    _soften_clouds(colour, layout)
    colour += (_GRAIN[layout.material] * noise(rng, size * scale, 110, 110))[..., None]
    _add_air(colour, layout, scene)
    picture = Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))
    picture = picture.filter(ImageFilter.BoxBlur(0.0022 * size * scale)).reduce(scale)
    exposed = np.asarray(picture) + 2.2 * rng.standard_normal((size, size, 3), dtype=np.float32)
    return np.clip(exposed + 0.5, 0, 255).astype(np.uint8)


def _soften_clouds(colour: np.ndarray, layout: Layout) -> None:
    """Vapour has no edge: blend cloud and sky by density instead of by material."""
    rows = slice(0, int(np.flatnonzero(layout.cover.any(1)).max(initial=-1)) + 1)
    sky = np.isin(layout.material[rows], (SKY, CLOUD)) & (layout.cover[rows] > 0)
    cover, light = layout.cover[rows][sky], layout.light[rows][sky]
    share = np.clip((cover - 0.1) / 0.7, 0, 1)[:, None]
    is_cloud = layout.material[rows][sky] == CLOUD
    y = np.broadcast_to(layout.y[rows], sky.shape)[sky]
    blue = _TABLE[ramp_rows(np.full(cover.shape, SKY), np.where(is_cloud, np.clip(0.35 + 0.6 * y, 0, 1), light))]
    white = _TABLE[ramp_rows(np.full(cover.shape, CLOUD), np.where(is_cloud, light, 0.75))]
    colour[rows][sky] = blue + (white - blue) * share**1.2


def _add_air(colour: np.ndarray, layout: Layout, scene: Scene) -> None:
    """Haze with depth, the sun's glow, the colour of the hour and the lens's dark corners."""
    sun, x, y = scene.sun, layout.x, layout.y
    haze = sun.haze * layout.depth * (layout.material > CLOUD + 1)
    for channel, air in enumerate((196.0, 208.0, 220.0)):
        colour[..., channel] += (air - colour[..., channel]) * haze
    glow = np.exp(-((x - sun.x) ** 2) / 0.03) * np.exp(-((y - sun.y) ** 2) / 0.03)
    glow = (70.0 if sun.visible else 22.0) * glow
    corners = 1.04 - 0.36 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    for channel, (tint, warmth) in enumerate(zip(sun.tint, (1.0, 0.8, 0.45), strict=True)):
        colour[..., channel] += warmth * glow
        colour[..., channel] *= tint * corners
