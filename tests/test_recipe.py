"""The recipe of CycleGAN, held to the published figures."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data import SOURCES
from engine.config import differences, load_config, to_dict
from engine.schedule import Plan
from engine.schema import ScheduleConfig
from models import METHODS, build_method
from models.networks.discriminator import PatchDiscriminator
from models.networks.generator import ResnetGenerator

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "configs").glob("*.yaml"))


def num_parameters(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def published_keys(blocks: int) -> set[str]:
    """The layout of the released weights: convolutions at these places of one nn.Sequential."""
    places = ["model.1", "model.4", "model.7"]
    places += [f"model.{i}.conv_block.{j}" for i in range(10, 10 + blocks) for j in (1, 5)]
    places += [f"model.{10 + blocks}", f"model.{13 + blocks}", f"model.{17 + blocks}"]
    return {f"{place}.{kind}" for place in places for kind in ("weight", "bias")}


@pytest.mark.parametrize(("blocks", "count"), [(9, 11_378_179), (6, 7_837_699)])
def test_generator_has_the_published_size_and_key_layout(blocks: int, count: int) -> None:
    generator = ResnetGenerator(blocks=blocks)
    assert num_parameters(generator) == count
    assert set(generator.state_dict()) == published_keys(blocks)


def test_dropout_moves_the_second_convolution_as_in_the_released_weights() -> None:
    keys = ResnetGenerator(channels=4, blocks=1, dropout=0.5).state_dict()
    assert "model.10.conv_block.6.weight" in keys
    assert "model.10.conv_block.5.weight" not in keys


def test_discriminator_has_the_published_size_layout_and_patches() -> None:
    discriminator = PatchDiscriminator()
    assert num_parameters(discriminator) == 2_764_737
    assert {key.rsplit(".", 1)[0] for key in discriminator.state_dict()} == {f"model.{i}" for i in (0, 2, 5, 8, 11)}
    assert discriminator(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


def test_discriminator_sees_70_by_70_pixels() -> None:
    # Without norms, which look at the whole picture, the gradient of one score shows its patch.
    discriminator = PatchDiscriminator(channels=2)
    for module in discriminator.modules():
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.forward = lambda x: x
    picture = torch.randn(1, 3, 256, 256, requires_grad=True)
    discriminator(picture)[0, 0, 15, 15].backward()
    touched = picture.grad[0].abs().sum(0).nonzero()
    assert (touched.max(0).values - touched.min(0).values + 1).tolist() == [70, 70]


@pytest.mark.parametrize("upsample", ["transposed", "resize"])
def test_generator_keeps_the_shape_and_stays_in_range(upsample: str) -> None:
    output = ResnetGenerator(channels=4, blocks=1, upsample=upsample)(torch.randn(2, 3, 32, 24))
    assert output.shape == (2, 3, 32, 24)
    assert output.abs().max() <= 1


def test_skips_carry_detail_past_the_bottleneck_with_the_same_weights() -> None:
    torch.manual_seed(0)
    plain, skips = (ResnetGenerator(channels=4, blocks=1, upsample="resize", skips=s) for s in (False, True))
    skips.load_state_dict(plain.state_dict())  # the same names and shapes
    for generator in (plain, skips):
        for module in generator.model[-9:-3]:  # nothing comes through the bottleneck
            if hasattr(module, "weight") and module.weight is not None:
                torch.nn.init.zeros_(module.weight)
    a, b = torch.randn(2, 1, 3, 32, 24)
    assert torch.equal(plain(a), plain(b))
    assert not torch.allclose(skips(a), skips(b))
    assert skips(a).shape == a.shape


def test_initial_weights_follow_the_paper() -> None:
    torch.manual_seed(0)
    generator = ResnetGenerator()
    weights = torch.cat([p.detach().flatten() for name, p in generator.named_parameters() if name.endswith("weight")])
    assert weights.mean().abs() < 1e-4
    assert weights.std().item() == pytest.approx(0.02, rel=1e-2)
    assert all(p.eq(0).all() for name, p in generator.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize(
    ("epoch", "rate"), [(1, 2e-4), (100, 2e-4), (101, 1.9802e-4), (150, 1.0099e-4), (200, 1.98e-6)]
)
def test_learning_rate_of_an_epoch(epoch: int, rate: float) -> None:
    plan = Plan(ScheduleConfig(unit="epochs", constant=100, decay=100), items_per_epoch=7)
    for step in ((epoch - 1) * 7, epoch * 7 - 1):  # the first and the last step of the epoch
        assert 2e-4 * plan.factor(step) == pytest.approx(rate, rel=1e-3)
    assert plan.total_steps == 1400


@pytest.mark.parametrize(
    ("shape", "places", "factors"),
    [
        ("linear", (0, 4, 9), (10 / 11, 6 / 11, 1 / 11)),
        ("cosine", (0, 4, 9), (0.979746, 0.571157, 0.0202535)),  # (1 + cos(pi t)) / 2 at t = 1, 5, 10 elevenths
        ("inverse", (0, 4, 9), (1 / (1 + 8 / 11), 1 / (1 + 40 / 11), 1 / (1 + 80 / 11))),
    ],
)
def test_every_shape_of_the_decay(shape: str, places: tuple, factors: tuple) -> None:
    plan = Plan(ScheduleConfig(unit="steps", constant=3, decay=10, shape=shape), items_per_epoch=7)
    assert [plan.factor(step) for step in range(3)] == [1, 1, 1]
    assert [plan.factor(3 + place) for place in places] == pytest.approx(factors, rel=1e-4)


@pytest.mark.parametrize("unit", ["steps", "epochs"])
@pytest.mark.parametrize("constant", [0, 1, 3])
@pytest.mark.parametrize("resumed_at", [0, 2, 7, 20])
def test_the_step_where_the_decay_begins_is_the_first_below_the_full_rate(unit, constant: int, resumed_at: int) -> None:
    schedule = ScheduleConfig(unit=unit, constant=constant, decay=9)
    before = Plan(schedule, items_per_epoch=10, whole_batch=3)
    plan = replace(before, whole_batch=4).resume(resumed_at, before.record()) if resumed_at else before
    for step in range(resumed_at, plan.total_steps + 1):
        assert (plan.factor(step) < 1) == (step >= plan.decay_step)


def test_without_decay_it_begins_at_the_end() -> None:
    plan = Plan(ScheduleConfig(unit="epochs", constant=5, decay=0), items_per_epoch=7, whole_batch=2)
    assert plan.decay_step == plan.total_steps == 20


@pytest.mark.parametrize("shape", ["linear", "cosine", "inverse"])
def test_rates_rise_in_a_straight_line_before_any_decay(shape: str) -> None:
    whole = ScheduleConfig(unit="steps", constant=6, decay=5, shape=shape)
    plain, warm = Plan(whole, items_per_epoch=7), Plan(replace(whole, warmup=4), items_per_epoch=7)
    assert [warm.factor(step) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    assert [warm.factor(step) for step in range(6, 11)] == [plain.factor(step) for step in range(6, 11)]
    assert warm.total_steps == plain.total_steps


def test_an_epoch_of_the_warm_up_has_one_rate_whatever_the_whole_batch() -> None:
    plan = Plan(ScheduleConfig(unit="epochs", constant=3, decay=2, warmup=2), items_per_epoch=8, whole_batch=4)
    assert [plan.factor(step) for step in range(6)] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    later = replace(plan, whole_batch=2).resume(3, plan.record())  # after one epoch and a half
    assert [later.factor(step) for step in (3, 4, 5)] == pytest.approx([2 / 3, 2 / 3, 1])
    assert plan.resume(3, plan.record()).factor(3) == plan.factor(3)


def test_adains_rate_falls_as_in_its_reference_code() -> None:
    config = load_config(ROOT / "configs/adain.yaml", [], METHODS, SOURCES)
    plan = Plan(config.schedule, items_per_epoch=7)
    assert plan.total_steps == 160_000
    for step in (0, 1_000, 80_000, 159_999):
        assert plan.factor(step) == pytest.approx(1 / (1 + 5e-5 * step), rel=1e-4)


def test_the_full_recipe_says_what_the_paper_says() -> None:
    config = load_config(ROOT / "configs/cyclegan.yaml", [], METHODS, SOURCES)
    m = config.method
    assert (m.generator.channels, m.generator.blocks, m.generator.upsample) == (64, 9, "transposed")
    assert (m.discriminator.channels, m.discriminator.layers, m.adversarial) == (64, 3, "lsgan")
    assert (m.cycle_weight, m.identity_weight, m.pool_size, m.first) == (10, 5, 50, "generators")
    assert (m.learning_rate, m.beta1, m.beta2) == (2e-4, 0.5, 0.999)
    assert (config.data.size, config.data.load_size, config.data.flip, config.train.batch_size) == (256, 286, True, 1)


@pytest.mark.parametrize(
    ("recipe", "weight", "identity", "mirrored", "epochs"),
    [("cut", 1, True, False, (200, 200)), ("fastcut", 10, False, True, (150, 50))],
)
def test_the_recipes_of_cut_say_what_the_authors_code_says(recipe, weight, identity, mirrored, epochs) -> None:
    config = load_config(ROOT / f"configs/{recipe}.yaml", [], METHODS, SOURCES)
    m, data = config.method, config.data
    assert (m.nce_weight, m.nce_identity, m.flip_equivariance, m.identity_weight) == (weight, identity, mirrored, 0)
    assert (m.temperature, m.num_patches, m.head_channels, m.adversarial) == (0.07, 256, 256, "lsgan")
    assert (m.learning_rate, m.beta1, m.beta2) == (2e-4, 0.5, 0.999)
    generator, discriminator = m.generator, m.discriminator
    assert (generator.channels, generator.blocks, generator.upsample, generator.downsample) == (64, 9, "blur", "blur")
    assert (discriminator.channels, discriminator.layers, discriminator.downsample) == (64, 3, "blur")
    assert generator.initialise == discriminator.initialise == "xavier"
    assert (data.size, data.load_size, data.flip, data.jitter) == (256, 286, True, "constant")
    assert (config.schedule.unit, config.schedule.constant, config.schedule.decay) == ("epochs", *epochs)
    assert config.train.batch_size == 1


def test_the_modern_recipe_is_the_one_that_was_measured() -> None:
    """At the demo's size; docs/recipes.md has the figures. What differs is what the demo's header names."""
    full, small = (
        load_config(ROOT / f"configs/{name}.yaml", [], METHODS, SOURCES) for name in ("modern", "demo_modern")
    )
    differing = {key.removeprefix("method.") for key in differences(to_dict(full), to_dict(small)) if "method." in key}
    assert differing == {
        *("generator.channels", "generator.blocks", "discriminator.channels", "head_channels", "num_patches"),
        *("learning_rate", "r1_weight"),
    }
    assert full.method.r1_weight * small.data.size**2 == pytest.approx(small.method.r1_weight * full.data.size**2)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_builds_and_its_header_tells_how_to_use_it(recipe: Path) -> None:
    features = ["method.features.weights=random"] if "features:" in recipe.read_text() else []
    config = load_config(recipe, features, METHODS, SOURCES)
    method = build_method(config.method)
    entry = METHODS[config.method.name]
    assert bool(method.optimizers) == (entry.is_trained and entry.translates)  # a classifier waits for its classes
    header = recipe.read_text().split("\n\n")[0]
    assert all(word in header for word in ("Command:", "Hardware:", "Expect:"))
    assert "PLACEHOLDER" not in header
