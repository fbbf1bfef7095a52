"""The device that the user named, or the best there is; and what helps where its memory is too small."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from engine.exits import UserError


def choose_device(name: str) -> torch.device:
    """ "auto" is the first GPU if there is one (of torchrun's processes each takes its own), else the CPU; any name of
    torch's is taken as it is.

    Raises:
        UserError: no such device on this machine.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
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
