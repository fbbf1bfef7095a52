"""WikiArt as released by ArtGAN: Style/artist_title.jpg, with lists for styles, artists and genres; or the parquet
shards of Hugging Face's huggan/wikiart (`data/wikiart_shards.py`).

Style and artist stand in a picture's path; the lists add its genre and say what is held out. The lists are odd: lines
end in CRLF, there is no header (the artists' have one, an empty line and three columns), the folder Art_Nouveau_Modern
is the class Art_Nouveau, and in one row of seventy the accents of a name are garbled. So names are compared by their
ASCII letters alone.
"""

from dataclasses import dataclass
from pathlib import Path

from data.files import Files, FileSource, FolderFiles
from data.folder import list_pictures, place
from data.labels import Labels, check_known
from data.names import Names
from data.options import WikiartOptions
from data.source import DataError, EmptyPartError
from data.wikiart_shards import find_shards, open_shards

LIST_FOLDERS = ("Style", "Artist", "Genre", "wikiart_csv", ".")
CLASS_OF_FOLDER = {"Art_Nouveau_Modern": "Art_Nouveau"}
KINDS = ("style", "artist", "genre")


@dataclass(frozen=True)
class Painting:
    path: str  # below the root
    style: str
    artist: str
    genre: str  # "" where no list names it


def open_wikiart(options: WikiartOptions, domain: str, part: str) -> FileSource:
    """The "train" or "held_out" paintings that the options choose, labelled "style", "artist" and "genre".

    Held out is what style_val.csv names; a painting that no list names is held out when the hash of its path falls
    below `held_out_share`.

    Raises:
        DataError: the folder is missing or empty, a name is unknown (the nearest are named), nothing is left.
    """
    section = f"data.{domain}"
    if not options.root:
        raise DataError(f"{section}.root is missing: the folder that holds the folders of styles")
    root = Path(options.root)
    files, paintings = find_paintings(root, f"{section}.root")
    wanted = {"style": options.styles, "artist": options.artists, "genre": options.genres}
    for kind, names in wanted.items():
        check_known(names, (getattr(painting, kind) for painting in paintings), f"{section}.{kind}s", fold)
    choice = {kind: {fold(name) for name in names} for kind, names in wanted.items() if names}
    chosen = [p for p in paintings if all(fold(getattr(p, kind)) in names for kind, names in choice.items())]
    held_out = _held_out(chosen, root, options.held_out_share)
    kept = [painting for painting in chosen if (painting.path in held_out) == (part == "held_out")]
    if not kept:
        raise EmptyPartError(f"{section}: of the {len(chosen)} paintings chosen none is left for the {part} part")
    labels = {kind: Labels.of([getattr(painting, kind) for painting in kept]) for kind in KINDS}
    return FileSource(files, Names(painting.path for painting in kept), labels)


def find_paintings(root: Path, option: str) -> tuple[Files, list[Painting]]:
    """Every painting below the root, by path, whichever the layout."""
    if root.is_dir() and (shards := find_shards(root)):
        files, rows = open_shards(root, shards)
        return files, [Painting(*row) for row in rows]
    genre_names = _class_names(root, "genre")
    genres = read_classes(root, "genre", "train") | read_classes(root, "genre", "val")
    paintings = []
    for path in list_pictures(root, option):
        folder, _, file = path.replace("\\", "/").rpartition("/")
        folder = folder.rpartition("/")[2]
        style = CLASS_OF_FOLDER.get(folder, folder)
        paintings.append(Painting(path, style, file.partition("_")[0], genre_names.get(genres.get(_key(path), ""), "")))
    return FolderFiles(root), paintings


def read_classes(root: Path, kind: str, part: str) -> dict[str, str]:
    """One of ArtGAN's lists, {key of the path: class number as written}; empty where there is none."""
    path = _find_list(root, f"{kind}_{part}")
    if path is None:
        return {}
    # Bytes that are no UTF-8 are kept out of the comparison with all the others that are not ASCII.
    rows = [line.rpartition(",") for line in path.read_text("utf-8", "replace").splitlines()]
    return {_key(name.rstrip(",")): number.strip() for name, _, number in rows if number.strip().isdigit()}


def _held_out(paintings: list[Painting], root: Path, share: float) -> set[str]:
    """Paths of those to hold out: one at least, where the lists leave it to us."""
    listed = {key: part for part in ("train", "val") for key in read_classes(root, "style", part)}
    parts = {painting.path: listed.get(_key(painting.path)) for painting in paintings}
    unlisted = [path for path, part in parts.items() if part is None]
    by_hash = {path for path in unlisted if place(path) < share}
    return {path for path, part in parts.items() if part == "val"} | by_hash or set(sorted(unlisted, key=place)[:1])


def fold(name: str) -> str:
    """Claude_Monet, "claude monet" and claude-monet are one name, and so are a folder and its class."""
    return CLASS_OF_FOLDER.get(name, name).strip().lower().replace(" ", "-").replace("_", "-")


def _class_names(root: Path, kind: str) -> dict[str, str]:
    path = _find_list(root, f"{kind}_class")
    rows = path.read_text("utf-8", "replace").splitlines() if path else []
    return dict(row.split(maxsplit=1) for row in rows if len(row.split()) == 2)


def _find_list(root: Path, stem: str) -> Path | None:
    for folder in LIST_FOLDERS:
        for suffix in (".csv", ".txt", ""):
            if (path := root / folder / f"{stem}{suffix}").is_file():
                return path
    return None


def _key(path: str) -> str:
    """Folder and file in ASCII letters, as good as unique and the same however accents were garbled."""
    return "/".join(path.replace("\\", "/").split("/")[-2:]).encode("ascii", "ignore").decode().lower().strip()
