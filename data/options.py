"""What each source of pictures can be told: one dataclass a source.

The dataclasses are the schema of the YAML's `data.content:` and `data.style:` sections. They stand apart
from the sources so that a wrong key is answered before anything slow is imported.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt


@dataclass(frozen=True)
class AugmentOptions:
    """What the pictures of one domain undergo besides the recipe's resize, crop and flip; 0 is none of it."""

    rotation: Annotated[float, Ge(0), Le(180)] = 0.0  # degrees, to either side; before the crop
    scale: Annotated[float, Ge(0), Lt(1)] = 0.0  # enlarged or shrunk by up to this share; before the crop
    brightness: Annotated[float, Ge(0), Le(1)] = 0.0  # times 1 - this to 1 + this
    contrast: Annotated[float, Ge(0), Le(1)] = 0.0  # the same
    saturation: Annotated[float, Ge(0), Le(1)] = 0.0  # the same
    hue: Annotated[float, Ge(0), Le(0.5)] = 0.0  # turned by up to this share of the colour circle
    cutout: Annotated[float, Ge(0), Lt(1)] = 0.0  # side of a grey square, as a share of the picture's


@dataclass(frozen=True)
class FolderOptions:
    """Any folder of pictures, searched with all its subfolders; or a list of paths (.txt), or a pattern (*.jpg)."""

    source: Literal["folder"] = "folder"
    root: str = ""  # one that holds trainA/ and trainB/ (and testA/, testB/) is a data set of both domains
    side: Literal["", "A", "B"] = ""  # of such a root; "" is A for the content, B for the style
    held_out: str = ""  # held-out pictures: a folder, a list or a pattern; "" holds out a share of root's files
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
    """WikiArt in ArtGAN's layout, Style/artist_title.jpg, or as parquet shards; a choice of [] takes all."""

    source: Literal["wikiart"] = "wikiart"
    root: str = ""  # holds the folders of styles, and the lists if there are any; or the shards
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
