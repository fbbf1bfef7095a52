"""Official weights of CycleGAN's reference code (latest_net_G.pth, latest_net_G_A.pth, latest_net_G_B.pth) as a method.

Zhu, Park, Isola, Efros, ICCV 2017, arXiv 1703.10593; github.com/junyanz/pytorch-CycleGAN-and-pix2pix.

Such a file is the plain state_dict of one ResNet generator: `model.1`, `model.4`, `model.7`, n blocks
`model.{10..9+n}.conv_block.{1,5}`, the transposed convolutions `model.{10+n}` and `model.{13+n}`, and `model.{17+n}`,
each with weight and bias. How many blocks and channels, and whether it was trained with dropout (the second convolution
of a block is then `conv_block.6`), is told by the keys alone. Departure: dropout is off, as in every translation of
ours; the reference code leaves it on unless it is asked for evaluation.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from data.batch import Batch
from engine.weights import WeightsError, read_weights, sha256
from models.method import Method, Style, Turn
from models.networks.build import build_generator
from models.networks.generator import ResnetGenerator
from models.options import GeneratorOptions

PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")  # of old instance norms, which never used them
FIRST = "model.1.weight"
FIRST_BLOCK = 10
BLOCK = re.compile(r"model\.(\d{1,6})\.conv_block\.(\d)\.")


@dataclass(frozen=True)
class OfficialOptions:
    """What a file of official weights tells of itself; no recipe, so it stands in no table."""

    generator: GeneratorOptions = field(default_factory=GeneratorOptions)
    name: str = "CycleGAN, official weights"


class Official(Method):
    """One generator that was trained elsewhere.

    A file holds one direction and does not say which: of monet2photo, A are the paintings. It is called by the first
    name of ours whatever it is; the way back is another file.
    """

    directions = ("photo2painting",)
    size_multiple = 4
    smallest_side = 8

    def __init__(self, options: OfficialOptions, generator: ResnetGenerator):
        super().__init__()
        self.options = options
        self.G = generator.requires_grad_(False)
        self.optimizers = {}

    def turns(self, batch: Batch) -> Iterator[Turn]:
        raise NotImplementedError("official weights translate; they are not trained on")

    def translate(self, content: Tensor, style: Style | None = None, direction: str = "") -> Tensor:
        return self.G(content)


def open_official(path: Path) -> Official:
    """The generator of a file that the reference code has saved, float32 on the CPU. No code of the file is run.

    Raises:
        WeightsError: the file cannot be read, is another network's, or its weights are not whole; in one line.
    """
    try:
        state = read_weights(path)
    except WeightsError as error:
        raise WeightsError(f"{error}, and no checkpoint (its checksum {path.name}.sha256 is missing)") from error
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise WeightsError(f"{path}: holds no weights by name ({type(state).__name__})")
    state = {key: value for key, value in _without_prefixes(state).items() if not key.endswith(STATISTICS)}
    if other := _other_file(state, path.name):
        raise WeightsError(f"{path}: {other}")
    options = _recognise(state)
    with torch.device("meta"):  # names and shapes only: nothing is drawn, and no memory filled
        generator = build_generator(options)
    expected = generator.state_dict()
    if problem := _other_keys(state, expected):
        raise WeightsError(f"{path}: is no ResNet generator in the official layout: {problem}")
    weights = {key: _checked(path, key, state[key], empty.shape) for key, empty in expected.items()}
    generator.load_state_dict(weights, assign=True)
    method = Official(OfficialOptions(options), generator)
    method.described = (
        f"ResNet generator, {options.blocks} blocks, {options.channels} channels, sha256 {sha256(path)[:8]}"
    )
    return method


def _without_prefixes(state: Mapping[str, object]) -> Mapping[str, object]:
    """A prefix is one only where all keys have it: so no two keys become the same."""
    while state and (prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in state)), "")):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _other_file(state: Mapping[str, object], name: str) -> str:
    """What a file without a ResNet generator is, as far as its keys tell; "" for one that may hold such a generator."""
    if {"format", "step", "method"} <= state.keys():
        return f"is a checkpoint of train.py; its checksum {name}.sha256 is missing"
    if {"model.0.weight", "model.2.weight"} <= state.keys() or {"net.0.weight", "net.2.weight"} <= state.keys():
        return "is a discriminator, which translates nothing; the generator's file is latest_net_G*.pth"
    if any(key.startswith("model.model.") for key in state):
        return "is a U-Net generator; of official weights only ResNet generators are read"
    if any(key.endswith(".filt") for key in state):
        return "is a generator with blur-pooling, as CUT's; of official weights only CycleGAN's are read"
    first = state.get(FIRST)
    if not (torch.is_tensor(first) and first.ndim == 4 and any(map(BLOCK.match, state))):
        return f"is no ResNet generator in the official layout: it holds {_named(list(state)) or 'nothing'}"
    return ""


def _recognise(state: Mapping[str, object]) -> GeneratorOptions:
    found = [match.groups() for match in map(BLOCK.match, state) if match]
    last = max(int(number) for number, _ in found)
    return GeneratorOptions(
        channels=len(state[FIRST]),
        blocks=min(last - FIRST_BLOCK + 1, len(state)),  # no file makes a network larger than itself
        dropout=0.5 if any(second == "6" for _, second in found) else 0.0,  # its probability is not in the file
    )


def _other_keys(state: Mapping[str, object], expected: Mapping[str, Tensor]) -> str:
    """What is missing or too much, "" if nothing is."""
    missing = [key for key in expected if key not in state]
    unknown = [key for key in state if key not in expected]
    norms = [key for key in unknown if key.endswith(".weight") and getattr(state[key], "ndim", 0) == 1]
    if norms:
        return (
            f"its normalisation has weights ({_named(norms)}), as batch norm or affine instance norm; only instance "
            "norm without any is read"
        )
    parts = [f"it lacks {_named(missing)}"] * bool(missing) + [f"it also has {_named(unknown)}"] * bool(unknown)
    return "; ".join(parts)


def _named(keys: list[str]) -> str:
    """Keys for one line: foreign ones may be long, or hold line ends."""
    shown = ", ".join(ascii(key)[1:-1][:60] for key in keys[:3])
    return f"{shown} and {len(keys) - 3} more" if len(keys) > 3 else shown


def _checked(path: Path, key: str, value: object, shape: torch.Size) -> Tensor:
    """The tensor as float32, of which half and double precision are made; raises WeightsError."""
    if not (torch.is_tensor(value) and value.layout == torch.strided and value.is_floating_point()):
        raise WeightsError(f"{path}: {key} is no tensor of floating-point numbers")
    if value.shape != shape:
        raise WeightsError(f"{path}: {key} has the shape {tuple(value.shape)}; {tuple(shape)} is wanted")
    if value.device.type != "cpu":
        raise WeightsError(f"{path}: {key} has no values ({value.device.type})")
    value = value.detach().float()
    if not value.isfinite().all():
        raise WeightsError(f"{path}: {key} is not finite")
    return value
