"""Processes of their own that have their imports behind them.

What a script imports, torch and its compiler above all, takes five seconds of a core, and the tests start some fifty
processes. So a server imports once, and forks: what is forked runs a script as `python script.py` would, in a session,
with arguments, an environment and output of its own. torchrun, too, forks its processes then; all else it does is its
own. Where a start itself is what is tested (tests/test_config.py, tests/test_cluster_examples.py), nothing is forked.
"""

import multiprocessing.forkserver
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ("stdout", "stderr")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone")
# What a run imports on its way, and this.
IMPORTED = ("torch._dynamo", "torch.distributed.run", "engine.loop", "models.cyclegan", "tests.processes")


def preload() -> None:
    """Let the server begin; nobody waits for it."""
    multiprocessing.set_forkserver_preload(IMPORTED)
    multiprocessing.forkserver.ensure_running()


class Started:
    """A process with the methods of subprocess.Popen."""

    def __init__(self, process: BaseProcess, output: TemporaryDirectory | None = None):
        self._process, self._output = process, output
        process.start()
        self.pid: int = process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for this process, not for others that may write there."""
        self.wait(timeout)
        return self.said()

    def said(self) -> tuple[str, str]:
        """What it, and all that it has started, wrote to stdout and to stderr until now."""
        stdout, stderr = (Path(self._output.name, name).read_text() for name in OUTPUT)
        return stdout, stderr

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(*words: str | Path, **environment: str) -> Started:
    """What `python WORDS` would start in the project's folder.

    Args:
        words: the path of a script, or -m and a module; and its arguments.
        environment: what it has besides this process's own.
    """
    preload()
    output = TemporaryDirectory()
    for name in OUTPUT:
        Path(output.name, name).touch()
    arguments = ([str(word) for word in words], os.environ | environment, output.name)
    return Started(multiprocessing.get_context("forkserver").Process(target=_become, args=arguments), output)


def _become(words: list[str], environment: Mapping[str, str], output: str | None) -> None:
    """Be that process; without a folder for what it says, it speaks where its parent does."""
    os.setsid()
    multiprocessing.set_start_method(None, force=True)  # for what it starts: Python's own, and not its parent's
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, name in enumerate(OUTPUT if output else (), start=1):
        os.dup2(os.open(Path(output, name), os.O_WRONLY | os.O_APPEND), descriptor)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    if words[0] == "-u":
        del words[0]
        sys.stdout.reconfigure(write_through=True)
    if words[0] == "-m":
        _let_torchrun_fork()
        sys.modules.pop(words[1], None)  # runpy warns of modules that are there already
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")


def _let_torchrun_fork() -> None:
    from torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler import SubprocessHandler

    def popen(handler: SubprocessHandler, command: tuple[str, ...], environment: dict[str, str]) -> Started:
        words = list(command[1:])  # without python
        return Started(multiprocessing.get_context("fork").Process(target=_become, args=(words, environment, None)))

    SubprocessHandler._popen = popen
