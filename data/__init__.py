"""Pictures in, batches out. SOURCES is the table of what can be trained on."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from data.options import CocoOptions, FolderOptions, PreparedOptions, SyntheticOptions, WikiartOptions

if TYPE_CHECKING:
    from data.source import Source

Domain = Literal["content", "style"]
Part = Literal["train", "held_out"]


@dataclass(frozen=True)
class SourceEntry:
    """A row of SOURCES; the opener is imported when it is called, so that reading the table is free."""

    options: type
    module: str
    opener: str


SOURCES = {
    "folder": SourceEntry(FolderOptions, "data.folder", "open_folder"),
    "coco": SourceEntry(CocoOptions, "data.coco", "open_coco"),
    "wikiart": SourceEntry(WikiartOptions, "data.wikiart", "open_wikiart"),
    "prepared": SourceEntry(PreparedOptions, "data.prepared", "open_prepared"),
    "synthetic": SourceEntry(SyntheticOptions, "data.synthetic", "open_synthetic"),
}


def open_source(options: object, domain: Domain, part: Part) -> Source:
    """The pictures of one domain ("content" or "style"): its training part or its held-out part."""
    entry = SOURCES[options.source]
    return getattr(import_module(entry.module), entry.opener)(options, domain, part)
