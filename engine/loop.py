"""The only training loop: it moves the players of a method, saves, logs, and stops when asked.

Every draw of step k comes from torch's generator seeded with (seed, k), every picture from (seed, position), so
a run that was killed and resumed is, on the CPU, the same run to the bit.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.batch import Batch, LabelledBatch
from engine.checkpoint import (
    CheckpointError,
    SaveError,
    newest_checkpoint,
    prune_checkpoints,
    remove_leftovers,
    save_checkpoint,
    set_aside,
)
from engine.config import to_dict
from engine.exits import DONE, STOPPED, UserError
from engine.logger import Logger
from engine.progress import progress, say
from engine.run_folder import RunError, RunFolder
from engine.schedule import constant_then_decay
from engine.schema import Config, ScheduleConfig
from engine.signals import StopRequest
from models.method import Examination, Learner, Turn

AnyBatch = Batch | LabelledBatch
FAILED_SAVES = 3  # so many in a row end the run


class TrainingError(UserError):
    """Training cannot go on; the message says at which step, why, and what to change."""


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


def fit(
    method: Learner,
    read: Callable[[int, int], Iterator[AnyBatch]],
    samples: AnyBatch,
    plan: Plan,
    run: RunFolder,
) -> int:
    """Train `method` (on its device already) from the newest checkpoint of the run to the end of the plan.

    Args:
        read: (first step, step after the last) -> the batches of those steps.
        samples: the held-out pictures of every sample sheet.

    Returns the exit code: DONE, or STOPPED after a signal and a good save.
    """
    remove_leftovers(run.checkpoints)
    step = restore(method, run)
    if step >= plan.total_steps:
        say(f"{run.path} is finished: {step} of {plan.total_steps} steps are done")
        return DONE
    run.start()
    logger = Logger(run.path, run.config.log, to_dict(run.config) | {"described": method.described}, step)
    if method.described:
        logger.event(step, method.described)
    try:
        with StopRequest() as stop:
            trainer = _Trainer(method, plan, run, logger, stop)
            code = trainer.train(step, read(step, plan.total_steps), samples)
    except torch.OutOfMemoryError as error:
        raise _out_of_memory() from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):  # what the CPU says
            raise _out_of_memory() from error
        raise
    finally:
        logger.close()
    return code


def restore(method: Learner, run: RunFolder) -> int:
    """Load the newest good checkpoint of the run, if there is one; returns the steps done."""
    for optimizer in method.optimizers.values():
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    state, problems = newest_checkpoint(run.checkpoints)
    if state is None and problems:
        raise CheckpointError(f"{'; '.join(problems.values())}. No good one is left: choose another run=")
    if state is None:
        return 0
    for path, problem in problems.items():
        say(f"passed over: {problem}")
        set_aside(path)
    for key, (then, now) in run.check_same_run(state["config"]).items():
        say(f"changed since the checkpoint: {key}: {then} -> {now}")
    if (then := state.get("described", method.described)) != method.described:
        raise RunError(f"run = {run.path} began with {then}; now it is {method.described}. Choose another run=")
    method.load_state_dict(state["method"])
    for player, optimizer in method.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][player])
    say(f"resuming {run.path} at step {state['step']}")
    return state["step"]


def move(method: Learner, turn: Turn) -> None:
    """Move one player down its loss; no other weight gets so much as a gradient."""
    optimizer = method.optimizers[turn.player]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    optimizer.zero_grad(set_to_none=True)
    turn.loss.backward(inputs=weights)
    optimizer.step()


def set_learning_rates(method: Learner, factor: float) -> dict[str, float]:
    """Set every player's rate to its initial one times `factor`; returns the rates by player, and by group where an
    optimizer's groups have names."""
    rates = {}
    for player, optimizer in method.optimizers.items():
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
            rates[f"{player}/{group['name']}" if "name" in group else player] = group["lr"]
    return rates


