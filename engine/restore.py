"""What a checkpoint of a run holds, and a run brought back to it, by as many processes as before or not."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.checkpoint import CheckpointError, newest_checkpoint, set_aside
from engine.config import to_dict
from engine.distributed import Team
from engine.progress import say
from engine.run_folder import RunError, RunFolder
from engine.schedule import Plan
from engine.schema import Config
from engine.step import Stepper
from models.method import Learner

EXTRA = "_extra_state"  # torch's name for what a module keeps besides tensors


def state_of(stepper: Stepper, plan: Plan, config: Config, done: int, best: dict | None) -> dict:
    """Everything needed to be the same run (engine/checkpoint.py lists it). All processes call it together."""
    return {
        "config": to_dict(config),
        "method": _gathered(stepper.method, stepper.team),
        "average": stepper.average.state_dict(),
        "optimizers": {player: optimizer.state_dict() for player, optimizer in stepper.method.optimizers.items()},
        "described": stepper.method.described,
        "best": best,
        "plan": plan.record() | {"processes": stepper.team.size},
        "random": {"seed": config.seed, "step": done},
    }


def restore(stepper: Stepper, plan: Plan, run: RunFolder) -> tuple[int, Plan, dict | None]:
    """Load the newest good checkpoint of the run, if there is one; returns the steps done, the plan from there on, and
    what the checkpoint records as the best of them."""
    method, team = stepper.method, stepper.team
    state, problems = team.agree(lambda: newest_checkpoint(run.checkpoints))
    if len(set(team.all(state and state["step"]))) > 1:
        raise RunError(f"run = {run.path}: not all processes see the same checkpoints; they must share this folder")
    if state is None and problems:
        raise CheckpointError(f"{'; '.join(problems.values())}. No good one is left: choose another run=")
    if state is None:
        return 0, plan, None
    for problem in problems.values():
        say(f"passed over: {problem}")
    team.once(lambda: _set_aside_all(problems))
    before, step = state["plan"], state["step"]
    _check_batch(before, plan, team, run)
    for key, (then, now) in run.check_same_run(state["config"]).items():
        say(f"changed since the checkpoint: {key}: {then} -> {now}")
    if (then := state.get("described", method.described)) != method.described:
        raise RunError(f"run = {run.path} began with {then}; now it is {method.described}. Choose another run=")
    method.load_state_dict(state["method"])
    stepper.average.load_state_dict(state["average"])
    stepper.load_optimizers(state["optimizers"])
    say(f"resuming {run.path} at step {step}")
    return step, plan.resume(step, before), state["best"]


def _set_aside_all(paths: Iterable[Path]) -> None:
    for path in paths:
        set_aside(path)


def _check_batch(before: Mapping, plan: Plan, team: Team, run: RunFolder) -> None:
    """Another whole batch is another run, unless there are other processes to make it: a cluster gives what it has."""
    processes = f"{before['processes']} -> {team.size} processes"
    then, now = before["whole_batch"], plan.whole_batch
    if then == now:
        if before["processes"] != team.size:
            say(f"{processes}, the same whole batch of {now}: the same run")
        return
    if before["processes"] == team.size:
        train = run.config.train
        raise RunError(
            f"run = {run.path} was trained with another configuration: train.batch_size was {then} in all, is {now} "
            f"({train.batch_size} x {train.accumulate} accumulated x {team.size} processes). Choose another run="
        )
    say(
        f"{processes}, and a whole batch of {then} -> {now}: the run goes on with the pictures that come next, but it "
        f"is another run from here; train.batch_size x train.accumulate x processes = {then} would keep it the same"
    )


def _gathered(method: Learner, team: Team) -> dict:
    """The method's state_dict, and in it what each process keeps for itself, put together."""
    state = method.state_dict()
    for name, module in method.named_modules():
        if hasattr(module, "merge_extra_states") and team.size > 1:
            key = f"{name}.{EXTRA}" if name else EXTRA
            others = team.all(None if team.leads else module.own_extra_state())[1:]
            state[key] = module.merge_extra_states([state[key], *others]) if team.leads else state[key]
    return state
