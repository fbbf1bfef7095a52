"""Reading and writing off the network's path: threads read ahead and write behind, in bounded numbers.

Threads are enough: Pillow decodes and encodes without Python's lock.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def read_ahead(items: Iterable[Item], read: Callable[[Item], Found], threads: int, ahead: int) -> Iterator[Found]:
    """[read(item) for item in items], in order, up to `ahead` of them before they are asked for. Nothing is read any
    more once the caller has enough; what was being read then is read to its end, and lost."""
    waiting = iter(items)
    pool = ThreadPoolExecutor(threads, "reader")
    running: deque[Future] = deque()
    try:
        while True:
            for item in waiting:
                running.append(pool.submit(read, item))
                if len(running) > ahead:
                    break
            if not running:
                return
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class WriteBehind(Generic[Item]):
    """Calls write(item) in threads. What went wrong with a write is told with its item.

    Args:
        behind: writes that may wait; then `put` waits, too.
    """

    def __init__(self, write: Callable[[Item], None], threads: int, behind: int):
        self._write, self._behind = write, behind
        self._pool = ThreadPoolExecutor(threads, "writer")
        self._running: deque[tuple[Item, Future]] = deque()

    def put(self, item: Item) -> list[tuple[Item, Exception | None]]:
        """Returns what has been written meanwhile."""
        self._running.append((item, self._pool.submit(self._write, item)))
        written = []
        while self._running and (len(self._running) > self._behind or self._running[0][1].done()):
            written.append(self._next())
        return written

    def flush(self) -> list[tuple[Item, Exception | None]]:
        """Waits for all that was put, and returns it."""
        return [self._next() for _ in range(len(self._running))]

    def close(self) -> list[tuple[Item, Exception | None]]:
        """Returns the rest."""
        self._pool.shutdown()
        return self.flush()

    def _next(self) -> tuple[Item, Exception | None]:
        item, future = self._running.popleft()
        return item, future.exception()


def alike(items: Iterable[Item], key: Callable[[Item], Hashable], most: int, held: int) -> Iterator[list[Item]]:
    """Items of one key together, up to `most` of them; of all that wait for more of their kind at most `held`. Which
    ones come together depends on the items alone. With `most` of 1 the order is theirs."""
    waiting: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        of_its_kind = waiting[key(item)]
        of_its_kind.append(item)
        if len(of_its_kind) == most:
            yield waiting.pop(key(item))
        elif sum(map(len, waiting.values())) > held:
            yield waiting.pop(next(iter(waiting)))  # which has waited longest
    yield from waiting.values()
