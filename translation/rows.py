"""Activations that are kept while a picture is streamed: in memory, or in a temporary file that nobody can see."""

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.exits import UserError

MEND = "name a larger disk by TMPDIR, or take --statistics sampled"


class NoRoomError(UserError):
    """The disk does not take what has to be kept; the message says how much that is."""


class Kept(ABC):
    """float32 [1, C, H, W], written and read by rows, channels last."""

    @abstractmethod
    def write(self, first: int, strip: Tensor) -> None: ...

    @abstractmethod
    def read(self, first: int, end: int) -> Tensor: ...

    @abstractmethod
    def close(self) -> None:
        """Gives the room back."""


class InMemory(Kept):
    def __init__(self, channels: int, height: int, width: int, device: torch.device):
        self.rows = torch.empty(height, width, channels, device=device)

    def write(self, first: int, strip: Tensor) -> None:
        self.rows[first : first + strip.shape[2]] = strip[0].permute(1, 2, 0)

    def read(self, first: int, end: int) -> Tensor:
        return self.rows[first:end].permute(2, 0, 1).unsqueeze(0)

    def close(self) -> None:
        del self.rows


class OnDisk(Kept):
    """Read and written, not mapped: mapped pages would count as this process's memory. The file has no name, so that
    it is gone with the process, however that ends."""

    def __init__(self, channels: int, height: int, width: int, device: torch.device, folder: str):
        self.shape = (width, channels)
        self.row = 4 * width * channels
        self.device = device
        self.folder = folder
        self.file = tempfile.TemporaryFile(dir=folder, prefix="atelier-")  # noqa: SIM115

    def write(self, first: int, strip: Tensor) -> None:
        rows = strip[0].permute(1, 2, 0).to("cpu", torch.float32).contiguous().numpy()
        left, at = memoryview(rows).cast("B"), first * self.row
        try:
            while left:
                written = os.pwrite(self.file.fileno(), left, at)
                left, at = left[written:], at + written
        except OSError as error:  # somebody else has filled the disk
            raise NoRoomError(f"exact statistics: {self.folder}: {error.strerror}; {MEND}") from error

    def read(self, first: int, end: int) -> Tensor:
        rows = np.empty((end - first, *self.shape), np.float32)
        left, at = memoryview(rows).cast("B"), first * self.row
        while left:
            got = os.preadv(self.file.fileno(), [left], at)
            assert got, "read before it was written"
            left, at = left[got:], at + got
        return torch.from_numpy(rows).to(self.device).permute(2, 0, 1).unsqueeze(0)

    def close(self) -> None:
        self.file.close()


@dataclass(frozen=True)
class Place:
    """Where activations are kept: on the device, or if `folder` is given in a file there."""

    device: torch.device
    folder: str | None = None

    def make(self, channels: int, height: int, width: int) -> Kept:
        if self.folder is None:
            return InMemory(channels, height, width, self.device)
        return OnDisk(channels, height, width, self.device, self.folder)


def choose_place(needed: int, room: int, device: torch.device) -> Place:
    """Memory if `needed` bytes are within `room`, else the disk of temporary files (TMPDIR).

    Raises:
        NoRoomError: not there, either.
    """
    if needed <= room:
        return Place(device)
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoRoomError(f"exact statistics: {needed:,} bytes needed in {folder}, {free:,} free; {MEND}")
    return Place(device, folder)
