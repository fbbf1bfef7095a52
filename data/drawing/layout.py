"""A drawn landscape as maps: which material, how much light, how far, and along which direction it lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

Map = np.ndarray | float  # over a window, or one value for all of it


@dataclass
class Layout:
    """The maps of a scene, each [size, size]; ``rasterise`` fills them from far to near."""

    material: np.ndarray  # uint8, index into MATERIALS
    region: np.ndarray  # uint8, which thing: changes where an outline would be drawn
    light: np.ndarray  # float32, 0 deep shadow, 0.5 plain, 1 full light
    depth: np.ndarray  # float32, 0 here, 1 at the horizon
    angle: np.ndarray  # float32, radians: along the form
    cover: np.ndarray  # float32, 0 clear sky, 1 thick cloud
    x: np.ndarray  # float32 [1, size]
    y: np.ndarray  # float32 [size, 1]
    textures: dict[str, np.ndarray]  # float32 [size, size], mean 0, deviation about 1
    regions: int = 0

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
        """The pixels of a box that may reach beyond the picture."""
        n = self.x.size
        top, bottom, left, right = (min(max(int(v * n), 0), n) for v in (top, bottom, left, right))
        return slice(top, min(n, bottom + 1)), slice(left, min(n, right + 1))

    def stamp(
        self,
        window: tuple[slice, slice],
        mask: np.ndarray,
        material: int,
        light: Map,
        depth: Map,
        angle: Map,
        region: bool = True,
    ) -> None:
        """Put a form in front of what is there; ``region=False`` continues the previous thing."""
        self.regions += region
        np.copyto(self.material[window], np.uint8(material), where=mask)
        np.copyto(self.region[window], np.uint8(self.regions % 256), where=mask)
        for whole, form in ((self.light, light), (self.depth, depth), (self.angle, angle)):
            np.copyto(whole[window], form, where=mask)


def noise(rng: np.random.Generator, size: int, rows: int, columns: int) -> np.ndarray:
    """Smooth noise of rows x columns bumps, whatever the size. float32 [size, size]."""
    grid = Image.fromarray(rng.standard_normal((rows, columns), dtype=np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))
