"""The players' optimizers: what they move, at which rate, and how they are told not to."""

from torch import Tensor
from torch.optim import Optimizer

from models.method import Learner


def weights_of(optimizer: Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"] if weight.requires_grad]


def fuse(optimizer: Optimizer) -> None:
    """One kernel for all weights, which can also be told on the device not to move them."""
    if "fused" not in optimizer.defaults:
        raise ValueError(f"{type(optimizer).__name__}: the loop needs an optimizer that can be fused, as Adam")
    for group in optimizer.param_groups:
        group["fused"], group["foreach"] = True, False


def set_learning_rates(method: Learner, factor: float) -> dict[str, float]:
    """Set every player's rate to its initial one times `factor`; returns the rates by player, and by group where an
    optimizer's groups have names."""
    rates = {}
    for player, optimizer in method.optimizers.items():
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
            rates[f"{player}/{group['name']}" if "name" in group else player] = group["lr"]
    return rates


def rate_scale(rule: str, whole_batch: int, rate_batch: int) -> float:
    """What learning rates that are for `rate_batch` pictures a step are multiplied by: the ratio of the batches
    (Goyal et al. 2017, arXiv 1706.02677, for SGD), or its root, which suits Adam (Malladi et al. 2022, arXiv
    2205.10287)."""
    ratio = whole_batch / rate_batch
    return {"none": 1.0, "linear": ratio, "sqrt": ratio**0.5}[rule]
