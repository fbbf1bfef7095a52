"""A network as a graph of local operations, read off its own forward: what streaming works through, and how far the
network looks around a pixel.

torch.fx calls the network with a stand-in for the picture and writes down which layers it passes. Known are the layers
of LAYERS and FUNCTIONS; a network with any other is refused by name.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
import torch.nn.functional as functional
from torch import Tensor, fx, nn

from engine.exits import UserError
from models.networks.attention import SelfAttention
from models.networks.blur import BlurDown, BlurUpConv2d
from models.networks.generator import ResizeConv2d
from models.networks.normalise import InstanceNorm2d, PixelNorm
from models.networks.padding import ReflectConv2d, ReflectPad2d
from models.networks.winograd import WinogradConv2d
from models.translator import Translator
from translation.operations import (
    Blur,
    Concatenate,
    Convolve,
    ConvolveTransposed,
    Double,
    Everywhere,
    Operation,
    Pointwise,
    Reflect,
)


class NotLocalError(UserError):
    """The network is not made of local operations that are known here."""


@dataclass(eq=False)
class Node:
    """What one operation makes of others; the picture itself has none.

    channels: of its output; share: its height and width, as a share of the picture's (paddings left out).
    """

    operation: Operation | None
    inputs: tuple["Node", ...]
    channels: int
    share: Fraction

    @property
    def is_norm(self) -> bool:
        return isinstance(self.operation, Pointwise) and isinstance(self.operation.function, InstanceNorm2d)


def _convolution(layer: nn.Conv2d) -> list[Operation]:
    square = all(a == b for a, b in (layer.kernel_size, layer.stride, layer.padding)) if _plain(layer) else False
    if not square or layer.padding_mode != "zeros":
        raise NotLocalError(f"{layer}: only square convolutions without groups or dilation are streamed")
    return [Convolve(layer)]


def _plain(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    return layer.groups == 1 and set(layer.dilation) == {1} and not isinstance(layer.padding, str)


def _transposed(layer: nn.ConvTranspose2d) -> list[Operation]:
    pairs = (layer.kernel_size, layer.stride, layer.padding, layer.output_padding)
    if not _plain(layer) or any(a != b for a, b in pairs) or layer.output_padding[0] > layer.padding[0]:
        raise NotLocalError(f"{layer}: only square convolutions without groups or dilation are streamed")
    return [ConvolveTransposed(layer)]


def _mirrored(layer: ReflectConv2d) -> list[Operation]:
    return [Reflect(layer.border), *_convolution(layer)]


def _pointwise(layer: nn.Module) -> list[Operation]:
    return [Pointwise(layer)]


LAYERS: dict[type, Callable[[nn.Module], list[Operation]]] = {
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _transposed,
    ReflectConv2d: _mirrored,
    WinogradConv2d: lambda layer: [Reflect(layer.border)] * bool(layer.border) + [Convolve(layer)],
    ResizeConv2d: lambda layer: [Double("bilinear"), *_mirrored(layer)],
    ReflectPad2d: lambda layer: [Reflect(layer.width)],
    BlurDown: lambda layer: [Reflect(1), Blur()],
    BlurUpConv2d: lambda layer: [Double("bilinear"), *_convolution(layer)],
    SelfAttention: lambda layer: [Everywhere(layer)],
    InstanceNorm2d: _pointwise,
    PixelNorm: _pointwise,
    nn.Tanh: _pointwise,
    nn.Identity: lambda layer: [],
    nn.Dropout: lambda layer: [],  # nothing is dropped from what is translated
    # Not in place: what is kept must stay as it is.
    nn.ReLU: lambda layer: [Pointwise(functional.relu)],
    nn.LeakyReLU: lambda layer: [Pointwise(lambda x: functional.leaky_relu(x, layer.negative_slope))],
}
SUMS = (operator.add, operator.iadd, torch.add)


def read_graph(translator: Translator, in_parts: bool = True) -> Node:
    """The last node of what the translator applies to a picture.

    Args:
        in_parts: whether it shall be applied in parts; else its memory can be counted.

    Raises:
        NotLocalError: it is not made of known layers; says in one line what is in the way.
    """
    method, name = translator.method, translator.config.method.name
    if method.optimizes or method.needs_style:
        raise NotLocalError(
            f"{name}: a picture cannot be translated in parts, because its style is taken from pictures"
        )
    whole = _Whole(method, translator.direction)
    try:
        last = _lower(_Tracer().trace(whole), dict(whole.named_modules()))
    except (TypeError, ValueError, NameError, AttributeError, RuntimeError) as error:
        raise NotLocalError(f"{name}: its network cannot be followed layer by layer: {error}") from error
    if in_parts and any(isinstance(node.operation, Everywhere) for node in _all(last)):
        raise NotLocalError(
            f"{name} with method.generator.attention = true: every place looks at all others, so that a picture cannot "
            "be translated in parts; --max-side makes it smaller"
        )
    return last


def reach(node: Node) -> int:
    """How far a value looks, in px of the picture: it depends on no pixel that is farther away than this from those
    that it stands for, to either side, but for instance norm's statistics. Counted from kernels and strides."""
    height = 2**20  # so large that no border is seen from its middle
    middle, period = int(height * node.share) // 2, max(each.share.denominator for each in _all(node))
    most = Fraction(0)
    for row in range(middle, middle + period):
        first, end = _picture_rows(node, row, row + 1, height, {})
        most = max(most, row / node.share - first, end - (row + 1) / node.share)
    return math.ceil(most)


