"""What steps found, between two rows of the log: kept on the device until it is read, so that no step waits for it."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from engine.distributed import Team

GRADIENT, BAD = "the gradient", "bad"


@dataclass(frozen=True)
class Trouble:
    """A step in which a player's loss or gradient was not finite: the terms that were not, and the pictures."""

    step: int
    player: str
    terms: tuple[str, ...]
    names: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"step {self.step + 1}: the loss of the {self.player} is not finite "
            f"({', '.join(self.terms) or 'their sum'}; pictures {', '.join(self.names)})"
        )


@dataclass(frozen=True)
class _Entry:
    step: int
    names: tuple[str, ...]
    keys: tuple[str, ...]
    values: Tensor


class Meter:
    """Means of the losses and of the gradients' norms, and the speed, since the last reading."""

    def __init__(self, team: Team):
        self.team = team
        self.entries: dict[str, list[_Entry]] = {}  # by player
        self._reset()

    def add(
        self, step: int, player: str, names: tuple[str, ...], report: Mapping[str, Tensor], norm: Tensor, bad: Tensor
    ) -> None:
        """What a player's turn found, as scalars on the device.

        Args:
            names: of the pictures. norm: of the player's gradient. bad: 1 if the turn moved nobody, in any process.
        """
        values = torch.stack([*(value.detach().float() for value in report.values()), norm, bad])
        keys = (*report, GRADIENT, BAD)
        self.entries.setdefault(player, []).append(_Entry(step, names, keys, values))

    def count(self, pictures: int) -> None:
        self._steps += 1
        self._pictures += pictures

    def settle(self) -> dict[int, Trouble | None]:
        """Of each step since the last time, in order, what stood in its way. All processes call it at the same step."""
        found: dict[int, Trouble | None] = {}
        for player, entries in self.entries.items():
            # Of unequal lengths where a term belongs to some steps only, the same ones in every process.
            own = pad_sequence([entry.values for entry in entries], batch_first=True)
            shared = self.team.average_(own.clone()).cpu().tolist() if self.team.size > 1 else own.cpu().tolist()
            for entry, row in zip(entries, shared, strict=True):
                if row[len(entry.keys) - 1] == 0:
                    self._take(player, entry.keys, row)
                    found.setdefault(entry.step, None)
                elif found.get(entry.step) is None:
                    found[entry.step] = self._trouble(player, entry)
        self.entries = {}
        return dict(sorted(found.items()))

    def read(self) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        """Means of what has been settled, and speed: losses by term, gradients' norms by player, speeds by unit."""
        means = {key: total / count for key, (total, count) in self._sums.items()}
        losses = {name: mean for (player, name), mean in means.items() if name != GRADIENT}
        norms = {player: mean for (player, name), mean in means.items() if name == GRADIENT}
        seconds = max(time.perf_counter() - self._since, 1e-9)
        speed = {
            "steps_per_second": round(self._steps / seconds, 4),
            "pictures_per_second": round(self._pictures / seconds, 4),
        }
        self._reset()
        return losses, norms, speed

    def _take(self, player: str, keys: tuple[str, ...], row: list[float]) -> None:
        for key, value in zip(keys[:-1], row, strict=False):
            total, count = self._sums.get((player, key), (0.0, 0))
            self._sums[player, key] = (total + value, count + 1)

    def _trouble(self, player: str, entry: _Entry) -> Trouble:
        """By the terms and the pictures of those processes that had it; where none has a term, the gradient."""
        values = dict(zip(entry.keys, entry.values.tolist(), strict=True))
        own = tuple(name for name in entry.keys[:-2] if not math.isfinite(values[name]))
        known = self.team.all((own, entry.names))
        those = [(terms, names) for terms, names in known if terms] or [((GRADIENT,), names) for _, names in known]
        terms = tuple(dict.fromkeys(term for each, _ in those for term in each))
        return Trouble(entry.step, player, terms, tuple(name for _, names in those for name in names))

    def _reset(self) -> None:
        self._sums: dict[tuple[str, str], tuple[float, int]] = {}
        self._steps = self._pictures = 0
        self._since = time.perf_counter()
