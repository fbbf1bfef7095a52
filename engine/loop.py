"""The only training loop: it plays the steps of a method, saves, logs, and stops when asked.

Every draw of step k is a function of (seed, k), every picture of (seed, position), so a run that was killed and resumed
is, on the CPU, the same run to the bit; and the same run to rounding, whatever the number of processes.
"""

from collections.abc import Iterator, Mapping

import torch

from data.batch import AnyBatch
from engine.alarms import Alarms
from engine.best import BestKeeper
from engine.checkpoint import SaveError, prune_checkpoints, remove_leftovers, save_checkpoint
from engine.config import to_dict
from engine.distributed import Team, Vote
from engine.evaluation import Evaluations, Measure, Verdict
from engine.exits import DONE, STOPPED, UserError
from engine.forecast import Forecast, forecaster_of
from engine.logger import Logger, Silent
from engine.meter import Trouble
from engine.progress import progress, say
from engine.restore import restore, state_of
from engine.run_folder import RunFolder
from engine.schedule import Plan
from engine.signals import StopRequest
from engine.step import Stepper
from engine.trace import VIEWER, Trace
from engine.training import Training
from models.method import Examination

FAILED_SAVES = 3  # so many in a row end the run


class TrainingError(UserError):
    """Training cannot go on; the message says at which step, why, and what to change."""


def fit(
    training: Training,
    run: RunFolder,
    advice: Mapping[str, str],
    measure: Measure | None = None,
    higher_is_better: bool = False,
) -> int:
    """Train from the newest checkpoint of the run to the end of the plan.

    Args:
        advice: what is said of an ill, by its name, when it begins (engine/alarms.py).
        measure: of what the method's weights, or their average, make; called every `eval.every` steps and at the last
            one, by the first process. It must leave the weights and torch's global generator as they are.
        higher_is_better: of the scores of `checkpoints.keep_best`.

    Returns the exit code: DONE, or STOPPED after a signal and a good save.
    """
    method, team = training.method, training.team
    if team.leads:
        remove_leftovers(run.checkpoints)
    stepper = Stepper(training)
    step, plan, recorded = restore(stepper, training.plan, run)
    best = BestKeeper(run.checkpoints, run.config.checkpoints.keep_best, higher_is_better, run.config.eval.pictures)
    team.once(lambda: best.resume(recorded))
    if _is_finished(step, plan.total_steps, run, best, team):
        return DONE

    def begin() -> Logger | Silent:
        run.start()
        told = to_dict(run.config) | {"described": method.described}
        return Logger(run.path, run.config.log, told, step) if team.leads else Silent()

    logger = team.agree(begin)
    if method.described:
        logger.event(step, method.described)
    try:
        with StopRequest(team.size > 1) as stop:
            alarms = Alarms(method.games, run.config.log.every, advice)
            trainer = _Trainer(training, stepper, plan, run, logger, stop, measure, best, alarms)
            return trainer.train(step, training.read(plan, step, plan.total_steps - step))
    finally:
        logger.close()


def _is_finished(step: int, total: int, run: RunFolder, best: BestKeeper, team: Team) -> bool:
    """Whether nothing is left to do, which is said."""
    worn_out = "" if step >= total else team.once(lambda: best.worn_out(step, run.config.eval))
    if step < total and not worn_out:
        return False
    told = (
        team.once(lambda: best.told_early(worn_out, step, total)) if worn_out else f"{step} of {total} steps are done"
    )
    say(f"{run.path} is finished: {told}")
    run.finish(step, worn_out)  # a process may have been killed between its last save and this
    return True


