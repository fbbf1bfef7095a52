"""A trained run as a function of a picture: what users, translate.py and evaluate.py call.

The one file of models/ that reaches outside: it brings a checkpoint (engine) and pictures (data) together.
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
from data.images import find_pictures, normalise, open_picture, to_picture, to_rgb, to_tensor
from engine.checkpoint import CheckpointError, load_checkpoint, newest_checkpoint
from engine.config import config_from_dict, load_config
from engine.device import choose_device
from engine.exits import UserError
from engine.progress import say
from engine.run_folder import read_run_config
from engine.schema import Config
from models import METHODS, build_method
from models.method import Method, Style

STYLE_SIDE = 512  # px; larger paintings are read at about this, at most twice as long
LUMA = (0.299, 0.587, 0.114)  # Rec. 601


class Translator:
    """Translates pictures of any size in one direction.

    >>> painter = load_translator("runs/demo")
    >>> painting = painter(Image.open("photograph.jpg"))

    step: training steps of the weights; config: of the run.
    """

    def __init__(
        self,
        method: Method,
        direction: str,
        config: Config,
        step: int,
        device: torch.device,
        style: Style | None = None,
    ):
        self.method = method.to(device).eval()
        self.direction = direction
        self.config = config
        self.step = step
        self.device = device
        self.style = style and replace(style, pictures=tuple(picture.to(device) for picture in style.pictures))

    def __call__(self, picture: Image.Image) -> Image.Image:
        """A picture of any mode -> RGB of exactly the same size."""
        pixels = to_tensor(to_rgb(picture)).unsqueeze(0)
        return to_picture(self.translate(normalise(pixels))[0])

    def translate(self, pictures: Tensor, preserve_color: bool = False) -> Tensor:
        """[N, 3, H, W] in [-1, 1], any H and W -> the same shape and range, on the translator's device.

        Args:
            preserve_color: take the luminance of the translation and the colours of the photograph.
        """
        height, width = pictures.shape[-2:]
        with contextlib.nullcontext() if self.method.optimizes else torch.inference_mode():
            pictures = pictures.to(self.device)
            padded = _pad(pictures, self.method.size_multiple, self.method.smallest_side)
            found = self.method.translate(padded, self.style, self.direction)[..., :height, :width]
        return _with_colours_of(pictures, found) if preserve_color else found


def load(
    run: str,
    direction: str | None = None,
    device: str = "auto",
    style: Sequence[str] = (),
    style_weights: Sequence[float] = (),
    strength: float = 1.0,
    settings: Sequence[str] = (),
) -> Translator:
    """The newest good checkpoint of a run folder, one checkpoint file, or a recipe; see models.load_translator."""
    path = Path(run)
    if path.suffix == ".yaml":
        method, config = _from_recipe(path, settings)
        return _finish(method, config, 0, direction, device, style, style_weights, strength)
    if settings:
        raise UserError(
            f"{settings[0]}: settings change a recipe; {run} is a run, whose settings are in its config.yaml"
        )
    if path.is_file():
        state = load_checkpoint(path)
    else:
        read_run_config(path)  # says what is wrong with a folder that is no run
        state, problems = newest_checkpoint(path / "checkpoints")
        for problem in problems.values():
            say(f"passed over: {problem}")
        if state is None:
            raise CheckpointError(f"{path / 'checkpoints'}: no good checkpoint yet; train.py writes them")
    config = config_from_dict(state["config"], str(path), METHODS, SOURCES)
    if not METHODS[config.method.name].translates:
        raise UserError(f"{path}: has learnt to tell paintings apart and translates none")
    method = build_method(config.method)
    method.load_state_dict(state["method"])
    return _finish(method, config, state["step"], direction, device, style, style_weights, strength)


def read_style(paths: Sequence[str], weights: Sequence[float] = ()) -> Style:
    """Paintings, or folders of them, as the style of translations; a folder's weight is shared by its pictures.

    Raises:
        UserError: no such picture, or as many weights as styles are not given.
        PictureError: a painting cannot be read.
    """
    if weights and (len(weights) != len(paths) or min(weights) < 0 or sum(weights) <= 0):
        raise UserError(f"--style-weights: {len(weights)} weights for {len(paths)} styles; one of 0 or more for each")
    pictures, shares = [], []
    for index, path in enumerate(map(Path, paths)):
        if not path.exists():
            raise UserError(f"--style {path}: no such picture or folder")
        found = [path / name for name in find_pictures(path)] if path.is_dir() else [path]
        if not found:
            raise UserError(f"--style {path}: no pictures found")
        for file in found:
            image = open_picture(file, draft=STYLE_SIDE)
            image.thumbnail((2 * STYLE_SIDE, 2 * STYLE_SIDE), Image.Resampling.BICUBIC)
            pictures.append(normalise(to_tensor(image).unsqueeze(0)))
            shares.append((weights[index] if weights else 1.0) / len(found))
    return Style(tuple(pictures), tuple(shares))


def _from_recipe(path: Path, settings: Sequence[str]) -> tuple[Method, Config]:
    config = load_config(path, settings, METHODS, SOURCES)
    if METHODS[config.method.name].is_trained:
        raise UserError(f"{path}: {config.method.name} has to be trained: train.py {path}; then translate with its run")
    return build_method(config.method), config


def _finish(
    method: Method,
    config: Config,
    step: int,
    direction: str | None,
    device: str,
    style: Sequence[str],
    style_weights: Sequence[float],
    strength: float,
) -> Translator:
    if method.needs_style != bool(style):
        name = config.method.name
        wanted = f"{name} takes its style from pictures: give --style PAINTING"
        raise UserError(wanted if method.needs_style else f"--style: {name} has learnt its style and takes none")
    if strength != 1 and not method.knows_strength:
        raise UserError(f"--alpha {strength}: {config.method.name} knows no degrees of style")
    given = replace(read_style(style, style_weights), strength=strength) if style else None
    return Translator(method, _choose(direction, method), config, step, choose_device(device), given)


def _with_colours_of(photographs: Tensor, translations: Tensor) -> Tensor:
    """Luminance of the translations, chrominance of the photographs (Gatys et al. 2016, "Preserving color")."""
    weights = torch.tensor(LUMA, device=photographs.device).view(1, 3, 1, 1)
    luminance = ((translations - photographs) * weights).sum(dim=1, keepdim=True)
    return (photographs + luminance).clamp(-1, 1)


def _choose(direction: str | None, method: Method) -> str:
    if direction is not None and direction not in method.directions:
        raise UserError(f"direction = {direction}: not one of: {', '.join(method.directions)}")
    return direction or method.directions[0]


def _pad(x: Tensor, multiple: int, smallest: int) -> Tensor:
    """Repeat the last row and column up to sides that the network takes; unlike reflection this works from
    one pixel on."""
    height, width = (-(-max(side, smallest) // multiple) * multiple for side in x.shape[-2:])
    return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), mode="replicate")
