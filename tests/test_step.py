"""A step of training: what moves, what stays, what is waited for; and what is put around the networks from outside."""

import copy
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from data import SOURCES
from data.batch import Batch, Share
from engine.average import WeightAverage
from engine.config import load_config
from engine.exits import UserError
from engine.optimizers import rate_scale
from engine.schedule import Plan
from engine.schema import Config
from engine.step import Stepper
from engine.training import Training
from models import METHODS, build_method
from tests.conftest import ROOT, TINY, train_tiny

PLAN = Plan(replace(Config().schedule, unit="steps", constant=100, decay=0), items_per_epoch=10)


def stepper(*words: str, recipe: str = "demo", tiny: tuple[str, ...] = TINY) -> Stepper:
    config = load_config(ROOT / f"configs/{recipe}.yaml", [*tiny, "run=none", *words], METHODS, SOURCES)
    torch.manual_seed(0)
    return Stepper(training(config, build_method(config.method)))


def training(config: Config, method: torch.nn.Module) -> Training:
    share = Share(config.train.batch_size, config.train.accumulate)
    return Training(method, config, lambda plan, first, steps: iter(()), pictures(), PLAN, share, torch.device("cpu"))


def pictures(count: int = 2, seed: int = 0) -> Batch:
    x, y = torch.rand(2, count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Batch(x, y, tuple(f"x{i}" for i in range(count)), tuple(f"y{i}" for i in range(count)))


def networks(method: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in method.parameters()])


