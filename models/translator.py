"""A trained run, an exported file or official weights as a function of a picture: what users and scripts call.

It brings a checkpoint (engine) and pictures (data) together, with `models/style.py` for the paintings.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from data import SOURCES
from data.images import denormalise, normalise, to_picture, to_rgb, to_tensor
from engine.checkpoint import CheckpointError, ForeignFileError, load_checkpoint, newest_checkpoint
from engine.config import config_from_dict, load_config
from engine.device import choose_device
from engine.exits import UserError
from engine.progress import say
from engine.run_folder import read_run_config
from engine.schema import Config
from models import METHODS, build_method
from models.exported import Exported, kind_of, open_exported
from models.method import Method, Progress, Style
from models.networks.spectral import baked
from models.official import Official, open_official
from models.options import PRESERVED_COLOURS
from models.style import keep_luminance, match_colours, merge, read_styles, share_out


class Translator:
    """Translates pictures of any size in one direction.

    >>> painter = load_translator("runs/demo")
    >>> painting = painter(Image.open("photograph.jpg"))

    step: training steps of the weights, 0 if unknown; config: of the run; styles: those that were given, for methods
    that need them.
    """

    def __init__(
        self,
        method: Method,
        direction: str,
        config: Config,
        step: int,
        device: torch.device,
        styles: Sequence[Style] = (),
    ):
        self.method = method.to(device).eval()
        self.direction = direction
        self.config = config
        self.step = step
        self.device = device
        self.styles = tuple(replace(s, pictures=tuple(picture.to(device) for picture in s.pictures)) for s in styles)

    def __call__(self, picture: Image.Image) -> Image.Image:
        """A picture of any mode -> RGB of exactly the same size."""
        pixels = to_tensor(to_rgb(picture)).unsqueeze(0)
        return to_picture(self.translate(normalise(pixels))[0])

    def translate(
        self,
        pictures: Tensor,
        preserve_color: str = "",
        masks: Sequence[Tensor] = (),
        progress: Progress | None = None,
        styles: Sequence[Style] | None = None,
    ) -> Tensor:
        """[N, 3, H, W] in [-1, 1], any H and W -> the same shape and range, on the translator's device.

        Args:
            preserve_color: "luminance" takes that of the translation and the colours of the photograph; "moments"
                gives the paintings the photograph's colours first, for methods that take paintings.
            masks: one for each of `styles`, [N or 1, 1, h, w] in [0, 1], any h and w: where it is shown. Where none
                is, the photograph stays.
            progress: is called while a picture is optimised.
            styles: instead of the translator's own.
        """
        if preserve_color and preserve_color not in PRESERVED_COLOURS:
            raise UserError(f"preserve_color = {preserve_color}: must be one of: {', '.join(PRESERVED_COLOURS)}")
        pictures = pictures.to(self.device)
        styles = self.styles if styles is None else styles
        if preserve_color == "moments" and len(pictures) > 1:  # whose colours differ
            alone = []
            for i, picture in enumerate(pictures.split(1)):
                own = [replace(style, pictures=tuple(_of(x, i) for x in style.pictures)) for style in styles]
                alone.append(self.translate(picture, preserve_color, [_of(mask, i) for mask in masks], progress, own))
            return torch.cat(alone)
        if preserve_color == "moments":
            styles = [match_colours(style, pictures) for style in styles]
        if masks:
            found = self._by_regions(pictures, styles, masks, progress)
        else:
            found = self._apply(pictures, merge(styles) if styles else None, progress)
        return keep_luminance(pictures, found) if preserve_color == "luminance" else found

    def _by_regions(
        self, pictures: Tensor, styles: Sequence[Style], masks: Sequence[Tensor], progress: Progress | None
    ) -> Tensor:
        """Put together from whole translations, so that no style is seen outside its mask, not even by a decoder."""
        weights = [sum(style.weights or (1.0,)) for style in styles]
        shares = share_out([mask.to(self.device) for mask in masks], weights, pictures.shape[-2:])
        found = (1 - sum(shares)) * pictures
        for style, share, weight in zip(styles, shares, weights, strict=True):
            if not weight:
                continue
            found = found + share * self._apply(pictures, replace(style, region=share), progress)
        return found

    def _apply(self, pictures: Tensor, style: Style | None, progress: Progress | None) -> Tensor:
        height, width = pictures.shape[-2:]
        multiple, smallest = self.method.size_multiple, self.method.smallest_side
        if style and style.region is not None:
            style = replace(style, region=_pad(style.region, multiple, smallest))
        options = {"progress": progress} if self.method.optimizes else {}
        with contextlib.nullcontext() if self.method.optimizes else torch.inference_mode():
            found = self.method.translate(_pad(pictures, multiple, smallest), style, self.direction, **options)
        return found[..., :height, :width]


class NotFiniteError(UserError):
    """Some translations have values that no picture has."""


def as_saved(translations: Tensor, of: str = "") -> Tensor:
    """[N, 3, H, W] in [-1, 1] -> uint8; raises NotFiniteError, which says `of` whom."""
    bad = sum(not picture.isfinite().all() for picture in translations)
    if bad:
        raise NotFiniteError(f"{of}{bad} of {len(translations)} translations are not finite")
    return denormalise(translations)


def load(
    run: str,
    direction: str | None = None,
    device: str = "auto",
    style: Sequence[str] | None = (),
    style_weights: Sequence[float] = (),
    strength: float = 1.0,
    settings: Sequence[str] = (),
) -> Translator:
    """The newest good checkpoint of a run folder, one checkpoint, official weights, or a recipe; see
    models.load_translator.

    Args:
        style: None if it is given later, with each call of `translate`.
    """
    method, config, step = _open(Path(run), settings)
    if style is not None and method.needs_style != bool(style):
        name = config.method.name
        wanted = f"{name} takes its style from pictures: give --style PAINTING"
        raise UserError(wanted if method.needs_style else f"--style: {name} has learnt its style and takes none")
    if strength != 1 and not method.knows_strength:
        raise UserError(f"--alpha {strength}: {config.method.name} knows no degrees of style")
    given = [
        replace(each, strength=strength)
        for each in read_styles(style or (), style_weights, method.style_side, method.smallest_side)
    ]
    return Translator(method, _choose(direction, method), config, step, choose_device(device), given)


def _open(path: Path, settings: Sequence[str]) -> tuple[Method, Config, int]:
    """The method, its configuration, and the steps that it was trained for."""
    if path.suffix == ".yaml":
        config = load_config(path, settings, METHODS, SOURCES)
        if METHODS[config.method.name].is_trained:
            way = f"train.py {path}; then translate with its run"
            raise UserError(f"{path}: {config.method.name} has to be trained: {way}")
        return build_method(config.method), config, 0
    if settings:
        raise UserError(f"{settings[0]}: settings change a recipe; {path} is a run, whose settings are in config.yaml")
    if path.is_file():
        return _from_file(path)
    config = config_from_dict(read_run_config(path), str(path / "config.yaml"), METHODS, SOURCES)
    if not METHODS[config.method.name].is_trained:
        return build_method(config.method), config, 0
    state, problems = newest_checkpoint(path / "checkpoints")
    for problem in problems.values():
        say(f"passed over: {problem}")
    if state is None:
        raise CheckpointError(f"{path / 'checkpoints'}: no good checkpoint yet; train.py writes them")
    return _from_checkpoint(path, state)


def _from_file(path: Path) -> tuple[Method, Config, int]:
    """One of our checkpoints, what export.py has made of one, or official weights, whatever their names."""
    try:
        state = load_checkpoint(path)
    except ForeignFileError:
        if kind := kind_of(path):
            exported = open_exported(path, kind)
            return exported, exported.facts.config(str(path)), exported.facts.step
        method = open_official(path)
        return method, Config(method=method.options), 0
    return _from_checkpoint(path, state)


def _from_checkpoint(path: Path, state: dict) -> tuple[Method, Config, int]:
    config = config_from_dict(state["config"], str(path), METHODS, SOURCES)
    if not METHODS[config.method.name].translates:
        raise UserError(f"{path}: has learnt to tell paintings apart and translates none")
    method = build_method(config.method)
    method.load_state_dict(state["method"])
    if state["average"]:  # which translates better than the weights of the last step
        method.load_state_dict(state["average"], strict=False)
    baked(method)
    method.described = state.get("described", "")
    return method, config, state["step"]


def _choose(direction: str | None, method: Method) -> str:
    if direction is not None and direction not in method.directions:
        alone = "; official weights hold one, that of their training" if isinstance(method, Official) else ""
        alone = "; an exported file holds one" if isinstance(method, Exported) else alone
        raise UserError(f"direction = {direction}: not one of: {', '.join(method.directions)}{alone}")
    return direction or method.directions[0]


def _of(x: Tensor, index: int) -> Tensor:
    """What belongs to one photograph, of [N, ...], or of [1, ...] for all."""
    return x[[min(index, len(x) - 1)]]


def _pad(x: Tensor, multiple: int, smallest: int) -> Tensor:
    """Repeat the last row and column up to sides that the network takes; unlike reflection this works from
    one pixel on."""
    height, width = (-(-max(side, smallest) // multiple) * multiple for side in x.shape[-2:])
    return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), mode="replicate")
