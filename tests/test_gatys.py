"""Gatys: losses fall, scales and optimisers work, several styles mix, pictures do not, users are told the way."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from data.images import normalise, to_tensor
from engine.exits import DONE, SOME_FAILED, USER_ERROR
from models import build_method, load_translator
from models.gatys import Gatys, _Adam
from models.method import Style
from models.options import FeatureOptions, GatysOptions
from tests.broken_files import picture
from tests.conftest import ROOT, call

RANDOM = FeatureOptions(weights="random", pooling="average", padding="reflect")
SMALL = {"features": RANDOM, "style_layers": ["relu1_1", "relu2_1"], "content_layer": "relu2_2", "iterations": 12}
RECIPE = ROOT / "configs/demo_gatys.yaml"


def gatys(**options: object) -> Gatys:
    return build_method(GatysOptions(**SMALL | options))


def tensor(seed: int, size: tuple[int, int] = (40, 48)) -> torch.Tensor:
    small = picture(size[1] // 4, size[0] // 4, seed=seed).resize(size[::-1], Image.Resampling.BICUBIC)
    return normalise(to_tensor(small)[None])


def style_loss(method: Gatys, content: torch.Tensor, style: torch.Tensor, found: torch.Tensor) -> float:
    with torch.no_grad():
        return float(method.loss(content, [style], [1.0])(found)[1]["style"])


@pytest.mark.parametrize("statistics", ["gram", "moments"])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("start", ["content", "noise", "style"])
def test_the_style_comes_nearer(statistics: str, optimizer: str, start: str) -> None:
    rate = 1.0 if optimizer == "lbfgs" else 0.05
    method = gatys(statistics=statistics, optimizer=optimizer, start=start, learning_rate=rate, average=0.5)
    content, style = tensor(0), tensor(1, (60, 44))
    seen = []
    found = method.translate(
        content, Style((style,)), progress=lambda done, total, parts: seen.append((done, total, parts))
    )
    assert found.shape == content.shape
    assert found.abs().max() <= 1
    assert style_loss(method, content, style, content) == pytest.approx(1, abs=1e-4)  # the unit is the photograph's
    assert seen[-1][:2] == (12, 12)
    at_start = {"content": 1.0, "noise": seen[0][2]["style"], "style": 1.0}[start]
    assert style_loss(method, content, style, found) < 0.5 * at_start


def test_scales_from_coarse_to_fine_carry_adams_moments() -> None:
    method = gatys(optimizer="adam", learning_rate=0.05, coarsest=32, average=0.9)
    seen = []
    content, style = tensor(0, (64, 80)), Style((tensor(1),))
    found = method.translate(content, style, progress=lambda *each: seen.append(each[:2]))
    assert found.shape == (1, 3, 64, 80)
    assert seen[-1] == (36, 36)  # three scales: 32, 45, 64
    coarse = _Adam(method.options, tensor(0, (32, 40)), None)
    coarse.run(method.loss(tensor(0, (32, 40)), [tensor(1)], [1.0]), lambda *_: None)
    fine = _Adam(method.options, tensor(0, (64, 80)), coarse)
    state = fine.optimizer.state[fine.picture]
    assert state["step"] == 12
    assert state["exp_avg"].shape == state["exp_avg_sq"].shape == (1, 3, 64, 80)
    assert state["exp_avg"].abs().mean() > 0


def test_the_average_lags_behind_the_last_iterate() -> None:
    content, style = tensor(0), Style((tensor(1),))
    last, averaged = (
        gatys(optimizer="adam", learning_rate=0.05, average=decay).translate(content, style) for decay in (0.0, 0.9)
    )
    assert (averaged - content).abs().mean() < 0.9 * (last - content).abs().mean()


def test_layer_weights_and_style_scale_count() -> None:
    content, style = tensor(0), tensor(1)
    plain = gatys().translate(content, Style((style,)))
    for options in ({"layer_weights": [1.0, 0.0]}, {"style_scale": 2.0}):
        assert (gatys(**options).translate(content, Style((style,))) - plain).abs().mean() > 1e-3
    first, second = gatys(layer_weights=[1.0, 0.0]), gatys(layer_weights=[0.0, 1.0])
    only = Style((style,))
    losses = [
        [style_loss(judge, content, style, method.translate(content, only)) for method in (first, second)]
        for judge in (first, second)
    ]
    assert losses[0][0] < losses[0][1]
    assert losses[1][1] < losses[1][0]


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_every_iterate_is_a_picture(optimizer: str, monkeypatch) -> None:
    method, extremes = gatys(optimizer=optimizer, learning_rate=1.0), []
    forward = method.vgg.forward
    monkeypatch.setattr(method.vgg, "forward", lambda x, layers: extremes.append(x.abs().max()) or forward(x, layers))
    method.translate(tensor(0), Style((tensor(1),)))
    assert max(extremes) <= 1


@pytest.mark.parametrize("statistics", ["gram", "moments"])
def test_a_painting_that_is_the_photograph_and_flat_ones_are_no_trouble(statistics: str) -> None:
    method = gatys(statistics=statistics)
    flat = torch.ones(1, 3, 40, 48)
    for content, style in ((tensor(0), tensor(0)), (flat, tensor(1)), (tensor(0), flat), (flat, flat)):
        seen = []
        found = method.translate(content, Style((style,)), progress=lambda *each, seen=seen: seen.append(each))
        losses = [parts["style"] for _, _, parts in seen]
        assert found.isfinite().all()
        assert 0 <= min(losses) <= max(losses) < 2
    assert (method.translate(tensor(0), Style((tensor(0),))) - tensor(0)).abs().mean() < 0.05


@pytest.mark.parametrize(("optimizer", "rate"), [("lbfgs", 1.0), ("adam", 0.05)])
def test_pictures_of_a_batch_do_not_mix(optimizer: str, rate: float) -> None:
    method = gatys(optimizer=optimizer, learning_rate=rate)
    contents, style = torch.cat([tensor(0), tensor(3)]), tensor(1)
    together = method.translate(contents, Style((style,)))
    alone = torch.cat([method.translate(each, Style((style,))) for each in contents.split(1)])
    assert (together - alone).abs().mean() < 1e-3  # rounding differs, and L-BFGS enlarges it


def test_every_photograph_may_have_a_painting_of_its_own() -> None:
    method = gatys(statistics="moments", iterations=5)  # more would enlarge the rounding
    contents, styles = torch.cat([tensor(0), tensor(3)]), torch.cat([tensor(1), tensor(2) * 0.3])
    together = method.translate(contents, Style((styles,)))
    pairs = zip(contents.split(1), styles.split(1), strict=True)
    alone = torch.cat([method.translate(content, Style((style,))) for content, style in pairs])
    assert (together - alone).abs().mean() < 1e-3


def test_two_styles_mix_by_their_weights() -> None:
    method = gatys()
    content, a, b = tensor(0), tensor(1), tensor(2) * 0.3
    distances = []
    for weights in ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0)):
        found = method.translate(content, Style((a, b), weights))
        distances.append((style_loss(method, content, a, found), style_loss(method, content, b, found)))
    assert distances[0][0] < distances[1][0] < distances[2][0]
    assert distances[0][1] > distances[1][1] > distances[2][1]
    assert Style((a, b)).shares() == (0.5, 0.5)


def test_the_content_weight_holds_the_content() -> None:
    content, style = tensor(0), tensor(1)
    found = {w: gatys(content_weight=w).translate(content, Style((style,))) for w in (0.0, 1000.0)}
    assert (found[1000.0] - content).abs().mean() < 0.5 * (found[0.0] - content).abs().mean()


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("style_layers=[relu9_1]", "vgg19 has no layer relu9_1"),
        ("style_layers=[]", "method.style_layers = []"),
        ("layer_weights=[1.0]", "1 weights for 3 style layers"),
        ("layer_weights=[0,0,0]", "method.layer_weights: all are 0"),
        ("content_layer=pool6", "no layer pool6"),
    ],
)
def test_wrong_layers_are_named(setting: str, problem: str, folder: Path, capsys) -> None:
    words = ("--style", folder / "styles", "--set", f"method.{setting}")
    assert call("translate", RECIPE, folder / "in/a.png", folder / "out", *words) == USER_ERROR
    assert problem in capsys.readouterr().err


# -- as users call it ------------------------------------------------------------------------------------------

FAST = ("--set", "method.iterations=3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in/deep").mkdir(parents=True)
    picture(37, 41, seed=0).save(tmp_path / "in/a.png")
    picture(5, 50, seed=1).save(tmp_path / "in/deep/b.png")
    (tmp_path / "in/bad.jpg").write_text("no picture")
    (tmp_path / "styles").mkdir()
    (tmp_path / "nothing").mkdir()
    for i in range(2):
        picture(60, 50, seed=10 + i).save(tmp_path / "styles" / f"{i}.png")
    return tmp_path


def test_a_folder_is_translated_by_the_recipe_alone(folder: Path) -> None:
    words = ("translate", RECIPE, folder / "in", folder / "out", "--style", folder / "styles", *FAST)
    assert call(*words) == SOME_FAILED
    sizes = {name: Image.open(folder / "out" / name).size for name in ("a.png", "deep/b.png")}
    assert sizes == {"a.png": (37, 41), "deep/b.png": (5, 50)}
    before = (folder / "out/a.png").stat().st_mtime_ns
    assert call(*words) == SOME_FAILED
    assert (folder / "out/a.png").stat().st_mtime_ns == before


def test_a_bad_painting_of_a_folder_is_left_out_and_the_features_are_named(folder: Path, capsys) -> None:
    (folder / "styles/bad.png").write_bytes(b"no picture")
    words = ("--style", folder / "styles", *FAST)
    assert call("translate", RECIPE, folder / "in/a.png", folder / "out", *words) == DONE
    said = capsys.readouterr().err
    assert "--style: left out:" in said
    assert "features: vgg19, random weights (seed 0)" in said


def test_a_translation_that_is_not_finite_is_not_saved(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr("models.gatys.Gatys.translate", lambda self, x, *_, **__: x * torch.nan)
    words = ("--style", folder / "styles", *FAST)
    assert call("translate", RECIPE, folder / "in/a.png", folder / "out", *words) == SOME_FAILED
    assert not (folder / "out/a.png").exists()


def test_colours_can_be_preserved(folder: Path) -> None:
    translator = load_translator(
        str(RECIPE), style=[str(folder / "styles/0.png")], settings=["method.iterations=3", "seed=1"], device="cpu"
    )
    grey = normalise(to_tensor(picture(40, 40, seed=5).convert("L").convert("RGB"))[None])
    coloured = translator.translate(grey)
    assert coloured.std(dim=1).max() > 0.05
    assert translator.translate(grey, "luminance").std(dim=1).max() < 1e-5
    assert translator.translate(grey, "moments").std(dim=1).mean() < 0.3 * coloured.std(dim=1).mean()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "gatys takes its style from pictures: give --style PAINTING"),
        (("--style", "{tmp}/none.jpg"), "none.jpg: no such picture or folder"),
        (("--style", "{tmp}/in/bad.jpg"), "--style"),
        (("--style", "{tmp}/styles", "--style-weights", "1,2"), "2 weights for 1 styles"),
        (("--style", "{tmp}/styles", "--mask", "{tmp}/a", "{tmp}/b"), "2 masks for 1 styles"),
        (("--style", "{tmp}/styles", "--mask", "{tmp}/none.png"), "none.png: no such picture or folder"),
        (("--style", "{tmp}/styles", "--style-weights", "much"), "--style-weights much"),
        (("--style", "{tmp}/styles", "--style-weights", "nan"), "--style-weights nan: must be numbers"),
        (("--style", "{tmp}/styles", "--style-weights", "0"), "--style-weights 0: must be numbers"),
        (("--style", ""), "--style '': no such picture"),
        (("--style", "{tmp}/styles", "--mask", "{tmp}/in/bad.jpg"), "--mask"),
        (("--style", "{tmp}/styles", "--mask", "{tmp}/nothing"), "--mask"),
        (("--style", "{tmp}/styles", "--set", "method.iteration=3"), "did you mean method.iterations"),
    ],
)
def test_mistakes_are_one_line(words: tuple, problem: str, folder: Path, capsys) -> None:
    filled = [word.format(tmp=folder) for word in words]
    assert call("translate", RECIPE, folder / "in/a.png", folder / "out", *filled) == USER_ERROR
    assert problem in capsys.readouterr().err


def test_training_it_is_answered_with_what_to_do_instead(tmp_path: Path, capsys) -> None:
    assert call("train", RECIPE, f"run={tmp_path / 'run'}") == USER_ERROR
    assert f"translate.py {RECIPE} PHOTOGRAPHS OUT --style PAINTING" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_trained_method_takes_no_style_and_no_recipe(folder: Path, tiny_run: Path, capsys) -> None:
    target = folder / "out"
    assert call("translate", tiny_run, folder / "in/a.png", target, "--style", folder / "styles") == USER_ERROR
    assert "cyclegan has learnt its style" in capsys.readouterr().err
    assert call("translate", ROOT / "configs/cyclegan.yaml", folder / "in/a.png", target) == USER_ERROR
    assert "has to be trained" in capsys.readouterr().err
    assert call("translate", tiny_run, folder / "in/a.png", target, "--preserve-color", "moments") == USER_ERROR
    assert "--keep-color moments: changes the colours of --style" in capsys.readouterr().err
    assert call("translate", tiny_run, folder / "in/a.png", target, "--preserve-color") == DONE