class Waits(TorchDispatchMode):
    """Counts what makes the host wait for a number of the device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func._overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero)
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("words", [(), ("train.accumulate=2", "train.clip_norm=1", "train.ema=0.9")])
def test_a_step_never_waits_for_the_device(words: tuple[str, ...]) -> None:
    player = stepper(*words)
    with Waits() as waits:
        for step in range(4):
            player.step(step, [pictures(seed=step + i) for i in range(player.share.passes)], PLAN)
    assert waits.count == 0
    with Waits() as waits:
        float(torch.ones(()))
    assert waits.count == 1  # the count can fail


def test_passes_are_one_large_batch_to_rounding() -> None:
    large, small = stepper("train.batch_size=4"), stepper("train.batch_size=2", "train.accumulate=2")
    for step in range(3):
        whole = pictures(4, seed=step)
        large.step(step, [whole], PLAN)
        small.step(step, [Batch(whole.content[i : i + 2], whole.style[i : i + 2]) for i in (0, 2)], PLAN)
    a, b = networks(large.method), networks(small.method)
    assert (a - b).norm() < 1e-6 * a.norm()
    losses = [each.meter.settle() and each.meter.read()[0] for each in (large, small)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_clipping_bounds_what_each_player_moves_on() -> None:
    """Adam forgets the size of a gradient: its first moment tells what it was given."""
    norms = {}
    for limit in ("0", "0.01"):
        player = stepper(f"train.clip_norm={limit}")
        player.step(0, [pictures()], PLAN)
        for name, optimizer in player.method.optimizers.items():
            moments = [state["exp_avg"].flatten() for state in optimizer.state.values()]
            norms[limit, name] = float(torch.cat(moments).norm()) / 0.5  # beta1
    for name in ("generators", "discriminators"):
        assert norms["0.01", name] == pytest.approx(0.01, rel=1e-3)
        assert norms["0", name] > 0.02


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_bad_turn_moves_nobody_and_the_steps_after_it_do(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import models.cyclegan

    honest = models.cyclegan.l1

    def spoilt(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if where == "loss":
            return honest(a, b) * float("nan")
        return honest(a, b) + 0 * (a - a.detach()).abs().sum().sqrt()  # 0, with an infinite slope

    player = stepper()
    player.step(0, [pictures()], PLAN)
    before, moments = networks(player.method), copy.deepcopy(player.method.optimizers["generators"].state_dict())
    monkeypatch.setattr(models.cyclegan, "l1", spoilt)
    player.step(1, [pictures(seed=1)], PLAN)
    assert torch.equal(networks(player.method), before)
    after = player.method.optimizers["generators"].state_dict()
    assert all(torch.equal(moments["state"][i]["exp_avg"], after["state"][i]["exp_avg"]) for i in moments["state"])
    assert all(torch.equal(moments["state"][i]["step"], after["state"][i]["step"]) for i in moments["state"])
    monkeypatch.setattr(models.cyclegan, "l1", honest)
    player.step(2, [pictures(seed=2)], PLAN)
    assert not torch.equal(networks(player.method), before)
    found = player.meter.settle()
    assert [bool(trouble) for trouble in found.values()] == [False, True, False]
    terms = "cycle_x, cycle_y, identity_g, identity_f" if where == "loss" else "the gradient"
    assert str(found[1]) == f"step 2: the loss of the generators is not finite ({terms}; pictures x0, x1, y0, y1)"
    assert all(value == value for value in player.meter.read()[0].values())  # the bad step is no part of the means


def test_bf16_trains_on_losses_in_fp32_and_nearly_alike() -> None:
    exact, fast = stepper(), stepper("train.precision=bf16", "train.channels_last=true")
    dtypes = set()
    for each in (exact, fast):
        for step in range(3):
            each.step(step, [pictures(seed=step)], PLAN)
    with fast.accelerated.active():
        for turn in fast.method.turns(pictures()):
            dtypes |= {turn.loss.dtype, *(value.dtype for value in turn.report.values())}
        inner = fast.method.G
        assert inner(pictures().content).dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            assert inner.network(pictures().content).dtype == torch.bfloat16
    assert dtypes == {torch.float32}
    assert all(weight.dtype == torch.float32 for weight in fast.method.parameters())
    start, a, b = (networks(each.method) for each in (stepper(), exact, fast))
    assert 0 < (a - b).norm() < 0.5 * (a - start).norm()


def test_a_method_is_told_when_the_rates_decay() -> None:
    plan = replace(PLAN, schedule=replace(PLAN.schedule, constant=3, decay=2))
    player, told = stepper("train.accumulate=2"), []
    turns = player.method.turns
    player.method.turns = lambda batch: told.append(batch.places.decaying) or turns(batch)
    for step in range(5):
        player.step(step, [pictures(seed=step), pictures(seed=-step)], plan)
    assert told == [False] * 6 + [True] * 4  # three steps of two passes, and two


@pytest.mark.parametrize("words", [("train.recompute=true",), ("train.channels_last=true",), ("train.compile=true",)])
def test_the_same_step_in_another_way(words: tuple[str, ...]) -> None:
    plain, other = stepper(), stepper(*words)
    for each in (plain, other):
        for step in range(2):
            each.step(step, [pictures(seed=step)], PLAN)
    a, b = networks(plain.method), networks(other.method)
    assert (a - b).norm() < 1e-6 * a.norm()
    assert plain.method.state_dict().keys() == other.method.state_dict().keys()


def test_recomputing_keeps_less_for_the_backward_pass() -> None:
    kept = {}
    for words in ((), ("train.recompute=true",)):
        player, sizes = stepper("method.generator.blocks=4", *words), []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=sizes: s.append(x.numel()) or x, lambda x: x):
            next(player.method.turns(pictures()))
        kept[words] = sum(sizes)
    assert kept["train.recompute=true",] < 0.8 * kept[()]


def test_a_network_that_cannot_be_compiled_goes_on_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fail(*arguments: object, **options: object):
        def call(*inputs: object):
            raise RuntimeError("no compiler\nsecond line")

        return call

    monkeypatch.setattr(torch, "compile", fail)
    plain, compiled = stepper(), stepper("train.compile=true")
    for each in (plain, compiled):
        each.step(0, [pictures()], PLAN)
    assert torch.equal(networks(plain.method), networks(compiled.method))
    said = [line for line in capsys.readouterr().err.splitlines() if "cannot be compiled" in line]
    assert len(said) == 4
    assert "torch.compile: G cannot be compiled (no compiler); it goes on as it is" in said


def test_what_a_method_has_not_is_refused() -> None:
    for word in ("train.recompute=true", "train.ema=0.5"):
        config = load_config(ROOT / "configs/demo_adain.yaml", ["run=none", word], METHODS, SOURCES)
        method = build_method(config.method)
        method.averaged = ()
        with pytest.raises(UserError, match=word.split("=")[0]):
            Stepper(training(config, method))


def test_the_average_follows_the_weights_and_is_worn_when_asked() -> None:
    method = stepper().method
    average = WeightAverage(method, 0.5)
    name, weight = next(iter(average.weights.items()))
    assert {n.split(".")[0] for n in average.weights} == {"G", "F"}
    first = weight.detach().clone()
    with torch.no_grad():
        weight += 1.0
    average.update(0)  # in the first step a tenth of the average holds
    expected = first + 0.9
    torch.testing.assert_close(average.state_dict()[name], expected)
    with average.applied():
        torch.testing.assert_close(method.state_dict()[name], expected)
    torch.testing.assert_close(method.state_dict()[name], first + 1.0)


def test_a_run_with_an_average_translates_by_it_and_resumes(tmp_path: Path) -> None:
    from models.translator import load

    words = ("train.ema=0.9", "log.pictures_every=8")
    assert train_tiny(tmp_path / "run", *words) == 0
    state = torch.load(tmp_path / "run/checkpoints/step_00000008.pt", weights_only=True)
    name = "G.model.1.weight"
    assert not torch.equal(state["average"][name], state["method"][name])
    translator = load(str(tmp_path / "run"), None, "cpu", (), (), 1.0, ())
    assert torch.equal(translator.method.state_dict()[name], state["average"][name])
    for path in (tmp_path / "run/checkpoints").glob("step_0000000[68]*"):
        path.unlink()
    assert train_tiny(tmp_path / "run", *words) == 0
    again = torch.load(tmp_path / "run/checkpoints/step_00000008.pt", weights_only=True)
    assert all(torch.equal(state["average"][key], again["average"][key]) for key in state["average"])


def test_rates_grow_with_the_whole_batch_by_the_rule() -> None:
    assert rate_scale("none", 16, 1) == 1
    assert rate_scale("linear", 16, 2) == 8
    assert rate_scale("sqrt", 16, 1) == 4
    player = stepper("train.rate_rule=sqrt", "train.rate_batch=2", "train.accumulate=2", "train.batch_size=4")
    player.step(0, [pictures(4), pictures(4)], PLAN)
    assert player.rates["generators"] == pytest.approx(2 * 5e-4)


def test_a_plan_goes_on_with_the_next_pictures_when_the_whole_batch_changes() -> None:
    schedule = replace(Config().schedule, unit="epochs", constant=2, decay=2)
    before = Plan(schedule, items_per_epoch=20, whole_batch=4)
    assert before.total_steps == 20
    assert before.resume(7, before.record()) == before
    after = replace(before, whole_batch=2).resume(7, before.record())
    assert [after.item(7), after.item(8)] == [28, 30]
    assert after.epochs(7) == before.epochs(7) == 1.4
    assert after.total_steps == 7 + 26  # 2.6 epochs of ten steps
    assert after.factor(7) == before.factor(7) == 1
    assert after.factor(after.total_steps - 1) == before.factor(19)
    again = replace(before, whole_batch=2).resume(9, after.record())
    assert again == after  # the same whole batch as at the last start


def test_networks_that_are_differentiated_twice_are_not_compiled(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda call, **options: compiled.append(call) or call)
    player = stepper("method.adversarial=wgan-gp", "train.compile=true")
    player.step(0, [pictures()], PLAN)
    assert len(compiled) == 2  # the generators
    said = capsys.readouterr().err
    assert "train.compile: D_X is differentiated twice" in said
    assert said.count("torch.compile: compiling G") == 1
    assert re.search(r"torch.compile: G is compiled, \d+ s", said)
    assert list(player.meter.settle().values()) == [None]


def test_a_run_is_watched_without_stopping_it_where_nothing_is_due(tmp_path: Path, monkeypatch) -> None:
    """Each look at the clock on a GPU waits for all that was launched."""
    from engine.forecast import Forecaster

    looks = []
    honest = Forecaster._synchronised
    monkeypatch.setattr(Forecaster, "_synchronised", lambda self: looks.append(1) or honest(self))
    words = ("schedule.constant=40", "schedule.decay=0", "log.pictures_every=40", "checkpoints.every=40")
    assert train_tiny(tmp_path / "run", *words) == 0
    assert len(looks) == 2


def test_the_arithmetic_of_a_step_is_its_own() -> None:
    """What samples and evaluations are computed in is not training's to choose."""
    settings = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    before = [each.fp32_precision for each in settings]
    for precision, wanted in (("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "tf32")):
        player = stepper(f"train.precision={precision}", "train.deterministic=true")
        with player.accelerated.active():
            assert [each.fp32_precision for each in settings] == [wanted] * 3
            assert torch.are_deterministic_algorithms_enabled()
        assert [each.fp32_precision for each in settings] == before
        assert not torch.are_deterministic_algorithms_enabled()
