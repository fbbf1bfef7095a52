"""What is trained, on what, by whom: all that the loop and its rehearsal are given."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from data.batch import AnyBatch, Share
from engine.distributed import ALONE, Team
from engine.schedule import Plan
from engine.schema import Config
from models.method import Learner


@dataclass(frozen=True)
class Training:
    """method: on its device already.
    read: (plan, first step, number of steps) -> the batches of those steps, as many a step as `share` has passes.
    samples: the held-out pictures of every sample sheet.
    share: of every step's whole batch, what this process takes.
    """

    method: Learner
    config: Config
    read: Callable[[Plan, int, int], Iterator[AnyBatch]]
    samples: AnyBatch
    plan: Plan
    share: Share
    device: torch.device
    team: Team = ALONE
