"""Pictures that do not fit into memory at once: which ones those are, and how they are translated.

exact        layer by layer through memory or a temporary file (streaming.py): what the whole picture would give
sampled      in tiles (tiles.py), the norms' statistics estimated from crops at full resolution (statistics.py)
thumbnail    in tiles, the statistics those of the picture made small
"""

import sys
from collections.abc import Callable

import numpy as np

from engine.exits import UserError
from models.networks.normalise import normalising
from models.translator import Translator
from translation import memory
from translation.graph import Node, NotLocalError, ordered, reach, read_graph
from translation.rows import NoRoomError, choose_place
from translation.statistics import ESTIMATES
from translation.streaming import Streamer, bytes_kept, plan
from translation.tiles import BLEND, SMALLEST, Tiler

STATISTICS = ("auto", "exact", *ESTIMATES)
LARGEST = 4096  # px of a tile: nothing is gained by more
WIDEST = 512  # px of margin: a network that looks farther is cut off there, and blending hides what that leaves
STRIP = 2**27  # bytes of activations of a strip on a CPU: smaller tensors are kept in caches, and in its heap

Progress = Callable[[int, int], object]  # done, of how much


def fits_whole(translator: Translator, height: int, width: int) -> bool:
    """Can a picture of that size be translated at once? For many pictures ask `largest_whole` once."""
    return height * width <= largest_whole(translator)


def largest_whole(translator: Translator) -> int:
    """How many pixels a picture may have to be translated at once, in half of the memory that is free now. Of a network
    that is not known layer by layer any number: there is no other way for it."""
    try:
        last = read_graph(translator, in_parts=False)
    except NotLocalError:
        return sys.maxsize
    return int(memory.SHARE * memory.free_bytes(translator.device)) // bytes_a_pixel(last)


def goes_in_parts(translator: Translator) -> bool:
    try:
        read_graph(translator)
    except NotLocalError:
        return False
    return True


def choose_tile(translator: Translator) -> int:
    """The side in px of the tiles that the device has memory for, without their margins.

    Raises:
        NotLocalError: the method cannot translate in parts.
    """
    last = read_graph(translator)
    side = int((memory.budget(translator.device) / bytes_a_pixel(last)) ** 0.5) - 2 * (_margin(last) + BLEND)
    return max(SMALLEST, min(LARGEST, side - side % 32))


def choose_statistics(translator: Translator, height: int, width: int) -> str:
    """ "exact" where memory or the disk takes what it has to keep, else "sampled"."""
    try:
        _place(read_graph(translator), translator, height, width, memory.budget(translator.device) // 2)
    except NoRoomError:
        return "sampled"
    return "exact"


def translate_large(
    translator: Translator,
    pixels: np.ndarray,
    *,
    tile: int | None = None,
    statistics: str = "auto",
    progress: Progress | None = None,
) -> np.ndarray:
    """A picture of any size in bounded memory: that of the picture, of its translation, and of a tile.

    Args:
        pixels: uint8 [H, W, 3].
        tile: px, the side of a tile without its margin, or as much memory for strips; None: what there is memory for.
        statistics: one of STATISTICS; "auto" is what `choose_statistics` says.
        progress: told what is done, and of how much, in units that only compare.

    Returns:
        uint8 [H, W, 3]. With "exact" that of the whole picture to rounding, whatever the tile; with the others to
        rounding the same for all sizes of tiles.

    Raises:
        UserError: the options are wrong, the method cannot do it (NotLocalError), or the disk is too small
            (NoRoomError); in one line.
    """
    if statistics not in STATISTICS:
        raise UserError(f"statistics = {statistics}: must be one of: {', '.join(STATISTICS)}")
    if tile is not None and tile < 16:
        raise UserError(f"tile = {tile}: must be at least 16 px")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UserError(f"a picture is uint8 [H, W, 3], not {pixels.dtype} {list(pixels.shape)}")
    last = read_graph(translator)
    height, width, _ = pixels.shape
    side = tile or choose_tile(translator)
    if statistics == "auto":
        statistics = choose_statistics(translator, height, width)
    if statistics == "exact":
        return _stream(translator, last, pixels, _room(last, side), progress)
    room = memory.budget(translator.device)  # whatever the tile: the more is seen, the nearer
    found = ESTIMATES[statistics](translator, last, pixels, room // bytes_a_pixel(last))
    tiler = Tiler(
        translator.translate,
        side,
        _margin(last),
        translator.method.size_multiple,
        translator.device,
        blend=min(BLEND, side // 4),
        smallest=min(SMALLEST, side),
    )
    with normalising(translator.method, found):
        return tiler(pixels, progress)


def bytes_a_pixel(last: Node) -> int:
    """Of activations for a pixel of the picture while the network translates it whole: the most that live at a time,
    counted from the network. Convolutions are given their input and their output once more, in the order that they
    work in."""
    nodes = ordered(last)
    last_use = {each: i for i, node in enumerate(nodes) for each in node.inputs}
    live, most = 0, 0
    for i, node in enumerate(nodes):
        live += _bytes(node)
        copies = _bytes(node) + sum(map(_bytes, node.inputs)) if node.operation and node.operation.work > 1 else 0
        most = max(most, live + copies)
        live -= sum(_bytes(each) for each in set(node.inputs) if last_use[each] == i)
    return int(most)


def _bytes(node: Node):
    return 4 * node.channels * node.share**2


def _margin(last: Node) -> int:
    return min(reach(last), WIDEST)


def _room(last: Node, side: int) -> int:
    return bytes_a_pixel(last) * (side + 2 * (_margin(last) + BLEND)) ** 2


def _padded(translator: Translator, height: int, width: int) -> tuple[int, int]:
    """As `Translator.translate` pads."""
    multiple, smallest = translator.method.size_multiple, translator.method.smallest_side
    return tuple(-(-max(side, smallest) // multiple) * multiple for side in (height, width))


def _place(last: Node, translator: Translator, height: int, width: int, room: int):
    needed = bytes_kept(plan(last), *_padded(translator, height, width))
    return choose_place(needed, room, translator.device)


def _stream(translator: Translator, last: Node, pixels: np.ndarray, room: int, progress: Progress | None) -> np.ndarray:
    """Half of the room is for what is kept, if it fits there, and at most half for strips."""
    sides = _padded(translator, *pixels.shape[:2])
    place = _place(last, translator, *pixels.shape[:2], room // 2)
    strips = room // 2 if translator.device.type == "cuda" else min(room // 2, STRIP)
    return Streamer(translator.method, pixels, *sides, translator.device, place, strips)(last, progress)
