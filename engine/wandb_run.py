"""The door to Weights & Biases. It may fail in any way; training neither stops nor waits for it."""

import netrc
import os
import secrets
import socket
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from engine.progress import say
from engine.schema import LogConfig
from engine.versions import versions

CONNECT_SECONDS = 3  # to see whether the host answers at all
INIT_SECONDS = 4  # wandb itself waits ten more before it gives up
FINISH_SECONDS = 10


class WandbRun:
    """One W&B run that goes on, under the same id, whenever the run folder's training does.

    Every method is safe to call: after the first failure one line is said and the rest is silence.
    """

    def __init__(self, folder: Path, log: LogConfig, config: Mapping[str, Any]):
        self._run = None
        mode = _mode(log.wandb)
        if mode == "disabled":
            return
        self._run = self._try("start", lambda: _start(folder, log.project, config, mode))

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Numbers, by name. The step is a value of its own, because W&B drops steps that go backwards, as
        those after a resume do."""
        self._try("log", lambda: self._run.log({"step": step, **values}))

    def log_picture(self, step: int, name: str, picture: Image.Image) -> None:
        self._try("log", lambda: self._run.log({"step": step, name: _wandb().Image(picture)}))

    def log_table(self, name: str, columns: list[str], rows: list[list]) -> None:
        self._try("log", lambda: self._run.log({name: _wandb().Table(columns=columns, data=rows)}))

    def log_page(self, step: int, name: str, html: str) -> None:
        """HTML, or SVG, as it stands."""
        self._try("log", lambda: self._run.log({"step": step, name: _wandb().Html(html, inject=False)}))

    def finish(self) -> None:
        self._try("finish", lambda: self._run.finish())
        self._run = None

    def _try(self, doing: str, action: Any) -> Any:
        if doing != "start" and self._run is None:
            return None
        try:
            return action()
        except Exception as error:  # a service outside must not stop a run of days, whatever it raises
            say(f"W&B: {doing} failed, going on without it ({type(error).__name__}: {_first_line(error)})")
            self._run = None
            return None


def _mode(wanted: str) -> str:
    """online, offline or disabled; "auto" is online for a user who is logged in. WANDB_MODE is obeyed."""
    if wanted == "auto":
        wanted = os.environ.get("WANDB_MODE") or ("online" if _logged_in() else "offline")
    if wanted == "online" and not _answers(_host()):
        say(f"W&B: {_host()} does not answer, logging offline (upload later: wandb sync)")
        return "offline"
    return wanted


def _start(folder: Path, project: str, config: Mapping[str, Any], mode: str) -> Any:
    wandb = _wandb()
    arguments = {
        "dir": folder,
        "project": project,
        "name": folder.name,
        "id": _run_id(folder),
        "resume": "allow",
    }
    settings = {
        "silent": True,
        "console": "off",
        "init_timeout": INIT_SECONDS,
        "x_disable_stats": True,
        "finish_timeout": FINISH_SECONDS,
    }
    config = dict(config) | {"versions": versions()}
    try:
        run = wandb.init(mode=mode, config=config, settings=wandb.Settings(**settings), **arguments)
    except Exception as error:
        if mode != "online":
            raise
        say(f"W&B: {_first_line(error)}; logging offline (upload later: wandb sync)")
        wandb.teardown()  # else the id counts as in use by the run that did not start
        run = wandb.init(mode="offline", config=config, settings=wandb.Settings(**settings), **arguments)
    run.define_metric("step")
    run.define_metric("*", step_metric="step")
    return run


def _wandb() -> ModuleType:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb  # half a second, and only where it is used

    return wandb


def _run_id(folder: Path) -> str:
    file = folder / "wandb_id"
    if not file.exists():
        file.write_text(secrets.token_hex(4))
    return file.read_text().strip()


def _host() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def _logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(urllib.parse.urlparse(_host()).hostname) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _answers(url: str) -> bool:
    parts = urllib.parse.urlparse(url)
    if urllib.request.getproxies() and not urllib.request.proxy_bypass(parts.hostname or ""):
        return True  # the way there is the proxy's business; wandb's own time limit holds
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    try:
        socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:160]
