"""The device that the user named, or the best there is."""

import torch

from engine.exits import UserError


def choose_device(name: str) -> torch.device:
    """ "auto" is the first GPU if there is one, else the CPU; any name of torch's is taken as it is.

    Raises:
        UserError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device = {name}: not on this machine; auto, cpu, cuda or cuda:N") from error
    return device
