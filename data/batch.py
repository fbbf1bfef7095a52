"""What crosses from data to methods."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Unpaired pictures of the two domains.

    content, style: [N, 3, H, W] in [-1, 1], photographs and paintings.
    content_names, style_names: the N pictures' names, for messages.
    unreadable: what could not be read and was replaced by other pictures of its domain.
    """

    content: Tensor
    style: Tensor
    content_names: tuple[str, ...] = ()
    style_names: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.content)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.content_names, *self.style_names)

    def to(self, device: torch.device) -> "Batch":
        content, style = (x.to(device, non_blocking=True) for x in (self.content, self.style))
        return replace(self, content=content, style=style)


@dataclass(frozen=True)
class LabelledBatch:
    """Pictures of one domain that are to be told apart.

    pictures: [N, 3, H, W] in [-1, 1]; classes: int64 [N]; names, unreadable: as of a Batch.
    """

    pictures: Tensor
    classes: Tensor
    names: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    def to(self, device: torch.device) -> "LabelledBatch":
        return replace(self, pictures=self.pictures.to(device), classes=self.classes.to(device))
