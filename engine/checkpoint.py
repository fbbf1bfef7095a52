"""Checkpoints: atomic, checksummed, and everything needed to be the same run.

A checkpoint is `step_00001000.pt` with `step_00001000.pt.sha256` beside it (the form that `sha256sum -c` reads).
The checksum is written first, so a checkpoint that exists has one. It holds only tensors and plain
containers and is loaded with weights_only=True: no code of a file is ever run.

    format     of this file
    step       steps done
    config     the whole configuration, as plain values
    method     the method's state_dict: networks and image pools
    average    the running average of the networks that translate, under their names in `method`; {} without one
    optimizers one state_dict a player
    described  what the method was given that a reader of its numbers must know
    best       {metric, value, step, pictures} of the best evaluation so far, or None (engine/best.py)
    plan       {whole_batch, origin, processes}: which pictures come next (engine/schedule.py)
    random     {seed, step}: every draw of the loop is a function of these two
"""

import hashlib
import io
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from engine.atomic import write_atomically
from engine.exits import UserError

FORMAT = 2
BEST = "best.pt"
_NAME = re.compile(r"step_(\d{8,})\.pt")


class CheckpointError(UserError):
    """A checkpoint cannot be read; the message names the file and what is wrong with it."""


class ForeignFileError(CheckpointError):
    """A file that bears no name of ours, and has no checksum or holds something else; it may be somebody else's."""


class SaveError(OSError):
    """A checkpoint could not be written; the earlier ones are whole."""


def checkpoint_path(folder: Path, step: int) -> Path:
    return folder / f"step_{step:08d}.pt"


def checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `state` as the checkpoint of `step`.

    Raises:
        SaveError: naming the path and the bytes needed and free. Nothing is left behind.
    """
    path = checkpoint_path(folder, step)
    buffer = io.BytesIO()  # in memory first: the size and the checksum are known before the disk is touched
    torch.save({"format": FORMAT, "step": step, **state}, buffer)
    content = buffer.getbuffer()
    try:
        write_atomically(checksum_path(path), f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")
        write_atomically(path, content)
    except OSError as error:
        checksum_path(path).unlink(missing_ok=True)
        raise save_error(path, len(content), error) from error
    return path


def save_error(path: Path, size: int, error: OSError) -> SaveError:
    """Why `path`, of `size` bytes, could not be written."""
    free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
    return SaveError(f"{path}: could not be saved ({error.strerror}): {size:,} bytes needed, {free:,} free")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Check and read one checkpoint; tensors are on the CPU.

    Raises:
        CheckpointError: missing, truncated, changed since it was written, or not one of ours (ForeignFileError, where
            even its name is not).
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    expected = checksum_path(path)
    unlike_ours = CheckpointError if _NAME.fullmatch(path.name) or path.name == BEST else ForeignFileError
    if not expected.is_file():
        raise unlike_ours(f"{path}: its checksum {expected.name} is missing")
    try:
        # While best.pt is replaced, its file holds two lines: that of the old one and that of the new one.
        lines = expected.read_text(errors="replace").splitlines()
        undamaged = sha256(path) in {line.split(maxsplit=1)[0] for line in lines if line.strip()}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if not undamaged:
        raise CheckpointError(f"{path}: is damaged (its SHA-256 is not the one in {expected.name})")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # foreign bytes make the reader raise almost anything
        raise CheckpointError(f"{path}: is not a checkpoint ({type(error).__name__} while reading)") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        kind = CheckpointError if isinstance(state, dict) and "format" in state else unlike_ours
        raise kind(f"{path}: is not a checkpoint of this version (format {FORMAT})")
    return state


def newest_checkpoint(folder: Path) -> tuple[dict[str, Any] | None, dict[Path, str]]:
    """The newest good checkpoint of a run, or None, and what is wrong with each newer one that was passed over."""
    problems = {}
    for path in reversed(list_checkpoints(folder)):
        try:
            return load_checkpoint(path), problems
        except CheckpointError as error:
            problems[path] = str(error)
    return None, problems


def set_aside(path: Path) -> None:
    """Rename a damaged checkpoint to `*.damaged`, so that it is not counted among those that are kept."""
    path.rename(path.with_name(f"{path.name}.damaged"))
    checksum_path(path).unlink(missing_ok=True)


def list_checkpoints(folder: Path) -> list[Path]:
    """All checkpoints by rising step."""
    return sorted((p for p in folder.glob("step_*.pt") if _NAME.fullmatch(p.name)), key=step_of)


def step_of(path: Path) -> int:
    return int(_NAME.fullmatch(path.name).group(1))


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed save left: temporary files, and checksums whose checkpoint was never renamed."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)
    for path in folder.glob("*.pt.sha256"):
        if not path.with_suffix("").exists():
            path.unlink(missing_ok=True)


def prune_checkpoints(folder: Path, keep_last: int, keep_every: int) -> None:
    """Delete all but the newest `keep_last`, and those at multiples of `keep_every` steps (0: none)."""
    for path in _expired(list_checkpoints(folder), keep_last, keep_every):
        # The checksum goes last: a checkpoint without one would be called damaged.
        path.unlink(missing_ok=True)
        checksum_path(path).unlink(missing_ok=True)


def _expired(paths: list[Path], keep_last: int, keep_every: int) -> Iterator[Path]:
    return (p for p in paths[:-keep_last] if not (keep_every and step_of(p) % keep_every == 0))


def fingerprint(state: Mapping[str, Any]) -> str:
    """SHA-256 of tensors and plain values by name: equal for equal content, whatever the device."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
        else:
            digest.update(f"{name} {value}".encode())
    return digest.hexdigest()
