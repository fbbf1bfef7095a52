"""Progress wherever one waits: a bar on a terminal, a line every few seconds elsewhere (the door to tqdm)."""

import sys
from typing import TextIO

from tqdm import tqdm

from engine.exits import printable, talks

_BAR = "{desc}: {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
_LINE = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
SECONDS_BETWEEN_LINES = 15


class _Lines:
    """Turns tqdm's carriage returns into lines, for logs and pipes."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> None:
        if line := text.strip("\r\n "):
            self.stream.write(line + "\n")

    def flush(self) -> None:
        self.stream.flush()


def progress(total: int, unit: str, description: str, done: int = 0) -> tqdm:
    """A tqdm bar over `total` units of which `done` are done; use it in a `with` block, `update(n)` moves it."""
    terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=done,
        unit=unit,
        desc=description,
        file=sys.stderr if terminal else _Lines(sys.stderr),
        mininterval=0.2 if terminal else SECONDS_BETWEEN_LINES,
        bar_format=_BAR if terminal else _LINE,
        dynamic_ncols=terminal,
        leave=True,
        disable=not talks(),
    )


def say(line: str) -> None:
    """Print a line to the error stream without tearing a bar that is on the screen."""
    if talks():
        tqdm.write(f"{printable(line)}\n", file=sys.stderr, end="")
