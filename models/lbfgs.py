"""L-BFGS for many pictures at once, each by itself (Nocedal 1980; Nocedal and Wright 2006, Alg. 7.4).

torch.optim.LBFGS takes all its parameters for one vector, so that pictures of a batch would share a step length and a
history. Here every inner product is one of each picture. Of one picture the iterates are those of torch's with its
defaults: no line search, and a first step of length 1 / |g|_1.
"""

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

CURVATURE = 1e-10  # of a step; what has less tells nothing of the second derivative


def minimise(
    evaluate: Callable[[Tensor], Tensor],
    x: Tensor,
    evaluations: int,
    rate: float = 1.0,
    history: int = 20,
    project: Callable[[Tensor], Tensor] = lambda x: x,
) -> Tensor:
    """Lower a sum of losses, one a row of `x`, none of which depends on another's row.

    Args:
        evaluate: x -> the gradient of that sum, of x's shape; called `evaluations` times.
        x: [N, ...].
        rate: length of a step in units of Newton's.
        history: steps that the Hessian is estimated from; 2 * history copies of x are kept.
        project: brings x back to where it may be, after every step; the step then is what is left of it.
    """
    shape = x.shape
    x = x.flatten(1)

    def gradient(at: Tensor) -> Tensor:
        return evaluate(at.view(shape)).flatten(1)

    def moves(direction: Tensor, step: Tensor) -> Tensor:
        return torch.where(step > 0, direction * step, 0.0)  # a picture stays where no way leads down

    g = gradient(x)
    direction = -g
    step = rate * (1 / g.abs().sum(dim=1, keepdim=True).clamp_min(1e-30)).clamp_max(1)
    scale = torch.ones_like(step)
    pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=history)
    for _ in range(evaluations - 1):
        before_x, x = x, project(x + moves(direction, step))
        moved = x - before_x
        before, g = g, gradient(x)
        change = g - before
        curvature = _dot(change, moved)
        useful = curvature > CURVATURE
        # A pair that is of no use to a picture has no weight in its sums.
        pairs.append((moved, change, torch.where(useful, 1 / curvature, 0.0)))
        scale = torch.where(useful, curvature / _dot(change, change).clamp_min(1e-30), scale)
        direction = -_times_inverse_hessian(g, pairs, scale)
        step = torch.where(_dot(g, direction) < 0, rate, 0.0)
    return project(x + moves(direction, step)).view(shape)


def _times_inverse_hessian(g: Tensor, pairs: deque[tuple[Tensor, Tensor, Tensor]], scale: Tensor) -> Tensor:
    """The two-loop recursion."""
    shares = []
    for moved, change, weight in reversed(pairs):
        shares.append(weight * _dot(moved, g))
        g = g - shares[-1] * change
    g = g * scale
    for (moved, change, weight), share in zip(pairs, reversed(shares), strict=True):
        g = g + moved * (share - weight * _dot(change, g))
    return g


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """[N, 1]."""
    return (a * b).sum(dim=1, keepdim=True)
