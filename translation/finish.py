"""What is done to a translation before it is saved."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.images import denormalise, normalise
from models.style import keep_luminance


@dataclass(frozen=True)
class Finish:
    """blend: share of the translation, 0 to 1; the rest is the photograph. keep_luminance: that of the photograph,
    with the translation's colours. keep_color: the photograph's colours, with the translation's luminance.
    side_by_side: the photograph on the left of it."""

    blend: float = 1.0
    keep_luminance: bool = False
    keep_color: bool = False
    side_by_side: bool = False

    @property
    def changes(self) -> bool:
        """The translation's pixels depend on the photograph's."""
        return self.blend < 1 or self.keep_luminance or self.keep_color

    def __call__(self, photographs: Tensor, translations: Tensor) -> Tensor:
        """Both [N, 3, H, W] in [-1, 1] -> the same; pixel by pixel, so that it can be done in parts."""
        if self.keep_luminance:
            translations = keep_luminance(translations, photographs)
        if self.keep_color:
            translations = keep_luminance(photographs, translations)
        return torch.lerp(photographs, translations, self.blend) if self.blend < 1 else translations

    def in_strips(self, photograph: np.ndarray, translation: np.ndarray, rows: int = 256) -> np.ndarray:
        """The same of uint8 [H, W, 3], a few rows at a time."""
        if not self.changes:
            return translation
        for top in range(0, len(translation), rows):
            strips = [np.ascontiguousarray(x[None, top : top + rows]) for x in (photograph, translation)]
            found = self(*(normalise(torch.from_numpy(x).permute(0, 3, 1, 2)) for x in strips))
            translation[top : top + rows] = denormalise(found)[0].permute(1, 2, 0).numpy()
        return translation

    def arranged(self, photograph: Image.Image, translation: Image.Image) -> Image.Image:
        if not self.side_by_side:
            return translation
        both = Image.new(translation.mode, (photograph.width + translation.width, translation.height))
        both.paste(photograph, (0, 0))
        both.paste(translation, (photograph.width, 0))
        return both


@dataclass(frozen=True)
class SizeRule:
    """The size that a photograph is translated at. 0: its own.

    longest: px, most of the longer side; larger ones are reduced. training: px, the side of the network's training
    pictures; every photograph's shorter side is brought there.
    """

    longest: int = 0
    training: int = 0

    def __call__(self, size: tuple[int, int]) -> tuple[int, int]:
        scale = self.training / min(size) if self.training else 1.0
        if self.longest:
            scale = min(scale, self.longest / max(size))
        return tuple(max(1, round(side * scale)) for side in size) if scale != 1 else size
