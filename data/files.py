"""Where the bytes of pictures come from, and pictures that are read from there by name."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

from PIL import Image

from data.images import decode, find_pictures, naming, open_regular
from data.labels import Labels
from data.names import Names

Stamp = tuple[str, int, int]  # name, size in bytes, time of change in ns


class Files(Protocol):
    """A store of pictures' bytes, cheap to copy into a worker."""

    root: Path

    def path(self, name: str) -> str:
        """Where a picture is, for messages."""

    def open(self, name: str) -> BinaryIO:
        """Raises OSError, or PictureError for what is there but is no file of a picture."""

    def stamp(self, name: str) -> tuple[int, int]:
        """Size in bytes and time of change in ns of the file that holds the picture; raises OSError."""

    def inventory(self) -> Iterator[Stamp]:
        """Every file that could hold a picture: what must be the same for the source to be the same."""


@dataclass(frozen=True)
class FolderFiles:
    """Files by their path below a root; an absolute path is itself."""

    root: Path

    def open(self, name: str) -> BinaryIO:
        return open_regular(self.path(name))

    def path(self, name: str) -> str:
        return os.path.join(self._prefix, name)

    @cached_property
    def _prefix(self) -> str:
        return os.fspath(self.root)  # a Path is slow to join, and there are hundreds of thousands of names

    def stamp(self, name: str) -> tuple[int, int]:
        found = os.stat(self.path(name))
        return found.st_size, found.st_mtime_ns

    def inventory(self) -> Iterator[Stamp]:
        return _stamps(self, find_pictures(self.root))


@dataclass(frozen=True)
class ListedFiles(FolderFiles):
    """The files that a list or a pattern names; others below the root do not count."""

    names: Names = field(default_factory=lambda: Names([]))

    def inventory(self) -> Iterator[Stamp]:
        return _stamps(self, self.names)


@dataclass(frozen=True)
class FileSource:
    """The named pictures of some files, decoded when asked for; `labels`, by kind, is what is known of each."""

    files: Files
    names: Names
    labels: Mapping[str, Labels] = field(default_factory=dict)
    draft: int = 0  # px; see `images.decode`

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image.Image:
        return read_picture(self.files, self.names[index], self.draft)

    def name(self, index: int) -> str:
        return self.names[index]

    def drafted(self, side: int) -> "FileSource":
        """The same pictures, of which no more than `side` px a side are wanted: large JPEGs are read faster."""
        return replace(self, draft=side)


def read_picture(files: Files, name: str, draft: int = 0) -> Image.Image:
    """One picture, upright and RGB; raises PictureError."""
    path = files.path(name)
    with naming(path), files.open(name) as file:
        return decode(file, path, draft)


def _stamps(files: Files, names: list[str] | Names) -> Iterator[Stamp]:
    for name in names:
        try:
            yield name, *files.stamp(name)
        except OSError:
            yield name, -1, -1


def is_below(path: str) -> bool:
    """The path stays below the root that it is joined to."""
    return not os.path.isabs(path) and ".." not in Path(path).parts
