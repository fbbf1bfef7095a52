"""Methods of style translation, and the classifier of paintings. METHODS is their table of contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from models.options import (
    AdaINOptions,
    CUTOptions,
    CycleGANOptions,
    DistilledOptions,
    GatysOptions,
    JohnsonOptions,
    VggFinetuneOptions,
)

if TYPE_CHECKING:
    from models.method import Learner
    from models.translator import Translator


@dataclass(frozen=True)
class MethodEntry:
    """A row of METHODS; the class is imported when it is built, so that reading the table is free of torch."""

    options: type
    module: str
    implementation: str
    is_trained: bool = True  # else its recipe is all that a translation needs
    translates: bool = True  # else it tells labelled paintings apart
    domains: tuple[str, ...] = ("content", "style")  # that it learns from


METHODS = {
    "cyclegan": MethodEntry(CycleGANOptions, "models.cyclegan", "CycleGAN"),
    "cut": MethodEntry(CUTOptions, "models.cut", "CUT"),
    "distilled": MethodEntry(DistilledOptions, "models.distillation", "Distilled"),
    "johnson": MethodEntry(JohnsonOptions, "models.johnson", "Johnson"),
    "adain": MethodEntry(AdaINOptions, "models.adain", "AdaIN"),
    "gatys": MethodEntry(GatysOptions, "models.gatys", "Gatys", is_trained=False),
    "vgg_finetune": MethodEntry(
        VggFinetuneOptions, "models.vgg_finetune", "VggFinetune", translates=False, domains=("style",)
    ),
}


def build_method(options: object) -> Learner:
    """The method or classifier that `options`, one of METHODS' dataclasses, describes, freshly initialised on the CPU.

    The weights are drawn from torch's global generator: seed it first.
    """
    entry = METHODS[options.name]
    return getattr(import_module(entry.module), entry.implementation)(options)


def load_translator(
    run: str,
    direction: str | None = None,
    device: str = "auto",
    style: Sequence[str] = (),
    style_weights: Sequence[float] = (),
    strength: float = 1.0,
    settings: Sequence[str] = (),
) -> Translator:
    """A trained run folder as a function of a picture: `load_translator("runs/demo")(pil_image)`.

    Args:
        run: the folder that train.py made, one of its checkpoints, the recipe of a method that is not trained, or
            official weights of CycleGAN (`models/official.py`).
        direction: one of the method's directions; None takes its first ("photo2painting").
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1" ...
        style: paintings, or folders of them, for a method that takes its style from pictures.
        style_weights: of each of `style`; none weighs them alike.
        strength: 0 to 1, how much of the style, for a method that knows degrees.
        settings: "key=value" changes of a recipe.

    Raises an error with an `exit_code` of 2 where the run, its checkpoint, the direction or the style is wrong.
    """
    from models.translator import load

    return load(run, direction, device, style, style_weights, strength, settings)
