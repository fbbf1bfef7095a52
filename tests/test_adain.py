"""AdaIN: the losses by hand, fusion by weights and strength, and a run that carries its encoder."""

import json
from pathlib import Path

import pytest
import torch

from engine.checkpoint import load_checkpoint
from models import build_method
from models.adain import LAYERS, AdaIN, decoder
from models.losses import adain, channel_statistics
from models.method import Style
from models.options import AdaINOptions, FeatureOptions
from tests.conftest import ROOT, TINY, call, evaluate

TINY_ADAIN = [
    *(word for word in TINY if not word.startswith(("method.", "data.content.", "data.style."))),
    *("method.features.weights=random", "data.content.source=synthetic", "data.style.source=synthetic"),
    *("data.content.size=32", "data.style.size=32", "data.content.scenes=5", "data.style.scenes=5"),
    *("data.content.held_out=2", "data.style.held_out=4", "schedule.unit=steps", "checkpoints.every=2"),
]


@pytest.fixture(scope="module")
def method() -> AdaIN:
    torch.manual_seed(0)
    found = build_method(AdaINOptions(features=FeatureOptions(weights="random", padding="reflect")))
    found.begin(torch.zeros(1, 3, 16, 16))
    return found


def pictures(count: int, seed: int, size: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Pair:
    content, style = pictures(2, 1), pictures(2, 2)


def test_the_decoder_mirrors_the_encoder() -> None:
    convolutions = [layer for layer in decoder("vgg19") if isinstance(layer, torch.nn.Conv2d)]
    widths = [(layer.in_channels, layer.out_channels) for layer in convolutions]
    assert widths == [
        (512, 256),
        (256, 256),
        (256, 256),
        (256, 256),
        (256, 128),
        (128, 128),
        (128, 64),
        (64, 64),
        (64, 3),
    ]
    assert decoder("vgg19")(torch.zeros(1, 512, 3, 4)).shape == (1, 3, 24, 32)


def test_the_losses_are_the_papers(method: AdaIN) -> None:
    (turn,) = method.turns(Pair)
    with torch.no_grad():
        style = method.f(Pair.style, LAYERS)
        t = adain(method.f(Pair.content, ["relu4_1"])["relu4_1"], style["relu4_1"])
        found = method.f(method.g(t), LAYERS)
        content_loss = (found["relu4_1"] - t).square().mean()
        style_loss = sum(
            (a - b).square().mean()
            for layer in LAYERS
            for a, b in zip(channel_statistics(found[layer]), channel_statistics(style[layer]), strict=True)
        )
    assert turn.player == "decoder"
    assert turn.report["content"].item() == pytest.approx(content_loss.item(), rel=1e-5)
    assert turn.report["style"].item() == pytest.approx(style_loss.item(), rel=1e-5)
    assert turn.loss.item() == pytest.approx((content_loss + 10 * style_loss).item(), rel=1e-5)
    assert all(weight.requires_grad for weight in method.g.parameters())
    assert list(method.f.parameters()) == []


def test_a_shallower_encoder_and_pictures_that_are_only_decoded() -> None:
    features = FeatureOptions(weights="random", padding="reflect")
    shallow = build_method(AdaINOptions(features=features, layer="relu2_1", identity_weight=3.0))
    shallow.begin(torch.zeros(1, 3, 16, 16))
    assert shallow.size_multiple == 2
    (turn,) = shallow.turns(Pair)
    with torch.no_grad():
        both = torch.cat([Pair.content, Pair.style])
        identity = (shallow.g(shallow.f(both, ["relu2_1"])["relu2_1"]) - both).square().mean()
    assert turn.report["identity"].item() == pytest.approx(identity.item(), rel=1e-5)
    parts = turn.report["content"] + 10 * turn.report["style"] + 3 * turn.report["identity"]
    assert turn.loss.item() == pytest.approx(parts.item(), rel=1e-5)


def test_fusion_is_by_weights_and_strength(method: AdaIN) -> None:
    content, a, b = pictures(1, 3), pictures(1, 4, 48), pictures(1, 5, 24) * 0.2
    with torch.no_grad():
        plain = method.g(method.f(content, ["relu4_1"])["relu4_1"]).clamp(-1, 1)
        assert torch.equal(method.translate(content, Style((a,), strength=0.0)), plain)
        assert torch.allclose(
            method.translate(content, Style((a, b), (1.0, 0.0))), method.translate(content, Style((a,))), atol=1e-6
        )
        assert torch.allclose(
            method.translate(torch.cat([content, content]), Style((torch.cat([a[..., :24, :24], b]),))),
            torch.cat([method.translate(content, Style((each,))) for each in (a[..., :24, :24], b)]),
            atol=1e-5,
        )
        whole = method.translate(content, Style((a,)))
        steps = [
            (method.translate(content, Style((a,), strength=s)) - whole).abs().mean()
            for s in (0.0, 0.25, 0.5, 0.75, 1.0)
        ]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] > steps[-1] == 0


@pytest.mark.usefixtures("narrow_vgg")
def test_a_run_resumes_to_the_bit_and_carries_its_encoder(tmp_path: Path, monkeypatch) -> None:
    recipe = ROOT / "configs/adain.yaml"
    words = [*TINY_ADAIN, "schedule.constant=4", "schedule.decay=0"]
    assert call("train", recipe, f"run={tmp_path / 'whole'}", *words) == 0
    assert call("train", recipe, f"run={tmp_path / 'two'}", *words, "schedule.constant=2") == 0
    assert call("train", recipe, f"run={tmp_path / 'two'}", *words) == 0
    states = [load_checkpoint(tmp_path / run / "checkpoints/step_00000004.pt")["method"] for run in ("whole", "two")]
    assert [key for key in states[0] if not torch.equal(states[0][key], states[1][key])] == []
    assert "f.conv4_1_weight" in states[0]
    monkeypatch.setattr("models.adain.fill", None)
    assert evaluate(tmp_path / "whole") == 0
    facts = json.loads((tmp_path / "whole/report/metrics.json").read_text())
    assert facts["networks"] == "encoder: vgg19, random weights (seed 0)"
    assert facts["style"] == "a training painting for each photograph"
    picture, out = ROOT / "docs/images/demo.png", tmp_path / "out"
    assert call("translate", tmp_path / "whole", picture, out, "--style", picture, "--alpha", "0.5") == 0
    assert (out / "demo.png").exists()
    assert call("translate", tmp_path / "whole", picture, out, "--style", picture, "--alpha", "1.5") == 2
