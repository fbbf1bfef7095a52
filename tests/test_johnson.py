"""Johnson: the paper's network, the losses by hand, the target of many paintings, and a resume to the bit."""

from pathlib import Path

import pytest
import torch

from data.batch import Batch
from engine.checkpoint import load_checkpoint
from models import build_method
from models.johnson import Johnson
from models.losses import gram_matrix, moments, wasserstein2
from models.networks.transform import TransformNetwork
from models.options import FeatureOptions, JohnsonOptions
from tests.conftest import ROOT, TINY, call

RANDOM = FeatureOptions(network="vgg16", weights="random")
SMALL = {
    "features": RANDOM,
    "channels": 4,
    "blocks": 1,
    "style_layers": ["relu1_2", "relu2_2"],
    "content_layer": "relu2_2",
}
TINY_JOHNSON = [
    *(word for word in TINY if not word.startswith("method.")),
    *("method.channels=4", "method.blocks=1", "method.style_layers=[relu1_2]", "method.content_layer=relu1_2"),
    "method.num_styles=4",
]


def johnson(**options: object) -> Johnson:
    torch.manual_seed(0)
    return build_method(JohnsonOptions(**SMALL | options))


class Pair:
    def __init__(self, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        self.content, self.style = (torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1 for _ in range(2))


def test_the_network_is_the_papers() -> None:
    network = TransformNetwork()
    # Convolutions with biases, and two numbers a channel of every instance norm.
    expected = (81 * 3 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128 + 10 * (9 * 128 + 1) * 128
    expected += (9 * 128 + 1) * 64 + (9 * 64 + 1) * 32 + (81 * 32 + 1) * 3
    expected += 2 * (32 + 64 + 128 + 10 * 128 + 64 + 32)
    assert sum(weight.numel() for weight in network.parameters()) == expected
    assert network(torch.zeros(1, 3, 32, 48)).shape == (1, 3, 32, 48)


def test_the_losses_are_those_of_the_paper_without_units() -> None:
    method, batch = johnson(style_weight=3.0, content_weight=2.0, tv_weight=0.5), Pair()
    method.begin(batch.style)
    (turn,) = method.turns(batch)
    with torch.no_grad():
        y_hat = method.network(batch.content)
        found, x, y = (method.vgg(each, ["relu1_2", "relu2_2"]) for each in (y_hat, batch.content, batch.style))
        pairs = zip(found["relu2_2"], x["relu2_2"], strict=True)
        content = torch.stack([(a - b).square().mean() / b.var(correction=0) for a, b in pairs]).mean()
        style = 0.0
        for layer in ("relu1_2", "relu2_2"):
            target = gram_matrix(y[layer]).mean(dim=0)
            style += (gram_matrix(found[layer]) - target).square().mean() / target.square().mean() / 2
    assert turn.player == "network"
    assert turn.report["content"].item() == pytest.approx(content.item(), rel=1e-5)
    assert turn.report["style"].item() == pytest.approx(style.item(), rel=1e-5)
    assert turn.loss.item() == pytest.approx((2 * content + 3 * style + 0.5 * turn.report["tv"]).item(), rel=1e-5)


def test_the_loss_of_a_batch_is_the_mean_of_its_pictures() -> None:
    """So that processes and passes may share it."""
    method, batch = johnson(), Batch(*(torch.rand(2, 3, 3, 32, 32) * 2 - 1))
    method.begin(batch.style)
    (whole,) = method.turns(batch)
    alone = [next(method.turns(Batch(batch.content[i : i + 1], batch.style))) for i in range(3)]
    assert whole.loss.item() == pytest.approx(sum(turn.loss.item() for turn in alone) / 3, rel=1e-5)


def test_moments_are_compared_in_units_of_the_styles_variance() -> None:
    method, batch = johnson(statistics="moments", style_layers=["relu1_2"]), Pair()
    method.begin(batch.style)
    (turn,) = method.turns(batch)
    with torch.no_grad():
        found, y = (method.vgg(each, ["relu1_2"])["relu1_2"] for each in (method.network(batch.content), batch.style))
        flat = y.transpose(0, 1).flatten(1)  # of all paintings together
        covariance = flat.cov(correction=0).unsqueeze(0)
        distance = wasserstein2(*moments(found), flat.mean(dim=1).unsqueeze(0), covariance).mean()
    assert turn.report["style"].item() == pytest.approx((distance / covariance[0].trace()).item(), rel=1e-3)


def test_a_resume_with_other_features_is_refused(tmp_path: Path, capsys) -> None:
    words = (ROOT / "configs/demo_johnson.yaml", f"run={tmp_path / 'run'}", *TINY_JOHNSON)
    assert call("train", *words, "schedule.decay=0") == 0
    state = torch.load(tmp_path / "run/checkpoints/step_00000004.pt", weights_only=True)
    assert state["described"].startswith("features: vgg16, random weights (seed 0)")
    assert call("train", *words, "method.num_styles=3") == 2
    assert "num_styles" in capsys.readouterr().err


def test_the_target_is_the_mean_of_all_paintings_however_they_are_batched() -> None:
    paintings = torch.rand(37, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    method = johnson()
    method.begin(paintings)
    expected = gram_matrix(method.vgg(paintings, ["relu1_2"])["relu1_2"]).mean(dim=0, keepdim=True)
    assert torch.allclose(method.raw_relu1_2, expected, rtol=1e-4)
    assert method.described == "features: vgg16, random weights (seed 0); style: the mean Gram matrix of 37 paintings"


def test_training_lowers_the_loss_and_moves_the_network_alone() -> None:
    method, batch = johnson(learning_rate=5e-3), Pair()
    method.begin(batch.style)
    losses = []
    for _ in range(15):
        (turn,) = method.turns(batch)
        method.optimizers["network"].zero_grad()
        turn.loss.backward()
        method.optimizers["network"].step()
        losses.append(turn.loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert list(method.vgg.parameters()) == []
    assert not any(key.startswith("vgg") for key in method.state_dict())


def test_a_run_resumes_to_the_bit_and_translates_without_its_features(tmp_path: Path, monkeypatch, capsys) -> None:
    recipe = ROOT / "configs/demo_johnson.yaml"
    assert call("train", recipe, f"run={tmp_path / 'whole'}", *TINY_JOHNSON) == 0
    assert "features: vgg16, random weights (seed 0)" in " ".join(capsys.readouterr().err.split())
    assert call("train", recipe, f"run={tmp_path / 'two'}", *TINY_JOHNSON, "schedule.decay=0") == 0
    assert call("train", recipe, f"run={tmp_path / 'two'}", *TINY_JOHNSON) == 0
    states = [load_checkpoint(tmp_path / run / "checkpoints/step_00000008.pt")["method"] for run in ("whole", "two")]
    differing = [key for key in states[0] if not torch.equal(states[0][key], states[1][key])]
    assert states[0].keys() == states[1].keys()
    assert differing == []
    monkeypatch.setattr("models.johnson.load_vgg", None)
    out = tmp_path / "out"
    picture = ROOT / "docs/images/demo.png"
    assert call("translate", tmp_path / "whole", picture, out) == 0
    assert (out / "demo.png").exists()
