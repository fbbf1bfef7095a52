"""The device that the user named, or the best there is; and what helps where its memory is too small."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from engine.exits import UserError


def choose_device(name: str) -> torch.device:
    """ "auto" is a GPU if there is one, else the CPU; any name of torch's is taken as it is. Of torchrun's processes
    each takes a GPU of its own.

    Raises:
        UserError: no such device on this machine, or not one for each process.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available():
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if name.startswith("cuda") and processes > max(1, torch.cuda.device_count()):
        raise UserError(f"{processes} processes on this machine, and {torch.cuda.device_count()} GPUs: one for each")
    if name.startswith("cuda:") and name != f"cuda:{os.environ.get('LOCAL_RANK', name[5:])}":
        raise UserError(f"device = {name}: for each of torchrun's processes; cuda gives each its own")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        if device.type == "cuda":
            torch.cuda.set_device(device)  # for what asks for the current one
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device = {name}: not on this machine; auto, cpu, cuda or cuda:N") from error
    return device


@contextmanager
def memory_in_words() -> Iterator[None]:
    """Of a training that does not fit into memory, what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            "out of memory: lower train.batch_size (raise train.accumulate instead), data.size (with data.load_size) "
            "or method.generator.channels; or train.recompute=true, train.precision=bf16"
        ) from error


def is_out_of_memory(error: Exception) -> bool:
    """On a GPU; on the CPU, which has no class of its own for it; or in a library of NVIDIA's."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in ("can't allocate memory", "out of memory", "_ALLOC_FAILED")
    )
