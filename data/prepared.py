"""A folder that prepare.py made: pictures of one size, and an index that starts 200,000 of them in a second."""

import csv
from pathlib import Path

from data.folder import FolderSource
from data.labels import Labels, check_known
from data.names import Names
from data.options import PreparedOptions
from data.source import DataError

OWN_COLUMNS = ("path", "part", "width", "height", "original", "original_width", "original_height", "sha256")
MANY = ";"  # between the names of a picture that bears several, as its categories


def open_prepared(options: PreparedOptions, domain: str, part: str) -> FolderSource:
    """The "train" or "held_out" pictures of the index that the options choose, with all its labels.

    Raises:
        DataError: the folder was not prepared to its end, a name is unknown, nothing is left.
    """
    section = f"data.{domain}"
    root = Path(options.root)
    rows = read_index(root, f"{section}.root")
    kinds = [column for column in (rows[0] if rows else {}) if column not in OWN_COLUMNS]
    for key in ("choose", "exclude"):
        for kind, names in getattr(options, key).items():
            if kind not in kinds:
                raise DataError(f"{section}.{key}.{kind}: no such label; this folder has: {', '.join(kinds) or 'none'}")
            check_known(names, (name for row in rows for name in row[kind].split(MANY)), f"{section}.{key}.{kind}")
    kept = [row for row in rows if row["part"] == part and _is_chosen(row, options)]
    if not kept:
        raise DataError(f"{section}: none of the {len(rows)} pictures in {root} is left for the {part} part")
    labels = {kind: Labels.of([row[kind] for row in kept]) for kind in kinds}
    return FolderSource(root / "pictures", Names(row["path"] for row in kept), labels)


def read_index(root: Path, option: str) -> list[dict[str, str]]:
    path = root / "index.csv"
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(
            f"{option} = {root}: no finished preparation ({path}: {error.strerror}); run prepare.py"
        ) from error
    if rows and not set(OWN_COLUMNS) <= set(rows[0]):
        raise DataError(f"{path}: not an index of prepare.py")
    return rows


def _is_chosen(row: dict[str, str], options: PreparedOptions) -> bool:
    def bears(kind: str, names: list[str]) -> bool:
        return not {name.lower() for name in names}.isdisjoint(row[kind].lower().split(MANY))

    return all(bears(*item) for item in options.choose.items()) and not any(
        bears(*item) for item in options.exclude.items()
    )
