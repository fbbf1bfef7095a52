"""A translator that onnxruntime runs, made of one that torch runs: `translate.py RUN --backend onnx`."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch

from engine.cache import TensorCache, default_cache
from engine.checkpoint import fingerprint
from models.exported import network_of
from models.onnx_file import OnnxMethod
from models.translator import Translator
from translation.exporting import MOST, MOST_MEAN, DiffersError, as_onnx, compare, facts_of

SOURCES = ("plain.py", "onnx_graph.py")  # whose changes make another graph


def through_onnx(translator: Translator, cache: TensorCache | None = None) -> Translator:
    """The same translations by onnxruntime on the CPU. The graph is kept in the cache under the weights it was made
    of, so that only the first call pays for the export.

    Raises:
        UserError: the translator takes more than a photograph and one network, or onnxruntime is not installed.
    """
    if isinstance(translator.method, OnnxMethod):
        return translator
    cache = cache or default_cache()
    network = network_of(translator.method, translator.direction)
    facts = facts_of(translator)
    of = f"{fingerprint(dict(network.state_dict()))} {json.dumps(asdict(facts), sort_keys=True)} {_code()}"
    kept = cache.read("onnx", of)
    name = Path(f"{translator.direction}.onnx")
    if kept is not None:
        return _translator(OnnxMethod(name, kept.numpy().tobytes()), translator)
    graph = as_onnx(translator)
    made = _translator(OnnxMethod(name, graph), translator)
    found = compare(translator, made.translate)
    if not (found.most <= MOST and found.mean <= MOST_MEAN):
        raise DiffersError(f"--backend onnx: differs from torch by {found}")
    cache.write("onnx", of, torch.frombuffer(bytearray(graph), dtype=torch.uint8))
    return made


def _translator(method: OnnxMethod, of: Translator) -> Translator:
    return Translator(method, of.direction, of.config, of.step, torch.device("cpu"))


def _code() -> str:
    files = (Path(__file__).with_name(name).read_bytes() for name in SOURCES)
    return hashlib.sha256(b"".join(files)).hexdigest()
