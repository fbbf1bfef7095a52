"""A method while it is trained, as evaluate.py would see it: translations by its weights of the moment."""

from collections.abc import Callable

import torch
from torch import Tensor

from data import open_source
from data.images import denormalise, normalise
from data.loader import drawn_pictures
from engine.exits import UserError
from engine.schema import Config
from models.method import Method, Style
from models.translator import Translator

AT_ONCE = 8  # pictures: a GPU that is full of training has room for few


class NotFiniteError(UserError):
    """Some translations have values that no picture has."""


def translate_by(method: Method, config: Config, device: torch.device, count: int) -> Callable[[Tensor], Tensor]:
    """The function photographs -> translations as they would be saved, both uint8 [N, 3, H, W] on the CPU, N at most
    `count`; the caller sees to the method's eval mode and back. A method that takes its style from pictures gets a
    painting of the training part for each photograph, drawn by the run's seed, as it does from evaluate.py.

    The function raises NotFiniteError.
    """
    styles = None
    if method.needs_style:
        source = open_source(config.data.style, "style", "train")
        styles = drawn_pictures(source, count, config.data.size, config.seed)

    def translate(photographs: Tensor) -> Tensor:
        translator = Translator(method, method.directions[0], config, step=0, device=device)
        found = []
        for first in range(0, len(photographs), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            given = None if styles is None else [Style((styles[some].to(device),))]
            found.append(translator.translate(normalise(photographs[some]), styles=given).cpu())
        return _as_saved(torch.cat(found))

    return translate


def _as_saved(translations: Tensor) -> Tensor:
    bad = sum(not picture.isfinite().all() for picture in translations)
    if bad:
        raise NotFiniteError(f"{bad} of {len(translations)} translations are not finite")
    return denormalise(translations)
