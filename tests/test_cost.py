"""What a translation costs, against what is known of the networks."""

import pytest
import torch
from torch import nn

from metrics.cost import SIDE, measure_cost
from models.networks.generator import ResnetGenerator


def test_parameters_and_multiplications_of_a_convolution_by_hand() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    network = Two()
    cost = measure_cost(network, network, torch.zeros(4, 3, 32, 32), optimizes=False)
    assert cost.parameters == 3 * 8 * 9 + 8
    assert cost.gmacs == pytest.approx(3 * 8 * 9 * SIDE**2 / 1e9)
    assert cost.pictures_per_second > 0
    assert (cost.batch, cost.side, cost.device) == (4, 32, "cpu")


def test_the_papers_generator() -> None:
    network = ResnetGenerator()
    with torch.inference_mode():
        cost = measure_cost(network, network, torch.zeros(1, 3, 32, 32), optimizes=False)
    assert cost.parameters == 11_378_179
    # The ends; two stride-2 convolutions and two transposed ones (taps an input pixel); 18 of the blocks.
    by_hand = 2 * 3 * 64 * 49 * 256**2 + 4 * 64 * 128 * 9 * 128**2 + 18 * 256 * 256 * 9 * 64**2
    assert cost.gmacs == pytest.approx(by_hand / 1e9)


def test_frozen_weights_are_counted() -> None:
    from models.networks.vgg import VGG

    network = VGG("vgg19", "relu2_1", frozen_blocks=5)
    assert list(network.parameters()) == []
    cost = measure_cost(
        lambda x: network(x, ["relu2_1"])["relu2_1"], network, torch.zeros(1, 3, 32, 32), optimizes=False
    )
    assert cost.parameters == (3 * 64 + 64 * 64 + 64 * 128) * 9 + 64 + 64 + 128


def test_an_optimised_picture_is_counted_with_its_gradients_and_scaled_to_the_size() -> None:
    network = nn.Conv2d(3, 8, 3, padding=1)

    def optimise(x: torch.Tensor) -> torch.Tensor:
        x = x.clone().requires_grad_()
        for _ in range(3):
            (gradient,) = torch.autograd.grad(network(x).square().sum(), x)
            x = (x - gradient).detach().requires_grad_()
        return x

    cost = measure_cost(optimise, network, torch.rand(2, 3, 32, 32), optimizes=True)
    assert cost.gmacs == pytest.approx(3 * 2 * 3 * 8 * 9 * SIDE**2 / 1e9)  # three times forward and back
    assert cost.batch == 1


def test_peak_memory_is_that_of_the_largest_moment() -> None:
    def translate(x: torch.Tensor) -> torch.Tensor:
        large = torch.ones(64 * 2**20 // 4)  # 64 MiB
        return x + large.sum() * 0

    cost = measure_cost(translate, nn.Identity(), torch.zeros(1, 3, 16, 16), optimizes=True)
    assert cost.memory is None or 60 < cost.memory < 100
