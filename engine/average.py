"""The running average of a method's weights, which translates better than the weights of any moment
(Karras et al., ICLR 2018, arXiv 1710.10196, Sec. 4; Yaz et al., ICLR 2019, arXiv 1806.04498)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from engine.exits import UserError
from models.method import Learner


class WeightAverage:
    """An exponential moving average of the networks that translate (`Learner.averaged`).

    decay: of every step; 0 keeps none. In the first steps less of it holds, lest the first weights stay for long.
    """

    def __init__(self, method: Learner, decay: float):
        if decay and not method.averaged:
            raise UserError(f"train.ema = {decay}: this method has no network whose average is of use; leave it out")
        self.decay = decay
        self.weights = dict(_weights(method)) if decay else {}
        self.averages = {name: weight.detach().clone() for name, weight in self.weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights as they are after a step, counted from 0."""
        if self.decay:
            decay = min(self.decay, (1 + step) / (10 + step))
            get_ema_multi_avg_fn(decay)(list(self.averages.values()), list(self.weights.values()), None)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The method translates by its averages."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Tensor]:
        """The averages under the weights' names in the method's state_dict; {} without any."""
        return dict(self.averages)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        for name, average in self.averages.items():
            average.copy_(state[name])

    def _swap(self) -> None:
        for name, weight in self.weights.items():
            weight.data, self.averages[name] = self.averages[name], weight.data


def _weights(method: Learner) -> Iterator[tuple[str, Tensor]]:
    for network in method.averaged:
        for name, weight in getattr(method, network).named_parameters():
            yield f"{network}.{name}", weight