def height_of(node: Node, height: int) -> int:
    """Of a node's output, for a picture of `height` rows; by the same rule its width."""
    return node.operation.side(height_of(node.inputs[0], height)) if node.operation else height


def ordered(last: Node) -> list[Node]:
    """Every node after those that it is made of."""
    return list(_all(last))


def _all(last: Node) -> dict[Node, None]:
    found: dict[Node, None] = {}

    def visit(node: Node) -> None:
        if node not in found:
            for each in node.inputs:
                visit(each)
            found[node] = None

    visit(last)
    return found


def _picture_rows(node: Node, first: int, end: int, height: int, known: dict) -> tuple[int, int]:
    if node.operation is None:
        return first, end
    if (node, first, end) not in known:
        of = node.operation.wanted(first, end, height_of(node.inputs[0], height))
        spans = [_picture_rows(each, *of, height, known) for each in node.inputs]
        known[node, first, end] = min(a for a, _ in spans), max(b for _, b in spans)
    return known[node, first, end]


class _Whole(nn.Module):
    def __init__(self, method: nn.Module, direction: str):
        super().__init__()
        self.method = method
        self.direction = direction

    def forward(self, pictures: Tensor) -> Tensor:
        return self.method.translate(pictures, None, self.direction)


class _Tracer(fx.Tracer):
    """Looks into everything but the layers that are known, also into what is compiled. (A slice of an nn.Sequential has
    no name to be called by, its layers do.)"""

    def call_module(self, module: nn.Module, forward: Callable, args: tuple, kwargs: dict):
        if type(module) in LAYERS:
            return super().call_module(module, forward, args, kwargs)
        if type(module).__module__.startswith("torch.nn.modules") and not isinstance(module, nn.Sequential):
            raise NotLocalError(f"{type(module).__name__} is not known to be local")
        return getattr(module, "_orig_mod", module).forward(*args, **kwargs)

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return True


def _lower(graph: fx.Graph, modules: dict[str, nn.Module]) -> Node:
    made: dict[fx.Node, Node] = {}
    norms: list[Node] = []
    for step in graph.nodes:
        if step.op == "placeholder":
            made[step] = Node(None, (), 3, Fraction(1))
        elif step.op == "output":
            return made[step.args[0]]
        else:
            inputs = tuple(made[each] for each in step.all_input_nodes)
            node = inputs[0] if inputs else None
            for i, operation in enumerate(_operations(step, modules)):
                node = _after(operation, inputs if i == 0 else (node,))
            made[step] = node
            if node.is_norm and any(node.operation.function is each.operation.function for each in norms):
                raise NotLocalError("a norm is passed twice")
            norms += [node] if node.is_norm else []
    raise AssertionError("a graph ends with its output")


def _operations(step: fx.Node, modules: dict[str, nn.Module]) -> list[Operation]:
    if step.op == "call_module":
        layer = modules[step.target]
        return LAYERS[type(layer)](layer)
    if step.target in SUMS and len(step.all_input_nodes) == 2 and len(step.args) == 2:
        return [Pointwise(torch.add)]
    if step.target is torch.cat and step.args[1:] == (1,) and len(step.all_input_nodes) == len(step.args[0]):
        return [Concatenate()]
    if step.target is functional.interpolate and step.kwargs.get("scale_factor") == 2:
        mode = step.kwargs.get("mode", "nearest")
        if mode == "nearest" or (mode == "bilinear" and not step.kwargs.get("align_corners")):
            return [Double(mode)]
    shown = getattr(step.target, "__name__", step.target)
    raise NotLocalError(f"{shown} is not known to be local")


def _after(operation: Operation, inputs: tuple[Node, ...]) -> Node:
    before = inputs[0]
    channels = operation.channels(*(each.channels for each in inputs))
    return Node(operation, inputs, channels, before.share * operation.scale)
