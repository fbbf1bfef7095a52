"""Photographs -> their translations as pictures, whatever the memory there is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from data.images import PictureError, denormalise, normalise, to_tensor
from engine.accelerate import arithmetic
from engine.device import is_out_of_memory
from models.method import Progress
from models.style import read_masks
from models.translator import Translator
from translation.finish import Finish

NOT_FINITE = "the translation is not finite: nothing is saved"


@dataclass
class Painter:
    """A translator, and what is wanted of its translations besides.

    preserve_color: see Translator.translate; masks: files or folders, one for each style; precision: of a GPU's
    arithmetic.
    """

    translator: Translator
    finish: Finish = field(default_factory=Finish)
    preserve_color: str = ""
    masks: Sequence[Path] = ()
    progress: Progress | None = None
    precision: str = "fp32"

    def paint(self, photographs: Sequence[Image.Image], names: Sequence[str]) -> Iterator[Image.Image | str]:
        """The translation of each of some RGB photographs of one size, or why there is none. What is too large for the
        memory together is tried one by one."""
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
        width, height = photographs[0].size
        return iter([f"out of memory at {width} x {height} px"])

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
