"""Translators that have left home: one network of one direction in a file that anybody may be given.

Such a file holds the network and `Facts`, which say what it is; nothing of its training. Formats, each with its door:
safetensors (`models/safetensors_file.py`, weights by name) and ONNX (`models/onnx_file.py`, a graph that onnxruntime
runs). TorchScript is written (export.py) and never read: reading it would run code of the file.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from torch import Tensor, nn

from data import SOURCES
from data.batch import Batch
from engine.config import ConfigError, config_from_dict
from engine.exits import UserError
from engine.schema import Config, DataConfig
from engine.weights import WeightsError
from models import METHODS
from models.method import Method, Style, Turn
from models.official import Official, OfficialOptions

FORMAT, VERSION = "atelier translator", 1
KEY = "atelier"  # of the metadata, under which the facts stand as JSON
OFFICIAL = OfficialOptions().name
DIRECTIONS = ("photo2painting", "painting2photo")
SUFFIXES = {"safetensors": ".safetensors", "onnx": ".onnx", "int8-onnx": ".onnx", "torchscript": ".pt"}


@dataclass(frozen=True)
class Facts:
    """What an exported file says of its network.

    method: the options that build it, as in a recipe, with their `name`; direction: the one that it translates.
    size: px that it was trained at, 0 if unknown; step: training steps, 0 if unknown; recipe: SHA-256 of the whole
    configuration of the run, "" if there was none; described: for people.
    size_multiple, smallest_side: of pictures that the bare network takes. An exported graph pads by itself.
    precision: "float32" or "int8".
    """

    method: dict
    direction: str
    size: int = 0
    step: int = 0
    recipe: str = ""
    described: str = ""
    size_multiple: int = 1
    smallest_side: int = 1
    precision: str = "float32"
    format: str = FORMAT
    version: int = VERSION

    def to_metadata(self) -> dict[str, str]:
        return {KEY: json.dumps(asdict(self))}

    def config(self, origin: str) -> Config:
        """As far as it is known; raises WeightsError."""
        method = _method_options(self.method, origin)
        return Config(method=method, data=DataConfig(size=self.size)) if self.size else Config(method=method)


def _method_options(values: dict, origin: str) -> object:
    official = values.get("name") == OFFICIAL
    values = {"name": "cyclegan", "generator": values.get("generator")} if official else values
    source = {"source": "folder"}  # the files know of none, and a configuration names one
    try:
        config = config_from_dict(
            {"method": values, "data": {"content": source, "style": source}}, origin, METHODS, SOURCES
        )
    except ConfigError as error:
        raise WeightsError(str(error)) from error
    return OfficialOptions(config.method.generator) if official else config.method


def read_facts(path: Path, metadata: Mapping[str, str]) -> Facts:
    """Raises WeightsError: the file is none of ours, or of a later version."""
    try:
        values = json.loads(metadata[KEY])
        if values["format"] != FORMAT:
            raise ValueError
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path}: was not exported by Atelier (its metadata hold no {KEY})") from error
    if values.get("version") != VERSION:
        raise WeightsError(f"{path}: is of version {values.get('version')!r}; this program reads version {VERSION}")
    wanted = {field.name: field for field in fields(Facts)}
    if values.keys() - wanted.keys() or not {"method", "direction"} <= values.keys():
        raise WeightsError(f"{path}: its metadata are not those of version {VERSION}")
    kinds = {"method": dict, "size": int, "step": int, "size_multiple": int, "smallest_side": int}
    if bad := [name for name, value in values.items() if type(value) is not kinds.get(name, type(value))]:
        raise WeightsError(f"{path}: its metadata are damaged ({bad[0]})")
    if values["direction"] not in DIRECTIONS or not all(1 <= values[k] <= 4096 for k in SIDES if k in values):
        raise WeightsError(f"{path}: its metadata are damaged (direction, size_multiple or smallest_side)")
    return Facts(**values)


SIDES = ("size_multiple", "smallest_side")


class Exported(Method):
    """One network in one direction, with nothing left to learn."""

    def __init__(self, facts: Facts, network: nn.Module | None, options: object):
        super().__init__()
        self.facts, self.options = facts, options
        self.directions = (facts.direction,)
        self.size_multiple, self.smallest_side = facts.size_multiple, facts.smallest_side
        self.network = None if network is None else network.requires_grad_(False)
        self.described = facts.described
        self.optimizers = {}

    def turns(self, batch: Batch) -> Iterator[Turn]:
        raise NotImplementedError("exported networks translate; they are not trained on")

    def translate(self, content: Tensor, style: Style | None = None, direction: str = "") -> Tensor:
        return self.network(content)


def network_of(method: Method, direction: str) -> nn.Module:
    """The one network that translates in this direction; raises UserError where that takes more than one network."""
    if isinstance(method, Official):
        return method.G
    if isinstance(method, Exported) and method.network is not None:
        return method.network
    name = getattr(getattr(method, "options", None), "name", "this method")
    if isinstance(method, Exported):
        raise UserError("an ONNX file holds a graph and no weights by name: export again from the run")
    if method.needs_style or method.optimizes or len(method.averaged) != len(method.directions):
        raise UserError(f"{name}: takes more than a photograph and one network; CycleGAN's and Johnson's are exported")
    return getattr(method, method.averaged[method.directions.index(direction)])


def kind_of(path: Path) -> str:
    """ "safetensors", "onnx", "torchscript" or "", by the file's content."""
    try:
        with path.open("rb") as file:
            start, size = file.read(16), path.stat().st_size
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8:
        return "safetensors"
    if start[:1] == b"\x08" and start[2:3] in (b"\x12", b"\x3a", b"\x42") or path.suffix == ".onnx":
        return "onnx"  # protobuf has no magic number: field 1 is the version, then come names, the graph or opsets
    return "torchscript" if _is_program(path) else ""


def _is_program(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):
        return False


def open_exported(path: Path, kind: str) -> Exported:
    """Raises WeightsError, in one line. No code of the file is run."""
    if kind == "safetensors":
        from models.safetensors_file import read

        return read(path)
    if kind == "onnx":
        from models.onnx_file import OnnxMethod

        return OnnxMethod(path)
    raise WeightsError(
        f"{path}: is a TorchScript program, whose code would be run by reading it; translate with the run, or with "
        "what export.py --format onnx or safetensors writes"
    )
