"""Batches for the loop: from any step on, in the same order for any number of workers."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from data import open_source
from data.batch import Batch, LabelledBatch, Share
from data.images import PictureError, normalise, resize_and_crop, to_tensor
from data.labelled import Labelled, numbers_of, read_labels
from data.source import DataError, Source, some
from data.transforms import Augmentation, build_augmentation
from data.unpaired import Unpaired

READ_AHEAD = 32 * 2**20  # bytes of all workers together; a container's shared memory is often 64 MiB
MOST_AHEAD = 16  # batches of a worker


@dataclass(frozen=True)
class Positions(Sequence[int]):
    """The row's items that one process takes in so many steps, of which the first begins with an item of the row:
    computed, so that no order of an epoch is stored, any step can be the first, and the same whole batch means the same
    items for any number of processes."""

    share: Share
    first_item: int
    num_steps: int

    def __len__(self) -> int:
        return max(0, self.num_steps) * self.share.own

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(index)
        step, offset = divmod(index, self.share.own)
        return self.first_item + step * self.share.whole + self.share.rank * self.share.own + offset


def open_training_data(data: object, seed: int) -> Unpaired:
    """The training parts of both domains, augmented as the options say.

    Args:
        data: the configuration's `data` section (`engine.schema.DataConfig`).
    """
    content, style = (
        open_source(options, domain, "train").drafted(data.load_size) for domain, options in data.domains()
    )
    augment_content, augment_style = (
        _augmentation(data, options) for options in (data.augment.content, data.augment.style)
    )
    return Unpaired(content, style, seed, augment_content, augment_style, data.size)


def open_labelled_data(data: object, kind: str, seed: int) -> Labelled:
    """The training part of the style domain with its labels of a kind, for example "artist"."""
    source = open_source(data.style, "style", "train").drafted(data.load_size)
    return Labelled(source, read_labels(source, kind), seed, _augmentation(data, data.augment.style), data.size)


def _augmentation(data: object, options: object) -> Augmentation:
    return build_augmentation(data.size, data.load_size, data.flip, data.keep_aspect, options)


def batches(
    dataset: Unpaired | Labelled, positions: Positions, workers: int, device: torch.device
) -> Iterator[Batch | LabelledBatch]:
    """The batches of `positions`, on the device: as many a step as their share has passes.

    One loader serves all steps: its workers live as long as the run.

    Raises:
        DataError: too many pictures in a row could not be read.
    """
    for arrays in read_batches(dataset, positions, workers, pinned=device.type == "cuda"):
        yield dataset.batch(arrays, device)


def read_batches(
    dataset: Unpaired | Labelled, positions: Positions, workers: int, pinned: bool = False
) -> Iterator[dict]:
    """The batches of `positions` as the data set stacks them, in the host's memory: what the workers bring.

    Raises:
        DataError: too many pictures in a row could not be read.
    """
    batch_size = positions.share.batch_size
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=positions,
        num_workers=workers,
        collate_fn=partial(_stack, dataset),
        pin_memory=pinned,
        prefetch_factor=batches_ahead(dataset, batch_size, workers) if workers else None,
        worker_init_fn=_leave_signals_to_the_parent,
    )
    iterator = iter(loader)
    try:
        for arrays in iterator:
            if isinstance(arrays, DataError):
                raise arrays
            yield arrays
    finally:
        if workers:
            # After an error they would wait for work for ever, and they do not hear the SIGTERM by which
            # multiprocessing ends its children.
            iterator._shutdown_workers()


def _stack(dataset: Unpaired | Labelled, items: list) -> dict | DataError:
    """All items, or the first error."""
    return next((item for item in items if isinstance(item, DataError)), None) or dataset.stack(items)


def batches_ahead(dataset: Unpaired | Labelled, batch_size: int, workers: int) -> int:
    """How many batches each worker keeps ready: two at least, and no more than fit into READ_AHEAD."""
    size = len(dataset.sources) * 4 * dataset.size**2 * batch_size  # four bytes a pixel
    return max(2, min(MOST_AHEAD, READ_AHEAD // (size * workers)))


def fixed_batch(content: Source, style: Source, count: int, size: int) -> Batch:
    """The first `count` readable pictures of each source at size x size: what sample sheets show."""
    x, x_names = read_pictures(content, count, size)
    y, y_names = read_pictures(style, count, size)
    count = min(len(x), len(y))
    return Batch(normalise(x[:count]), normalise(y[:count]), x_names[:count], y_names[:count])


def labelled_batch(source: Source, kind: str, classes: Sequence[str], count: int, size: int) -> LabelledBatch:
    """About `count` pictures from all over a source at size x size, with the numbers of their classes; pictures of
    other classes are left out.

    Raises:
        DataError: none is left.
    """
    numbers = numbers_of(read_labels(source, kind), classes)
    known = np.flatnonzero(numbers >= 0)
    if not len(known):
        raise DataError(f"data.style: no held-out picture bears one of the labels {some(classes)}")
    places = known[_spread(len(known), count)]
    class_of = {source.name(place): numbers[place] for place in places}
    pixels, names = read_pictures(Chosen(source, places), len(places), size)
    return LabelledBatch(normalise(pixels), torch.tensor([class_of[name] for name in names]), names)


def _spread(length: int, count: int) -> list[int]:
    """At most `count` places from all over a row: neighbours are often alike."""
    return sorted({int(place * length / count) for place in range(count)})


def spread_pictures(source: Source, count: int, size: int) -> torch.Tensor:
    """About `count` pictures from all over a source, [N, 3, size, size] in [-1, 1]."""
    places = _spread(len(source), count)
    return normalise(read_pictures(Chosen(source, places), len(places), size)[0])


def drawn_pictures(source: Source, count: int, size: int, seed: int) -> torch.Tensor:
    """`count` pictures of a source in an order drawn by the seed, uint8 [count, 3, size, size]; all of them come before
    one comes again."""
    order = np.random.default_rng(seed).permutation(len(source))[:count]
    pixels, _ = read_pictures(Chosen(source, order), len(order), size)
    return pixels[torch.arange(count) % len(pixels)]


@dataclass(frozen=True)
class Chosen:
    """Some pictures of a source."""

    source: Source
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Image.Image:
        return self.source[self.places[index]]

    def name(self, index: int) -> str:
        return self.source.name(self.places[index])


def read_pictures(source: Source, count: int, size: int) -> tuple[torch.Tensor, tuple[str, ...]]:
    """The first `count` readable pictures of a source, as uint8 [N, 3, size, size], and their names.

    Raises:
        DataError: none of them can be read.
    """
    pixels, names = [], []
    for index in range(len(source)):
        if len(pixels) == count:
            break
        try:
            pixels.append(to_tensor(resize_and_crop(source[index], size)))
            names.append(source.name(index))
        except PictureError:
            continue
    if not pixels:
        raise DataError(f"none of {len(source)} held-out pictures could be read, {source.name(0)} first")
    return torch.stack(pixels), tuple(names)


def _leave_signals_to_the_parent(worker: int) -> None:
    # Ctrl-C and a cluster's SIGTERM reach every process of the group; the loop still wants batches to save by.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
