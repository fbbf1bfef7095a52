"""The arithmetic of a step, against hand-computed values, and a device's matmul rate."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from data.batch import Batch, LabelledBatch
from engine.flops import FlopCounter, matmul_rate, step_flops
from models import build_method
from models.method import Examination, Learner, Turn
from models.options import (
    AdaINOptions,
    CycleGANOptions,
    DiscriminatorOptions,
    FeatureOptions,
    GeneratorOptions,
    JohnsonOptions,
    VggFinetuneOptions,
)
from tests.conftest import move

CPU = torch.device("cpu")
PAIRS = Batch(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32))
R1_EVERY_STEP = {"r1_weight": 1.0, "r1_every": 1}
RANDOM = {network: FeatureOptions(network=network, weights="random") for network in ("vgg16", "vgg19")}


class OneConvolution(Learner):
    """3 -> 8 channels, 3 x 3, H and W kept; its input wants no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Conv2d(3, 8, 3, padding=1)
        self.optimizers = {"network": torch.optim.Adam(self.network.parameters())}

    def turns(self, batch: Batch) -> Iterator[Turn]:
        yield Turn("network", self.network(batch.content).square().mean(), {})

    def examine(self, held_out: Batch) -> Examination:
        return Examination()


class Asking(OneConvolution):
    def turns(self, batch: Batch) -> Iterator[Turn]:
        if float(batch.content.mean()) < 2:
            yield from super().turns(batch)


def test_a_convolution_by_hand() -> None:
    forward = 2 * 3 * 8 * 9 * 32 * 32 * len(PAIRS)
    assert step_flops(OneConvolution(), PAIRS) == 2 * forward  # the gradient of the weights costs as much


def test_a_method_that_asks_for_numbers_is_not_counted() -> None:
    assert step_flops(Asking(), PAIRS) is None


def cyclegan(adversarial: str, **options: object) -> Learner:
    generator = GeneratorOptions(channels=4, blocks=1, dropout=0.5)
    return build_method(
        CycleGANOptions(
            generator=generator,
            discriminator=DiscriminatorOptions(channels=4),
            adversarial=adversarial,
            pool_size=2,
            **options,
        )
    )


def test_what_comes_every_so_many_steps_is_left_out() -> None:
    plain, lazy, eager = (
        step_flops(cyclegan("lsgan", **options), PAIRS) for options in ({}, {"r1_weight": 1.0}, R1_EVERY_STEP)
    )
    assert plain == lazy < eager


def johnson() -> Learner:
    layers = {"style_layers": ["relu1_1", "relu2_1"], "content_layer": "relu2_1"}
    return build_method(JohnsonOptions(features=RANDOM["vgg16"], channels=4, blocks=1, statistics="moments", **layers))


def classifier() -> Learner:
    learner = build_method(VggFinetuneOptions(features=RANDOM["vgg16"]))
    learner.begin(("oil", "ink"), (0.5, 0.5))
    return learner


LEARNERS = {
    "lsgan": lambda: cyclegan("lsgan"),
    "wgan-gp": lambda: cyclegan("wgan-gp", first="discriminators"),
    "johnson": johnson,
    "adain": lambda: build_method(AdaINOptions(features=RANDOM["vgg19"], layer="relu2_1")),
    "vgg_finetune": classifier,
}


def numbers(learner: Learner) -> dict:
    """Weights, statistics, pictures of the pools, moments of the optimizers; a classifier's names are none."""
    state = {name: value for name, value in learner.state_dict().items() if name != "_extra_state"}
    return state | {player: optimizer.state_dict()["state"] for player, optimizer in learner.optimizers.items()}


@pytest.mark.parametrize("name", LEARNERS)
def test_without_computing_anything_the_count_is_that_of_a_real_step(name: str) -> None:
    learner = LEARNERS[name]()
    batch = PAIRS
    if name == "vgg_finetune":
        batch = LabelledBatch(PAIRS.content, torch.tensor([0, 1]))
    elif hasattr(learner, "begin"):
        learner.begin(PAIRS.style)

    def step() -> None:
        for turn in learner.turns(batch):
            move(learner, turn)

    step()  # fills the pools, and the optimizers' moments
    before = copy.deepcopy(numbers(learner)), torch.get_rng_state()
    gradients = [weight.grad for weight in learner.parameters()]
    found = step_flops(learner.eval(), batch)
    assert not learner.training
    assert torch.equal(torch.get_rng_state(), before[1])
    assert all(weight.grad is grad for weight, grad in zip(learner.parameters(), gradients, strict=True))
    torch.testing.assert_close(numbers(learner), before[0], rtol=0, atol=0)
    learner.train()
    with FlopCounter() as counter:
        step()
    assert found == counter.flops > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_matmul_rate_is_measured_and_draws_nothing(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.flops.SMALLEST", 32)
    monkeypatch.setattr("engine.flops.LARGEST", {"cpu": 64})
    before = torch.get_rng_state()
    assert matmul_rate(CPU, dtype) > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_no_matrix_is_larger_than_the_time_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = []

    def multiply(side: int, *_: object) -> list[float]:
        sides.append(side)
        return [side**3 / 1e9] * 5  # 2 GFLOP/s

    monkeypatch.setattr("engine.flops._multiply", multiply)
    assert matmul_rate(CPU, torch.bfloat16) == pytest.approx(2e9)
    assert sides == [256]
