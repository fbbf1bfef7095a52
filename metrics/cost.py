"""What a translation costs: parameters, multiplications, time and memory, measured on the spot."""

import ctypes
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.flops import FlopCounter

SIDE = 256  # px, at which multiplications are stated
ROUNDS = 3
SECONDS = 20.0  # after which no further round is begun


@dataclass(frozen=True)
class Cost:
    """Of translating.

    parameters: of the networks that take part, frozen ones, too. gmacs: 10^9 multiplications with additions, a picture
    of SIDE px.
    pictures_per_second: in batches of `batch` pictures of `side` px on `device`; memory: MiB that this took at its peak
    beside the networks, None where the system does not say.
    """

    parameters: int
    gmacs: float
    pictures_per_second: float
    memory: float | None
    batch: int
    side: int
    device: str


def measure_cost(translate: Callable[[Tensor], Tensor], networks: nn.Module, pictures: Tensor, optimizes: bool) -> Cost:
    """Of a way to translate [N, 3, H, W] in [-1, 1].

    Args:
        networks: whose parts do the work; which of them take part is seen from outside.
        optimizes: True for a method that optimises each picture: it is run once, at the size that the pictures have,
            and what it multiplies is scaled to SIDE by the number of pixels.
    """
    side, device = pictures.shape[-1], pictures.device
    one = pictures[:1] if optimizes else torch.zeros(1, 3, SIDE, SIDE, device=device)
    with _Used(networks) as used, FlopCounter() as counter:
        translate(one)
    scale = (SIDE / one.shape[-2]) * (SIDE / one.shape[-1])
    gmacs = counter.flops / 2 / 1e9 * scale
    pictures = pictures[:1] if optimizes else pictures
    seconds, memory = _time(lambda: translate(pictures), device, rounds=1 if optimizes else ROUNDS)
    return Cost(used.parameters(), gmacs, len(pictures) / seconds, memory, len(pictures), side, str(device.type))


def _time(action: Callable[[], object], device: torch.device, rounds: int) -> tuple[float, float | None]:
    """Median seconds, and peak MiB beyond what was in use before. The first round of several is a warm-up."""
    taken = []
    peak = Peak(device)
    begun = time.perf_counter()
    for i in range(rounds + (rounds > 1)):
        start = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if i or rounds == 1:
            taken.append(time.perf_counter() - start)
        if taken and time.perf_counter() - begun > SECONDS:
            break
    return statistics.median(taken), peak.read()


class _Used:
    """Which of the parameters of a module's parts a forward pass meets."""

    def __init__(self, networks: nn.Module):
        self.networks = networks
        self.met: dict[int, int] = {}

    def __enter__(self) -> "_Used":
        self.hooks = [m.register_forward_hook(self._note) for m in self.networks.modules()]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _note(self, module: nn.Module, *_: object) -> None:
        for weight in module.parameters(recurse=False):
            self.met[id(weight)] = weight.numel()
        for name, weight in module.named_buffers(recurse=False):
            if name.endswith(("weight", "bias")):  # a frozen network keeps its weights so
                self.met[id(weight)] = weight.numel()

    def parameters(self) -> int:
        return sum(self.met.values())


class Peak:
    """Memory in MiB at its peak, since it was made: of the GPU's allocator, or of the whole process."""

    def __init__(self, device: torch.device):
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device)
        else:
            try:
                return_free_memory()
                Path("/proc/self/clear_refs").write_text("5")  # forget the peak (Linux)
                self.before = _status("VmRSS")
            except OSError:
                self.before = None

    def read(self) -> float | None:
        if self.device.type == "cuda":
            return (torch.cuda.max_memory_allocated(self.device) - self.before) / 2**20
        return None if self.before is None else max(0.0, (_status("VmHWM") - self.before) / 2**20)


def return_free_memory() -> None:
    """To the system: what the C library keeps for later would hide what is taken from it."""
    if hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def _status(name: str) -> int:
    """Bytes, of /proc/self/status."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(lines[name].split()[0]) * 1024
