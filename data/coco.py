"""MS-COCO as released: train2017/, val2017/ (or 2014) and annotations/, which may be missing.

The annotations are read as the JSON that they are, and only when they are asked for: those of train2017 take seconds
and gigabytes. pycocotools would add a compiled dependency and indices for masks
and scores, and of each picture we only want its categories, its size and its licence.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from data.files import FileSource, FolderFiles
from data.folder import list_pictures
from data.labels import MANY, Labels, LazyLabels, check_known
from data.names import Names
from data.options import CocoOptions
from data.source import DataError, EmptyPartError

PARTS = {"train": "train", "held_out": "val"}  # ours -> COCO's
YEARS = ("2017", "2014")
KINDS = ("supercategory", "categories", "licence")


@dataclass
class Annotation:
    """What the annotations say of one picture."""

    width: int
    height: int
    licence: int
    area: dict[str, float] = field(default_factory=dict)  # category -> px that its objects cover


@dataclass(frozen=True)
class Annotations:
    by_name: dict[str, Annotation]
    supercategory: dict[str, str]  # of a category

    def of(self, name: str) -> Annotation | None:
        """By the picture's path, of which the annotations know the last part."""
        return self.by_name.get(name.rpartition("/")[2])

    def words(self, name: str) -> set[str]:
        """Categories and supercategories seen in a picture, in small letters."""
        seen = self.of(name).area
        return {word.lower() for category in seen for word in (category, self.supercategory[category])}

    def labels(self, names: Iterable[str]) -> dict[str, Labels]:
        """By KINDS: what covers most of the picture, all that is seen on it ("cat;dog"), the id of its licence in
        COCO's list; "" where nothing is annotated."""
        found = [self.of(name) for name in names]
        return {
            "supercategory": Labels.of([self._main_supercategory(entry) if entry else "" for entry in found]),
            "categories": Labels.of([MANY.join(sorted(entry.area)) if entry else "" for entry in found]),
            "licence": Labels.of([str(entry.licence) if entry else "" for entry in found]),
        }

    def _main_supercategory(self, entry: Annotation) -> str:
        areas: dict[str, float] = defaultdict(float)
        for category, area in entry.area.items():
            areas[self.supercategory[category]] += area
        return max(areas, key=areas.get, default="")


def open_coco(options: CocoOptions, domain: str, part: str) -> FileSource:
    """The "train" (train2017) or "held_out" (val2017) pictures that the options choose, labelled "supercategory".

    Without a choice every picture counts, annotated or not; a choice is made among the annotated ones.

    Raises:
        DataError: a folder or the annotations are missing or damaged, a name is unknown, nothing is left.
    """
    section = f"data.{domain}"
    if not options.root:
        raise DataError(f"{section}.root is missing: the folder that holds train2017/ and val2017/")
    root = Path(options.root)
    folder = _picture_folder(root, PARTS[part], f"{section}.root")
    names = [f"{folder.name}/{name}" for name in list_pictures(folder, f"{section}.root")]
    path = root / "annotations" / f"instances_{folder.name}.json"
    choosing = bool(options.categories or options.exclude or options.licences or options.min_side)
    if not path.is_file():
        if choosing:
            raise DataError(f"{path}: no such file; it is needed to choose pictures of {section}")
        return FileSource(FolderFiles(root), Names(names))
    if not choosing:
        return FileSource(FolderFiles(root), Names(names), LazyLabels(KINDS, partial(_labels, path, Names(names))))
    annotations = read_annotations(path)
    names = _choose(names, annotations, options, section)
    return FileSource(FolderFiles(root), Names(names), annotations.labels(names))


def read_annotations(path: Path) -> Annotations:
    """An instances_*.json file."""
    try:
        content = json.loads(path.read_bytes())
        categories = {entry["id"]: _text(entry["name"]) for entry in content["categories"]}
        supercategory = {_text(entry["name"]): _text(entry["supercategory"]) for entry in content["categories"]}
        pictures = {
            entry["id"]: (
                _text(entry["file_name"]),
                Annotation(int(entry["width"]), int(entry["height"]), int(entry.get("license", 0))),
            )
            for entry in content["images"]
        }
        for entry in content["annotations"]:
            area = pictures[entry["image_id"]][1].area
            category = categories[entry["category_id"]]
            area[category] = area.get(category, 0.0) + float(entry["area"])
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not COCO's instances format ({type(error).__name__}: {error})") from error
    return Annotations(dict(pictures.values()), supercategory)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    value.encode()  # half a character is no text either
    return value


def _labels(path: Path, names: Names) -> dict[str, Labels]:
    return read_annotations(path).labels(names)


def _picture_folder(root: Path, part: str, option: str) -> Path:
    for year in YEARS:
        if (root / f"{part}{year}").is_dir():
            return root / f"{part}{year}"
    looked_for = " or ".join(f"{part}{year}/" for year in YEARS)
    problem = "holds no" if root.is_dir() else "no such folder; it should hold"
    raise EmptyPartError(f"{option} = {root}: {problem} {looked_for}")


def _choose(names: list[str], annotations: Annotations, options: CocoOptions, section: str) -> list[str]:
    annotated = [name for name in names if annotations.of(name)]
    words = {name: annotations.words(name) for name in annotated}
    found = [word for name in annotated for word in words[name]]
    known_categories = {word.lower() for pair in annotations.supercategory.items() for word in pair}
    for key in ("categories", "exclude"):
        missing = [word for word in getattr(options, key) if word.lower() not in known_categories]
        check_known(missing, found, f"{section}.{key}")

    wanted, unwanted = ({word.lower() for word in chosen} for chosen in (options.categories, options.exclude))

    def chosen(name: str) -> bool:
        entry = annotations.of(name)
        return (
            (not wanted or not words[name].isdisjoint(wanted))
            and words[name].isdisjoint(unwanted)
            and (not options.licences or entry.licence in options.licences)
            and min(entry.width, entry.height) >= options.min_side
        )

    left = [name for name in annotated if chosen(name)]
    if not left:
        raise EmptyPartError(
            f"{section}: none of {len(annotated)} annotated pictures is left by its choices; widen them"
        )
    return left
