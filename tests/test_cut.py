"""CUT's step: PatchNCE by hand, which places are compared, who moves on what, and FastCUT's mirrors."""

import copy
import math
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from data.batch import Batch, Places
from models.contrast import patch_contrast
from models.cut import CUT
from models.losses import patch_nce
from models.networks.generator import Features
from models.options import CUTOptions, DiscriminatorOptions, GeneratorOptions
from tests.conftest import ROOT, TINY_CUT, call, move
from tests.test_resume import assert_same_run
from tests.test_step import PLAN, Waits, networks, stepper
from tests.test_step import pictures as random_pictures

SMALL = {
    "generator": GeneratorOptions(channels=4, blocks=2, upsample="blur", downsample="blur"),
    "discriminator": DiscriminatorOptions(4, 2, "blur"),
    "num_patches": 16,
    "head_channels": 8,
}


def tiny(**options: object) -> CUT:
    torch.manual_seed(0)
    return CUT(CUTOptions(**SMALL | options))


def pictures(n: int = 2, places: Places | None = None) -> Batch:
    content, style = torch.rand(2, n, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(content, style, places=places)


def compare(method: CUT, queries: Features, keys: Features, places: Places) -> torch.Tensor:
    return patch_contrast((method.H, queries), (method.H, keys), places, method.options)


def nce_by_hand(queries: torch.Tensor, keys: torch.Tensor, temperature: float) -> list[float]:
    found = []
    for of_picture, its_keys in zip(queries.tolist(), keys.tolist(), strict=True):
        losses = []
        for place, query in enumerate(of_picture):
            length = math.sqrt(sum(value * value for value in query))
            scores = []
            for key in its_keys:
                other = math.sqrt(sum(value * value for value in key))
                scores.append(sum(a * b for a, b in zip(query, key, strict=True)) / length / other / temperature)
            losses.append(math.log(sum(math.exp(score) for score in scores)) - scores[place])
        found.append(sum(losses) / len(losses))
    return found


def test_patch_nce_against_a_loop() -> None:
    queries, keys = torch.randn(2, 3, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for temperature in (0.07, 1.0):
        found = patch_nce(queries, keys, temperature)
        expected = torch.tensor(nce_by_hand(queries, keys, temperature), dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_a_translation_is_drawn_by_its_query_only() -> None:
    """The gradient reaches the heads and the encoder through the query; neither gets any through the key."""
    method = tiny().double()
    x, fake = torch.rand(2, 2, 3, 32, 32, dtype=torch.float64)
    keys = method.G(x.requires_grad_(), "features")
    for features in keys:
        features.retain_grad()
    queries = method.G(fake, "features")
    compare(method, queries, keys, Places(0, 2, 2)).sum().backward()
    assert all(features.grad is None for features in keys)
    assert all(weight.grad.abs().sum() > 0 for weight in method.H.parameters())
    assert method.G.model[1].weight.grad.abs().sum() > 0
    gradient = method.G.model[1].weight.grad.clone(), method.H.heads[0][0].weight.grad.clone()
    method.zero_grad()
    compare(method, method.G(fake, "features"), tuple(k.detach() for k in keys), Places(0, 2, 2)).sum().backward()
    assert torch.equal(gradient[0], method.G.model[1].weight.grad)
    assert torch.equal(gradient[1], method.H.heads[0][0].weight.grad)


@pytest.mark.parametrize("generator", [SMALL["generator"], GeneratorOptions("unet", channels=4, levels=5)])
def test_biases_learn_where_patches_are_compared(generator: GeneratorOptions) -> None:
    """The raw outputs of these convolutions are compared before an instance norm takes constants out; the other
    convolutions before one have nothing to learn but rounding."""
    method = tiny(generator=generator)
    for turn in method.turns(pictures()):
        turn.loss.backward()
    weights = dict(method.G.named_parameters())
    biases = {name.removesuffix("bias"): weight for name, weight in weights.items() if name.endswith("bias")}
    learning = {name for name, bias in biases.items() if bias.requires_grad}
    convolutions = {f"{name}." for name, layer in method.G.named_modules() if layer in method.G.compared}
    assert convolutions & biases.keys() <= learning < biases.keys()
    for name in learning:
        assert biases[name].grad.norm() > 1e-3 * weights[f"{name}weight"].grad.norm()


def test_query_and_key_are_of_the_same_places_in_all_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features that count the places show which were taken."""
    method, seen = tiny(), []
    whole = method.H.forward

    def look(features, positions):
        seen.append([x.flatten(2)[..., at].squeeze(1) for x, at in zip(features, positions, strict=True)])
        return whole(tuple(x.expand(-1, w, -1, -1) for x, w in zip(features, widths, strict=True)), positions)

    widths = method.G.feature_channels
    monkeypatch.setattr(method.H, "forward", look)
    counts = tuple(torch.arange(side * side).float().view(1, 1, side, side).repeat(3, 1, 1, 1) for side in [9] * 5)
    for step in (0, 1):
        compare(method, counts, counts, Places(0, 3, 3, seed=5, step=step))
    asked, known, asked_later, _ = seen
    for of_query, of_key in zip(asked, known, strict=True):
        assert torch.equal(of_query, of_key)
        assert torch.equal(of_query[0], of_query[2])
        assert len(of_query[0].unique()) == 16
    assert not torch.equal(asked[0], asked_later[0])
    assert not torch.equal(asked[0], asked[1])  # each map has its own


def test_what_is_drawn_for_a_step_is_the_same_for_every_share_of_it() -> None:
    one, other = Places(0, 2, 4, seed=3, step=8), Places(2, 2, 4, seed=3, step=8)
    assert torch.equal(one.choose("places", 100, 9), other.choose("places", 100, 9))
    assert one.coin("flip") == other.coin("flip")
    assert len(one.choose("places", 5, 9).unique()) == 5
    coins = [Places(0, 1, 1, seed=3, step=step).coin("flip") for step in range(200)]
    assert 70 < sum(coins) < 130


def test_the_discriminator_moves_first_and_the_generator_faces_it_moved() -> None:
    method, players = tiny(), []
    networks = {"discriminator": {"D"}, "generator": {"G", "H"}}
    losses = []
    for turn in method.turns(pictures()):
        before = copy.deepcopy(method.state_dict())
        move(method, turn)
        moved = {key.split(".")[0] for key, value in method.state_dict().items() if not torch.equal(value, before[key])}
        assert moved == networks[turn.player]
        players.append(turn.player)
        losses.append(turn.report)
    assert players == ["discriminator", "generator"]
    unmoved = [turn.report for turn in tiny().turns(pictures())]
    assert losses[1]["G"] != unmoved[1]["G"]
    assert losses[1]["nce_x"] == unmoved[1]["nce_x"]


def test_the_losses_are_the_sums_that_the_authors_write() -> None:
    method, batch = tiny(nce_weight=3.0), pictures()
    d, g = (turn for turn in method.turns(batch))
    mse = torch.nn.functional.mse_loss
    with torch.no_grad():
        fake, same = method.G(batch.content), method.G(batch.style)
        real, wrong = method.D(batch.style), method.D(fake)
        expected = 0.5 * (mse(real, torch.ones_like(real)) + mse(wrong, torch.zeros_like(wrong)))
        torch.testing.assert_close(d.loss, expected)
        parts = []
        for made, of in ((fake, batch.content), (same, batch.style)):
            pair = method.G(made, "features"), method.G(of, "features")
            parts.append(compare(method, *pair, batch.places).mean())
        torch.testing.assert_close(g.loss, mse(wrong, torch.ones_like(wrong)) + 3 * (parts[0] + parts[1]) / 2)


@pytest.mark.parametrize("step", range(4))
def test_a_mirrored_batch_is_compared_as_it_was(step: int) -> None:
    """FastCUT translates the mirrored photograph and mirrors the query back, not the key."""
    places = Places(0, 2, 2, seed=0, step=step)
    method, batch = tiny(flip_equivariance=True, nce_identity=False), pictures(places=places)
    _, turn = method.turns(batch)
    with torch.no_grad():
        mirrored = places.coin("flip")
        shown = batch.content.flip(3) if mirrored else batch.content
        queries = method.G(method.G(shown), "features")
        queries = tuple(x.flip(3) for x in queries) if mirrored else queries
        expected = compare(method, queries, method.G(batch.content, "features"), places).mean()
    torch.testing.assert_close(turn.report["nce_x"], expected)
    assert "nce_y" not in turn.report
    assert {Places(0, 2, 2, seed=0, step=k).coin("flip") for k in range(4)} == {True, False}


def test_a_step_is_the_same_compiled_and_never_waits_for_the_device(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Also mirrored, and with all that discriminators may be shown."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # no code is made
    words = ("method.flip_equivariance=true", "method.diffaugment=[color,translation,cutout]")
    plain, compiled = (
        stepper(*words, *more, recipe="demo_cut", tiny=TINY_CUT) for more in ((), ("train.compile=true",))
    )
    for step in range(4):
        with Waits() as waits:
            plain.step(step, [random_pictures(seed=step)], PLAN)
        assert waits.count == 0
        compiled.step(step, [random_pictures(seed=step)], PLAN)
    assert {Places(0, 2, 2, plain.seed, step).coin("flip") for step in range(4)} == {True, False}
    a, b = networks(plain.method), networks(compiled.method)
    assert (a - b).norm() < 1e-5 * a.norm()
    assert "cannot be compiled" not in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["fastcut", "demo_modern"])
def test_the_recipes_train_and_resume_to_the_bit(recipe: str, tmp_path: Path) -> None:
    drawn = [f"data.{domain}.source=synthetic" for domain in ("content", "style")] if "demo" not in recipe else []
    words = (*TINY_CUT, *drawn, "eval.every=0", "checkpoints.keep_best=", "schedule.unit=steps", "train.batch_size=2")
    words = (*words, "log.wandb=disabled", "train.ema=0.9")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert call("train", ROOT / f"configs/{recipe}.yaml", *words, f"run={whole}") == 0
    shutil.copytree(whole, parts)
    for path in (parts / "checkpoints").glob("step_00000008*"):
        path.unlink()
    assert call("train", ROOT / f"configs/{recipe}.yaml", *words, f"run={parts}") == 0
    assert_same_run(whole, parts)
