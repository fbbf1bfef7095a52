"""What held-out pictures say while training goes on: rows of the log, the best so far, and when it is time to end."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from engine.alarms import Alarms, Finding
from engine.best import BestKeeper
from engine.exits import is_for_user
from engine.logger import Logger, Silent
from engine.schema import EvalConfig
from engine.step import Stepper


class Measured(Protocol):
    """Scores by metric, and what is wrong with the pictures, perhaps."""

    scores: Mapping[str, float]
    findings: Sequence[Finding]


Measure = Callable[[], Measured]


@dataclass(frozen=True)
class Verdict:
    """Of an evaluation.

    is_best: its step is the best so far. worn_out: why training ends with it; "" if it goes on.
    """

    is_best: bool = False
    worn_out: str = ""


class Evaluations:
    """Those of a run, by the process that leads.

    Args:
        measure: of what the method's weights, or their average, make.
    """

    def __init__(
        self,
        measure: Measure,
        stepper: Stepper,
        best: BestKeeper,
        alarms: Alarms,
        logger: Logger | Silent,
        options: EvalConfig,
    ):
        self.measure = measure
        self.stepper = stepper
        self.best = best
        self.alarms = alarms
        self.logger = logger
        self.options = options

    def evaluate(self, done: int, is_good: bool) -> Verdict:
        """After a step: measure, log, compare.

        Args:
            is_good: the weights of the step can be saved. Others are never the best, nor where training ends.
        """
        values = self._measured(done)
        is_best = is_good and values is not None and self.best.consider(done, values)
        if values is not None:
            self.logger.evaluation(done, values, f"the best {self.best.metric} so far" if is_best else "")
        worn_out = self.best.worn_out(done, self.options) if is_good and not is_best else ""
        return Verdict(is_best, worn_out)

    @torch.no_grad()
    def _measured(self, done: int) -> dict[str, float] | None:
        """The finite values; None if the evaluation failed, which costs a row, not a run of days."""
        method = self.stepper.method
        method.eval()
        try:
            with self.stepper.average.applied():
                measured = self.measure()
        except Exception as error:
            reason = str(error) if is_for_user(error) else f"{type(error).__name__}: {error}"
            self.logger.event(done, f"step {done} is not evaluated: {reason}")
            return None
        finally:
            method.train()
        self._warn(done, measured.findings)
        finite = {name: value for name, value in measured.scores.items() if math.isfinite(value)}
        if strange := [name for name in measured.scores if name not in finite]:
            self.logger.event(done, f"step {done}: not finite: {', '.join(strange)}")
        return finite

    def _warn(self, done: int, findings: Sequence[Finding]) -> None:
        if findings:
            self.logger.row(done, {f"watch/{found.key}": round(found.value, 5) for found in findings})
        for line in self.alarms.hear_findings(findings):
            self.logger.event(done, line)
