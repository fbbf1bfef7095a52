"""Signals that ask a run to stop: noted at once, acted upon between two steps."""

import signal
from types import FrameType

HANDLED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


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
