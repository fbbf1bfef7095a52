"""What is where in a drawn landscape: composition, without colour and without resolution.

Lengths are fractions of the picture's side, x runs right, y runs down, angles are radians in that frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MATERIALS: tuple[str, ...] = (
    "sky", "cloud", "sun", "mountain", "hill", "meadow", "water", "foliage",
    "trunk", "path", "wall", "roof", "window", "door", "sail", "hull",
)  # fmt: skip
SKY, CLOUD, SUN, MOUNTAIN, HILL, MEADOW, WATER, FOLIAGE = range(8)
TRUNK, PATH, WALL, ROOF, WINDOW, DOOR, SAIL, HULL = range(8, 16)

# One colour as photographs, two as paintings: a translation must read position, texture and shape.
LOOK_ALIKES: tuple[tuple[str, str], ...] = (("sky", "water"), ("meadow", "foliage"), ("cloud", "wall"))

NUM_CREST = 129  # samples of a skyline across the picture
MOODS = {  # colour of the light, contrast of the light, haze, height of the sun as a fraction of the sky
    "morning": ((1.04, 1.00, 0.93), 0.90, 0.48, 0.55),
    "noon": ((1.00, 1.00, 1.00), 1.00, 0.28, 0.25),
    "golden": ((1.10, 0.98, 0.84), 1.05, 0.36, 0.70),
    "overcast": ((0.93, 0.97, 1.01), 0.65, 0.44, 0.40),
    "dusk": ((1.00, 0.89, 0.92), 0.85, 0.36, 0.85),
}


@dataclass(frozen=True)
class Sun:
    x: float
    y: float
    visible: bool
    tint: tuple[float, float, float]  # RGB factor of everything that it lights
    contrast: float  # 1: clear day
    haze: float  # share of haze at depth 1

    @property
    def side(self) -> float:
        """Where the light comes from, -1 (left) to 1 (right); never straight ahead, or forms go flat."""
        return float(np.clip(4 * (self.x - 0.5), -1, 1)) or 1.0


@dataclass(frozen=True)
class Ridge:
    material: int
    crest: np.ndarray  # [NUM_CREST], y of the skyline
    depth: float  # 0 here, 1 at the horizon

    def at(self, x: np.ndarray | float) -> np.ndarray:
        return np.interp(x, np.linspace(0, 1, NUM_CREST), self.crest)


@dataclass(frozen=True)
class Cloud:
    puffs: np.ndarray  # [N, 4], x, y, half width, half height


@dataclass(frozen=True)
class Thing:
    """A tree, a house or a boat: it stands at (x, foot)."""

    kind: str  # "broad", "conifer", "poplar", "bush", "house", "boat"
    x: float
    foot: float
    height: float
    depth: float
    build: np.ndarray  # [24] in [0, 1), the thing's own proportions


@dataclass(frozen=True)
class Scene:
    seed: int
    index: int
    horizon: float
    sun: Sun
    clouds: tuple[Cloud, ...]
    distance: tuple[Ridge, ...]  # mountains and hills, far to near
    water: bool  # from the horizon to the meadow
    meadow: Ridge
    knoll: Ridge | None  # a nearer swell of the meadow
    path: np.ndarray | None  # [4]: x at the bottom, x at the top, swing, half width at the bottom
    far_things: tuple[Thing, ...]  # behind the meadow's edge, far to near
    near_things: tuple[Thing, ...]  # on the meadow, far to near


def compose(seed: int, index: int) -> Scene:
    """Scene ``index`` of ``seed``: a pure function of the two."""
    rng = np.random.default_rng([seed, index, 0])
    horizon = rng.uniform(0.36, 0.54)
    sun = _compose_sun(rng, horizon)
    water = bool(rng.random() < 0.62)
    distance = _compose_distance(rng, horizon, water)
    edge = horizon + (rng.uniform(0.18, 0.32) if water else rng.uniform(0.07, 0.15))
    meadow = Ridge(MEADOW, _waves(rng, edge, rng.uniform(0.02, 0.07 if water else 0.04), 1.2), 0.3)
    path = knoll = None
    if rng.random() < 0.5:
        path = rng.uniform([0.1, 0.2, -0.16, 0.05], [0.9, 0.8, 0.16, 0.1])
    else:
        rise = _waves(rng, 0.5 * (edge + rng.uniform(0.9, 1.1)), rng.uniform(0.04, 0.1), 0.8)
        knoll = Ridge(MEADOW, np.maximum(rise, meadow.crest + 0.04), 0.15)
    far, near = _compose_things(rng, horizon, water, distance[-1], meadow)
    clouds = _compose_clouds(rng, horizon)
    return Scene(seed, index, horizon, sun, clouds, distance, water, meadow, knoll, path, far, near)


def _compose_sun(rng: np.random.Generator, horizon: float) -> Sun:
    mood = tuple(MOODS)[rng.choice(5, p=[0.22, 0.28, 0.22, 0.12, 0.16])]
    tint, contrast, haze, height = MOODS[mood]
    y = float(np.clip(horizon * height + rng.normal(0, 0.03), 0.06, horizon - 0.05))
    x = float(rng.choice([rng.uniform(0.06, 0.4), rng.uniform(0.6, 0.94)]))
    visible = bool(rng.random() < 0.7) and mood != "overcast"
    brightness = rng.uniform(0.9, 1.06)
    return Sun(x, y, visible, tuple(brightness * c for c in tint), contrast, haze * rng.uniform(0.6, 1.3))


def _compose_clouds(rng: np.random.Generator, horizon: float) -> tuple[Cloud, ...]:
    clouds = []
    for _ in range(rng.integers(1, 5)):
        x, y = rng.uniform(0, 1), rng.uniform(0.06, horizon * 0.72)
        near = 1.25 - 0.9 * y / horizon  # clouds shrink towards the horizon
        width, height = near * rng.uniform(0.11, 0.28), near * rng.uniform(0.045, 0.085)
        along = np.linspace(-1, 1, rng.integers(5, 9)) + rng.uniform(-0.12, 0.12)
        size = (1.0 - 0.65 * along**2) * rng.uniform(0.55, 1.2, along.size)
        puffs = np.stack([x + along * width, y - 0.5 * height * size, size * width * 0.42, size * height], 1)
        clouds.append(Cloud(puffs))
    return tuple(clouds)


def _compose_distance(rng: np.random.Generator, horizon: float, water: bool) -> tuple[Ridge, ...]:
    ridges = []
    if rng.random() < 0.7:
        for depth in (1.0, 0.8)[: rng.integers(1, 3)]:
            height = rng.uniform(0.10, 0.24) * (1.25 if depth == 1.0 else 0.7)
            ridges.append(Ridge(MOUNTAIN, _peaks(rng, horizon, height), depth))
    for i in range(rng.integers(1, 3)):
        base = horizon - rng.uniform(0.02, 0.05) + 0.03 * i
        ridges.append(Ridge(HILL, _waves(rng, base, rng.uniform(0.02, 0.06), 1.6), 0.7 - 0.15 * i))
    return tuple(ridges)


def _waves(rng: np.random.Generator, base: float, height: float, frequency: float) -> np.ndarray:
    x, crest = np.linspace(0, 1, NUM_CREST), np.full(NUM_CREST, base)
    for octave, share in ((0.5, 1.0), (1.0, 0.6), (2.3, 0.2), (6.0, 0.04)):
        crest += share * height * np.sin(2 * np.pi * (octave * frequency * x + rng.random()))
    return crest


def _peaks(rng: np.random.Generator, base: float, height: float) -> np.ndarray:
    x, crest = np.linspace(0, 1, NUM_CREST), np.zeros(NUM_CREST)
    for _ in range(rng.integers(3, 7)):
        top, place, width = rng.uniform(0.4, 1), rng.uniform(-0.1, 1.1), rng.uniform(0.14, 0.34)
        crest = np.maximum(crest, top - np.abs(x - place) / width)
    for octave in (7, 15, 31):
        crest += 0.5 / octave * np.interp(x, np.linspace(0, 1, octave), rng.uniform(-1, 1, octave))
    return base - height * crest


def _compose_things(
    rng: np.random.Generator, horizon: float, water: bool, hill: Ridge, meadow: Ridge
) -> tuple[tuple[Thing, ...], tuple[Thing, ...]]:
    far, near = [], []

    def place(kind: str, x: float, foot: float, height: float, depth: float, here: list[Thing]) -> None:
        here.append(Thing(kind, float(x), float(foot), float(height), depth, rng.random(24)))

    for _ in range(rng.integers(0, 5)):
        x, kind = rng.random(), rng.choice(["broad", "conifer", "bush", "house"], p=[0.4, 0.3, 0.2, 0.1])
        foot = hill.at(x) + rng.uniform(0.02, 0.04)
        foot = min(foot, horizon + 0.004) if water else foot
        if not water or hill.at(x) < horizon - 0.005:  # no land there: the lake reaches the sky
            place(str(kind), x, foot, rng.uniform(0.08, 0.13), 0.5, far)
    if water:
        for _ in range(rng.integers(0, 3)):
            foot = horizon + rng.uniform(0.03, 0.12)
            place("boat", rng.uniform(0.1, 0.9), foot, 0.08 + 0.9 * (foot - horizon), 0.4, far)
    wood = tuple(rng.permutation(["broad", "conifer", "poplar"])[: rng.integers(1, 3)])
    for _ in range(rng.integers(2, 9) if rng.random() < 0.85 else 0):
        x = rng.uniform(-0.02, 1.02)
        foot = meadow.at(x) + rng.uniform(0.01, 1) ** 1.5 * (0.93 - meadow.at(x))
        kind = "bush" if rng.random() < 0.2 else str(rng.choice(wood))
        place(kind, x, foot, (0.11 + 0.85 * (foot - horizon)) * rng.uniform(0.75, 1.25), 0.1, near)
    for _ in range(rng.integers(1, 4) if rng.random() < 0.55 else 0):
        x = rng.uniform(0.08, 0.92)
        foot = meadow.at(x) + rng.uniform(0.03, 0.14)
        place("house", x, foot, 0.10 + 0.42 * (foot - horizon), 0.15, near)
    return tuple(sorted(far, key=lambda t: t.foot)), tuple(sorted(near, key=lambda t: t.foot))
