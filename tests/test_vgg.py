"""VGG by layer name is torchvision's, style statistics are their papers', weights are never others silently."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.weights import URLS, WeightsError, fetch, place_of
from models.losses import (
    adain,
    channel_statistics,
    gram_matrix,
    matrix_root,
    moments,
    total_variation,
    wasserstein2,
)
from models.networks.vgg import MEAN, STD, VGG, layer_names
from models.networks.vgg_weights import load_vgg
from models.options import FeatureOptions


def torchvision_vgg(network: str) -> nn.Sequential:
    """The convolutional part of torchvision's network, with weights of its own initialisation."""
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    layers = make_layers(cfgs[{"vgg16": "D", "vgg19": "E"}[network]])
    for module in layers:
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return layers


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_every_layer_is_torchvisions(network: str, tmp_path: Path) -> None:
    theirs = torchvision_vgg(network).double()
    torch.save({f"features.{key}": value for key, value in theirs.state_dict().items()}, tmp_path / "weights.pth")
    ours = load_vgg(FeatureOptions(network=network, weights=str(tmp_path / "weights.pth")), "pool5").double()
    pictures = torch.rand(2, 3, 32, 40, dtype=torch.float64) * 2 - 1
    found = ours(pictures, layer_names(network))
    # The very constants of ours, which are single precision.
    mean, std = (torch.tensor(values).double().view(1, 3, 1, 1) for values in (MEAN, STD))
    x = ((pictures + 1) / 2 - mean) / std
    assert len(theirs) == len(layer_names(network))
    for name, module in zip(layer_names(network), theirs, strict=True):
        x = module(x)
        assert torch.allclose(found[name], x, rtol=0, atol=1e-6), name


def test_only_the_layers_asked_for_are_computed(monkeypatch) -> None:
    vgg = load_vgg(FeatureOptions(weights="random"), "relu4_1")
    seen = []
    apply = vgg._apply_layer
    monkeypatch.setattr(vgg, "_apply_layer", lambda name, x: (seen.append(name), apply(name, x))[1])
    found = vgg(torch.zeros(1, 3, 32, 32), ["relu1_1", "relu2_1"])
    assert set(found) == {"relu1_1", "relu2_1"}
    assert seen[-1] == "relu2_1"
    with pytest.raises(ValueError, match="relu5_1"):
        vgg(torch.zeros(1, 3, 32, 32), ["relu5_1"])


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate"])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_padding_and_pooling(padding: str, pooling: str) -> None:
    vgg = load_vgg(FeatureOptions(weights="random", padding=padding, pooling=pooling), "relu3_1")
    flat = vgg(torch.full((1, 3, 24, 24), 0.3), ["relu3_1"])["relu3_1"]
    assert flat.shape == (1, 256, 6, 6)
    framed = (flat - flat[..., 3:4, 3:4]).abs().max() > 1e-4
    assert framed == (padding == "zeros")  # of a flat picture the others make flat features


def test_weights_are_frozen_and_no_part_of_a_checkpoint() -> None:
    vgg = load_vgg(FeatureOptions(weights="random"), "relu2_1")
    assert vgg.state_dict() == {}
    assert list(vgg.parameters()) == []
    assert [name for name, _ in VGG("vgg19", "relu1_1", frozen_blocks=0).named_parameters()] == [
        "conv1_1_weight",
        "conv1_1_bias",
    ]


def test_random_weights_are_their_seeds_and_say_so() -> None:
    picture = torch.rand(1, 3, 16, 16)
    nets = [load_vgg(FeatureOptions(weights="random", seed=seed), deepest) for seed, deepest in
            ((0, "relu2_1"), (0, "relu3_1"), (1, "relu2_1"))]  # fmt: skip
    a, b, c = (net(picture, ["relu2_1"])["relu2_1"] for net in nets)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert 0.1 < a.std() < 10
    assert nets[2].described == "vgg19, random weights (seed 1)"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(URLS, "vgg19", "http://127.0.0.1:9/vgg19-dcbb9e9d.pth")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "hub/checkpoints"


def test_without_weights_and_network_the_file_its_place_and_the_way_on_are_said(hub: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load_vgg(FeatureOptions(), "relu4_1")
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(hub / "vgg19-dcbb9e9d.pth"), "SHA-256 begins with dcbb9e9d", "method.features.weights=random"):
        assert part in message
    assert not list(hub.glob("*"))


def test_a_file_that_is_there_is_checked(hub: Path, monkeypatch) -> None:
    hub.mkdir(parents=True)
    place_of("vgg19").write_bytes(b"anything")
    with pytest.raises(WeightsError, match="is damaged .* delete it"):
        fetch("vgg19", "")
    monkeypatch.setitem(URLS, "vgg19", f"http://127.0.0.1:9/vgg19-{hashlib.sha256(b'anything').hexdigest()[:8]}.pth")
    place_of("vgg19").write_bytes(b"anything")
    assert fetch("vgg19", "") == place_of("vgg19")


