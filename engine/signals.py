"""Signals that ask a run to stop: noted at once, acted upon between two steps. The end of torchrun is one."""

import os
import signal
import threading
import time
from types import FrameType

HANDLED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
GRACE = 30.0  # seconds to save in, as torchrun itself would give


class StopRequest:
    """Within `with StopRequest() as stop:` the first SIGTERM, SIGUSR1 or SIGINT only sets `stop.signal` to its
    name; a second SIGINT raises KeyboardInterrupt at once. The old handlers come back at the end."""

    signal: str = ""

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in HANDLED}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name


def stop_with_parent(look_every: float = 1.0) -> None:
    """Ask this process to stop when its parent ends: torchrun, killed with -9, takes nobody along. If it has not
    stopped after GRACE, it is ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(look_every)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
