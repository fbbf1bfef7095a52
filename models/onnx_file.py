"""A translating network as an ONNX graph, run by onnxruntime (the door to it).

The graph pads by itself and gives back the size that it got: see `translation/onnx_graph.py`.
"""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from engine.weights import WeightsError
from models.exported import Exported, read_facts
from models.method import Style

onnxruntime.set_default_logger_severity(3)  # errors; they also come as exceptions


def start_session(graph: bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    """On the CPU. The graph comes as bytes, so that it can name no other file as the place of its weights.

    Args:
        threads: 0 takes as many as torch does (OMP_NUM_THREADS).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    # Waiting threads sleep: else they take the cores from those that read and write pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


class OnnxMethod(Exported):
    """Takes any size: [N, 3, H, W] float32 in [-1, 1] -> the same. Runs on the CPU, wherever its input is."""

    def __init__(self, path: Path, content: bytes | None = None):
        """Args: content: of the file, where it is known already; then `path` only stands in messages."""
        try:
            content = path.read_bytes() if content is None else content
            session = start_session(content)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
        except Exception as error:  # onnxruntime's own classes, which have no parent in common
            reason = " ".join(str(error).split())[:120]
            raise WeightsError(f"{path}: is no ONNX graph that onnxruntime can run ({reason})") from error
        facts = read_facts(path, session.get_modelmeta().custom_metadata_map)
        _check_ends(path, session)
        # What it would cost the bare network to take any size is done within.
        super().__init__(replace(facts, size_multiple=1, smallest_side=1), None, facts.config(str(path)).method)
        self.session = session
        # The weights are not parameters of ours; this stands for them wherever a method's weights are compared.
        self.register_buffer("digest", torch.frombuffer(bytearray(sha256(content).digest()), dtype=torch.uint8))

    def translate(self, content: Tensor, style: Style | None = None, direction: str = "") -> Tensor:
        found = self.session.run(None, {self.session.get_inputs()[0].name: np.ascontiguousarray(content.cpu().numpy())})
        return torch.from_numpy(found[0]).to(content.device)


def _check_ends(path: Path, session: onnxruntime.InferenceSession) -> None:
    ends = [*session.get_inputs(), *session.get_outputs()]
    if len(ends) != 2 or any(end.type != "tensor(float)" or len(end.shape) != 4 for end in ends):
        raise WeightsError(f"{path}: does not make one [N, 3, H, W] of another")
