"""The run folder: all that the scripts share.

config.yaml      the configuration, complete
status.json      {state, step, exit, reason}, always whole
checkpoints/     step_00001000.pt and its .sha256; best.pt, if asked for
log.jsonl        one row an event, the source of truth
samples/         sheets of held-out pictures
report/          what evaluate.py found
"""

import dataclasses
import fcntl
import json
import traceback
from pathlib import Path

import yaml

from engine.atomic import write_atomically
from engine.config import differences, renamed, to_dict, to_yaml
from engine.exits import BUG, DONE, INTERRUPTED, UserError, in_one_line, is_for_user
from engine.progress import say
from engine.schema import Config

# A resumed run must be the same run: what may differ all the same. Everything else is refused.
MAY_CHANGE = (
    *("run", "log", "checkpoints", "eval", "schedule", "data.workers"),
    *("train.device", "train.max_bad_steps", "train.profile"),
    # How the same numbers are computed, to rounding; and the parts of a whole batch, which is compared for itself.
    *("train.precision", "train.channels_last", "train.compile", "train.recompute", "train.deterministic"),
    *("train.batch_size", "train.accumulate"),
)


class RunError(UserError):
    """The run folder cannot be used as asked; the message says why and what to do."""


class RunFolder:
    """A run being trained: holds the folder's lock while the `with` block runs and says how it ended.

    The lock belongs to this process alone (POSIX, not inherited by the loader's workers), so not even kill -9 leaves
    it behind. Of several processes that train together the first one `leads`: it has the lock, and it alone writes.
    """

    started = False  # only a run that began to train is said to have failed

    def __init__(self, config: Config, leads: bool = True):
        self.config = config
        self.leads = leads
        self.path = Path(config.run)
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.log = self.path / "log.jsonl"

    def __enter__(self) -> "RunFolder":
        if not self.leads:
            return self
        self._refuse_foreign_folder()
        self._is_new = not self.path.exists()
        try:
            self.samples.mkdir(parents=True, exist_ok=True)
            self.checkpoints.mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"run = {self.path}: cannot be written to ({error.strerror})") from error
        self._take_lock()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is not None and self.started:
            self._stand_in()
            code = INTERRUPTED if kind is KeyboardInterrupt else getattr(error, "exit_code", BUG)
            reason = "Ctrl-C twice" if code == INTERRUPTED else in_one_line(error)[:500]
            self.set_status("stopped" if code == INTERRUPTED else "failed", exit_code=code, reason=reason)
        if isinstance(error, Exception) and not is_for_user(error):
            self._keep_traceback(error)
        if not self.leads:
            return
        self._lock.close()
        if error is not None and self._is_new and not self.started:
            self._remove_if_empty()

    def _take_lock(self) -> None:
        try:
            self._lock = open(self.path / ".lock", "w")  # noqa: SIM115 (held until the end)
        except OSError as error:
            raise RunError(f"run = {self.path}: cannot be written to ({error.strerror})") from error
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            self._lock.close()
            raise RunError(
                f"run = {self.path}: another process is training there; wait for it or choose another run="
            ) from None

    def _stand_in(self) -> None:
        """Lead in place of a first process that is gone without a word, as after kill -9: its lock is free."""
        if self.leads or self._status().get("state") != "running":
            return
        try:
            self._take_lock()
        except RunError:
            return
        self.leads, self._is_new = True, False

    def _remove_if_empty(self) -> None:
        """A mistake that was found before training began leaves no folder behind."""
        (self.path / ".lock").unlink(missing_ok=True)
        for folder in (self.samples, self.checkpoints, self.path):
            if not any(folder.iterdir()):
                folder.rmdir()

    def _keep_traceback(self, error: Exception) -> None:
        try:
            with open(self.path / "traceback.log", "a") as file:
                traceback.print_exception(error, file=file)
            error.logged_in = self.path / "traceback.log"
        except OSError:
            pass  # a full disk: the traceback goes to the screen instead

    def set_status(self, state: str, step: int | None = None, exit_code: int | None = None, reason: str = "") -> None:
        """Rewrite status.json. States: running, finished, stopped (the same command goes on), failed. Without
        a step the last one stands."""
        if not self.leads:
            return
        path = self.path / "status.json"
        if step is None:
            step = self._status().get("step", 0)
        status = status_of(state, step, exit_code, reason)
        try:
            write_atomically(path, json.dumps(status, indent=1) + "\n")
        except OSError as error:
            say(f"{path}: could not be written ({error.strerror})")

    def _status(self) -> dict:
        """{} if there is none, or a damaged one."""
        try:
            return json.loads((self.path / "status.json").read_text())
        except (OSError, ValueError):
            return {}

    def start(self) -> None:
        """Write the configuration of a run that begins or goes on."""
        try:
            if self.leads:
                write_atomically(self.path / "config.yaml", to_yaml(self.config))
        except OSError as error:
            raise RunError(f"{self.path / 'config.yaml'}: could not be written ({error.strerror})") from error
        self.started = True

    def finish(self, step: int, reason: str = "") -> None:
        """Of a run that is done, or has nothing to do; one that is known for finished is not touched."""
        if self._status() != status_of("finished", step, DONE, reason):
            self.set_status("finished", step, DONE, reason)

    def check_same_run(self, saved: dict) -> dict[str, tuple]:
        """Compare with the configuration of a checkpoint.

        Returns the harmless differences, dotted key -> (then, now). Raises RunError if the run would not be
        the same one: another method, other data, another seed or batch.
        """
        known_then = _with_defaults(saved, self.config, Config())
        changed = differences(known_then, to_dict(self.config))
        refused = {key: pair for key, pair in changed.items() if not _may_change(key)}
        if refused:
            shown = "; ".join(f"{key} was {then}, is {now}" for key, (then, now) in refused.items())
            raise RunError(f"run = {self.path} was trained with another configuration: {shown}. Choose another run=")
        return changed

    def _refuse_foreign_folder(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"run = {self.path}: is a file; a folder is wanted")
        ours = (".lock", "checkpoints")
        strangers = self.path.is_dir() and any(self.path.iterdir())
        if strangers and not any((self.path / name).exists() for name in ours):
            raise RunError(f"run = {self.path}: this folder holds other files; choose a new or an empty one")


def read_run_config(path: Path) -> dict:
    """The plain configuration of a run folder; raises RunError if it is none."""
    file = path / "config.yaml"
    if not file.is_file():
        what = "is no run folder (it has no config.yaml)" if path.exists() else "no such run folder"
        raise RunError(f"{path}: {what}; train.py makes one")
    try:
        values = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"{file}: is damaged: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(values, dict):
        raise RunError(f"{file}: is damaged: not a mapping")
    return values


def status_of(state: str, step: int, exit_code: int | None, reason: str) -> dict:
    return {"state": state, "step": step, "exit": exit_code, "reason": reason}


def _with_defaults(saved: dict, section: object, defaults: object) -> dict:
    """What is saved of a section, in today's words; of options that have come since it was saved, the default, which is
    what it did."""
    filled = dataclasses.asdict(defaults) | renamed(saved, type(section))
    for name, value in vars(section).items():
        if dataclasses.is_dataclass(value) and isinstance(filled.get(name), dict):
            default = getattr(defaults, name)  # None where a tag chooses the options
            filled[name] = _with_defaults(
                filled[name], value, default if type(default) is type(value) else type(value)()
            )
    return filled


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in MAY_CHANGE)
