"""What translations are measured by: held-out pictures of a run's data or of folders, and the paintings learnt from."""

from collections.abc import Mapping

from data import open_source
from data.held_out import read_chosen, some_of
from data.options import FolderOptions
from data.source import Source, SourceWithTruth
from engine.schema import DataConfig
from metrics.measure import check_enough
from metrics.sets import PictureSet, References

MOST_KNOWN = 1000  # of the paintings learnt from, among which the nearest are looked for
SEED = 0  # of the order of paintings: sources are sorted by style or artist, and halves of them are compared
NO_FOLDERS: Mapping[str, str | None] = {"content": None, "style": None}


def read_references(
    data: DataConfig | None,
    size: int,
    count: int,
    given: Mapping[str, str | None] = NO_FOLDERS,
    most_known: int = MOST_KNOWN,
) -> References:
    """The held-out pictures of a run's data, where no folder is given instead.

    Args:
        data: None if both folders are given.
        size: px, to which they are resized and cropped.
        count: pictures a domain, at most; 0: all.
        given: by domain, a folder (or list, or pattern) of pictures.
        most_known: of the training paintings; 0: none.

    Raises:
        DataError, MetricError: naming what is missing or too little.
    """
    own = dict(data.domains()) if data else {}
    sources = {
        domain: open_source(FolderOptions(held_out=path, root=path) if path else own[domain], domain, "held_out")
        for domain, path in given.items()
    }
    content, style = sources["content"], sources["style"]
    places = some_of(content, count or len(content))
    order = some_of(style, count or len(style), SEED)
    wanted = {"photographs": (content, places), "paintings": (style, order)}
    if isinstance(content, SourceWithTruth):
        wanted |= {"truths": (content.counterpart(), places), "other_truths": (content.counterpart(variant=1), places)}
    read = {name: _read(source, chosen, size) for name, (source, chosen) in wanted.items()}
    check_enough(len(read["photographs"]), len(read["paintings"]))
    if given["style"] or not most_known:
        return References(**read)
    learnt = open_source(own["style"], "style", "train")
    return References(**read, known=_read(learnt, some_of(learnt, most_known, SEED), size))


def _read(source: Source, places: list[int], size: int) -> PictureSet:
    return PictureSet(**vars(read_chosen(source, places, size)))