def in_torchvisions_layout(value: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """VGG-19's names; with None its shapes, too."""
    shapes = {f"features.{key}": x for key, x in torchvision_vgg("vgg19").state_dict().items()}
    return {key: x if value is None else value for key, x in shapes.items()}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file or run"),
        (b"text", "is no file of weights"),
        ({"a": 1}, "holds no vgg19"),
        (torch.zeros(3), "holds no vgg19"),
        (in_torchvisions_layout(torch.zeros(1)), "features.0.weight: no tensor of"),
        ({key: x.to(torch.complex64) for key, x in in_torchvisions_layout(None).items()}, "no tensor of"),
        ({key: x * torch.nan for key, x in in_torchvisions_layout(None).items()}, "is not finite"),
    ],
    ids=["none", "text", "other names", "a tensor", "other shapes", "complex", "nan"],
)
def test_wrong_weights_are_named(content: object, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=problem):
        load_vgg(FeatureOptions(weights=str(path)), "relu1_1")
    with pytest.raises(WeightsError, match="without a good checkpoint"):
        load_vgg(FeatureOptions(weights=str(tmp_path)), "relu1_1")


# -- statistics ------------------------------------------------------------------------------------------------

FEATURES = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, 1.0]]]], dtype=torch.float64)


def test_gram_matrix_by_hand() -> None:
    assert torch.allclose(gram_matrix(FEATURES), torch.tensor([[[7.5, 1.5], [1.5, 0.5]]], dtype=torch.float64))


def test_moments_and_channel_statistics_by_hand() -> None:
    mean, covariance = moments(FEATURES)
    assert torch.allclose(mean, torch.tensor([[2.5, 0.5]], dtype=torch.float64))
    assert torch.allclose(covariance, torch.tensor([[[1.25, 0.25], [0.25, 0.25]]], dtype=torch.float64))
    mean, deviation = channel_statistics(FEATURES, epsilon=0.0)
    assert mean.flatten().tolist() == [2.5, 0.5]
    assert torch.allclose(deviation.flatten(), torch.tensor([1.25, 0.25], dtype=torch.float64).sqrt())


def test_adain_by_hand() -> None:
    style = torch.tensor([[[[10.0, 14.0]], [[5.0, 5.0]]]], dtype=torch.float64)
    found = adain(FEATURES, style, epsilon=0.0)
    expected = (FEATURES[:, :1] - 2.5) / 1.25**0.5 * 2 + 12
    assert torch.allclose(found[:, :1], expected)
    assert torch.allclose(found[:, 1:], torch.full((1, 1, 2, 2), 5.0, dtype=torch.float64))


def test_wasserstein_by_closed_forms() -> None:
    """Diagonal covariances: |difference of means|^2 + sum of (difference of deviations)^2."""
    a, b = torch.tensor([4.0, 9.0, 0.25]).double(), torch.tensor([1.0, 16.0, 0.25]).double()
    mean_a, mean_b = torch.tensor([[1.0, 0, 2]]).double(), torch.tensor([[0.0, 0, 0]]).double()
    found = wasserstein2(mean_a, torch.diag(a)[None], mean_b, torch.diag(b)[None])
    assert found.item() == pytest.approx(5 + 1 + 1 + 0, abs=1e-9)
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 6, generator=rng, dtype=torch.float64)
    matrix = x @ x.transpose(1, 2)
    assert torch.allclose(matrix_root(matrix) @ matrix_root(matrix), matrix, atol=1e-9)
    mean = torch.zeros(2, 6).double()
    assert wasserstein2(mean, matrix, mean, matrix).abs().max() < 1e-9


def test_wasserstein_of_covariances_without_full_rank_is_finite() -> None:
    flat = torch.zeros(1, 4, 8, 8, requires_grad=True)
    few = torch.randn(1, 4, 1, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for x in (flat, few):
        for target in (flat, few):
            mean, covariance = (each.detach() for each in moments(target))
            distance = wasserstein2(*moments(x), mean, covariance).sum()
            distance.backward()
            assert torch.isfinite(distance)
            assert torch.isfinite(x.grad).all()
            assert distance > -1e-5


def test_total_variation_by_hand() -> None:
    x = torch.tensor([[[[0.0, 1.0, 3.0], [0.0, 1.0, 3.0]]]])
    assert total_variation(x).item() == pytest.approx((1 + 4) / 2)
    assert total_variation(x.transpose(2, 3)).item() == pytest.approx((1 + 4) / 2)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: gram_matrix(x).square().sum(),
        lambda x: wasserstein2(*moments(x), *moments(OTHER)).sum(),
        lambda x: adain(x, OTHER).square().sum(),
        lambda x: total_variation(x),
    ],
    ids=["gram", "wasserstein2", "adain", "tv"],
)
def test_gradients(loss) -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(loss, (x,), atol=1e-4)


OTHER = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_gradients_through_the_network() -> None:
    vgg = load_vgg(FeatureOptions(weights="random", pooling="average", padding="reflect"), "relu1_2").double()
    x = torch.rand(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: gram_matrix(vgg(x, ["relu1_2"])["relu1_2"]).mean(), (x,), atol=1e-4)
