"""A few steps of a run, to see what all of them will take: nothing is saved, and no folder is touched."""

from collections.abc import Iterator

from data.batch import AnyBatch
from engine.forecast import STEPS, Forecast, forecaster_of
from engine.progress import progress
from engine.schedule import Plan
from engine.schema import Config
from engine.step import Stepper


def rehearse(
    stepper: Stepper,
    plan: Plan,
    config: Config,
    batches: Iterator[AnyBatch],
    samples: AnyBatch,
) -> Forecast:
    """Play the first STEPS steps of a run that would begin now.

    Args:
        batches: of those steps, and of as many passes as a step has.
        samples: pictures of the training's size.
    """
    total = plan.total_steps
    forecaster = forecaster_of(stepper.method, config, stepper.share, stepper.device, 0, total, samples)
    batches = forecaster.watch(batches)
    with progress(min(STEPS, total), "step", "rehearse") as bar:
        for step in range(min(STEPS, total)):
            stepper.step(step, [next(batches) for _ in range(stepper.share.passes)], plan)
            bar.update()
            if forecast := forecaster.after(step + 1):
                return forecast
    raise AssertionError("a forecast is made at the end of the steps")
