"""A picture of any size through a network with instance norm, exactly: layer by layer, each in strips of rows.

A norm needs the mean and the variance of a whole layer before the first of its values can go on. So what goes into a
norm is computed strip by strip, its statistics are added up, and it is kept; the next layers read it normalised. Kept
is also what two layers want. What has as many pixels as the picture itself is not kept but made again, from layers that
are cheap: most of the bytes for little of the work. All that is kept lies in memory where it fits, else in a temporary
file.

Statistics of strips are put together in float64 by the pairwise update of Chan, Golub and LeVeque (1979, "Updating
formulae and a pairwise algorithm for computing sample variances", Eq. 2.1), so that no sum of squares loses digits.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from data.images import denormalise, normalise
from engine.device import is_out_of_memory
from models.networks.normalise import InstanceNorm2d, normalising
from translation.graph import Node, height_of, ordered
from translation.operations import Pointwise
from translation.rows import Kept, Place

Progress = Callable[[int, int], object]  # work done, of how much


@dataclass(frozen=True)
class Pass:
    """One way through the picture: `node` is made from what is kept (`reads`), looked at by norms (`measured`), and
    kept itself; afterwards `done` are of no more use. The last pass is the translation."""

    node: Node
    made: tuple[Node, ...]  # on the way, `node` among them
    reads: tuple[Node, ...]
    measured: bool
    kept: bool
    done: tuple[Node, ...] = ()

    @property
    def translates(self) -> bool:
        return not (self.measured or self.kept)


@dataclass
class Moments:
    """Mean and squared deviations of every channel, of all strips so far; float64 [C], on the CPU."""

    count: int = 0
    mean: Tensor | float = 0.0
    squares: Tensor | float = 0.0

    def add(self, strip: Tensor) -> None:
        """[1, C, rows, W]."""
        rows = strip[0].float().permute(1, 2, 0)  # [rows, W, C], as it lies in memory
        count = rows.shape[0] * rows.shape[1]
        mean = _sum(rows) / count
        squares = _sum((rows - mean.to(rows)).square_())
        total, apart = self.count + count, mean - self.mean
        self.squares = self.squares + squares + apart.square() * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total

    def found(self, device: torch.device) -> tuple[Tensor, Tensor]:
        return self.mean.float().to(device), (self.squares / self.count).float().to(device)


def plan(last: Node) -> list[Pass]:
    """The passes that a network takes, in order."""
    nodes = ordered(last)
    measured = {node.inputs[0] for node in nodes if node.is_norm}
    wanted = [each for node in nodes for each in node.inputs]
    kept, again = set(), dict.fromkeys(nodes, 0)
    for node in nodes[1:]:
        # How many layers would have to be made again: one is cheap, a chain of them is not.
        again[node] = max(0 if each in kept else again[each] for each in node.inputs) + (node in measured)
        shared = wanted.count(node) > 1 and not _is_near(node, kept)
        if (node in measured or shared) and (node.share < 1 or again[node] > 1):
            kept.add(node)
    passes = []
    for node in [*(node for node in nodes if node in kept or node in measured), last]:
        made, reads = _way_to(node, kept)
        passes.append(Pass(node, made, reads, node in measured, node in kept and node is not last))
    last_use = {node: i for i, each in enumerate(passes) for node in each.reads}
    return [
        Pass(p.node, p.made, p.reads, p.measured, p.kept, tuple(n for n, at in last_use.items() if at == i))
        for i, p in enumerate(passes)
    ]


def _is_near(node: Node, kept: set[Node]) -> bool:
    """Made from something that is kept by activations and norms alone, which is cheaper than to keep it, too."""
    while isinstance(node.operation, Pointwise) and len(node.inputs) == 1:
        (node,) = node.inputs
        if node in kept:
            return True
    return False


def bytes_kept(passes: list[Pass], height: int, width: int) -> int:
    """The most that is kept at a time, for a picture of that size."""
    most, now = 0, 0
    for each in passes:
        now += _bytes(each.node, height, width) if each.kept else 0
        most = max(most, now)
        now -= sum(_bytes(node, height, width) for node in each.done)
    return most


def _sum(rows: Tensor) -> Tensor:
    """[rows, W, C] -> float64 [C]; within a row in float32. By matrix multiplication: torch's reductions are several
    times slower where the channels lie last."""
    return torch.matmul(rows.new_ones(1, 1, rows.shape[1]), rows).cpu().double().sum(dim=(0, 1))


@dataclass
class Streamer:
    """One picture on its way.

    Args:
        pixels: uint8 [H, W, 3]; height, width: as the network takes them, the last row and column repeated.
        room: bytes for the activations of a strip.
    """

    network: nn.Module
    pixels: np.ndarray
    height: int
    width: int
    device: torch.device
    place: Place
    room: int
    kept: dict[Node, Kept] = field(default_factory=dict)
    statistics: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def __call__(self, last: Node, progress: Progress | None = None) -> np.ndarray:
        """uint8 [H, W, 3], the translation; what was kept is gone afterwards, also after an error."""

        def tell(done: int) -> None:
            if progress:
                progress(done, sum(work))

        passes = plan(last)
        norms = {one.node: [n.operation.function for n in ordered(last) if n.is_norm and n.inputs[0] is one.node]
                 for one in passes}  # fmt: skip
        work = [sum(self._work(node) for node in one.made) for one in passes]
        result = np.empty_like(self.pixels)
        with ExitStack() as stack, torch.inference_mode(), normalising(self.network, self._told):
            stack.callback(self._forget, self.kept)
            for i, one in enumerate(passes):
                found = self._go(one, result, lambda share, i=i: tell(sum(work[:i]) + int(share * work[i])))
                self.statistics.update(dict.fromkeys(norms[one.node], found))
                self._forget(one.done)
        return result

    def _go(self, one: Pass, result: np.ndarray, tell: Callable[[float], None]) -> tuple[Tensor, Tensor] | None:
        """Returns the statistics, if they are wanted."""
        node, moments = one.node, Moments() if one.measured else None
        store = self.place.make(node.channels, self._height(node), self._width(node)) if one.kept else None
        height = len(result) if one.translates else self._height(node)  # rows that were padded are not shown
        step, first = max(1, self.room // self._bytes_a_row(one)), 0
        if store:
            self.kept[node] = store
        while first < height:
            end = min(first + step, height)
            try:
                strip = self._make(node, first, end)
                shown = _to_pixels(strip, result.shape[1]) if one.translates else None
                if moments:
                    moments.add(strip)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or step == 1:
                    raise
                step = max(1, step // 2)
                continue
            if store:
                store.write(first, strip)
            if one.translates:
                result[first:end] = shown
            first = end
            tell(first / height)
        return moments.found(self.device) if moments else None

    def _rows(self, node: Node, first: int, end: int) -> Tensor:
        """[1, C, end - first, W] of a node, read or made."""
        if node in self.kept:
            return self.kept[node].read(first, end)
        return self._make(node, first, end)

    def _make(self, node: Node, first: int, end: int) -> Tensor:
        if node.operation is None:
            return self._of_the_picture(first, end)
        height = self._height(node.inputs[0])
        start, stop = node.operation.wanted(first, end, height)
        strips = [self._rows(each, start, stop) for each in node.inputs]
        return node.operation.make(strips, start, first, end, height)

    def _of_the_picture(self, first: int, end: int) -> Tensor:
        rows = np.minimum(np.arange(first, end), len(self.pixels) - 1)
        pixels = torch.from_numpy(self.pixels[rows]).to(self.device).permute(2, 0, 1).unsqueeze(0)
        picture = functional.pad(normalise(pixels), (0, self.width - pixels.shape[-1], 0, 0), mode="replicate")
        return picture.contiguous(memory_format=torch.channels_last)

    def _told(self, norm: InstanceNorm2d, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.statistics[norm]

    def _forget(self, nodes) -> None:
        for node in tuple(nodes):
            self.kept.pop(node).close()

    def _height(self, node: Node) -> int:
        return height_of(node, self.height)

    def _width(self, node: Node) -> int:
        return height_of(node, self.width)

    def _work(self, node: Node) -> int:
        return node.operation.work * node.channels * self._height(node) * self._width(node) if node.operation else 0

    def _bytes_a_row(self, one: Pass) -> int:
        """Of activations for a row of a pass's output. Not all of them live at a time, but convolutions take copies."""
        seen = {*one.made, *one.reads}
        return int(sum(4 * node.channels * self._width(node) * node.share / one.node.share for node in seen))


def _way_to(node: Node, kept: set[Node]) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """The nodes that are made for `node`, itself among them, and the kept ones that they are made of."""
    made: dict[Node, None] = {node: None}
    reads: dict[Node, None] = {}
    open_nodes = [node]
    while open_nodes:
        for each in open_nodes.pop().inputs:
            if each in kept:
                reads[each] = None
            elif each not in made:
                made[each] = None
                open_nodes.append(each)
    return tuple(made), tuple(reads)


def _bytes(node: Node, height: int, width: int) -> int:
    return 4 * node.channels * height_of(node, height) * height_of(node, width)


def _to_pixels(strip: Tensor, width: int) -> np.ndarray:
    return denormalise(strip[0, :, :, :width]).permute(1, 2, 0).cpu().numpy()
