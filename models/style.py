"""The style of a translation as its user gives it: paintings by weights, masks, and whose colours are kept.

The way from files to `method.Style`; `models/translator.py` brings it together with a method.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor

from data.images import EXTENSIONS, PictureError, find_pictures, normalise, open_picture, to_tensor
from engine.exits import UserError
from engine.progress import say
from models.losses import matrix_root, moments
from models.method import Style

LUMA = (0.299, 0.587, 0.114)  # Rec. 601
NOISE = 1e-5  # variance of a colour, in [-1, 1], that a grey painting is taken to have


def read_styles(
    paths: Sequence[str], weights: Sequence[float] = (), side: int = 512, smallest: int = 16
) -> tuple[Style, ...]:
    """A style each, of a painting or of a folder of them, which share its weight; of a folder, what cannot be read is
    named and left out.

    Args:
        side, smallest: px, of the shorter side: larger paintings are brought to the one, smaller ones to the other.

    Raises:
        UserError: no such picture, none that can be read, or as many weights as styles are not given.
    """
    if weights and len(weights) != len(paths):
        raise UserError(f"--style-weights: {len(weights)} weights for {len(paths)} styles; one for each")
    if weights and not (all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0):
        shown = ",".join(f"{weight:g}" for weight in weights)
        raise UserError(f"--style-weights {shown}: must be numbers of 0 or more, not all of them 0")
    return tuple(_read_style(p, w, side, smallest) for p, w in zip(paths, weights or [1.0] * len(paths), strict=True))


def _read_style(name: str, weight: float, side: int, smallest: int) -> Style:
    path = Path(name)
    if not name or not path.exists():
        raise UserError(f"--style {name or repr(name)}: no such picture or folder")
    files = [path / each for each in find_pictures(path)] if path.is_dir() else [path]
    pictures = []
    for file in files:
        try:
            image = open_picture(file, draft=side)
        except PictureError as error:
            if path.is_dir():
                say(f"--style: left out: {error}")
                continue
            raise UserError(f"--style {error}") from error
        scale = max(min(side / min(image.size), 1), smallest / min(image.size))
        if scale != 1:
            image = image.resize([round(length * scale) for length in image.size], Image.Resampling.BICUBIC)
        pictures.append(normalise(to_tensor(image).unsqueeze(0)))
    if not pictures:
        raise UserError(f"--style {path}: no pictures among its files that can be read")
    return Style(tuple(pictures), (weight / len(pictures),) * len(pictures))


def check_masks(paths: Sequence[Path]) -> None:
    """Find out before a model is loaded; raises UserError for what no photograph could use."""
    for path in paths:
        if path.is_dir():
            if not find_pictures(path):
                raise UserError(f"--mask {path}: no pictures in this folder; one under each photograph's name")
            continue
        try:
            open_picture(path)
        except PictureError as error:
            raise UserError(f"--mask {error}") from error


def read_masks(paths: Sequence[Path], name: str) -> list[Tensor]:
    """The masks of one photograph, [1, 1, h, w] in [0, 1] each: white is where a style is shown.

    Args:
        paths: a picture for all photographs, or a folder with one for each, under the photograph's name.
        name: the photograph's, relative to its folder; the mask's format may be another.

    Raises:
        PictureError: there is none, or it cannot be read.
    """
    masks = []
    for path in paths:
        if path.is_dir():
            candidates = [(path / name).with_suffix(suffix) for suffix in (Path(name).suffix, *EXTENSIONS)]
            path = next((file for file in candidates if file.is_file()), candidates[0])
        masks.append(to_tensor(open_picture(path))[:1].unsqueeze(0) / 255)
    return masks


def merge(styles: Sequence[Style]) -> Style:
    """All of them as one, by their weights."""
    pictures = tuple(picture for style in styles for picture in style.pictures)
    return replace(styles[0], pictures=pictures, weights=tuple(w for style in styles for w in style.weights))


def share_out(masks: Sequence[Tensor], weights: Sequence[float], size: Sequence[int]) -> tuple[Tensor, ...]:
    """How much of each style every pixel shows: [N or 1, 1, H, W] for each mask; what no mask covers adds up to less
    than 1 and stays as it is, where several do the weights decide.

    Args:
        masks: [N or 1, 1, h, w] in [0, 1] of any sizes.
        weights: of the styles.
        size: H and W.
    """
    fitted = [functional.interpolate(mask, tuple(size), mode="bilinear", antialias=True) for mask in masks]
    weighted = [weight * mask for weight, mask in zip(weights, fitted, strict=True)]
    cover = sum(fitted).clamp(0, 1) / sum(weighted).clamp_min(1e-12)
    return tuple(each * cover for each in weighted)


def keep_luminance(photographs: Tensor, translations: Tensor) -> Tensor:
    """Luminance of the translations, chrominance of the photographs (Gatys et al. 2016, "Preserving color in neural
    artistic style transfer", Sec. 3.2)."""
    weights = torch.tensor(LUMA, device=photographs.device).view(1, 3, 1, 1)
    luminance = ((translations - photographs) * weights).sum(dim=1, keepdim=True)
    return (photographs + luminance).clamp(-1, 1)


def match_colours(style: Style, photograph: Tensor) -> Style:
    """The paintings with the mean and covariance of a photograph's colours (the same paper, Sec. 3.1): their grain
    without their palette.

    Args:
        photograph: [1, 3, H, W] in [-1, 1].
    """
    mean, covariance = (x.double() for x in moments(photograph))
    pictures = []
    for picture in style.pictures:
        own_mean, own = (x.double() for x in moments(picture))
        turn = matrix_root(covariance) @ torch.linalg.inv(matrix_root(own + NOISE * torch.eye(3).to(own)))
        flat = turn @ (picture.double().flatten(2) - own_mean.unsqueeze(2)) + mean.unsqueeze(2)
        pictures.append(flat.view_as(picture).clamp(-1, 1).to(picture))
    return replace(style, pictures=tuple(pictures))
