"""A network as an ONNX graph for pictures of any size and number (the door to onnx)."""

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping

import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from translation.plain import OPSET, example_sides

INPUT, OUTPUT = "photographs", "paintings"


def graph_of(network: nn.Module, multiple: int, smallest: int, metadata: Mapping[str, str]) -> bytes:
    """The graph takes [N, 3, H, W] in [-1, 1] with any N, H and W from 1 on, and gives the same shape back.

    Args:
        network: as `translation.plain.plain` makes it.
        multiple, smallest: of the sides that the network takes; the graph repeats the last row and column up to there
            and cuts the result.
        metadata: stands in the file's metadata_props.
    """
    fewest = max(2, smallest // multiple)  # 1 is not told apart from what is the same for all sizes
    sides = {2: multiple * torch.export.Dim("rows", min=fewest), 3: multiple * torch.export.Dim("columns", min=fewest)}
    example = torch.zeros(2, 3, *example_sides(multiple))
    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("number"), **sides},),
            opset_version=OPSET,
            verbose=False,
        )
        model = program.model_proto
    _take_any_size(model.graph, multiple, smallest)
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    return model.SerializeToString()


@contextlib.contextmanager
def _quiet():
    """The exporter tells of its own insides."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)


def _take_any_size(graph: onnx.GraphProto, multiple: int, smallest: int) -> None:
    """Put the padding before the network and the cut behind it."""
    for node in graph.node:
        _rename(node.input, INPUT, "padded")
        _rename(node.output, OUTPUT, "uncut")
        _rename(node.input, OUTPUT, "uncut")
    del graph.value_info[:]  # whose sizes were told by the network's own input
    numbers = {"smallest": [smallest] * 2, "less_than_multiple": [multiple - 1] * 2, "multiple": [multiple] * 2}
    numbers |= {"before": [0] * 6, "from": [0, 0], "axes": [2, 3]}
    graph.initializer.extend(
        helper.make_tensor(f"size/{name}", TensorProto.INT64, [len(value)], value) for name, value in numbers.items()
    )
    before = [
        helper.make_node("Shape", [INPUT], ["size/given"], start=2, end=4),
        helper.make_node("Max", ["size/given", "size/smallest"], ["size/least"]),
        helper.make_node("Add", ["size/least", "size/less_than_multiple"], ["size/above"]),
        helper.make_node("Div", ["size/above", "size/multiple"], ["size/times"]),
        helper.make_node("Mul", ["size/times", "size/multiple"], ["size/wanted"]),
        helper.make_node("Sub", ["size/wanted", "size/given"], ["size/more"]),
        helper.make_node("Concat", ["size/before", "size/more"], ["size/pads"], axis=0),
        helper.make_node("Pad", [INPUT, "size/pads"], ["padded"], mode="edge"),
    ]
    nodes = [*before, *graph.node]
    nodes.append(helper.make_node("Slice", ["uncut", "size/from", "size/given", "size/axes"], [OUTPUT]))
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.input[:], graph.output[:]
    shape = ["number", 3, "height", "width"]
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape))
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))


def _rename(names, old: str, new: str) -> None:
    for i, name in enumerate(names):
        if name == old:
            names[i] = new
