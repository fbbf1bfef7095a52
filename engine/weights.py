"""Pretrained weights of others: found where torch keeps them, else downloaded once; checked by hash, read safely."""

import hashlib
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

SECONDS = 30  # without an answer
TORCHVISION = "https://download.pytorch.org/models"
# The name holds the beginning of the file's SHA-256.
URLS = {
    "vgg16": f"{TORCHVISION}/vgg16-397923af.pth",
    "vgg19": f"{TORCHVISION}/vgg19-dcbb9e9d.pth",
    "alexnet": f"{TORCHVISION}/alexnet-owt-7be5be79.pth",
    # The Inception network of the FID paper, of 2015, as pytorch-fid and torch-fidelity publish it.
    "inception": "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
}


class WeightsError(ValueError):
    """The weights are not to be had; the message names the file, its place, and the way on without it."""

    exit_code = 2


def place_of(network: str) -> Path:
    """Where torch keeps such files, TORCH_HOME/hub/checkpoints."""
    return Path(torch.hub.get_dir()) / "checkpoints" / URLS[network].rpartition("/")[2]


def fetch(network: str, way_on: str) -> Path:
    """The file of one of URLS, downloaded if it is not there.

    Args:
        way_on: the option that goes on without it, for the message.

    Raises:
        WeightsError: it cannot be had or is damaged. Others are never taken instead.
    """
    path = place_of(network)
    expected = path.stem.rpartition("-")[2]
    if not path.exists():
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(SECONDS)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URLS[network], str(path), hash_prefix=expected)
        except (OSError, RuntimeError) as error:  # a hash that is not right is a RuntimeError
            reason = " ".join(str(error).split())[:120]
            raise WeightsError(
                f"{path}: is not there and cannot be downloaded from {URLS[network]} ({reason}). Bring it there (its "
                f"SHA-256 begins with {expected}; TORCH_HOME names another place), or go on without it: {way_on}"
            ) from error
        finally:
            socket.setdefaulttimeout(before)
    if not sha256(path).startswith(expected):
        raise WeightsError(f"{path}: is damaged (its SHA-256 does not begin with {expected}); delete it")
    return path


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """What torch.save has written, without running any code in it; raises WeightsError."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of torch, about what is no checkpoint of torch's
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # foreign bytes make the reader raise almost anything
        raise WeightsError(f"{path}: is no file of weights ({type(error).__name__} while reading)") from error


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal digits; raises WeightsError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
