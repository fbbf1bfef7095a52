"""Signals that ask a run to stop: noted at once, acted upon between two steps. The end of torchrun is one."""

import os
import signal
import threading
import time
from types import FrameType

HANDLED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
GRACE = 300.0  # seconds to save in, and to end an evaluation, when nobody is left who would wait


class StopRequest:
    """Within `with StopRequest() as stop:` the first SIGTERM, SIGUSR1 or SIGINT only sets `stop.signal` to its
    name; a second SIGINT raises KeyboardInterrupt at once. The old handlers come back at the end.

    Args:
        of_team: this is one of torchrun's processes: torchrun hands a second SIGINT on as SIGTERM.
    """

    signal: str = ""

    def __init__(self, of_team: bool = False):
        self.of_team = of_team

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in HANDLED}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.of_team:
            end_undisturbed()

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = number == signal.SIGINT or (self.of_team and self.signal == "SIGINT")
        if self.signal and again:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name


def end_undisturbed() -> None:
    """torchrun sends SIGTERM to all its processes as soon as one has ended; the others have yet to say how."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def stop_with_torchrun(look_every: float = 1.0) -> None:
    """Ask this process to stop when the torchrun that has started it ends: killed with -9, it takes nobody along. If it
    has not stopped after GRACE, it is ended. Nothing for a process of the user's own."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(look_every)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
