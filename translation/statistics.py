"""What instance norm would find in a picture that does not fit into memory, estimated from what does.

A thumbnail shows all of the picture, but not its detail, of which the first layers see most: its statistics are biased.
Crops at full resolution are not, but they show a part only: theirs are noisy. `sampled` corrects the one by the other,
layer by layer: what crops and thumbnail find in the same places tells how far the thumbnail is off, and the thumbnail
alone tells how far these places differ from the whole (a control variate: see Owen, "Monte Carlo theory, methods and
examples", 2013, Sec. 8.9). Of a crop every layer counts what cannot have seen that the crop ends.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from data.images import normalise
from engine.device import is_out_of_memory
from models.networks.normalise import InstanceNorm2d, Statistics, normalising
from models.translator import Translator
from translation.graph import Node, ordered, reach

CROP = 128  # px of a crop that the last norm counts, beside the margin that it does not
FEWEST = 4  # crops
EPSILON = 1e-5  # of instance norm: variances below it make no difference

Moments = tuple[Tensor, Tensor]  # mean and variance, [C] each


class Recorded(dict):
    """Norm -> its mean and variance; tells them, of whatever picture."""

    def __call__(self, norm: InstanceNorm2d, x: Tensor) -> Moments:
        return self[norm]


def thumbnail(translator: Translator, last: Node, pixels: np.ndarray, room: int) -> Statistics:
    """The statistics of the picture made small.

    Args:
        pixels: uint8 [H, W, 3]; room: how many pixels may be translated at once.
    """
    return _smaller(room, lambda room: _record(translator, _shrunk(translator, pixels, room), _noted))


def sampled(translator: Translator, last: Node, pixels: np.ndarray, room: int) -> Statistics:
    """Those of crops at full resolution, corrected by a thumbnail. What fits is taken whole. Which crops is a function
    of the sizes alone, so that a picture comes out the same twice."""
    if pixels.shape[0] * pixels.shape[1] <= room:
        return thumbnail(translator, last, pixels, room)
    return _smaller(room, lambda room: _sampled(translator, last, pixels, room))


ESTIMATES: dict[str, Callable[[Translator, Node, np.ndarray, int], Statistics]] = {
    "sampled": sampled,
    "thumbnail": thumbnail,
}


def _sampled(translator: Translator, last: Node, pixels: np.ndarray, room: int) -> Recorded:
    height, width, _ = pixels.shape
    looks = {node.operation.function: reach(node.inputs[0]) for node in ordered(last) if node.is_norm}
    crop = _crop_sides(translator, height, width, max(looks.values(), default=0))
    places = list(_places(height, width, crop, max(FEWEST, room // (crop[0] * crop[1]))))
    boxes = {
        norm: torch.tensor([(*_inner(y, crop[0], height, px), *_inner(x, crop[1], width, px)) for y, x in places])
        for norm, px in looks.items()
    }  # rows and columns of the picture that a norm counts of each crop

    def in_thumbnail(norm: InstanceNorm2d, x: Tensor) -> tuple[Moments, tuple[Moments, Moments]]:
        whole, down, across = _moments(x), x.shape[2] / height, x.shape[3] / width
        return whole, (whole, _in_boxes(x, boxes[norm], down, across))

    seen = _record(translator, _shrunk(translator, pixels, room), in_thumbnail)
    corners = torch.tensor([(y, y, x, x) for y, x in places])

    def in_crops(norm: InstanceNorm2d, x: Tensor) -> tuple[Moments, Moments]:
        scale = x.shape[2] / crop[0]
        mean, variance = _in_crops(x, (boxes[norm] - corners) * scale)
        (whole_mean, whole_variance), (same_mean, same_variance) = seen[norm]
        ratio = (whole_variance + EPSILON) / (same_variance + EPSILON)
        found = (mean + whole_mean - same_mean, variance * ratio)
        return found, found

    return _record(translator, torch.stack([_crop(pixels, *place, *crop) for place in places]), in_crops)


def _crop_sides(translator: Translator, height: int, width: int, look: int) -> tuple[int, int]:
    multiple, smallest = translator.method.size_multiple, translator.method.smallest_side
    wanted = max(CROP + 2 * look, smallest)
    return tuple(-(-min(wanted, max(side, smallest)) // multiple) * multiple for side in (height, width))


def _places(height: int, width: int, crop: tuple[int, int], count: int) -> Iterator[tuple[int, int]]:
    """Top left corners of about `count` crops: the picture in cells, in each the middle of a crop anywhere, but no
    farther out than the crop fits."""
    rows = min(count, max(1, round(math.sqrt(count * height / width))))
    columns = max(1, count // rows)
    draws = np.random.default_rng([height, width, count]).random((rows, columns, 2))
    for row, column in np.ndindex(rows, columns):
        down, across = draws[row, column]
        y = int((row + down) / rows * height) - crop[0] // 2
        x = int((column + across) / columns * width) - crop[1] // 2
        yield max(0, min(y, height - crop[0])), max(0, min(x, width - crop[1]))


def _inner(first: int, side: int, whole: int, look: int) -> tuple[int, int]:
    """What of a crop's rows, or columns, does not see that it ends, unless the picture does, too."""
    end = first + side
    return first + look * (first > 0), (whole if end >= whole else end - look)


