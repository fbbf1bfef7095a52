"""The contract between a method and everything that runs it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

from data.batch import Batch


@dataclass(frozen=True)
class Turn:
    """One player's move in a game of several.

    player: a key of the method's `optimizers`; only that optimizer's weights will move.
    loss: scalar to minimise, with its graph.
    report: the parts of the loss for the log, scalars.
    """

    player: str
    loss: Tensor
    report: dict[str, Tensor]


@dataclass(frozen=True)
class Style:
    """The style of a translation, for methods that take it at run time.

    pictures: one or more, each [1, 3, H, W] in [-1, 1], of any sizes.
    weights: of each; they are divided by their sum. () weighs them alike.
    """

    pictures: tuple[Tensor, ...]
    weights: tuple[float, ...] = ()

    def shares(self) -> tuple[float, ...]:
        weights = self.weights or (1.0,) * len(self.pictures)
        return tuple(weight / sum(weights) for weight in weights)


class Method(nn.Module, ABC):
    """A way to translate pictures, and how it learns.

    Attributes:
        optimizers: one for each player; the engine zeroes, steps, schedules and saves them.
        directions: what `translate` can do; the first is the default.
        needs_style: True if `translate` wants style pictures beside the content.
        optimizes: True if `translate` differentiates.
    Networks, and whatever else must survive a restart (an image pool), are submodules: the state_dict is
    the method's whole memory. Random draws come from torch's global generator, which the loop seeds with
    (seed, step).
    """

    optimizers: dict[str, Optimizer]
    directions: tuple[str, ...]
    needs_style: bool = False
    optimizes: bool = False

    @abstractmethod
    def turns(self, batch: Batch) -> Iterator[Turn]:
        """The moves of one step, in order; after each yield the loop moves that player, and the code after
        it runs on the new weights."""

    @abstractmethod
    def translate(self, content: Tensor, style: Tensor | Style | None = None, direction: str = "") -> Tensor:
        """[N, 3, H, W] in [-1, 1] -> the same shape and range; H and W as the network takes them
        (`size_multiple`). An empty direction means the first of `directions`; a tensor of styles weighs them alike."""

    size_multiple: int = 1  # `translate` takes sides that are multiples of this ...
    smallest_side: int = 1  # ... and at least this; the caller pads

    def samples(self, batch: Batch) -> dict[str, Tensor]:
        """The columns of a sample sheet, each [N, 3, H, W] in [-1, 1], for fixed held-out pictures."""
        return {"photograph": batch.content, "translation": self.translate(batch.content, batch.style)}
