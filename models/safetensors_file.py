"""One translating network as a safetensors file (the door to safetensors): weights by name, and what they are.

The format holds numbers only, so reading it cannot run anything; huggingface.co/docs/safetensors.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from engine.weights import WeightsError
from models import build_method
from models.exported import OFFICIAL, Exported, Facts, network_of, read_facts
from models.networks.build import build_generator
from models.networks.spectral import baked


def packed(network: nn.Module, facts: Facts) -> bytes:
    """The whole file."""
    weights = {key: value.detach().cpu().float().contiguous() for key, value in network.state_dict().items()}
    return save(weights, {"format": "pt", **facts.to_metadata()})


def read(path: Path) -> Exported:
    """Raises WeightsError: damaged, none of ours, or not whole."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            facts = read_facts(path, file.metadata() or {})
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(f"{path}: is no whole safetensors file ({reason})") from error
    options = facts.config(str(path)).method
    shape = getattr(options, "generator", options)
    if getattr(shape, "network", "resnet") == "resnet" and getattr(shape, "blocks", 0) > len(
        weights
    ):  # no file makes a network larger than itself
        raise WeightsError(f"{path}: has fewer weights than its {shape.blocks} blocks need")
    network = _empty(options, facts)
    expected = network.state_dict()
    for key in sorted(expected.keys() ^ weights.keys()):
        lacks = "lacks" if key in expected else "also has"
        raise WeightsError(f"{path}: {lacks} {ascii(key)[1:-1][:80]}; it is not the network that its metadata describe")
    network.load_state_dict({key: _checked(path, key, weights[key], expected[key]) for key in expected}, assign=True)
    return Exported(facts, network.eval(), options)


def _empty(options: object, facts: Facts) -> nn.Module:
    with torch.device("meta"):  # names and shapes only: nothing is drawn, and no memory filled
        if options.name == OFFICIAL:
            g = options.generator
            return build_generator(g)
        method = build_method(options)
        if facts.direction not in method.directions:
            raise WeightsError(f"direction = {facts.direction}: {options.name} has none of this name")
        return baked(network_of(method, facts.direction))


def _checked(path: Path, key: str, value: Tensor, empty: Tensor) -> Tensor:
    if value.shape != empty.shape or not value.is_floating_point():
        raise WeightsError(f"{path}: {key} is {value.dtype} {tuple(value.shape)}; {tuple(empty.shape)} is wanted")
    value = value.float()
    if not value.isfinite().all():
        raise WeightsError(f"{path}: {key} is not finite")
    return value
