"""L-BFGS of many: of one row it is torch's, and rows do not see one another."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.lbfgs import minimise


def rosenbrock(x: Tensor) -> Tensor:
    """[N, D] -> [N]; its minimum is 0 at ones."""
    return (10 * (x[:, 1:] - x[:, :-1].square()).square() + (1 - x[:, :-1]).square()).sum(dim=1)


def gradient(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def evaluate(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(loss(x).sum(), x)[0]

    return evaluate


def by_torch(x: Tensor, evaluations: int, rate: float) -> Tensor:
    x = x.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x], rate, max_iter=evaluations, max_eval=10**6, tolerance_grad=0, tolerance_change=0, history_size=20
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = rosenbrock(x).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return x.detach()


def starts(count: int) -> Tensor:
    return torch.rand(count, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.5


@pytest.mark.parametrize("rate", [1.0, 0.3])
@pytest.mark.parametrize("evaluations", [1, 2, 7, 30])
def test_of_one_row_it_is_torchs(rate: float, evaluations: int) -> None:
    x = starts(1)
    assert torch.allclose(
        minimise(gradient(rosenbrock), x, evaluations, rate), by_torch(x, evaluations, rate), rtol=1e-6, atol=1e-9
    )


def test_rows_do_not_see_one_another_on_the_way_and_find_the_minimum() -> None:
    x = starts(5)
    early = minimise(gradient(rosenbrock), x, 7, 0.5)
    assert torch.allclose(early, torch.cat([minimise(gradient(rosenbrock), row, 7, 0.5) for row in x.split(1)]))
    assert not torch.allclose(early, torch.ones_like(x), atol=0.1)
    together = minimise(gradient(rosenbrock), x, 200, 0.5)
    assert torch.allclose(together, torch.cat([minimise(gradient(rosenbrock), row, 200, 0.5) for row in x.split(1)]))
    assert torch.allclose(together, torch.ones_like(x), atol=1e-4)


def test_a_row_at_its_minimum_stays_and_shapes_are_kept() -> None:
    x = torch.stack([torch.ones(2, 3), torch.zeros(2, 3)]).double()
    found = minimise(gradient(lambda x: rosenbrock(x.flatten(1))), x, 60, 0.5)
    assert found.shape == x.shape
    assert torch.equal(found[0], x[0])
    assert found.isfinite().all()


def test_what_is_projected_never_leaves_its_place_and_finds_the_best_there() -> None:
    seen = []

    def evaluate(x: Tensor) -> Tensor:
        seen.append(x)
        return 2 * (x - torch.tensor([2.0, 0.3]))

    found = minimise(evaluate, torch.zeros(1, 2), 30, project=lambda x: x.clamp(-1, 1))
    assert torch.allclose(found, torch.tensor([[1.0, 0.3]]), atol=1e-4)
    assert max(x.abs().max() for x in seen) <= 1
