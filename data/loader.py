"""Batches for the loop: from any step on, in the same order for any number of workers."""

import signal
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from data import open_source
from data.batch import Batch
from data.images import PictureError, normalise, resize_and_crop, to_tensor
from data.source import DataError, Source
from data.transforms import build_augmentation
from data.unpaired import Unpaired, stack


def open_training_data(content: object, style: object, seed: int, size: int, load_size: int, flip: bool) -> Unpaired:
    """The training parts of both domains (options of SOURCES), augmented as build_augmentation says."""
    augment = build_augmentation(size, load_size, flip)
    return Unpaired(open_source(content, "content", "train"), open_source(style, "style", "train"), seed, augment)


def steps_per_epoch(dataset: Unpaired, batch_size: int) -> int:
    """An epoch shows every picture of the larger domain; its last batch is filled up from the next epoch."""
    return -(-dataset.items_per_epoch // batch_size)


def batches(
    dataset: Unpaired, batch_size: int, first_step: int, last_step: int, workers: int, device: torch.device
) -> Iterator[Batch]:
    """The batches of steps first_step, ..., last_step - 1, on the device.

    Step k always gets items k * batch_size, ... of the row, so a resumed run reads on where it stopped.

    Raises:
        DataError: too many pictures in a row could not be read.
    """
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=range(first_step * batch_size, last_step * batch_size),
        num_workers=workers,
        collate_fn=stack,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_signals_to_the_parent,
    )
    for arrays in loader:
        if isinstance(arrays, DataError):
            raise arrays
        on_device = {name: arrays[name].to(device, non_blocking=True) for name in ("content", "style")}
        # Pictures travel as bytes and become floats where they are used: a quarter of the traffic.
        yield Batch(**arrays | {name: normalise(pixels) for name, pixels in on_device.items()})


def fixed_batch(content: Source, style: Source, count: int, size: int) -> Batch:
    """The first `count` readable pictures of each source at size x size: what sample sheets show."""
    x, x_names = read_pictures(content, count, size)
    y, y_names = read_pictures(style, count, size)
    count = min(len(x), len(y))
    return Batch(normalise(x[:count]), normalise(y[:count]), x_names[:count], y_names[:count])


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
