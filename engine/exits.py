"""How a script ends: the exit codes, and errors told to people in one line.

An exception that carries an `exit_code` is for the user: its text names the file or the option and the
mend, and no traceback is shown. Every package raises its own (`ConfigError`, `PictureError`, ...); this file
only looks for the attribute, so nobody has to import it to be understood. Anything else is a bug.
"""

import os
import sys
import traceback
from collections.abc import Callable

DONE = 0  # everything was done
BUG = 1  # a traceback exists
USER_ERROR = 2  # the user's mistake; the line says what to change
SOME_FAILED = 3  # finished, but some items failed; a list was written
STOPPED = 75  # stopped by a signal after a good save; the same command goes on
INTERRUPTED = 130  # Ctrl-C


class UserError(ValueError):
    """A mistake that the user can mend; the message is the one line that says how."""

    exit_code = USER_ERROR


def is_for_user(error: BaseException) -> bool:
    """True if `error` is told in one line, without a traceback."""
    return hasattr(error, "exit_code")


def run_script(main: Callable[[], int]) -> None:
    """Run `main` and leave the process with its exit code, or with the one that its error stands for. An error whose
    attribute `shown` says so is shown by this process, or by another one; else the first process shows it."""
    try:
        code = main()
    except KeyboardInterrupt:
        _say("interrupted")
        code = INTERRUPTED
    except Exception as error:
        code = getattr(error, "exit_code", BUG)
        if getattr(error, "shown", talks()):
            _show(error)
    sys.exit(code)


def _show(error: Exception) -> None:
    if is_for_user(error):
        line = f"error: {error}"
    elif log := getattr(error, "logged_in", None):
        line = f"bug: {in_one_line(error)} (traceback in {log})"
    else:
        return traceback.print_exc()
    _write(line)


def in_one_line(error: BaseException) -> str:
    """What an error says; of a bug its type and its first line, which alone may be a number."""
    if is_for_user(error):
        return " ".join(str(error).split())
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _say(line: str) -> None:
    if talks():
        _write(line)


def _write(line: str) -> None:
    """At once, lest the lines of several processes mix."""
    sys.stderr.write(f"{printable(line)}\n")


def answer(line: str) -> None:
    """What was asked for, on the standard output. A reader that has gone (`| head`) is no error."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def talks() -> bool:
    """False in all but the first of torchrun's processes: what is for people is said once."""
    return os.environ.get("RANK", "0") == "0"


def printable(text: str) -> str:
    """Names of files may hold line ends and need not be valid UTF-8; such characters are shown by their codes."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return shown.encode(errors="backslashreplace").decode()
