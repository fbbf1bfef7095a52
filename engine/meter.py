"""Losses and speed between two rows of the log."""

import time

import torch
from torch import Tensor


class Meter:
    """Means of the losses and the speed since the last reading. Sums stay on the device until they are read,
    so that a step never waits for the log."""

    def __init__(self) -> None:
        self._reset()

    def add(self, report: dict[str, Tensor]) -> None:
        for name, value in report.items():
            value = value.detach()
            total, count = self._sums.get(name, (torch.zeros_like(value), 0))
            self._sums[name] = (total + value, count + 1)

    def count(self, pictures: int) -> None:
        self._steps += 1
        self._pictures += pictures

    def read(self) -> tuple[dict[str, float], dict[str, float]]:
        losses = {name: float(total) / count for name, (total, count) in self._sums.items()}
        seconds = max(time.perf_counter() - self._since, 1e-9)
        speed = {
            "steps_per_second": round(self._steps / seconds, 4),
            "pictures_per_second": round(self._pictures / seconds, 4),
        }
        self._reset()
        return losses, speed

    def _reset(self) -> None:
        self._sums: dict[str, tuple[Tensor, int]] = {}
        self._steps = self._pictures = 0
        self._since = time.perf_counter()
