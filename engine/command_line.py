"""What the scripts' command lines have in common."""

import argparse
from typing import NoReturn

from engine.exits import USER_ERROR


class Parser(argparse.ArgumentParser):
    """Help is made of a script's docstring: its first line and the rest. A mistake is told in one line."""

    def __init__(self, description: str | None = None, **others: object):
        title, _, rest = (description or "").partition("\n")
        others = {"epilog": rest, "formatter_class": argparse.RawDescriptionHelpFormatter} | others
        super().__init__(description=title, **others)

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"error: {message}; {self.prog} --help shows how\n")
