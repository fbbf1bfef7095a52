"""How much arithmetic a training step is, and how much of it a device can do: floating-point operations by torch's own
formulas, a multiplication with its addition being two."""

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import fields, replace

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from data.batch import AnyBatch
from engine.optimizers import weights_of
from models.method import Learner

SMALLEST = 256  # side of the first matrices that are multiplied
LARGEST = {"cuda": 8192, "cpu": 1024}  # where the rate no longer grows with the side
ROUNDS = 5
SECONDS = 0.5  # for all rounds together


class FlopCounter(TorchDispatchMode):
    """Counts what is done inside `with`, in `flops`. Torch's own FlopCounterMode cannot stand `autograd.grad`, by which
    pictures are optimised and gradients penalised: it follows the modules, too."""

    flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        count = flop_registry.get(func._overloadpacket)
        if count is None:  # in inference mode operations come whole, as conv2d
            with self:
                found = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if found is NotImplemented else found
        found = func(*args, **kwargs)
        self.flops += count(*args, **kwargs, out_val=found)
        return found


def step_flops(learner: Learner, batch: AnyBatch) -> int | None:
    """Floating-point operations of one training step on this batch: all turns, forward and backward, without the
    optimizers' own.

    Nothing is computed: a copy of the learner without any numbers (torch's meta device) takes the step. The learner,
    its gradients and torch's generators stay as they are, and the device is not touched.

    Args:
        learner: itself, not wrapped for several processes.
        batch: of any step; counted is step 1, for the first has what comes every so many steps, as R1 does.

    Returns None for a method that cannot be counted so, as one that asks for a number in the middle of its step.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.compiler.set_stance("force_eager"), torch.enable_grad():
            with _OnMeta():
                shadow, batch = copy.deepcopy(learner), _on_meta(batch)
            if batch.places is not None:
                batch = replace(batch, places=replace(batch.places, step=1))
            return _count(shadow.train(), batch)
    except Exception:  # a forecast without this number is better than no training
        return None


def _count(learner: Learner, batch: AnyBatch) -> int:
    with FlopCounter() as counter:
        for turn in learner.turns(batch):
            turn.loss.backward(inputs=weights_of(learner.optimizers[turn.player]))
    return counter.flops


class _OnMeta(TorchFunctionMode):
    """Inside, a copy of a tensor has its shape and no numbers. That holds wherever the tensor stands: among weights,
    an optimizer's moments, or a list of pictures; two places that share one go on sharing."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is Tensor.__deepcopy__ or func is Tensor.clone:  # by which parameters are copied
            return torch.empty_like(args[0], device="meta").requires_grad_(args[0].requires_grad)
        return func(*args, **(kwargs or {}))


def _on_meta(batch: AnyBatch) -> AnyBatch:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    tensors = {name: value for name, value in values.items() if torch.is_tensor(value)}
    return replace(batch, **{name: torch.empty_like(value, device="meta") for name, value in tensors.items()})


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of the product of two square matrices, measured: the median of a few, by the
    process's own settings (threads, TF32). The side grows up to LARGEST while time and memory allow it: a CPU without
    instructions for bfloat16 may need a hundred times as long for it.

    Raises:
        RuntimeError: the device cannot do it, or has no memory left.
    """
    generator = torch.Generator(device).manual_seed(0)
    side = SMALLEST
    seconds = _multiply(side, device, dtype, generator)
    while side < LARGEST.get(device.type, SMALLEST) and 2**3 * min(seconds) * (ROUNDS + 1) < SECONDS:
        try:
            seconds = _multiply(2 * side, device, dtype, generator)
        except torch.OutOfMemoryError:
            break
        side *= 2
    return 2 * side**3 / statistics.median(seconds)


def _multiply(side: int, device: torch.device, dtype: torch.dtype, generator: torch.Generator) -> list[float]:
    """Seconds of each of ROUNDS products, after one that is not counted."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype, generator=generator) for _ in range(2))
    product = torch.empty_like(a)
    timed = _timed_on_cuda if device.type == "cuda" else _timed
    return [timed(lambda: torch.mm(a, b, out=product)) for _ in range(ROUNDS + 1)][1:]


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return max(time.perf_counter() - start, 1e-9)


def _timed_on_cuda(action: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    action()
    end.record()
    end.synchronize()
    return max(start.elapsed_time(end) / 1000, 1e-9)
