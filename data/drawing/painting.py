"""The same scene painted: a fauvist palette, strokes that follow the forms, dark outlines, canvas.

The palette depends on what is painted, not only on its colour in the photograph. All of it is a function of
material and light; what a painter leaves to chance (where a stroke lands, its small shift of colour) is drawn
from ``variant``, so two variants show how far apart two equally true paintings of a scene are.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from data.drawing.layout import Layout, noise
from data.drawing.photograph import ramp_rows, ramp_table, working_scale
from data.drawing.rasterise import rasterise
from data.drawing.scene import MATERIALS, Scene

PALETTE = {  # RGB at light 0, 0.5 and 1: an autumn evening, cool shadows and warm lights
    "sky": ((240, 156, 66), (252, 202, 98), (255, 238, 168)),
    "cloud": ((214, 118, 132), (244, 156, 148), (255, 204, 180)),
    "sun": ((240, 84, 50), (250, 104, 56), (255, 130, 70)),
    "mountain": ((140, 84, 150), (184, 116, 164), (236, 176, 190)),
    "hill": ((176, 66, 78), (222, 102, 78), (250, 156, 104)),
    "meadow": ((206, 96, 34), (246, 148, 38), (255, 206, 96)),
    "water": ((84, 44, 132), (118, 70, 162), (206, 160, 206)),
    "foliage": ((112, 18, 52), (176, 44, 44), (236, 104, 56)),
    "trunk": ((84, 22, 54), (124, 44, 62), (190, 90, 80)),
    "path": ((206, 126, 126), (248, 186, 150), (255, 220, 180)),
    "wall": ((96, 124, 176), (134, 168, 204), (190, 214, 226)),
    "roof": ((120, 16, 66), (182, 34, 78), (236, 92, 96)),
    "window": ((70, 28, 92), (92, 44, 110), (140, 90, 150)),
    "door": ((70, 28, 92), (100, 50, 120), (150, 100, 160)),
    "sail": ((180, 60, 50), (230, 92, 52), (255, 150, 80)),
    "hull": ((60, 26, 70), (86, 40, 90), (130, 80, 130)),
}
INK = np.array((74, 20, 62), np.float32)  # outlines: plum
OUTLINE = {"sky": 0.0, "cloud": 0.45, "sun": 0.7, "window": 0.5, "door": 0.5}  # the others 0.6
STROKE_LENGTH, STROKE_WIDTH = 0.17, 0.042  # fractions of the picture
SHORT = {  # strokes on small or close-grained things, as a share of the length; the others 1
    "sky": 1.1, "water": 1.1, "mountain": 0.8, "cloud": 0.7, "path": 0.7, "wall": 0.7, "roof": 0.7,
    "trunk": 0.7, "sail": 0.6, "hull": 0.6, "foliage": 0.55, "sun": 0.4, "door": 0.4, "window": 0.35,
}  # fmt: skip
ROWS = 26  # strokes down the picture, before small forms get their second, finer coat
THREADS = 64  # of the canvas, each way
JITTER = 9.0  # deviation of a stroke's colour, grey levels

_TABLE = ramp_table(PALETTE)
_OUTLINE = np.array([OUTLINE.get(m, 0.6) for m in MATERIALS], np.float32)
_SHORT = np.array([SHORT.get(m, 1.0) for m in MATERIALS], np.float32)


def painting(scene: Scene, size: int, variant: int = 0) -> np.ndarray:
    """The scene in paint; ``variant`` redraws the chance in it. uint8 [size, size, 3], RGB."""
    scale = working_scale(size)
    layout = rasterise(scene, size * scale)
    rng = np.random.default_rng([scene.seed, scene.index, 3 + variant])
    coat, owner, height = _lay_strokes(layout, rng)
    ground = _TABLE[ramp_rows(layout.material, layout.light)]
    strayed = (owner != layout.material)[..., None]  # a stroke over its form's edge: the ground shows there
    colour = np.where(strayed, ground, 0.85 * coat + 0.15 * ground)
    _raise_paint(colour, height)
    _draw_outlines(colour, layout, np.random.default_rng([scene.seed, scene.index, 2]))
    for channel, tint in enumerate(scene.sun.tint):
        colour[..., channel] *= 1 + 0.5 * (tint - 1)
    _weave(colour, np.random.default_rng([scene.seed, scene.index, 3 + variant, 1]))
    return np.asarray(Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8)).reduce(scale))


def _lay_strokes(layout: Layout, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every stroke is a bent line of one colour.

    Returns the colour, float32 [S, S, 3] in [0, 255], and per pixel the material that the topmost stroke
    meant and how thickly it lies, 0 to 15. The last two ride in the picture's alpha channel, 4 bits each.
    """
    n = layout.x.size
    y, x = _stroke_places(layout, rng)
    rows, columns = (y * n).astype(np.int32), (x * n).astype(np.int32)
    material = layout.material[rows, columns]
    points = _follow_form(layout, y, x, STROKE_LENGTH * _SHORT[material] * rng.uniform(0.7, 1.25, x.size))
    colour = _TABLE[ramp_rows(material, layout.light[rows, columns])]
    colour = colour + JITTER * rng.standard_normal((x.size, 1)) + 0.5 * JITTER * rng.standard_normal((x.size, 3))
    thickness = rng.integers(0, 16, x.size)
    inks = np.column_stack([np.clip(colour, 0, 255), material * 16 + thickness]).astype(np.uint8)
    widths = np.maximum(1, np.rint(STROKE_WIDTH * n * _SHORT[material] ** 0.5 * rng.uniform(0.8, 1.25, x.size)))
    sheet = Image.new("RGBA", (n, n), (0, 0, 0, 255))
    draw = ImageDraw.Draw(sheet)
    for line, ink, width in zip(points.tolist(), inks.tolist(), widths.astype(int).tolist(), strict=True):
        draw.line(line, tuple(ink), width)
        if width >= 8:  # a trail of the bristles, too fine to be seen in smaller pictures
            lighter = tuple(min(255, c + 16) for c in ink[:3])
            draw.line([c - width * 0.22 for c in line], (*lighter, ink[3]), width // 4)
    paint = np.asarray(sheet)
    return paint[..., :3].astype(np.float32), paint[..., 3] >> 4, paint[..., 3] & 15


def _stroke_places(layout: Layout, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Centres in drawing order, y and x in [0, 1): an even coat, then a finer one on all small forms."""
    grids = []
    for rows in (ROWS, 2 * ROWS):
        y, x = np.divmod(np.arange(rows * rows), rows)
        place = (np.stack([y, x]) + rng.random((2, rows * rows))) / rows
        grids.append(place[:, rng.permutation(rows * rows)])
    n = layout.x.size
    fine = (grids[1] * n).astype(np.int32)
    grids[1] = grids[1][:, _SHORT[layout.material[fine[0], fine[1]]] < 0.75]
    y, x = np.minimum(np.concatenate(grids, 1), 1 - 1e-6)
    return y, x


def _follow_form(layout: Layout, y: np.ndarray, x: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Corners of the strokes in pixels, [N, 6] as x, y, x, y, x, y: half a length each way along the form."""
    n = layout.x.size
    angle = layout.angle[(y * n).astype(np.int32), (x * n).astype(np.int32)]
    ends = []
    for way in (-1.0, 1.0):
        quarter_y = np.clip(y + 0.25 * way * length * np.sin(angle), 0, 1 - 1e-6)
        quarter_x = np.clip(x + 0.25 * way * length * np.cos(angle), 0, 1 - 1e-6)
        bent = layout.angle[(quarter_y * n).astype(np.int32), (quarter_x * n).astype(np.int32)]
        agree = np.where(np.cos(bent - angle) < 0, -way, way)  # directions have no sign
        end_y = y + 0.5 * length * (0.4 * way * np.sin(angle) + 0.6 * agree * np.sin(bent))
        end_x = x + 0.5 * length * (0.4 * way * np.cos(angle) + 0.6 * agree * np.cos(bent))
        ends.append((end_x * n, end_y * n))
    return np.stack([*ends[0], x * n, y * n, *ends[1]], 1)


def _raise_paint(colour: np.ndarray, height: np.ndarray) -> None:
    """Light from the upper left catches the edges of thick strokes."""
    h = height.astype(np.float32)
    step = np.zeros_like(h)
    step[1:, 1:] = h[1:, 1:] - h[:-1, :-1]
    colour += 0.9 * step[..., None]


def _draw_outlines(colour: np.ndarray, layout: Layout, rng: np.random.Generator) -> None:
    """Dark lines where one thing ends and another begins, drawn by an unsteady hand."""
    n = layout.x.size
    sway = np.rint(noise(rng, n, 18, 18) * 0.004 * n).astype(np.int32)
    rows, columns = np.arange(n)[:, None], np.arange(n)[None, :]
    region = layout.region[np.clip(rows + sway, 0, n - 1), np.clip(columns + sway.T, 0, n - 1)]
    strength = _OUTLINE[layout.material]
    line, k = np.zeros((n, n), np.float32), max(1, round(0.009 * n))
    for here, there in ((np.s_[k:], np.s_[:-k]), (np.s_[:, k:], np.s_[:, :-k])):
        pair = np.maximum(strength[here], strength[there])
        line[here] = np.maximum(line[here], pair * (region[here] != region[there]))
    colour += (INK - colour) * line[..., None]


def _weave(colour: np.ndarray, rng: np.random.Generator) -> None:
    """Linen: threads both ways, no two of one thickness. Without a regular period, so that nothing periodic in a
    translation can be the canvas."""
    n = colour.shape[0]
    threads = 1 + 0.011 * (noise(rng, n, THREADS, 1)[:, :1] + noise(rng, n, 1, THREADS)[:1, :])
    colour *= threads[..., None]
