"""A method while it is trained, as evaluate.py would see it: translations by its weights of the moment."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from data.images import normalise
from engine.schema import Config
from models.candidate import RunCandidate, training_styles
from models.method import Method
from models.translator import Translator, as_saved

AT_ONCE = 8  # pictures: a GPU that is full of training has room for few


def translate_by(method: Method, config: Config, device: torch.device, count: int) -> Callable[[Tensor], Tensor]:
    """The function photographs -> translations as they would be saved, both uint8 [N, 3, H, W] on the CPU, N at most
    `count`; the caller sees to the method's eval mode and back. A method that takes its style from pictures gets the
    paintings that evaluate.py gives it.

    The function raises NotFiniteError.
    """
    styles = training_styles(method, config, count)

    def translate(photographs: Tensor) -> Tensor:
        seen = RunCandidate(Path(config.run), Translator(method, method.directions[0], config, step=0, device=device))
        found = []
        for first in range(0, len(photographs), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            found.append(seen.apply(normalise(photographs[part]), None if styles is None else styles[part]).cpu())
        return as_saved(torch.cat(found))

    return translate
