"""A translator becomes a file for other programs, checked against the translator before it gets its name."""

import dataclasses
import hashlib
import io
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from data.images import PictureError, find_pictures, normalise, open_picture, to_tensor
from engine.config import to_dict
from engine.exits import BUG, UserError
from models.exported import Exported, Facts, network_of, open_exported
from models.official import Official
from models.safetensors_file import packed
from models.translator import Translator
from translation.plain import example_sides, plain

MOST = 1 / 255  # of a difference in [-1, 1]: half a grey level
MOST_MEAN = MOST / 20
RANDOM = ((1, 64, 64), (2, 50, 67), (3, 17, 23), (1, 1, 5), (1, 128, 96))  # N, H, W of what is compared
LONGEST = 512  # px, of photographs that are compared or calibrated on
MOST_PICTURES = 8


class DiffersError(ValueError):
    """An exported network does not do what it was made of; its file is not left behind."""

    exit_code = BUG


@dataclass(frozen=True)
class Difference:
    """Of all values of the pictures that were compared, in [-1, 1]."""

    most: float
    mean: float
    pictures: int

    def __str__(self) -> str:
        levels = f"{self.most * 127.5:.3g} grey levels at most, {self.mean * 127.5:.2g} on average"
        return f"{levels} ({self.pictures} pictures; {self.most:.2g} and {self.mean:.2g} of [-1, 1])"


def facts_of(translator: Translator, precision: str = "float32") -> Facts:
    """What the file will say of the network."""
    method, config = translator.method, translator.config
    if isinstance(method, Exported):
        return dataclasses.replace(method.facts, precision=precision)
    known = not isinstance(method, Official)
    recipe = json.dumps(to_dict(config), sort_keys=True)
    return Facts(
        method=dataclasses.asdict(method.options),
        direction=translator.direction,
        size=config.data.size if known else 0,
        step=translator.step,
        recipe=hashlib.sha256(recipe.encode()).hexdigest() if known else "",
        described=method.described,
        size_multiple=method.size_multiple,
        smallest_side=method.smallest_side,
        precision=precision,
    )


def as_safetensors(translator: Translator) -> bytes:
    return packed(network_of(translator.method, translator.direction), facts_of(translator))


def as_onnx(translator: Translator, network: nn.Module | None = None) -> bytes:
    """Args: network: instead of the translator's, as `plain` makes it, in 8 bits."""
    from translation.onnx_graph import graph_of

    facts = facts_of(translator, "int8" if network else "float32")
    network = network or plain(network_of(translator.method, translator.direction))
    return graph_of(network, facts.size_multiple, facts.smallest_side, facts.to_metadata())


class AnySize(nn.Module):
    """The network for pictures of any size: the last row and column are repeated, and the result is cut."""

    def __init__(self, network: nn.Module, multiple: int, smallest: int):
        super().__init__()
        self.network, self.multiple, self.smallest = network, multiple, smallest

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2], x.shape[-1]
        below = -(-max(height, self.smallest) // self.multiple) * self.multiple - height
        right = -(-max(width, self.smallest) // self.multiple) * self.multiple - width
        return self.network(functional.pad(x, [0, right, 0, below], mode="replicate"))[..., :height, :width]


def as_torchscript(translator: Translator) -> bytes:
    """A program for `torch.jit.load`, for C++ and old torch; torch itself calls TorchScript deprecated."""
    facts = facts_of(translator)
    network = plain(network_of(translator.method, translator.direction))
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), torch.inference_mode():
        traced = torch.jit.trace(network, torch.zeros(2, 3, *example_sides(facts.size_multiple)))
    with warnings.catch_warnings(action="ignore"):
        program = torch.jit.script(AnySize(traced, facts.size_multiple, facts.smallest_side))
        torch.jit.save(program, buffer, _extra_files=facts.to_metadata())
    return buffer.getvalue()


WRITERS = {"safetensors": as_safetensors, "onnx": as_onnx, "torchscript": as_torchscript}


def export(translator: Translator, kind: str, path: Path, photographs: Sequence[Tensor] = ()) -> Difference:
    """Write the translator as one of WRITERS; raises DiffersError, and then there is no file."""
    with claimed(path) as temporary:
        temporary.write_bytes(WRITERS[kind](translator))
        found = compare(translator, opened(temporary, kind), photographs)
        if not (found.most <= MOST and found.mean <= MOST_MEAN):
            raise DiffersError(f"{path}: is not written: it differs from the network by {found}")
    return found


class claimed:  # noqa: N801  (read as a function: `with claimed(path) as temporary`)
    """A temporary name beside `path`, which gets its true name when all went well, and is deleted else."""

    def __init__(self, path: Path):
        self.path, self.temporary = path, path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> Path:
        refuse_existing(self.path)
        return self.temporary

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            os.replace(self.temporary, self.path)
        self.temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"{self.path}: could not be saved ({error.strerror or error})") from error


def refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise UserError(f"{path}: is there already; delete it or name another file")
    if not path.parent.is_dir():
        raise UserError(f"{path}: its folder is not there")


def opened(path: Path, kind: str) -> Callable[[Tensor], Tensor]:
    """What the file does with [N, 3, H, W]. A program of TorchScript is run: this one is our own of just now."""
    if kind == "torchscript":
        with warnings.catch_warnings(action="ignore"):
            return torch.jit.load(path)
    method = open_exported(path, "onnx" if kind == "int8-onnx" else kind)
    return Translator(method, method.directions[0], method.facts.config(str(path)), 0, torch.device("cpu")).translate


@torch.inference_mode()
def compare(translator: Translator, file: Callable[[Tensor], Tensor], photographs: Sequence[Tensor] = ()) -> Difference:
    """On noise of several sizes and numbers, and on photographs, one by one and twice the same."""
    most = total = values = pictures = 0.0
    for batch in [*noise(), *photographs, *(p.repeat(2, 1, 1, 1) for p in photographs[:1])]:
        wanted, found = translator.translate(batch).cpu(), file(batch)
        if found.shape != wanted.shape or not found.isfinite().all():
            raise DiffersError(f"gives {tuple(found.shape)} for {tuple(wanted.shape)}, or values that are not finite")
        apart = (found - wanted).abs().double()
        most = max(most, float(apart.max()))
        total, values, pictures = total + float(apart.sum()), values + apart.numel(), pictures + len(batch)
    return Difference(most, total / values, int(pictures))


def noise() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for number, height, width in RANDOM:
        yield torch.rand(number, 3, height, width, generator=generator) * 2 - 1


def read_photographs(folder: Path, most: int = MOST_PICTURES) -> list[Tensor]:
    """Up to `most` of a folder, evenly spread, each [1, 3, H, W] in [-1, 1], no side above LONGEST (cut from the
    middle, so that no pixel is made up). Files that cannot be read are passed over; raises UserError if none can."""
    try:
        names = find_pictures(folder) if folder.is_dir() else []
    except PictureError as error:
        raise UserError(str(error)) from error
    chosen = names[:: max(1, -(-len(names) // most))]
    found = []
    for name in chosen:
        try:
            pixels = to_tensor(open_picture(folder / name))
        except PictureError:
            continue
        top, left = (max(0, side - LONGEST) // 2 for side in pixels.shape[-2:])
        found.append(normalise(pixels[None, :, top : top + LONGEST, left : left + LONGEST].contiguous()))
    if not found:
        raise UserError(f"{folder}: no folder with pictures that can be read")
    return found