def seed_step(seed: int, step: int) -> None:
    """Make every draw of this step a function of (seed, step)."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]))


class _Trainer:
    def __init__(self, method: Learner, plan: Plan, run: RunFolder, logger: Logger, stop: StopRequest):
        self.method = method
        self.plan = plan
        self.run = run
        self.config: Config = run.config
        self.logger = logger
        self.stop = stop
        self.meter = _Meter()
        self.bad_steps = 0
        self.failed_saves = 0
        self.replaced = 0  # pictures, since this start

    def train(self, first: int, batches: Iterator[AnyBatch], samples: AnyBatch) -> int:
        """Do steps first, first + 1, ... until the plan's end or a signal."""
        total = self.plan.total_steps
        self.run.set_status("running", first)
        with progress(total, "step", f"train {self.run.path.name}", done=first) as bar:
            for step, batch in zip(range(first, total), batches, strict=True):
                self.step(step, batch)
                done = step + 1
                bar.update()
                if done % self.config.log.every == 0 or done == total:
                    bar.set_postfix_str(self.log(done), refresh=False)
                if done % self.config.log.pictures_every == 0 or done == total:
                    self.logger.examination(done, self.examine(samples))
                if self.stop.signal or done % self.config.checkpoints.every == 0 or done == total:
                    self.save(done)
                if self.stop.signal:
                    self.logger.event(done, f"stopped by {self.stop.signal} at step {done}; the same command goes on")
                    self.run.set_status("stopped", done, STOPPED, self.stop.signal)
                    return STOPPED
        if self.bad_steps:
            raise TrainingError(f"the loss of the last step, {total}, is not finite; the last checkpoint is good")
        self.run.finish(total)
        return DONE

    def step(self, step: int, batch: AnyBatch) -> None:
        """All turns of one step. A loss that is not finite does not move its player and ends the step."""
        for line in batch.unreadable:
            self.replaced += 1
            self.logger.event(step + 1, f"replaced a picture that could not be read (no. {self.replaced}): {line}")
        seed_step(self.config.seed, step)
        self.rates = set_learning_rates(self.method, self.plan.factor(step))
        for turn in self.method.turns(batch):
            if not torch.isfinite(turn.loss):
                return self.skip(step, turn, batch)
            move(self.method, turn)
            self.meter.add(turn.report)
        self.bad_steps = 0
        self.meter.count(len(batch))

    def skip(self, step: int, turn: Turn, batch: AnyBatch) -> None:
        self.bad_steps += 1
        terms = [name for name, value in turn.report.items() if not torch.isfinite(value)] or ["their sum"]
        files = ", ".join(batch.names)
        problem = f"step {step + 1}: the loss of the {turn.player} is not finite ({', '.join(terms)}; pictures {files})"
        self.logger.event(step + 1, f"{problem}: skipped")
        if self.bad_steps >= self.config.train.max_bad_steps:
            raise TrainingError(
                f"{problem}, and so were the {self.bad_steps - 1} steps before it. The last checkpoint is good; "
                "lower method.learning_rate in a new run"
            )

    def log(self, done: int) -> str:
        """Write a row; returns the losses for the bar."""
        losses, speed = self.meter.read()
        row = {f"loss/{name}": value for name, value in losses.items()}
        row |= {f"learning_rate/{player}": rate for player, rate in self.rates.items()}
        row |= {f"speed/{name}": value for name, value in speed.items()}
        row |= {"data/replaced": self.replaced} if self.replaced else {}
        self.logger.row(done, row | {"epoch": round(done / self.plan.steps_per_epoch, 3)})
        return " ".join(f"{name} {value:.3f}" for name, value in losses.items())

    @torch.no_grad()
    def examine(self, samples: AnyBatch) -> Examination:
        self.method.eval()
        found = self.method.examine(samples)
        self.method.train()
        return found

    def save(self, done: int) -> None:
        """Save, unless the last step was bad: weights that are not finite must not replace good ones."""
        if self.bad_steps:
            self.logger.event(done, f"step {done} is not saved: its loss was not finite")
            return
        keep = self.config.checkpoints
        try:
            save_checkpoint(self.run.checkpoints, done, self.state(done))
            prune_checkpoints(self.run.checkpoints, keep.keep_last, keep.keep_every)
            self.run.set_status("running", done)
            self.failed_saves = 0
        except SaveError as error:
            self.failed_saves += 1
            self.logger.event(done, f"{error}; the earlier checkpoints are whole")
            if self.stop.signal or done == self.plan.total_steps or self.failed_saves >= FAILED_SAVES:
                raise TrainingError(f"{error}. Free some space, then give the same command again") from error

    def state(self, done: int) -> dict:
        return {
            "config": to_dict(self.config),
            "method": self.method.state_dict(),
            "optimizers": {player: o.state_dict() for player, o in self.method.optimizers.items()},
            "described": self.method.described,
            "random": {"seed": self.config.seed, "step": done},
        }


class _Meter:
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


def _out_of_memory() -> TrainingError:
    return TrainingError(
        "out of memory: lower train.batch_size, data.size (with data.load_size) or method.generator.channels"
    )
