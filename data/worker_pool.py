"""Work in other processes that one item may kill."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 16  # items handed to a worker at once
QUEUED = 3  # chunks waiting for each worker


def in_workers(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, lost: Callable[[Item], Result]
) -> Iterator[Result]:
    """work(item) of all items, as they come.

    Args:
        work: can be pickled; its module is imported once, before the workers are forked.
        lost: makes the result of an item that kills its worker. It is found by trying what was under way one by one.
    """
    chunks = [list(items[start : start + CHUNK]) for start in range(0, len(items), CHUNK)]
    while chunks:
        suspects: list[list[Item]] = []
        pool = _pool(workers)
        try:
            yield from _drain(pool, work, chunks, workers, suspects)
        finally:
            pool.shutdown(cancel_futures=True)  # whoever has seen enough need not wait for the rest
        for item in (item for chunk in suspects for item in chunk):
            yield _alone(work, item, lost)


def _pool(workers: int) -> ProcessPoolExecutor:
    # Not forked from the parent, which may hold threads and locks.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data.preparing"])
    return ProcessPoolExecutor(workers, context, initializer=_live_with_parent)


def _live_with_parent() -> None:
    """A worker leaves signals to its parent, and ends when that is gone: other workers hold the ends of its queue open,
    so it would wait there for ever."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)

    def watch() -> None:
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _drain(
    pool: ProcessPoolExecutor,
    work: Callable[[Item], Result],
    chunks: list[list[Item]],
    workers: int,
    suspects: list[list[Item]],
) -> Iterator[Result]:
    """Takes from `chunks` until they are done or a worker dies; then `suspects` holds what was under way."""
    running: dict[Future, list[Item]] = {}
    while chunks or running:
        while chunks and len(running) < QUEUED * workers and not suspects:
            try:
                running[pool.submit(_work_through, work, chunks[0])] = chunks[0]
            except BrokenProcessPool:
                break
            chunks.pop(0)
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            chunk = running.pop(future)
            try:
                yield from future.result()
            except BrokenProcessPool:
                suspects.append(chunk)
        if suspects and not running:
            return


def _work_through(work: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [work(item) for item in items]


def _alone(work: Callable[[Item], Result], item: Item, lost: Callable[[Item], Result]) -> Result:
    with _pool(1) as pool:
        try:
            return pool.submit(work, item).result()
        except BrokenProcessPool:
            return lost(item)