class _Trainer:
    def __init__(
        self,
        training: Training,
        stepper: Stepper,
        plan: Plan,
        run: RunFolder,
        logger: Logger | Silent,
        stop: StopRequest,
        measure: Measure | None,
        best: BestKeeper,
        alarms: Alarms,
    ):
        self.training = training
        self.method, self.team = training.method, training.team
        self.stepper = stepper
        self.plan = plan
        self.run = run
        self.config = run.config
        self.logger = logger
        self.stop = stop
        self.best = best
        self.alarms = alarms
        self.evaluations = measure and Evaluations(measure, stepper, best, alarms, logger, run.config.eval)
        self.bad_steps = 0
        self.failed_saves = 0
        self.unreadable: list[str] = []  # what is not logged yet
        self.replaced = 0  # pictures, of all processes, since this start

    def train(self, first: int, batches: Iterator[AnyBatch]) -> int:
        """Do steps first, first + 1, ... until the plan's end, a signal, or no better evaluation for too long."""
        total, log = self.plan.total_steps, self.config.log
        self.run.set_status("running", first)
        vote = Vote(self.team)
        forecaster = forecaster_of(self.training, first, total)
        batches = forecaster.watch(batches)
        bar = progress(total, "step", f"train {self.run.path.name}", done=first)
        wanted = self.config.train.profile and self.team.leads
        trace = Trace(self.run.path / "profile", first, total, wanted)
        worn_out = ""
        with bar, trace:
            for step in range(first, total):
                self.stepper.step(step, self.take(step, batches), self.plan)
                done = step + 1
                bar.update()
                if path := trace.step():
                    self.logger.event(done, f"trace of ten steps: {path} (open it at {VIEWER})")
                stopped = vote.ask(bool(self.stop.signal))
                if forecast := forecaster.after(done):
                    self.tell(done, forecast)
                if done % log.every == 0 or done == total:
                    bar.set_postfix_str(self.log(done), refresh=False)
                if self.is_due(done, stopped):
                    with forecaster.aside():
                        worn_out = self.pause(done, stopped)
                if worn_out:
                    break
                if stopped:
                    return self.stopped(done, vote)
        vote.close()
        return self.finished(done, worn_out)

    def is_due(self, done: int, stopped: bool) -> bool:
        """Whether anything is to be done besides training; asked after every step, it costs nothing."""
        intervals = [self.config.log.pictures_every, self.config.checkpoints.every]
        intervals += [self.config.eval.every] if self.evaluations else []
        return stopped or done == self.plan.total_steps or any(done % every == 0 for every in intervals)

    def pause(self, done: int, stopped: bool) -> str:
        """What is due besides training after a step: an evaluation, samples, a checkpoint. Returns why training ends
        early; "" if it goes on."""
        is_last, log, keep = done == self.plan.total_steps, self.config.log, self.config.checkpoints
        early = ""
        # Before the save: a checkpoint of this step says that it has been evaluated, and how well it did.
        verdict = Verdict()
        if self.evaluations and (done % self.config.eval.every == 0 or is_last):
            self.settle(done)
            verdict = self.team.once(lambda: self.evaluations.evaluate(done, is_good=not self.bad_steps))
        if verdict.worn_out and not is_last:
            early, is_last = verdict.worn_out, True
            if done % log.every:
                self.log(done)
        if done % log.pictures_every == 0 or is_last:
            self.examine(done)
        if stopped or verdict.is_best or done % keep.every == 0 or is_last:
            self.save(done, last=stopped or is_last)
        return early

    def tell(self, done: int, forecast: Forecast) -> None:
        for line in forecast.lines():
            self.logger.event(done, line)
        self.logger.row(done, forecast.row())

    def take(self, step: int, batches: Iterator[AnyBatch]) -> list[AnyBatch]:
        """This process's batches of a step."""
        taken = [next(batches) for _ in range(self.training.share.passes)]
        self.unreadable += [line for batch in taken for line in batch.unreadable]
        if self.team.size == 1:
            self.report_unreadable(step + 1)
        return taken

    def stopped(self, done: int, vote: Vote) -> int:
        vote.close()
        reason = self.stop.signal or "a signal to another process"
        self.logger.event(done, f"stopped by {reason} at step {done}; the same command goes on")
        self.run.set_status("stopped", done, STOPPED, reason)
        return STOPPED

    def finished(self, done: int, worn_out: str) -> int:
        if self.bad_steps:
            raise TrainingError(f"the loss of the last step, {done}, is not finite; the last checkpoint is good")
        if worn_out:
            self.logger.event(done, self.best.told_early(worn_out, done, self.plan.total_steps))
        elif self.best.metric:
            self.logger.event(done, self.best.told())
        self.run.finish(done, worn_out)
        return DONE

    def settle(self, done: int) -> None:
        """Hear of the steps whose losses were not finite; too many in a row end the run, in all processes."""
        if self.team.size > 1:
            self.unreadable = [line for lines in self.team.all(self.unreadable) for line in lines]
        self.report_unreadable(done)
        for trouble in self.stepper.meter.settle().values():
            self.bad_steps = self.bad_steps + 1 if trouble else 0
            if trouble:
                self.skipped(trouble)

    def report_unreadable(self, done: int) -> None:
        for line in self.unreadable:
            self.replaced += 1
            self.logger.event(done, f"replaced a picture that could not be read (no. {self.replaced}): {line}")
        self.unreadable = []

    def skipped(self, trouble: Trouble) -> None:
        self.logger.event(trouble.step + 1, f"{trouble}: skipped")
        if self.bad_steps >= self.config.train.max_bad_steps:
            raise TrainingError(
                f"{trouble}, and so were the {self.bad_steps - 1} steps before it. The last checkpoint is good; "
                "lower method.learning_rate in a new run"
            )

    def log(self, done: int) -> str:
        """Write a row; returns the losses for the bar."""
        self.settle(done)
        losses, norms, speed = self.stepper.meter.read()
        row = {f"loss/{name}": value for name, value in losses.items()}
        row |= {f"gradient_norm/{player}": value for player, value in norms.items()}
        row |= {f"learning_rate/{player}": rate for player, rate in self.stepper.rates.items()}
        row |= {f"speed/{name}": value for name, value in speed.items()}
        row |= {f"watch/{name}": round(share, 5) for name, share in self.alarms.shares(losses).items()}
        row |= {"data/replaced": self.replaced} if self.replaced else {}
        self.logger.row(done, row | {"epoch": round(self.plan.epochs(done), 3)})
        for line in self.alarms.hear_losses(losses):
            self.logger.event(done, line)
        return " ".join(f"{name} {value:.3f}" for name, value in losses.items())

    @torch.no_grad()
    def examine(self, done: int) -> None:
        if not self.team.leads:
            return
        self.method.eval()
        with self.stepper.average.applied():
            found: Examination = self.method.examine(self.training.samples)
        self.method.train()
        self.logger.examination(done, found)

    def save(self, done: int, last: bool) -> None:
        """Save, unless the last step was bad: weights that are not finite must not replace good ones. The first process
        writes; all of them hear how it went."""
        self.settle(done)
        if self.bad_steps:
            self.logger.event(done, f"step {done} is not saved: its loss was not finite")
            return
        state = state_of(self.stepper, self.plan, self.run.config, done, self.best.record())
        problem = self.team.once(lambda: self.write(done, state))
        self.failed_saves = self.failed_saves + 1 if problem else 0
        if problem and (last or self.failed_saves >= FAILED_SAVES):
            raise TrainingError(f"{problem}. Free some space, then give the same command again")

    def write(self, done: int, state: dict) -> str:
        """Returns what went wrong."""
        keep = self.config.checkpoints
        try:
            save_checkpoint(self.run.checkpoints, done, state)
            self.keep_best(done)
            prune_checkpoints(self.run.checkpoints, keep.keep_last, keep.keep_every)
            self.run.set_status("running", done)
        except SaveError as error:
            self.best.give_up()
            self.logger.event(done, f"{error}; the earlier checkpoints are whole")
            return str(error)
        return ""

    def keep_best(self, done: int) -> None:
        try:
            self.best.keep()
        except SaveError as error:
            self.best.give_up()
            self.logger.event(done, f"{error}; the earlier best is whole")
