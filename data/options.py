"""What each source of pictures can be told: one dataclass a source.

The dataclasses are the schema of the YAML's `data.content:` and `data.style:` sections. They stand apart
from the sources so that a wrong key is answered before anything slow is imported.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt


@dataclass(frozen=True)
class FolderOptions:
    """Any folder of pictures, searched with all its subfolders."""

    source: Literal["folder"] = "folder"
    root: str = ""
    held_out: str = ""  # a folder of held-out pictures; "" holds out a share of root's files
    held_out_share: Annotated[float, Gt(0), Lt(1)] = 0.1  # of root's files, chosen by a hash of their name


@dataclass(frozen=True)
class SyntheticOptions:
    """Drawn landscapes: as photographs for the content domain, as paintings for the style domain."""

    source: Literal["synthetic"] = "synthetic"
    scenes: Annotated[int, Ge(1), Lt(500_000)] = 400  # training scenes of this domain
    held_out: Annotated[int, Ge(1), Lt(500_000)] = 128  # held-out scenes of this domain
    size: Annotated[int, Ge(16)] = 64  # px, square
    seed: Annotated[int, Ge(0)] = 0
