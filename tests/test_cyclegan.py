"""A step of CycleGAN: who moves, in which order, on which loss."""

import copy
from dataclasses import replace

import pytest
import torch

from data.batch import Batch, Places
from models.contrast import patch_contrast
from models.cyclegan import CycleGAN
from models.image_pool import ImagePool
from models.losses import ADVERSARIAL, gradient_penalty, tint_free_l1
from models.options import CycleGANOptions, DiscriminatorOptions, GeneratorOptions
from tests.conftest import move

NETWORKS = {"generators": ("G", "F"), "discriminators": ("D_X", "D_Y")}


def tiny(**options: object) -> CycleGAN:
    torch.manual_seed(0)
    small = {"generator": GeneratorOptions(channels=4, blocks=1), "discriminator": DiscriminatorOptions(4, 2)}
    return CycleGAN(CycleGANOptions(**small, **options))


def batch(n: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(1)
    content, style = torch.rand(2, n, 3, 32, 32, generator=generator) * 2 - 1
    return Batch(content, style)


@pytest.mark.parametrize("first", ["generators", "discriminators"])
def test_a_turn_moves_its_player_and_nobody_else(first: str) -> None:
    method = tiny(first=first)
    players = []
    for turn in method.turns(batch()):
        before = copy.deepcopy(method.state_dict())
        move(method, turn)
        moved = {key.split(".")[0] for key, value in method.state_dict().items()
                 if isinstance(value, torch.Tensor) and not torch.equal(value, before[key])}  # fmt: skip
        assert moved == set(NETWORKS[turn.player])
        others = [p for player, names in NETWORKS.items() if player != turn.player for n in names
                  for p in getattr(method, n).parameters()]  # fmt: skip
        if not players:
            assert all(p.grad is None for p in others)
        players.append(turn.player)
    assert players == [first, ({*NETWORKS} - {first}).pop()]


@pytest.mark.parametrize(("first", "answers"), [("discriminators", True), ("generators", False)])
def test_who_moves_second_and_on_what(first: str, answers: bool) -> None:
    """Generators that move second face the moved discriminators; discriminators that move second are still shown the
    pictures from before the generators' move."""
    losses = {}
    for moved in (True, False):
        method = tiny(first=first)
        for turn in method.turns(batch()):
            losses[moved, turn.player] = turn.loss.item()
            if moved:
                move(method, turn)
    second = ({*NETWORKS} - {first}).pop()
    assert (losses[True, second] != losses[False, second]) == answers


def test_generators_loss_is_the_sum_that_the_paper_writes() -> None:
    method = tiny()
    x, y = batch().content, batch().style
    turn = next(method.turns(batch()))
    fake_y, fake_x = method.G(x), method.F(y)
    l1, mse = torch.nn.L1Loss(), torch.nn.MSELoss()
    score_y, score_x = method.D_Y(fake_y), method.D_X(fake_x)
    expected = mse(score_y, torch.ones_like(score_y)) + mse(score_x, torch.ones_like(score_x))
    expected = expected + 10 * l1(method.F(fake_y), x) + 10 * l1(method.G(fake_x), y)
    expected = expected + 5 * l1(method.G(y), y) + 5 * l1(method.F(x), x)
    torch.testing.assert_close(turn.loss, expected)


CONTRAST = {"nce_weight": 2.0, "num_patches": 16, "head_channels": 8}


def test_contrast_both_ways_is_added_and_moves_its_heads() -> None:
    """Keys by the heads of the domain that a picture is of, queries by those of the domain that it was led to."""
    plain, method, both = tiny(), tiny(**CONTRAST), batch()
    plain.load_state_dict(method.state_dict(), strict=False)
    turn = next(method.turns(both))
    with torch.no_grad():
        parts = []
        for there, back, own, other, pictures, draw in (
            (method.G, method.F, method.H_X, method.H_Y, both.content, "positions x"),
            (method.F, method.G, method.H_Y, method.H_X, both.style, "positions y"),
        ):
            queries, keys = back(there(pictures), "features"), there(pictures, "features")
            parts.append(patch_contrast((other, queries), (own, keys), both.places, method.options, draw).mean())
    torch.testing.assert_close((turn.report["nce_x"], turn.report["nce_y"]), tuple(parts))
    torch.testing.assert_close(turn.loss, next(plain.turns(both)).loss + 2 * sum(parts))
    before = copy.deepcopy(method.state_dict())
    move(method, turn)
    weights = {key: value for key, value in method.state_dict().items() if torch.is_tensor(value)}
    moved = {key.split(".")[0] for key, value in weights.items() if not torch.equal(value, before[key])}
    assert moved == {"G", "F", "H_X", "H_Y"}


def test_keys_of_both_ways_carry_no_gradient() -> None:
    """A photograph's own features are what is searched for, not what gives way: G's encoder learns from paintings."""
    method, both = tiny(**CONTRAST), batch()
    to_y, to_x = method.make(method.G, both.content, both.style), method.make(method.F, both.style, both.content)
    for made in (to_y, to_x):
        for features in made.features:
            if features.requires_grad:
                features.retain_grad()
    found = method.look(method.F, to_y.fake.detach())[1]
    patch_contrast((method.H_Y, found), (method.H_X, to_y.features), both.places, method.options).sum().backward()
    assert all(features.grad is None for features in to_y.features)
    assert all(weight.grad is None for network in (method.G, method.H_X) for weight in network.parameters())
    assert all(weight.grad.abs().sum() > 0 for weight in method.H_Y.parameters())
    assert method.F.model[1].weight.grad.abs().sum() > 0


def test_without_contrast_there_are_no_heads() -> None:
    assert {key.split(".")[0] for key in tiny().state_dict()} == {"G", "F", "D_X", "D_Y", "pool_x", "pool_y"}


def test_discriminators_loss_is_half_of_both_sides() -> None:
    method = tiny(pool_size=0)
    x, y = batch().content, batch().style
    _, turn = list(method.turns(batch()))
    mse = torch.nn.functional.mse_loss
    expected = 0.0
    for judge, real, fake in ((method.D_Y, y, method.G(x)), (method.D_X, x, method.F(y))):
        right, wrong = judge(real), judge(fake.detach())
        expected = expected + 0.5 * (mse(right, torch.ones_like(right)) + mse(wrong, torch.zeros_like(wrong)))
    torch.testing.assert_close(turn.loss, expected)


def test_identity_loss_can_be_left_out() -> None:
    report = next(tiny(identity_weight=0.0).turns(batch())).report
    assert not [name for name in report if "identity" in name]


@pytest.mark.parametrize("free", [0.0, 0.5, 1.0])
def test_identity_loss_lets_a_share_of_a_tint_pass(free: float) -> None:
    """Of a tint of the whole picture only the rest costs; what differs from place to place still counts."""
    both = batch()
    x, y = both.content, both.style
    method = tiny(identity_free_tint=free)
    report = next(method.turns(both)).report
    for name, made, picture in (("identity_g", method.G(y), y), ("identity_f", method.F(x), x)):
        off = made - picture
        expected = torch.stack([(c - free * c.mean()).abs().mean() for c in off.flatten(0, 1)]).mean()
        torch.testing.assert_close(report[name], expected)
    tint = torch.tensor([0.3, -0.2, 0.1]).view(1, 3, 1, 1)
    torch.testing.assert_close(tint_free_l1(y + tint, y, free), torch.tensor(0.2 * (1 - free)), atol=1e-6, rtol=0)
    assert tint_free_l1(y.flip(1), y, free) > 0.1  # exchanged colours


def test_a_tint_may_pass_from_the_decay_on_only() -> None:
    method, both = tiny(identity_free_tint=1.0, identity_free_from="decay"), batch()
    whole, free = (tiny(identity_free_tint=free) for free in (0.0, 1.0))
    for other in (whole, free):
        other.load_state_dict(method.state_dict())
    decaying = replace(both, places=replace(both.places, decaying=True))
    assert next(method.turns(both)).loss == next(whole.turns(both)).loss
    assert next(method.turns(decaying)).loss == next(free.turns(both)).loss != next(whole.turns(both)).loss


@pytest.mark.parametrize("adversarial", ADVERSARIAL)
def test_every_adversarial_loss_trains_both_players(adversarial: str) -> None:
    method = tiny(adversarial=adversarial)
    for _ in range(2):
        for turn in method.turns(batch()):
            move(method, turn)
            assert torch.isfinite(turn.loss)
    assert all(p.grad.abs().sum() > 0 for p in method.D_Y.parameters() if p.ndim == 4)


def test_adversarial_losses_against_hand_computed_values() -> None:
    real, fake = torch.tensor([0.5, 2.0]), torch.tensor([-1.0, 0.5])
    log = torch.log1p(torch.exp(torch.tensor([1.0, -0.5, -0.5, -2.0, -1.0, 0.5])))  # softplus by hand
    expected = {
        "lsgan": ((4 + 0.25) / 2, 0.5 * ((0.25 + 1) / 2 + (1 + 0.25) / 2)),
        "nonsaturating": (log[:2].mean(), 0.5 * (log[2:4].mean() + log[4:].mean())),
        "hinge": (0.25, 0.5 * (0.5 / 2 + (0 + 1.5) / 2)),
        "wgan-gp": (0.25, -0.25 - 1.25),
    }
    for name, (fools, judges) in expected.items():
        assert float(ADVERSARIAL[name].fools(fake)) == pytest.approx(float(fools))
        assert float(ADVERSARIAL[name].judges(real, fake)) == pytest.approx(float(judges))


def test_gradient_penalty_of_a_linear_critic_is_known() -> None:
    """A critic w . x has the slope |w| everywhere."""
    critic = torch.nn.Conv2d(3, 1, 4, bias=False).double()
    real, fake = torch.rand(2, 5, 3, 4, 4, dtype=torch.float64)
    penalty = gradient_penalty(critic, real, fake, torch.rand(5, 1))
    assert penalty.item() == pytest.approx((critic.weight.norm().item() - 1) ** 2)
    penalty.backward()
    assert critic.weight.grad.abs().sum() > 0


def test_gradient_penalty_is_part_of_the_loss() -> None:
    losses = {}
    for weight in (0.0, 10.0):
        method = tiny(adversarial="wgan-gp", gradient_penalty_weight=weight)
        torch.manual_seed(3)
        _, turn = list(method.turns(batch()))
        losses[weight] = turn
    penalty = sum(losses[10.0].report[f"{name}_penalty"] for name in ("D_X", "D_Y"))
    torch.testing.assert_close(losses[10.0].loss, losses[0.0].loss + 10 * penalty)


def at(step: int, first: int = 0, count: int = 1, total: int = 1) -> Places:
    return Places(first, count, total, seed=0, step=step)


def numbered(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def test_pool_stores_until_full_and_then_exchanges_half_of_the_time() -> None:
    pool = ImagePool(10)
    returned = torch.stack([pool(numbered(float(step)), at(step))[0, 0, 0, 0] for step in range(1010)])
    assert torch.equal(returned[:10], torch.arange(10.0))
    exchanged = returned[10:] != torch.arange(10.0, 1010.0)
    assert 0.45 < exchanged.float().mean() < 0.55
    assert len(returned[10:][exchanged].unique()) == exchanged.sum()  # nothing comes out twice
    assert len(pool.lanes[0].pictures) == 10


def test_pool_of_size_zero_returns_what_it_is_given() -> None:
    fakes = torch.rand(4, 3, 2, 2)
    assert torch.equal(ImagePool(0)(fakes, at(0, count=4, total=4)), fakes)


def test_pool_is_the_same_however_a_batch_is_shared() -> None:
    """One pool; one that takes the batch in two passes; two of which each takes a half, and their states merged."""
    whole, passes, halves = ImagePool(10), ImagePool(10), [ImagePool(10), ImagePool(10)]
    for step in range(30):
        fakes = numbered(*(4.0 * step + place for place in range(4)))
        expected = whole(fakes, at(step, 0, 4, 4))
        parts = [(fakes[first : first + 2], at(step, first, 2, 4)) for first in (0, 2)]
        assert torch.equal(torch.cat([passes(*part) for part in parts]), expected)
        assert torch.equal(torch.cat([pool(*part) for pool, part in zip(halves, parts, strict=True)]), expected)
    assert [len(whole.lanes[place].pictures) for place in range(4)] == [3, 3, 2, 2]
    merged = ImagePool(10)
    merged.set_extra_state(ImagePool.merge_extra_states([pool.get_extra_state() for pool in halves]))
    assert flat(merged) == flat(whole)
    again = [ImagePool(10), ImagePool(10)]  # both read the whole, and each goes on with its own
    for pool in again:
        pool.set_extra_state(merged.get_extra_state())
    fakes = numbered(1000.0, 1001.0, 1002.0, 1003.0)
    expected = whole(fakes, at(30, 0, 4, 4))
    found = [pool(fakes[f : f + 2], at(30, f, 2, 4)) for pool, f in zip(again, (0, 2), strict=True)]
    assert torch.equal(torch.cat(found), expected)
    first, second = again[0].get_extra_state(), again[1].own_extra_state()
    assert sorted(second["lanes"]) == [2, 3]  # what it has only read it does not send
    merged.set_extra_state(ImagePool.merge_extra_states([first, second]))
    assert flat(merged) == flat(whole)


def flat(pool: ImagePool) -> list[list[float]]:
    return [[float(picture[0, 0, 0]) for picture in pool.lanes[place].pictures] for place in sorted(pool.lanes)]


def test_pool_is_dealt_out_when_the_whole_batch_changes() -> None:
    pool = ImagePool(5)
    for step in range(10):
        pool(numbered(2.0 * step, 2.0 * step + 1), at(step, 0, 2, 2))
    before = flat(pool)
    assert list(map(len, before)) == [3, 2]
    pool(numbered(100.0), at(10, 0, 1, 1))
    assert len(pool.lanes[0].pictures) == 5
    assert len(set(flat(pool)[0]) & {*before[0], *before[1]}) >= 4
    pool(numbered(*range(200, 208)), at(11, 0, 8, 8))
    assert [len(lane) for lane in flat(pool)[:5]] == [1] * 5  # the places beyond the size have no history


def test_pool_keeps_nothing_that_is_not_finite() -> None:
    pool = ImagePool(1)
    pool(numbered(float("nan")), at(0))
    assert torch.isfinite(pool.lanes[0].pictures[0]).all()


def test_pool_of_a_checkpoint_follows_the_pictures_to_their_device() -> None:
    pool = ImagePool(1)
    pool(torch.rand(1, 3, 2, 2), at(0))
    for step in range(8):  # the coin falls both ways
        assert pool(torch.empty(1, 3, 2, 2, device="meta"), at(step)).device.type == "meta"


def test_pool_survives_in_the_state_dict() -> None:
    pool, other = ImagePool(4), ImagePool(4)
    pool(torch.rand(3, 3, 2, 2), at(0, 0, 3, 3))
    other.load_state_dict(pool.state_dict())
    assert flat(other) == flat(pool)


def test_a_step_is_the_same_in_one_pass_of_a_network_as_in_two() -> None:
    """Translation and identity, real and generated pictures: instance norm knows no batch."""
    method = tiny()
    x, y = batch().content, batch().style
    together = method.G(torch.cat([x, y]))
    torch.testing.assert_close(together, torch.cat([method.G(x), method.G(y)]), rtol=1e-5, atol=1e-6)
    judged = method.D_Y(torch.cat([x, y]))
    torch.testing.assert_close(judged, torch.cat([method.D_Y(x), method.D_Y(y)]), rtol=1e-5, atol=1e-6)


def test_directions_use_their_own_generator() -> None:
    method, x = tiny(), batch().content
    assert torch.equal(method.translate(x), method.G(x))
    assert torch.equal(method.translate(x, direction="painting2photo"), method.F(x))
