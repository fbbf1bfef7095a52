"""The contract between what learns, or translates, and everything that runs it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor, nn
from torch.optim import Optimizer

from data.batch import Batch, LabelledBatch


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


Progress = Callable[[int, int, dict[str, float]], object]  # iterations done, of how many, losses


@dataclass(frozen=True)
class Style:
    """The style of a translation, for methods that take it at run time.

    pictures: one or more, each [1, 3, H, W] in [-1, 1], of any sizes; or [N, 3, H, W], one for each of N photographs.
    weights: of each; they are divided by their sum. () weighs them alike.
    strength: 0 leaves the photograph as it is, 1 is the whole style; for methods that know degrees ("alpha").
    region: [N or 1, 1, H, W] in [0, 1], the part of the photograph that will be shown in this style; a method may take
        the photograph's statistics from there.
    """

    pictures: tuple[Tensor, ...]
    weights: tuple[float, ...] = ()
    strength: float = 1.0
    region: Tensor | None = None

    def shares(self) -> tuple[float, ...]:
        weights = self.weights or (1.0,) * len(self.pictures)
        return tuple(weight / sum(weights) for weight in weights)


@dataclass(frozen=True)
class Table:
    """A result that is more than a number, for the log."""

    columns: tuple[str, ...]
    rows: list[list[str | int | float]]


@dataclass(frozen=True)
class Examination:
    """What held-out pictures show, while training goes on.

    columns: of a sample sheet, each [N, 3, H, W] in [-1, 1]; scores: by name; tables: by name.
    """

    columns: dict[str, Tensor] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)


class Learner(nn.Module, ABC):
    """What the loop trains.

    Attributes:
        optimizers: one for each player; the engine zeroes, steps, schedules and saves them.
        described: what it was given that a reader of its numbers must know, as random features.
        averaged: names of the networks that translate; an average of their weights may do so for them.
        differentiated_twice: names of the networks whose gradient is part of a loss; torch.compile cannot do that.
        games: the losses of discriminators that are 0 for one that has won, by name in the reports: their value at a
            draw, where it cannot tell the real from the generated. A loss without such a scale has no place here.
    Networks, and whatever else must survive a restart (an image pool), are submodules: the state_dict is
    the method's whole memory. What is drawn for single pictures comes from `batch.places`, anything else from torch's
    global generator, which the loop seeds for every turn.
    """

    optimizers: dict[str, Optimizer]
    described: str = ""
    averaged: tuple[str, ...] = ()
    differentiated_twice: tuple[str, ...] = ()
    games: Mapping[str, float] = MappingProxyType({})

    @abstractmethod
    def turns(self, batch: Batch | LabelledBatch) -> Iterator[Turn]:
        """The moves of one step, in order; after each yield the loop moves that player, and the code after
        it runs on the new weights."""

    @abstractmethod
    def examine(self, held_out: Batch | LabelledBatch) -> Examination:
        """What a fixed batch of held-out pictures shows."""


class Method(Learner):
    """A way to translate pictures, and how it learns.

    Attributes:
        directions: what `translate` can do; the first is the default.
        needs_style: True if `translate` wants style pictures beside the content.
        optimizes: True if `translate` differentiates; it then takes `progress`, too.
        knows_strength: True if `Style.strength` is heeded.
        style_side: px, of the shorter side of the paintings that `Style` brings; smaller ones stay as they are.
        num_styles: training paintings that `begin` wants to see.
        size_multiple, smallest_side: `translate` takes sides that are multiples of the one and at least the other; the
            caller pads.
    """

    directions: tuple[str, ...]
    needs_style: bool = False
    optimizes: bool = False
    knows_strength: bool = False
    style_side: int = 1024
    num_styles: int = 0
    size_multiple: int = 1
    smallest_side: int = 1

    def begin(self, styles: Tensor) -> None:
        """What training starts from: pretrained networks, statistics of the training paintings. Called once before
        training, also before a checkpoint is loaded, never for translations.

        Args:
            styles: [M, 3, H, W] in [-1, 1], `num_styles` of them or as many as there are.
        """

    @abstractmethod
    def translate(self, content: Tensor, style: Style | None = None, direction: str = "") -> Tensor:
        """[N, 3, H, W] in [-1, 1] -> the same shape and range; H and W as the network takes them
        (`size_multiple`). An empty direction means the first of `directions`."""

    def samples(self, batch: Batch) -> dict[str, Tensor]:
        """The columns of a sample sheet, each [N, 3, H, W] in [-1, 1], for fixed held-out pictures."""
        return {"photograph": batch.content, "translation": self.translate(batch.content)}

    def examine(self, held_out: Batch) -> Examination:
        return Examination(columns=self.samples(held_out))
