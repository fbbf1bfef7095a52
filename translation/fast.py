"""A translator's networks as they are fastest, put together from outside: no method knows of it."""

from collections import Counter

import torch
from torch import Tensor, nn

from engine.accelerate import Compiled, Mixed, is_network
from models.networks.winograd import with_winograd
from models.translator import Translator

SIZES = 4  # for which torch.compile is asked
ENOUGH = 8  # batches of one size, from which on compiling for it may pay


def make_fast(translator: Translator, precision: str = "fp32", compiled: bool = False) -> None:
    """Change the translator's networks in place: channels_last; on a CPU fewer multiplications (models/networks/
    winograd.py), which changes what comes out by a fiftieth of a grey level. They cannot be trained or counted any
    more. A method that optimises each picture stays as it is.

    Args:
        precision: fp32, tf32 or bf16; see engine.accelerate.
        compiled: by torch.compile, for the sizes that come often.
    """
    method, device = translator.method, translator.device.type
    if method.optimizes:
        return
    for name, network in list(method.named_children()):
        if not is_network(network):
            continue
        if device == "cpu" and precision != "bf16":
            network = with_winograd(network)
        network = Mixed(network.to(memory_format=torch.channels_last), device, precision == "bf16", channels_last=True)
        setattr(method, name, OftenCompiled(network, name) if compiled else network)


class OftenCompiled(nn.Module):
    """A network that is compiled for the few sizes of batches that come often; the others are not worth it."""

    def __init__(self, network: nn.Module, name: str):
        super().__init__()
        self.network, self.compiled = network, Compiled(network, name)
        self.seen: Counter[torch.Size] = Counter()

    def forward(self, x: Tensor, *others: object) -> object:
        self.seen[x.shape] += 1
        often = [size for size, times in self.seen.items() if times >= ENOUGH]
        return (self.compiled if x.shape in often[:SIZES] else self.network)(x, *others)
