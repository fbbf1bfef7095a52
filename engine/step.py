"""One step of training: the turns of a method, and each player moved down its loss.

Nothing here waits for the device. Whether a loss was finite is known there first: a flag, the same in all processes,
keeps the optimizers from moving anybody, and the meter reads it when the log is written.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from data.batch import AnyBatch
from engine.accelerate import Accelerated
from engine.average import WeightAverage
from engine.meter import Meter
from engine.optimizers import fuse, rate_scale, set_learning_rates, weights_of
from engine.schedule import Plan
from engine.training import Training
from models.method import Turn


class Stepper:
    """Plays steps.

    meter, average: what the steps found; the running average of the weights. rates: of the last step, by player, and
    by group where an optimizer's groups have names.
    """

    def __init__(self, training: Training):
        options = training.config.train
        self.method = training.method
        self.seed = training.config.seed
        self.share = training.share
        self.device = training.device
        self.team = training.team
        self.clip_norm = options.clip_norm
        self.scale = rate_scale(options.rate_rule, self.share.whole, options.rate_batch)
        self.meter = Meter(self.team)
        self.accelerated = Accelerated(self.method, options, self.device, self.team)
        self.average = WeightAverage(self.method, options.ema)  # after it, which changes how weights lie in memory
        self.rates: dict[str, float] = {}
        for optimizer in self.method.optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
            fuse(optimizer)

    def load_optimizers(self, states: dict[str, dict]) -> None:
        for player, optimizer in self.method.optimizers.items():
            optimizer.load_state_dict(states[player])
            fuse(optimizer)
            for weight, state in optimizer.state.items():
                for key, value in state.items():  # as it lies in memory, which may not be as it lay
                    if torch.is_tensor(value) and value.shape == weight.shape:
                        state[key] = torch.empty_like(weight).copy_(value)

    def step(self, step: int, batches: Sequence[AnyBatch], plan: Plan) -> None:
        """All turns of a step, counted from 0.

        Args:
            batches: this process's, one for each pass.
        """
        self.rates = set_learning_rates(self.method, self.scale * plan.factor(step))
        decaying = step >= plan.decay_step
        places = [self.share.places(number, self.seed, step, decaying) for number in range(len(batches))]
        placed = [replace(batch, places=own) for batch, own in zip(batches, places, strict=True)]
        names = tuple(name for batch in batches for name in batch.names)
        bad = torch.zeros((), device=self.device)
        with self.accelerated.active():
            games = [self.method.turns(batch) for batch in placed]
            number = 0
            while turns := self._play(games, step, number):
                bad = self._move(turns, step, names, bad)
                number += 1
        self.average.update(step)
        self.meter.count(self.share.whole)

    def _play(self, games: Sequence[Iterator[Turn]], step: int, number: int) -> list[Turn]:
        """The turn of this number of every pass, differentiated; [] when the step is over. Gradients are those of the
        mean."""
        turns: list[Turn] = []
        for i, game in enumerate(games):
            with nullcontext() if i == len(games) - 1 else self.accelerated.apart():
                seed_step(self.seed, step, number, self.share.rank * len(games) + i)
                turn = next(game, None)
                if turn is None:
                    continue
                optimizer = self.method.optimizers[turn.player]
                if not turns:
                    optimizer.zero_grad(set_to_none=True)
                (turn.loss / len(games)).backward(inputs=weights_of(optimizer))
                turns.append(turn)
        return turns

    def _move(self, turns: Sequence[Turn], step: int, names: tuple[str, ...], bad: Tensor) -> Tensor:
        """Move the turns' player, unless this or an earlier turn of the step was bad in any process: returned as 1."""
        player = turns[0].player
        optimizer = self.method.optimizers[player]
        report = {key: torch.stack([turn.report[key].detach() for turn in turns]).mean() for key in turns[0].report}
        loss = torch.stack([turn.loss.detach() for turn in turns]).sum()
        gradients = [weight.grad for weight in weights_of(optimizer) if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        bad = self.team.maximum_(torch.maximum(bad, (~(loss.isfinite() & norm.isfinite())).float()))
        if self.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(weights_of(optimizer), self.clip_norm, norm)
        optimizer.grad_scale, optimizer.found_inf = None, bad  # how fused optimizers are told not to move
        optimizer.step()
        self.meter.add(step, player, names, report, norm, bad)
        return bad


def seed_step(seed: int, step: int, turn: int = 0, share: int = 0) -> None:
    """Make every draw of a turn a function of (seed, step, turn), and of which share of the batch it is for."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, turn, share]).generate_state(1, np.uint64)[0]))
