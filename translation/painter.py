"""Photographs -> their translations as pictures, whatever the memory there is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.images import PictureError, denormalise, normalise, to_tensor
from engine.accelerate import arithmetic
from engine.device import is_out_of_memory
from engine.exits import UserError
from models.method import Progress
from models.style import read_masks
from models.translator import Translator
from translation.finish import Finish
from translation.large import goes_in_parts, largest_whole, translate_large

NOT_FINITE = "the translation is not finite: nothing is saved"


@dataclass
class Painter:
    """A translator, and what is wanted of its translations besides.

    preserve_color: see Translator.translate; masks: files or folders, one for each style; precision: of a GPU's
    arithmetic; tile, statistics: see large.translate_large, for what does not fit into memory or is larger than `tile`.
    """

    translator: Translator
    finish: Finish = field(default_factory=Finish)
    preserve_color: str = ""
    masks: Sequence[Path] = ()
    progress: Progress | None = None
    precision: str = "fp32"
    tile: int | None = None
    statistics: str = "auto"

    def paint(self, photographs: list[Image.Image], names: Sequence[str]) -> Iterator[Image.Image | str]:
        """The translation of each of some RGB photographs of one size, or why there is none. What is too large for the
        memory together is tried one by one, and then in parts; these photographs are taken out of the list, so that
        none is there twice."""
        if not self._fits(*photographs[0].size):
            return (self._in_parts(photographs.pop(0)) for _ in names)
        try:
            pixels = torch.stack([to_tensor(photograph) for photograph in photographs])
            masks = read_masks(self.masks, names[0]) if self.masks else ()
            found = self.apply(normalise(pixels.to(self.translator.device)), masks)
        except PictureError as error:
            return iter([f"mask {error}"])
        except torch.linalg.LinAlgError:
            return iter([NOT_FINITE] * len(photographs))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            found = None
        if found is not None:
            return map(_as_picture, found)
        if len(photographs) > 1:
            pairs = zip(photographs, names, strict=True)
            return (each for photograph, name in pairs for each in self.paint([photograph], [name]))
        return (self._in_parts(photographs.pop(0)) for _ in names)

    @cached_property
    def _most_pixels(self) -> int:
        return largest_whole(self.translator)

    @cached_property
    def _goes_in_parts(self) -> bool:
        return goes_in_parts(self.translator)

    def _fits(self, width: int, height: int) -> bool:
        is_wanted = self.tile and max(width, height) > self.tile and self._goes_in_parts
        return not is_wanted and width * height <= self._most_pixels

    def _in_parts(self, photograph: Image.Image) -> Image.Image | str:
        width, height = photograph.size
        try:
            pixels = np.asarray(photograph)
            del photograph
            with arithmetic(self.precision):
                found = translate_large(self.translator, pixels, tile=self.tile, statistics=self.statistics)
            return Image.fromarray(self.finish.in_strips(pixels, found))
        except UserError as error:
            return f"out of memory at {width} x {height} px; in parts: {error}"
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return f"out of memory at {width} x {height} px, in parts, too"

    def apply(self, photographs: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """[N, 3, H, W] in [-1, 1] -> the finished translations, on the translator's device.

        Args:
            masks: see Translator.translate.
        """
        photographs = photographs.to(self.translator.device)
        with arithmetic(self.precision):
            translations = self.translator.translate(photographs, self.preserve_color, masks, self.progress)
        return self.finish(photographs, translations)


def _as_picture(translation: Tensor) -> Image.Image | str:
    if not translation.isfinite().all():
        return NOT_FINITE
    return Image.fromarray(denormalise(translation).permute(1, 2, 0).cpu().numpy())
