"""Processes that share one job (the door to torch.distributed): those that torchrun starts, or one alone."""

import os
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from engine.exits import BUG, in_one_line, is_for_user
from engine.signals import end_undisturbed

# What a collective says when another process has gone; each backend has its own words.
GONE = ("connection closed by peer", "connection reset by peer", "broken pipe", "remote process", "remote error")

Item = TypeVar("Item")
Found = TypeVar("Found")


def _one_by_one(work: Callable[[Item], Found], own: Sequence[Item]) -> list[Found]:
    return [work(item) for item in own]


class TeamError(RuntimeError):
    """Another process of the team has failed or is gone."""

    exit_code = BUG


@dataclass(frozen=True)
class Team:
    """This process among those that do the job. Objects go through the CPU, whatever the device; tensors from device to
    device.

    store: where the processes leave notes for one another.
    """

    rank: int = 0
    size: int = 1
    store: dist.Store | None = None

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

    def all(self, value: Found) -> list[Found]:
        """The values of all processes, by rank, known to all."""
        return self._all(lambda: value)

    def average_(self, values: Tensor) -> Tensor:
        """The mean of all processes' values, in place."""
        return self._reduce(values, dist.ReduceOp.SUM).div_(self.size)

    def maximum_(self, values: Tensor) -> Tensor:
        """The largest of all processes' values, in place; the host does not wait for it."""
        return self._reduce(values, dist.ReduceOp.MAX)

    def _reduce(self, values: Tensor, operation: dist.ReduceOp) -> Tensor:
        if self.size > 1:
            dist.all_reduce(values, operation)
        return values

    def share_gradients(self, network: nn.Module) -> nn.Module:
        """`network` so that after backward every process holds the mean of all gradients. Its weights become those of
        the first process."""
        devices = [torch.cuda.current_device()] if next(network.parameters()).is_cuda else None
        with warnings.catch_warnings():
            # From torch 2.14 on the option has another name as well, which older ones do not know.
            warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
            return DistributedDataParallel(
                network, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
            )

    @contextmanager
    def one_voice(self) -> Iterator[None]:
        """Of an error, and of what it makes of the other processes, the first is shown, by the process that had it;
        the others end with a TeamError that names it. Nobody may save after one: it may be a torn collective's."""
        try:
            yield
        except Exception as caught:
            if self.size == 1:
                raise
            end_undisturbed()
            error = caught
            if not is_for_user(error) and any(word in str(error).lower() for word in GONE):
                error = TeamError("another process is gone; the same command goes on from the last checkpoint")
            earlier = self._tell(error)
            error.shown = earlier is None
            if earlier is None and error is caught:
                raise
            raise (earlier or error) from caught

    def _tell(self, error: Exception) -> TeamError | None:
        """Leave a note of an error for the others; what another process has noted before, if one has."""
        try:
            if self.store.add("errors", 1) == 1:
                self.store.set("error", f"{getattr(error, 'exit_code', BUG)} {in_one_line(error)}")
                return None
            code, _, line = self.store.get("error").decode().partition(" ")
        except (RuntimeError, ValueError):  # the keeper of the notes is gone, too
            return None
        earlier = TeamError(line)
        earlier.exit_code, earlier.shown = int(code), False
        return earlier

    def _all(self, compute: Callable[[], Any]) -> list[Any]:
        """Of every process, by rank. The error of one is raised by all, so that none waits for ever."""
        if self.size == 1:
            return [compute()]
        found, error = None, None
        try:
            found = compute()
        except Exception as caught:
            error = _portable(caught)
            error.add_note(f"in process {self.rank}:\n{traceback.format_exc()}")
        outcomes: list[Any] = [None] * self.size
        dist.all_gather_object(outcomes, (found, error))
        for _, failed in outcomes:
            if failed is not None:
                raise failed
        return [each for each, _ in outcomes]


ALONE = Team()


class Vote:
    """Has any process noticed something (a signal)? All of them learn it at the same step, and none waits: an answer is
    that to the question of the step before."""

    def __init__(self, team: Team):
        self.team = team
        self.answer = torch.zeros(1, dtype=torch.int32)
        self.work: dist.Work | None = None
        # Of its own, lest it mix with what is gathered meanwhile.
        self.group = dist.new_group(backend="gloo") if team.size > 1 else None

    def ask(self, noticed: bool) -> bool:
        if self.team.size == 1:
            return noticed
        if self.work:
            self.work.wait()
        agreed = bool(self.answer)
        self.answer = torch.tensor([noticed], dtype=torch.int32)
        self.work = dist.all_reduce(self.answer, dist.ReduceOp.MAX, group=self.group, async_op=True)
        return agreed

    def close(self) -> None:
        if self.work:
            self.work.wait()


@contextmanager
def join_team(device: torch.device | None = None) -> Iterator[Team]:
    """The processes of torchrun, or this one alone.

    Args:
        device: where tensors are that they share; None: they share objects only.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    backend = "gloo"
    if device is not None and device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    # An evaluation's processes meet only when all have done their share, and pictures that are optimised take their
    # time; those of a training meet every step, and wait for no more than what the first does between two.
    timeout = timedelta(days=2) if device is None else timedelta(hours=2)
    store, rank, size = next(dist.rendezvous("env://", timeout=timeout))
    collectives, notes = (dist.PrefixStore(f"{_attempt()}/{purpose}", store) for purpose in ("collectives", "notes"))
    dist.init_process_group(backend, store=collectives, rank=rank, world_size=size, timeout=timeout)
    yield Team(rank, size, notes)
    # Not after an error: it would wait for what a process that is gone has left undone.
    dist.destroy_process_group()


def _portable(error: Exception) -> Exception:
    """An error that other processes can read; of one that cannot be sent, what it says."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # a constructor of its own, a file or a lock among its values
        sent = TeamError(in_one_line(error))
        sent.exit_code = getattr(error, "exit_code", BUG)
        return sent


def _attempt() -> str:
    """A store outlives the processes that torchrun restarts, who must not take one another's places for their own. On
    several machines each counts by itself, so the number is of no use there."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if os.environ.get("GROUP_WORLD_SIZE") == "1" else "0"
