"""Sheets of pictures: named columns, one row a picture."""

from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from data.images import denormalise

GAP = 4  # px between pictures
SMALLEST = 128  # px; smaller pictures are magnified by a whole number, every pixel a square


def draw_sheet(columns: Mapping[str, Tensor]) -> Image.Image:
    """Columns of [N, 3, H, W] in [-1, 1], all of one shape, under their names."""
    arrays = {name: denormalise(x).permute(0, 2, 3, 1).cpu().numpy() for name, x in columns.items()}
    count, height, width, _ = next(iter(arrays.values())).shape
    zoom = max(1, -(-SMALLEST // min(height, width)))
    height, width = height * zoom, width * zoom
    font = _fitting_font(arrays, width)
    head = int(font.size * 1.6)
    sheet = Image.new("RGB", (len(arrays) * (width + GAP) + GAP, head + count * (height + GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, (name, pictures) in enumerate(arrays.items()):
        left = GAP + column * (width + GAP)
        pen.text((left, head // 6), name, fill="black", font=font)
        for row, pixels in enumerate(pictures):
            enlarged = np.repeat(np.repeat(pixels, zoom, axis=0), zoom, axis=1)
            sheet.paste(Image.fromarray(enlarged), (left, head + row * (height + GAP)))
    return sheet


def _fitting_font(names: Iterable[str], width: int) -> ImageFont.FreeTypeFont:
    """The longest name fits over its column, unless that would be too small to read."""
    size = max(10, min(20, width // 10))
    longest = max(ImageFont.load_default(size).getlength(name) for name in names)
    return ImageFont.load_default(max(8, min(size, int(size * width / max(longest, 1)))))
