"""A few steps of a run, to see what all of them will take: nothing is saved, and no folder is touched."""

from engine.forecast import STEPS, Forecast, forecaster_of
from engine.progress import progress
from engine.step import Stepper
from engine.training import Training


def rehearse(training: Training) -> Forecast:
    """Play the first STEPS steps of a run that would begin now."""
    total = training.plan.total_steps
    steps = min(STEPS, total)
    stepper, forecaster = Stepper(training), forecaster_of(training, 0, total)
    batches = forecaster.watch(training.read(training.plan, 0, steps))
    with progress(steps, "step", "rehearse") as bar:
        for step in range(steps):
            stepper.step(step, [next(batches) for _ in range(training.share.passes)], training.plan)
            bar.update()
            if forecast := forecaster.after(step + 1):
                return forecast
    raise AssertionError("a forecast is made at the end of the steps")
