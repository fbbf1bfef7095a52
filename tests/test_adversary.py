"""What discriminators are shown, and how they are kept smooth."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from data.batch import Places
from engine.logger import read_log
from models.adversary import Adversary
from models.cut import CUT
from models.cyclegan import CycleGAN
from models.diffaugment import POLICIES, diffaugment
from models.losses import r1_penalty
from models.options import CUTOptions, CycleGANOptions, DiscriminatorOptions, GANOptions, GeneratorOptions, OptionsError
from tests.conftest import move, train_tiny
from tests.test_cyclegan import batch

SMALL = {"generator": GeneratorOptions(channels=4, blocks=1), "discriminator": DiscriminatorOptions(4, 2)}
ALL = tuple(POLICIES)


def places(count: int = 3, first: int = 0, total: int = 3, step: int = 0) -> Places:
    return Places(first, count, total, seed=1, step=step)


def noise(n: int = 3, side: int = 16) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize("policy", ALL)
def test_an_augmentation_keeps_the_shape_and_lets_the_gradient_through(policy: str) -> None:
    x = noise().requires_grad_()
    found = diffaugment(x, [policy], places(), "real")
    assert found.shape == x.shape
    assert not torch.equal(found, x)
    found.sum().backward()
    assert all(picture.abs().sum() > 0 for picture in x.grad)


def test_each_picture_is_changed_by_its_place_in_the_step_and_nothing_else() -> None:
    x = noise(1).repeat(3, 1, 1, 1)
    whole = diffaugment(x, ALL, places(), "real")
    assert not torch.equal(whole[0], whole[1])
    shared = [diffaugment(x[:1], ALL, places(1, first), "real")[0] for first in range(3)]
    assert torch.equal(whole, torch.stack(shared))
    for other in (diffaugment(x, ALL, places(step=1), "real"), diffaugment(x, ALL, places(), "fake")):
        assert not torch.equal(whole, other)
    assert torch.equal(diffaugment(x, [], places(), "real"), x)


def test_a_translation_moves_by_whole_pixels_and_at_most_an_eighth() -> None:
    x = torch.zeros(200, 3, 16, 16)
    x[..., 8, 8] = 1
    found = diffaugment(x, ["translation"], places(200, total=200), "real")
    _, _, rows, columns = found.nonzero(as_tuple=True)
    assert len(rows) == 600
    assert set(rows.tolist()) == set(columns.tolist()) == {6, 7, 8, 9, 10}


def test_a_hole_is_at_most_a_quarter_of_the_picture_and_lies_anywhere() -> None:
    found = diffaugment(torch.ones(300, 3, 16, 16), ["cutout"], places(300, total=300), "real")
    lost = (found == 0).all(dim=1)
    assert lost.flatten(1).sum(dim=1).max() == 64
    assert lost.any(dim=0).all()
    assert set(found.unique().tolist()) == {0.0, 1.0}


def test_colours_are_changed_within_the_papers_ranges() -> None:
    x = noise(1).repeat(100, 1, 1, 1)
    found = diffaugment(x, ["color"], places(100, total=100), "real")
    shift = found.mean(dim=(1, 2, 3)) - x.mean(dim=(1, 2, 3))
    assert shift.abs().max() < 0.5
    assert shift.max() > 0.4 and shift.min() < -0.4  # noqa: PT018
    grey = (found.mean(dim=1) - found.mean(dim=(1, 2, 3)).view(-1, 1, 1)).std(dim=(1, 2)) / x.mean(dim=1).std(
        dim=(1, 2)
    )
    assert 0.5 < grey.min() < 0.6
    assert 1.4 < grey.max() < 1.5


def test_generator_and_discriminator_are_both_judged_on_changed_pictures() -> None:
    """A discriminator that tells pictures by one corner cannot where corners move."""
    seen = []

    class Look(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x.mean(dim=(1, 2, 3), keepdim=True)

    game = Adversary("D", GANOptions(diffaugment=["translation"]))
    real, fake = noise(), -noise()
    game.judges(Look(), real, fake, places())
    game.fools(Look(), fake, places())
    shown_real, shown_fake = seen[0].chunk(2)
    for shown, plain in ((shown_real, real), (shown_fake, fake), (seen[1], fake)):
        assert not torch.equal(shown, plain)


def test_r1_of_a_linear_critic_is_known() -> None:
    """A critic w . x has the slope w everywhere."""
    critic = nn.Conv2d(3, 1, 4, bias=False).double()
    penalty = r1_penalty(critic, torch.rand(5, 3, 4, 4, dtype=torch.float64))
    assert penalty.item() == pytest.approx(0.5 * critic.weight.square().sum().item())
    penalty.backward()
    torch.testing.assert_close(critic.weight.grad, critic.weight.detach())


def test_r1_is_lazy_and_weighs_the_more() -> None:
    found = {}
    for step in range(5):
        torch.manual_seed(0)
        critic = nn.Conv2d(3, 1, 16)
        game = Adversary("D", GANOptions(r1_weight=0.5, r1_every=4))
        found[step] = game.judges(critic, noise(), -noise(), places(step=step))
    assert [step for step, (_, report) in found.items() if "D_penalty" in report] == [0, 4]
    loss, report = found[4]
    torch.testing.assert_close(loss, report["D"] + 0.5 * 4 * report["D_penalty"])


def test_r1_is_of_the_picture_and_not_of_what_is_shown_of_it() -> None:
    """Where DiffAugment has cut a hole, or moved a picture's edge out of sight, there is no slope."""
    whole, part = ([], ["translation", "cutout"])
    found = []
    for policy in (whole, part):
        critic = nn.Conv2d(3, 1, 16, bias=False)
        nn.init.ones_(critic.weight)
        game = Adversary("D", GANOptions(r1_weight=1.0, diffaugment=policy))
        found.append(game.judges(critic, noise(), -noise(), places())[1]["D_penalty"].item())
    seen = found[1] / found[0]
    assert found[0] == pytest.approx(0.5 * 3 * 16 * 16)
    assert 0.3 < seen < 0.9


