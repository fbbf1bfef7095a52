"""How long to train, and learning-rate factors: what the initial rate is multiplied by."""

import math
from dataclasses import dataclass

from engine.schema import ScheduleConfig

# By the share of the decay that is over, in (0, 1).
SHAPES = {
    "linear": lambda over: 1.0 - over,
    "cosine": lambda over: 0.5 + 0.5 * math.cos(math.pi * over),  # Loshchilov and Hutter 2017, one half wave
    # AdaIN's reference code: 1 / (1 + 5e-5 i) at step i of 160,000.
    "inverse": lambda over: 1.0 / (1.0 + 8.0 * over),
}


def constant_then_decay(place: int, constant: int, decay: int, shape: str = "linear") -> float:
    """1 for the first `constant` units, then down over `decay` units in one of SHAPES.

    `place` counts units (epochs or steps) from 0. The last unit still moves: a linear factor would reach 0 one unit
    after the end, as in CycleGAN's reference code (epochs 101, 150, 200 of 100 + 100 at 2e-4 train at
    1.9802e-4, 1.0099e-4, 1.98e-6).
    """
    done = place + 1 - constant
    return SHAPES[shape](done / (decay + 1)) if done > 0 else 1.0


@dataclass(frozen=True)
class Plan:
    """How long to train and at which rates, in steps."""

    schedule: ScheduleConfig
    steps_per_epoch: int

    @property
    def unit(self) -> int:
        """Steps in a unit of the schedule."""
        return self.steps_per_epoch if self.schedule.unit == "epochs" else 1

    @property
    def total_steps(self) -> int:
        return (self.schedule.constant + self.schedule.decay) * self.unit

    def factor(self, step: int) -> float:
        """What the learning rates are multiplied by in a step, counted from 0."""
        schedule = self.schedule
        return constant_then_decay(step // self.unit, schedule.constant, schedule.decay, schedule.shape)
