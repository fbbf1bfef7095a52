"""WikiArt as the parquet shards of Hugging Face's huggan/wikiart: pictures and labels in one table.

Columns: image {bytes, path}, artist, genre, style; the last three are numbers, whose names stand in the schema's
metadata. The only door to pyarrow, which is optional.

A picture costs the reading of its whole group of rows, a hundred or a thousand pictures, of which every process keeps
the last. Read in order, as prepare.py does, a group is read once or twice a worker; in an epoch's order it is read for
every picture, so prepare the shards before training.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from data.files import Stamp
from data.images import PictureError
from data.source import DataError

KINDS = ("style", "artist", "genre")
ROW = "#"  # between a shard's path and a row's number: the name of a picture


@dataclass(frozen=True)
class ShardFiles:
    """Pictures by "shard.parquet#row"."""

    root: Path
    shards: tuple[str, ...]  # below the root

    def open(self, name: str) -> BinaryIO:
        shard, _, row = name.rpartition(ROW)
        content = _picture_bytes(str(self.root / shard), int(row))
        if content is None:
            raise PictureError(self.path(name), "the row holds no picture")
        return BytesIO(content)

    def path(self, name: str) -> str:
        return str(self.root / name)

    def stamp(self, name: str) -> tuple[int, int]:
        found = (self.root / name.rpartition(ROW)[0]).stat()
        return found.st_size, found.st_mtime_ns

    def inventory(self) -> Iterator[Stamp]:
        for shard in self.shards:
            yield shard, *self.stamp(shard + ROW)


def find_shards(root: Path) -> list[str]:
    """Paths of the shards in `root` or in its folder data/, as they are released."""
    return sorted(str(path.relative_to(root)) for folder in (root, root / "data") for path in folder.glob("*.parquet"))


def open_shards(root: Path, shards: list[str]) -> tuple[ShardFiles, list[tuple[str, str, str, str]]]:
    """The files, and (name, style, artist, genre) of every row.

    Raises:
        DataError: pyarrow is missing, a shard is damaged or not of this layout.
    """
    rows = []
    for shard in shards:
        table, names = _read_labels(root / shard)
        columns = [[names[kind].get(number, str(number)) for number in table[kind].to_pylist()] for kind in KINDS]
        rows += [(f"{shard}{ROW}{row}", *labels) for row, labels in enumerate(zip(*columns, strict=True))]
    return ShardFiles(root, tuple(shards)), rows


def _read_labels(path: Path) -> tuple[object, dict[str, dict[int, str]]]:
    """The columns of numbers, and by kind the numbers' names."""
    parquet = _pyarrow_parquet(path)
    try:
        file = parquet.ParquetFile(path)
        missing = {"image", *KINDS} - set(file.schema_arrow.names)
        if missing:
            raise DataError(f"{path}: not a shard of huggan/wikiart, it has no column {', '.join(sorted(missing))}")
        _check_types(file.schema_arrow)
        metadata = (file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
        features = json.loads(metadata).get("info", {}).get("features", {})
        names = {kind: dict(enumerate(map(str, features.get(kind, {}).get("names") or []))) for kind in KINDS}
        return file.read(columns=list(KINDS)), names
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:  # pyarrow's own errors are among them
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: a damaged shard ({' '.join(str(error).split())[:160]}); download it again") from error


def _check_types(schema: object) -> None:
    """Raises TypeError, naming the column."""
    import pyarrow.types as types

    image = schema.field("image").type
    content = image.field("bytes").type if types.is_struct(image) and image.get_field_index("bytes") >= 0 else None
    if content is None or not (types.is_binary(content) or types.is_large_binary(content)):
        raise TypeError(f"its column image is {image} and not {{bytes, path}}")
    for kind in KINDS:
        if not types.is_integer(schema.field(kind).type):
            raise TypeError(f"its column {kind} is {schema.field(kind).type} and not a whole number")


def _picture_bytes(path: str, row: int) -> bytes | None:
    try:
        for group, start, end in _groups(path):
            if row < end:
                return _read_group(path, group)[row - start].as_py()
    except ValueError as error:  # pyarrow's own errors are either these or OSErrors
        raise OSError(None, f"a damaged shard: {' '.join(str(error).split())[:160]}") from error
    raise OSError(None, f"the shard has no row {row}")


@lru_cache(maxsize=128)
def _groups(path: str) -> tuple[tuple[int, int, int], ...]:
    """(number, first row, row after the last) of each group of rows."""
    metadata = _open(path).metadata
    groups, start = [], 0
    for group in range(metadata.num_row_groups):
        end = start + metadata.row_group(group).num_rows
        groups.append((group, start, end))
        start = end
    return tuple(groups)


@lru_cache(maxsize=1)  # a process holds one group: up to some hundred megabytes
def _read_group(path: str, group: int) -> object:
    table = _open(path).read_row_group(group, columns=["image"])
    return table["image"].combine_chunks().field("bytes")


def _open(path: str) -> object:
    return _pyarrow_parquet(Path(path)).ParquetFile(path)


def _pyarrow_parquet(path: Path) -> object:
    try:
        import pyarrow.parquet
    except ImportError:
        raise DataError(f"{path}: to read parquet shards pyarrow is needed: pip install pyarrow") from None
    return pyarrow.parquet
