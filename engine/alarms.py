"""What goes wrong while training goes on: said when it begins and when it is gone, and not in between."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Protocol

WON, LOST = 0.1, 0.2  # of a discriminator's loss at a draw: below the first it has won, until it is above the second
STEPS, ROWS = 500, 10  # whichever is more is what it is judged by


class Finding(Protocol):
    """A detector's number of the translations of the moment, and whether it is one to warn of."""

    key: str
    value: float
    fired: bool


class Alarms:
    """Those of a run since it was started or resumed: what still is wrong then is said again.

    Args:
        games: the losses of discriminators at a draw, by name (`Learner.games`).
        every: steps between two rows of losses.
        advice: by ill, what is said of it; by "won" that of a discriminator that has won.
    """

    def __init__(self, games: Mapping[str, float], every: int, advice: Mapping[str, str]):
        self.games = games
        self.advice = advice
        self._recent = {name: deque(maxlen=max(ROWS, math.ceil(STEPS / every))) for name in games}
        self._ringing: set[str] = set()

    def shares(self, losses: Mapping[str, float]) -> dict[str, float]:
        """Of a row of losses those of discriminators, in shares of a draw's: 1 cannot tell, 0 has won."""
        return {name: losses[name] / draw for name, draw in self.games.items() if name in losses}

    def hear_losses(self, losses: Mapping[str, float]) -> list[str]:
        """Take in a row of losses, each the mean of the steps since the row before; returns lines to be said.

        One that has won tells every generated picture, and nothing that the generator changes makes a difference.
        """
        lines = []
        for name, share in self.shares(losses).items():
            recent = self._recent[name]
            recent.append(share)
            mean = sum(recent) / len(recent)
            loss = f"its loss is {mean * self.games[name]:.3g}, at a draw {self.games[name]:.3g}"
            if len(recent) == recent.maxlen and mean < WON and self._begins(name):
                lines.append(f"warning: {name} has won: {loss}; {self.advice['won']}")
            elif mean > LOST and self._ends(name):
                lines.append(f"{name} has no longer won: {loss}")
        return lines

    def hear_findings(self, findings: Iterable[Finding]) -> list[str]:
        """Take in what detectors found; returns lines to be said."""
        lines = []
        for found in findings:
            if found.fired and self._begins(found.key):
                lines.append(f"warning: {found.key} = {found.value:.3g}: {self.advice[found.key]}")
            elif not found.fired and self._ends(found.key):
                lines.append(f"{found.key} is gone: {found.value:.3g}")
        return lines

    def _begins(self, key: str) -> bool:
        """True if it was not ringing."""
        if key in self._ringing:
            return False
        self._ringing.add(key)
        return True

    def _ends(self, key: str) -> bool:
        """True if it was ringing."""
        if key not in self._ringing:
            return False
        self._ringing.remove(key)
        return True