def test_r1_beside_the_penalty_of_a_critic_is_refused() -> None:
    with pytest.raises(OptionsError, match=r"method\.r1_weight: method\.adversarial=wgan-gp"):
        GANOptions(adversarial="wgan-gp", r1_weight=1.0)


def test_a_term_of_some_steps_is_logged_as_the_mean_of_those(tmp_path: Path) -> None:
    words = ("method.r1_weight=0.5", "method.r1_every=3", "log.every=4", "train.batch_size=1")
    assert train_tiny(tmp_path / "run", *words) == 0
    rows = [row for row in read_log(tmp_path / "run/log.jsonl") if "loss/D_Y" in row]
    assert [row["step"] for row in rows] == [4, 8]
    assert all(0 < row["loss/D_Y_penalty"] < 100 for row in rows)


@pytest.mark.parametrize("method", [CycleGAN, CUT])
def test_every_option_trains(method: type) -> None:
    options = {CycleGAN: CycleGANOptions, CUT: CUTOptions}[method]
    torch.manual_seed(0)
    learner = method(
        options(**SMALL, diffaugment=list(ALL), r1_weight=1.0, learning_rate=1e-3, discriminator_rate=4e-3)
    )
    rates = {player: optimizer.defaults["lr"] for player, optimizer in learner.optimizers.items()}
    assert sorted(rates.values()) == [1e-3, 4e-3]
    assert max(rates, key=rates.get).startswith("discriminator")
    before = copy.deepcopy(learner.state_dict())
    for turn in learner.turns(batch()):
        move(learner, turn)
        assert torch.isfinite(turn.loss)
    moved = {key.split(".")[0] for key, value in learner.state_dict().items()
             if isinstance(value, torch.Tensor) and not torch.equal(value, before[key])}  # fmt: skip
    assert moved == {name for name, child in learner.named_children() if list(child.parameters())}
