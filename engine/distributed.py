"""Processes that share one job (the door to torch.distributed): those that torchrun starts, or one alone."""

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

Item = TypeVar("Item")
Found = TypeVar("Found")


def _one_by_one(work: Callable[[Item], Found], own: Sequence[Item]) -> list[Found]:
    return [work(item) for item in own]


@dataclass(frozen=True)
class Team:
    """This process among those that do the job. What is shared goes through the CPU, whatever the device."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """True in the one process that writes and talks."""
        return self.rank == 0

    def map(
        self,
        work: Callable[[Item], Found],
        items: Sequence[Item],
        run: Callable[[Callable[[Item], Found], Sequence[Item]], Sequence[Found]] = _one_by_one,
    ) -> list[Found]:
        """[work(item) for item in items], each item done by one process, known to all, in order. Whatever their number,
        the items are the same, and so are the results.

        Args:
            run: does a process's own items, for example in threads.
        """
        shares = self._all(lambda: list(run(work, items[self.rank :: self.size])))
        return [shares[i % self.size][i // self.size] for i in range(len(items))]

    def once(self, compute: Callable[[], Found]) -> Found:
        """What the first process computes, known to all."""
        return self._all(lambda: compute() if self.leads else None)[0]

    def agree(self, attempt: Callable[[], Found]) -> Found:
        """attempt() of this process, if it succeeds in all of them."""
        own = []
        self._all(lambda: own.append(attempt()))
        return own[0]

    def _all(self, compute: Callable[[], Any]) -> list[Any]:
        """Of every process, by rank. The error of one is raised by all, so that none waits for ever."""
        if self.size == 1:
            return [compute()]
        found, error = None, None
        try:
            found = compute()
        except Exception as caught:
            error = caught
            error.add_note(f"in process {self.rank}:\n{traceback.format_exc()}")
        outcomes: list[Any] = [None] * self.size
        dist.all_gather_object(outcomes, (found, error))
        for _, failed in outcomes:
            if failed is not None:
                raise failed
        return [each for each, _ in outcomes]


ALONE = Team()


@contextmanager
def join_team() -> Iterator[Team]:
    """The processes of torchrun, or this one alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    # They meet only when all have done their share, and pictures that are optimised take their time.
    dist.init_process_group("gloo", timeout=timedelta(days=2))
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
