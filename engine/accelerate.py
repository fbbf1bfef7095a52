"""What makes training fast and wide, put around the networks of a method from outside: no method knows of it.

Gradients that processes share, bf16, memory format, torch.compile: each is a module around a network. The wrapped
networks stand in the method's place of them while a step is played, and at no other time: checkpoints, samples and
evaluations see the method as it was written, in fp32, under its own names.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint

from engine.distributed import Team
from engine.exits import UserError
from engine.progress import say
from engine.schema import TrainConfig
from models.method import Learner

GRAPHS = 64  # that torch.compile may keep of one network: sizes of batches, with and without gradients


class Accelerated:
    """The networks of `method`, which is on its device, as training calls them."""

    def __init__(self, method: Learner, options: TrainConfig, device: torch.device, team: Team):
        self.method = method
        self.precision = options.precision
        self.deterministic = options.deterministic
        self.plain = {name: child for name, child in method.named_children() if is_network(child)}
        torch.backends.cudnn.benchmark = not options.deterministic
        if options.recompute:
            _recompute(method)
        if options.channels_last:
            method.to(memory_format=torch.channels_last)
        self.wrapped = {name: self._wrap(name, options, device, team) for name in self.plain}
        self.shared = [each for each in self.wrapped.values() if isinstance(each, DistributedDataParallel)]

    @contextmanager
    def active(self) -> Iterator[None]:
        """The method's networks are the wrapped ones."""
        with arithmetic(self.precision), determinism() if self.deterministic else nullcontext():
            self._put(self.wrapped)
            try:
                yield
            finally:
                self._put(self.plain)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Gradients stay with this process and add up. (A network that was called outside since may hand them on all
        the same, once more than need be: sums of means are means of sums.)"""
        with ExitStack() as stack:
            for network in self.shared:
                stack.enter_context(network.no_sync())
            yield

    def _wrap(self, name: str, options: TrainConfig, device: torch.device, team: Team) -> nn.Module:
        network = wrapped = self.plain[name]
        if options.precision == "bf16" or options.channels_last:
            wrapped = Mixed(wrapped, device.type, options.precision == "bf16", options.channels_last)
        if options.compile and name in self.method.differentiated_twice:
            say(f"train.compile: {name} is differentiated twice, which cannot be compiled; it stays as it is")
        elif options.compile:
            wrapped = Compiled(wrapped, name)
        if team.size > 1 and any(weight.requires_grad for weight in network.parameters()):
            wrapped = team.share_gradients(wrapped)
        return wrapped

    def _put(self, networks: dict[str, nn.Module]) -> None:
        for name, network in networks.items():
            setattr(self.method, name, network)


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Inside, what a GPU computes in fp32 it computes as it says, or (tf32; what bf16 leaves in fp32) by TF32."""
    settings = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    before = [each.fp32_precision for each in settings]
    try:
        for each in settings:
            each.fp32_precision = "ieee" if precision == "fp32" else "tf32"
        yield
    finally:
        for each, was in zip(settings, before, strict=True):
            each.fp32_precision = was


@contextmanager
def determinism() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def prepare_determinism() -> None:
    """What cuBLAS wants to know before it is used for the first time."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.utils.deterministic.fill_uninitialized_memory = False  # for finding bugs; it costs time


def is_network(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None or next(module.buffers(), None) is not None


class Mixed(nn.Module):
    """A network in bf16 where torch deems it safe; what comes out is fp32, so that losses are."""

    def __init__(self, network: nn.Module, device: str, bf16: bool, channels_last: bool):
        super().__init__()
        self.network = network
        self.device, self.bf16, self.channels_last = device, bf16, channels_last

    def forward(self, *inputs: object) -> object:
        if self.channels_last:
            inputs = tuple(_each_tensor(x, _channels_last) for x in inputs)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            found = self.network(*inputs)
        return _each_tensor(found, torch.Tensor.float)


class Compiled(nn.Module):
    """A network compiled when it is first called, which is told; where it cannot be, it is called as it is, and a line
    says so."""

    def __init__(self, network: nn.Module, name: str):
        super().__init__()
        self.network = network
        self.name = name
        torch._dynamo.config.recompile_limit = GRAPHS
        torch._dynamo.config.optimize_ddp = False  # which is outside
        # Else the backward pass is compiled when it is first run, where nothing can be fallen back to.
        torch._functorch.config.force_non_lazy_backward_lowering = True
        self.call: Callable = torch.compile(network.forward, dynamic=False)
        self.is_warm = False

    def forward(self, *inputs: object) -> object:
        if self.call is self.network:
            return self.network(*inputs)
        try:
            return self.call(*inputs) if self.is_warm else self._warm_up(inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            found = self.network(*inputs)  # an error that is the network's own is raised here
            self.call = self.network
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            say(f"torch.compile: {self.name} cannot be compiled ({reason.strip()[:200]}); it goes on as it is")
            return found

    def _warm_up(self, inputs: tuple[object, ...]) -> object:
        """The first call; for batches of other sizes it is compiled when they come."""
        say(f"torch.compile: compiling {self.name}")
        began = time.perf_counter()
        found = self.call(*inputs)
        self.is_warm = True
        say(f"torch.compile: {self.name} is compiled, {time.perf_counter() - began:.0f} s")
        return found


def _recompute(method: Learner) -> None:
    """What `recomputable` modules compute on the way is not kept for the backward pass but computed again."""
    modules = [module for module in method.modules() if getattr(module, "recomputable", False)]
    if not modules:
        raise UserError("train.recompute = true: this method has nothing that it could compute again; leave it out")
    if any(is_parametrized(part) for module in modules for part in module.modules()):
        raise UserError(
            "train.recompute = true: with method.generator.spectral_norm = true it would not compute the same again; "
            "leave one of them out"
        )
    for module in modules:
        module.forward = partial(checkpoint, module.forward, use_reentrant=False)


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _each_tensor(values: object, change: Callable[[torch.Tensor], torch.Tensor]) -> object:
    if isinstance(values, torch.Tensor):
        return change(values)
    if isinstance(values, dict):
        return {key: _each_tensor(value, change) for key, value in values.items()}
    if isinstance(values, tuple):
        return tuple(_each_tensor(value, change) for value in values)
    return values
