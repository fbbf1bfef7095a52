"""The device that the user named, or the best there is."""

import os

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