def _crop(pixels: np.ndarray, y: int, x: int, rows: int, columns: int) -> Tensor:
    """uint8 [3, rows, columns]; beyond the picture its last row and column, as the translator pads."""
    down = np.minimum(np.arange(y, y + rows), pixels.shape[0] - 1)
    across = np.minimum(np.arange(x, x + columns), pixels.shape[1] - 1)
    return torch.from_numpy(pixels[np.ix_(down, across)]).permute(2, 0, 1)


def _shrunk(translator: Translator, pixels: np.ndarray, room: int) -> Tensor:
    """uint8 [1, 3, h, w] with at most about `room` pixels, antialiased."""
    height, width, _ = pixels.shape
    picture = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)
    scale = min(1.0, math.sqrt(room / (height * width)))
    if scale == 1:
        return picture
    multiple, smallest = translator.method.size_multiple, translator.method.smallest_side
    sides = [max(smallest, int(side * scale)) // multiple * multiple for side in (height, width)]
    return functional.interpolate(picture, sides, mode="bilinear", antialias=True)


def _record(translator: Translator, pictures: Tensor, look: Callable) -> Recorded:
    """Translate, and note what `look` says of each norm's input: (the moments that the norm takes, what is noted)."""
    noted = Recorded()

    def watched(norm: InstanceNorm2d, x: Tensor) -> Moments:
        assert norm not in noted, "a norm that is passed twice has no statistics of its own"
        (mean, variance), noted[norm] = look(norm, x.float())
        return mean, variance

    with torch.inference_mode(), normalising(translator.method, watched):
        x = normalise(pictures.to(translator.device))
        translator.translate(x.contiguous(memory_format=torch.channels_last))  # two thirds of the memory on CPUs
    return noted


def _noted(norm: InstanceNorm2d, x: Tensor) -> tuple[Moments, Moments]:
    found = _moments(x)
    return found, found


def _moments(x: Tensor) -> Moments:
    variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
    return mean, variance


def _in_crops(x: Tensor, boxes: Tensor) -> Moments:
    """Of x [N, C, h, w] in each picture's box of rows and columns [N, 4], all boxes weighing alike."""
    found = []
    for picture, (top, bottom, left, right) in zip(x, boxes.tolist(), strict=True):
        rows, columns = _whole_places(top, bottom, x.shape[2]), _whole_places(left, right, x.shape[3])
        variance, mean = torch.var_mean(picture[:, rows, columns], dim=(1, 2), correction=0)
        found.append((mean, variance))
    means, variances = (torch.stack(each) for each in zip(*found, strict=True))
    return means.mean(dim=0), variances.mean(dim=0) + means.var(dim=0, correction=0)


def _whole_places(first: float, end: float, side: int) -> slice:
    start = min(math.ceil(first), side - 1)
    return slice(start, max(start + 1, min(math.floor(end), side)))


def _in_boxes(x: Tensor, boxes: Tensor, down: float, across: float) -> Moments:
    """Of x [1, C, h, w] in boxes of rows and columns of the picture, [N, 4], all boxes weighing alike; a place that a
    box covers in part counts in part."""
    rows = _cover(boxes[:, 0] * down, boxes[:, 1] * down, x.shape[2]).to(x)
    columns = _cover(boxes[:, 2] * across, boxes[:, 3] * across, x.shape[3]).to(x)
    # About the whole's mean, so that little is lost to rounding where it is large.
    centre = x.mean(dim=(0, 2, 3), keepdim=True)[0]
    apart = x[0] - centre
    mean, square = (((each @ columns.T) * rows.T).sum(dim=1).mean(dim=1) for each in (apart, apart.square()))
    return mean + centre.flatten(), (square - mean.square()).clamp(min=0)


def _cover(first: Tensor, end: Tensor, side: int) -> Tensor:
    """[N, side]: what share of [first, end) each place makes up."""
    place = torch.arange(side)
    covered = (torch.minimum(end[:, None], place + 1) - torch.maximum(first[:, None], place)).clamp(min=0)
    return covered / covered.sum(dim=1, keepdim=True)


def _smaller(room: int, attempt: Callable[[int], Recorded]) -> Recorded:
    """Half the pixels where the memory does not suffice."""
    while True:
        try:
            return attempt(room)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or room < 2**12:
                raise
            room //= 2
