"""How long to train, and learning-rate factors: what the initial rate is multiplied by."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from data.batch import Share
from engine.schema import ScheduleConfig

ROUNDING = 1e-6  # of an epoch

# By the share of the decay that is over, in (0, 1).
SHAPES = {
    "linear": lambda over: 1.0 - over,
    "cosine": lambda over: 0.5 + 0.5 * math.cos(math.pi * over),  # Loshchilov and Hutter 2017, one half wave
    # AdaIN's reference code: 1 / (1 + 5e-5 i) at step i of 160,000.
    "inverse": lambda over: 1.0 / (1.0 + 8.0 * over),
}


def warm_up(place: int, warmup: int) -> float:
    """Up to 1 in a straight line (Goyal et al. 2017): unit k of w, counted from 1, has k / (w + 1), so that the first
    one moves, and the one after the last is the first at the full rate. `place` counts units from 0."""
    return min(1.0, (place + 1) / (warmup + 1))


def constant_then_decay(place: int, constant: int, decay: int, shape: str = "linear") -> float:
    """1 for the first `constant` units, then down over `decay` units in one of SHAPES.

    `place` counts units (epochs or steps) from 0. The last unit still moves: a linear factor would reach 0 one unit
    after the end, as in CycleGAN's reference code (epochs 101, 150, 200 of 100 + 100 at 2e-4 train at
    1.9802e-4, 1.0099e-4, 1.98e-6).
    """
    done = place + 1 - constant
    return SHAPES[shape](done / (decay + 1)) if done > 0 else 1.0


@dataclass(frozen=True)
class Origin:
    """Since when the whole batch has had its size: the step, and the items and epochs that were over then."""

    step: int = 0
    item: int = 0
    epochs: float = 0.0


@dataclass(frozen=True)
class Plan:
    """How long to train and at which rates, in steps of all processes together.

    whole_batch: pictures of a step; items_per_epoch: of the larger domain. An epoch's last step is filled up from the
    next epoch.
    """

    schedule: ScheduleConfig
    items_per_epoch: int
    whole_batch: int = 1
    origin: Origin = Origin()

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.items_per_epoch // self.whole_batch)

    @property
    def total_steps(self) -> int:
        units = self.schedule.constant + self.schedule.decay
        if self.schedule.unit == "steps":
            return units
        return self.origin.step + max(0, math.ceil((units - self.origin.epochs) * self.steps_per_epoch - ROUNDING))

    @property
    def decay_step(self) -> int:
        """The first step of the decay: `total_steps` if there is none, before the origin if it had begun by then."""
        constant = self.schedule.constant
        if self.schedule.unit == "steps":
            return constant
        return self.origin.step + math.ceil((constant - self.origin.epochs - ROUNDING) * self.steps_per_epoch)

    def item(self, step: int) -> int:
        """The first item of a step in the endless row of items."""
        return self.origin.item + (step - self.origin.step) * self.whole_batch

    def epochs(self, step: int) -> float:
        """How many are over when a step begins."""
        return self.origin.epochs + (step - self.origin.step) / self.steps_per_epoch

    def factor(self, step: int) -> float:
        """What the learning rates are multiplied by in a step, counted from 0."""
        schedule = self.schedule
        place = math.floor(self.epochs(step) + ROUNDING) if schedule.unit == "epochs" else step
        rising = warm_up(place, schedule.warmup)
        return rising * constant_then_decay(place, schedule.constant, schedule.decay, schedule.shape)

    def describe(self, share: Share) -> list[str]:
        """What is easily mistaken where several pictures make a step."""
        lines = []
        if self.whole_batch > share.batch_size:
            parts = f"{share.batch_size} at once x {share.passes} accumulated x {share.count} processes"
            lines.append(f"whole batch: {self.whole_batch} = {parts}")
        if self.whole_batch > 1 and self.schedule.unit == "epochs":
            lines.append(
                f"an epoch is {self.steps_per_epoch:,} steps, the run {self.total_steps:,}: quality follows the number "
                "of steps more than that of pictures; more epochs (schedule.constant, schedule.decay), or higher rates "
                "(train.rate_rule=sqrt), make up for it"
            )
        return lines

    def record(self) -> dict:
        """What a checkpoint keeps, for `resume`."""
        return {"whole_batch": self.whole_batch, "origin": asdict(self.origin)}

    def resume(self, step: int, recorded: Mapping) -> "Plan":
        """This plan from `step` on, after one that was recorded: with the same whole batch it goes on with the same
        pictures; with another one, with the pictures that come next, and the epochs that are over stay over."""
        before = replace(self, whole_batch=recorded["whole_batch"], origin=Origin(**recorded["origin"]))
        if before.whole_batch == self.whole_batch:
            return before
        return replace(self, origin=Origin(step, before.item(step), before.epochs(step)))
