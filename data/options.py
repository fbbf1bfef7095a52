"""What each source of pictures can be told: one dataclass a source.

The dataclasses are the schema of the YAML's `data.content:` and `data.style:` sections. They stand apart
from the sources so that a wrong key is answered before anything slow is imported.
"""

from dataclasses import dataclass, field
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
class CocoOptions:
    """MS-COCO as released; choices need its annotations/instances_*.json."""

    source: Literal["coco"] = "coco"
    root: str = ""  # holds train2017/, val2017/ and annotations/, or those of 2014
    categories: list[str] = field(default_factory=list)  # show at least one of these (super)categories; [] any
    exclude: list[str] = field(default_factory=list)  # and none of these
    licences: list[int] = field(default_factory=list)  # ids of COCO's list of licences; [] any
    min_side: Annotated[int, Ge(0)] = 0  # px, of the shorter side


@dataclass(frozen=True)
class WikiartOptions:
    """WikiArt in ArtGAN's layout, Style/artist_title.jpg; a choice is a list of names, [] takes all."""

    source: Literal["wikiart"] = "wikiart"
    root: str = ""  # holds the folders of styles, and the lists if there are any
    styles: list[str] = field(default_factory=list)
    artists: list[str] = field(default_factory=list)
    genres: list[str] = field(default_factory=list)
    held_out_share: Annotated[float, Gt(0), Lt(1)] = 0.1  # of the paintings that no list of the release names


@dataclass(frozen=True)
class PreparedOptions:
    """A folder that prepare.py made; `choose` and `exclude` go by its labels, as choose.artist=[claude-monet]."""

    source: Literal["prepared"] = "prepared"
    root: str = ""
    choose: dict[str, list[str]] = field(default_factory=dict)
    exclude: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class SyntheticOptions:
    """Drawn landscapes: as photographs for the content domain, as paintings for the style domain."""

    source: Literal["synthetic"] = "synthetic"
    scenes: Annotated[int, Ge(1), Lt(500_000)] = 400  # training scenes of this domain
    held_out: Annotated[int, Ge(1), Lt(500_000)] = 128  # held-out scenes of this domain
    size: Annotated[int, Ge(16)] = 64  # px, square
    seed: Annotated[int, Ge(0)] = 0
