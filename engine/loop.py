"""The only training loop: it moves the players of a method, saves, logs, and stops when asked.

Every draw of step k comes from torch's generator seeded with (seed, k), every picture from (seed, position), so
a run that was killed and resumed is, on the CPU, the same run to the bit.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from data.batch import Batch, LabelledBatch
from engine.best import BestKeeper
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
from engine.exits import DONE, STOPPED, UserError, is_for_user
from engine.logger import Logger
from engine.meter import Meter
from engine.progress import progress, say
from engine.run_folder import RunError, RunFolder
from engine.schedule import Plan
from engine.schema import Config
from engine.signals import StopRequest
from models.method import Examination, Learner, Turn

AnyBatch = Batch | LabelledBatch
Measure = Callable[[], Mapping[str, float]]
FAILED_SAVES = 3  # so many in a row end the run


class TrainingError(UserError):
    """Training cannot go on; the message says at which step, why, and what to change."""


def fit(
    method: Learner,
    read: Callable[[int, int], Iterator[AnyBatch]],
    samples: AnyBatch,
    plan: Plan,
    run: RunFolder,
    measure: Measure | None = None,
    higher_is_better: bool = False,
) -> int:
    """Train `method` (on its device already) from the newest checkpoint of the run to the end of the plan.

    Args:
        read: (first step, step after the last) -> the batches of those steps.
        samples: the held-out pictures of every sample sheet.
        measure: what the method's weights of the moment score, by metric; called every `eval.every` steps and at the
            last one. It must leave the weights and torch's global generator as they are.
        higher_is_better: of the scores of `checkpoints.keep_best`.

    Returns the exit code: DONE, or STOPPED after a signal and a good save.
    """
    remove_leftovers(run.checkpoints)
    step, recorded = restore(method, run)
    best = BestKeeper(run.checkpoints, run.config.checkpoints.keep_best, higher_is_better, run.config.eval.pictures)
    best.resume(recorded)
    if step >= plan.total_steps:
        say(f"{run.path} is finished: {step} of {plan.total_steps} steps are done")
        return DONE
    run.start()
    logger = Logger(run.path, run.config.log, to_dict(run.config) | {"described": method.described}, step)
    if method.described:
        logger.event(step, method.described)
    try:
        with StopRequest() as stop:
            trainer = _Trainer(method, plan, run, logger, stop, measure, best)
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


def restore(method: Learner, run: RunFolder) -> tuple[int, dict | None]:
    """Load the newest good checkpoint of the run, if there is one; returns the steps done, and what it records as the
    best of them."""
    for optimizer in method.optimizers.values():
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    state, problems = newest_checkpoint(run.checkpoints)
    if state is None and problems:
        raise CheckpointError(f"{'; '.join(problems.values())}. No good one is left: choose another run=")
    if state is None:
        return 0, None
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
    return state["step"], state.get("best")


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
    def __init__(
        self,
        method: Learner,
        plan: Plan,
        run: RunFolder,
        logger: Logger,
        stop: StopRequest,
        measure: Measure | None,
        best: BestKeeper,
    ):
        self.method = method
        self.plan = plan
        self.run = run
        self.config: Config = run.config
        self.logger = logger
        self.stop = stop
        self.measure = measure
        self.best = best
        self.meter = Meter()
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
                # Before the save: a checkpoint of this step says that it has been evaluated, and how well it did.
                if self.measure and (done % self.config.eval.every == 0 or done == total):
                    self.evaluate(done)
                due = done % self.config.checkpoints.every == 0 or done == total
                if self.stop.signal or due or self.best.candidate:
                    self.save(done)
                if self.stop.signal:
                    self.logger.event(done, f"stopped by {self.stop.signal} at step {done}; the same command goes on")
                    self.run.set_status("stopped", done, STOPPED, self.stop.signal)
                    return STOPPED
        if self.bad_steps:
            raise TrainingError(f"the loss of the last step, {total}, is not finite; the last checkpoint is good")
        if self.best.metric:
            self.logger.event(total, self.best.told())
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

    @torch.no_grad()
    def evaluate(self, done: int) -> None:
        """Measure, and see whether this is the best so far. What goes wrong costs a row, not a run of days."""
        self.method.eval()
        try:
            values = self.measure()
        except Exception as error:
            reason = str(error) if is_for_user(error) else f"{type(error).__name__}: {error}"
            self.logger.event(done, f"step {done} is not evaluated: {reason}")
            return
        finally:
            self.method.train()
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        if strange := [name for name in values if name not in finite]:
            self.logger.event(done, f"step {done}: not finite: {', '.join(strange)}")
        is_best = not self.bad_steps and self.best.consider(done, finite)
        self.logger.evaluation(done, finite, f"the best {self.best.metric} so far" if is_best else "")

    def save(self, done: int) -> None:
        """Save, unless the last step was bad: weights that are not finite must not replace good ones."""
        if self.bad_steps:
            self.logger.event(done, f"step {done} is not saved: its loss was not finite")
            return
        keep = self.config.checkpoints
        try:
            save_checkpoint(self.run.checkpoints, done, self.state(done))
            self.keep_best(done)
            prune_checkpoints(self.run.checkpoints, keep.keep_last, keep.keep_every)
            self.run.set_status("running", done)
            self.failed_saves = 0
        except SaveError as error:
            self.best.give_up()
            self.failed_saves += 1
            self.logger.event(done, f"{error}; the earlier checkpoints are whole")
            if self.stop.signal or done == self.plan.total_steps or self.failed_saves >= FAILED_SAVES:
                raise TrainingError(f"{error}. Free some space, then give the same command again") from error

    def keep_best(self, done: int) -> None:
        try:
            self.best.keep()
        except SaveError as error:
            self.best.give_up()
            self.logger.event(done, f"{error}; the earlier best is whole")

    def state(self, done: int) -> dict:
        return {
            "config": to_dict(self.config),
            "method": self.method.state_dict(),
            "optimizers": {player: o.state_dict() for player, o in self.method.optimizers.items()},
            "described": self.method.described,
            "best": self.best.record(),
            "random": {"seed": self.config.seed, "step": done},
        }


def _out_of_memory() -> TrainingError:
    return TrainingError(
        "out of memory: lower train.batch_size, data.size (with data.load_size) or method.generator.channels"
    )
