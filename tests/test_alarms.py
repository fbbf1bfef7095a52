"""What goes wrong in training is said when it begins and when it is gone, with options that this run has."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import engine.alarms
from data import SOURCES
from engine.alarms import Alarms
from engine.config import load_config, to_dict
from engine.logger import read_log
from metrics.detectors import DETECTORS, Finding
from metrics.remedies import REMEDIES, WON, advice
from metrics.watch import Watch, Watched
from models import METHODS
from models.losses import ADVERSARIAL
from tests.conftest import ROOT, train_tiny
from tests.test_cyclegan import batch, tiny
from tests.test_eval_during_training import EVALUATED

ADVICE = dict.fromkeys(REMEDIES, "what it is")


def settings(recipe: str = "cyclegan", *words: str) -> dict:
    return to_dict(load_config(ROOT / f"configs/{recipe}.yaml", words, METHODS, SOURCES))


def events(run: Path, *words: str) -> list[str]:
    """The lines of the log that contain a word."""
    told = [row["event"] for row in read_log(run / "log.jsonl") if "event" in row]
    return [line for line in told if any(word in line for word in words)]


def heard(alarms: Alarms, *losses: float) -> list[str]:
    return [line for loss in losses for line in alarms.hear_losses({"D": loss, "G": 1.0})]


def test_every_ill_has_its_remedies() -> None:
    assert set(REMEDIES) == {*DETECTORS, WON} == set(advice(settings()))
    for key, detector in DETECTORS.items():
        assert detector.said in advice({})[key]


def test_only_options_that_the_run_has_and_that_would_change_something_are_named() -> None:
    found = advice(settings())
    assert "method.generator.upsample=resize" in found["checkerboard"]
    assert "a lower method.identity_weight (now 5.0) or a lower method.cycle_weight (now 10.0)" in found["identity"]
    assert "style_weight" not in found["identity"]
    assert "checkpoints/best.pt" in found["mode_collapse"]
    found = advice(settings("demo", "method.identity_weight=0", "train.ema=0.99"))
    assert "upsample" not in found["checkerboard"]
    assert "method.identity_weight=1" in found["colour_inversion"]
    assert "identity_weight" not in found["identity"]
    assert "best.pt" not in found["mode_collapse"]
    assert "nce_weight" not in found[WON]  # CycleGAN has none of it
    for recipe, remedy in {"demo_cut": "method.identity_weight=1", "demo_fastcut": "method.nce_identity=true"}.items():
        found = advice(settings(recipe))
        assert found["colour_inversion"].endswith(f"in a new run: {remedy}")
        assert "a lower method.nce_weight" in found["identity"]
        assert "a lower method.nce_weight" in found[WON]
    assert "r1_weight" not in advice(settings("demo", "method.adversarial=wgan-gp"))[WON]
    for recipe, start in {"demo": "0.1", "cyclegan": "1.6", "cut": "1.6"}.items():  # as the pictures are larger
        assert f"method.r1_weight={start} " in advice(settings(recipe))[WON].replace(",", " ")
    assert "method.generator.upsample" not in advice(settings("cut"))["checkerboard"]  # blur draws none
    found = advice(settings("demo_johnson"))
    assert "a higher method.style_weight" in found["identity"]
    assert "may help" not in found["colour_inversion"]  # it has nothing for that


def test_remedies_against_a_discriminator_that_has_won() -> None:
    method = {"diffaugment": [], "r1_weight": 0.0, "discriminator_rate": 0.0, "nce_weight": 10.0}
    assert advice({"method": method, "train": {"ema": 0.0}})[WON].endswith(
        "in a new run: method.diffaugment=[translation,cutout], method.r1_weight=0.1, a lower "
        "method.discriminator_rate or a lower method.nce_weight (now 10.0)"
    )
    method = {"diffaugment": ["color"], "discriminator_rate": 4e-4}
    assert advice({"method": method})[WON].endswith("in a new run: a lower method.discriminator_rate (now 0.0004)")


def test_a_discriminator_that_has_won_is_told_once_an_episode() -> None:
    alarms = Alarms({"D": 0.25}, 50, ADVICE)
    assert heard(alarms, *[0.01] * 9) == []  # ten rows of fifty steps are wanted
    assert heard(alarms, 0.01) == ["warning: D has won: its loss is 0.01, at a draw 0.25; what it is"]
    assert heard(alarms, *[0.001] * 20, *[0.04] * 20) == []  # a mean of 0.16 of a draw: neither
    (line,) = heard(alarms, *[0.1] * 10)
    assert line.startswith("D has no longer won: its loss is 0.05")
    (line,) = heard(alarms, *[0.001] * 30)
    assert line.startswith("warning: D has won")
    assert alarms.shares({"D": 0.05, "G": 3.0}) == {"D": pytest.approx(0.2)}


@pytest.mark.parametrize(("every", "rows"), [(1, 500), (20, 25), (50, 10), (1000, 10)])
def test_it_is_judged_by_500_steps_and_at_least_ten_rows(every: int, rows: int) -> None:
    alarms = Alarms({"D": 1.0}, every, ADVICE)
    assert heard(alarms, *[0.0] * (rows - 1)) == []
    assert len(heard(alarms, 0.0)) == 1


def test_a_row_without_the_loss_is_none() -> None:
    alarms = Alarms({"D": 1.0}, 1000, ADVICE)
    assert [alarms.hear_losses({}) for _ in range(20)] == [[]] * 20


def test_detectors_are_told_when_they_begin_and_when_they_are_gone() -> None:
    alarms = Alarms({}, 50, ADVICE)
    row = [Finding("identity", 1.0, True), Finding("checkerboard", 1.0, False)]
    assert alarms.hear_findings(row) == ["warning: identity = 1: what it is"]
    assert alarms.hear_findings(row) == []
    assert alarms.hear_findings([Finding("identity", 8.0, False)]) == ["identity is gone: 8"]
    assert alarms.hear_findings([Finding("identity", 8.0, False)]) == []
    assert len(alarms.hear_findings(row)) == 1


@pytest.mark.parametrize(("adversarial", "score"), [("lsgan", 0.5), ("nonsaturating", 0.0), ("hinge", 0.0)])
def test_cyclegan_says_what_its_losses_are_at_a_draw_and_at_a_win(adversarial: str, score: float) -> None:
    method, judges = tiny(adversarial=adversarial), ADVERSARIAL[adversarial].judges
    at_a_draw = float(judges(torch.full((3,), score), torch.full((3,), score)))
    assert method.games == {"D_Y": pytest.approx(at_a_draw), "D_X": pytest.approx(at_a_draw)}
    for other in (-0.5, 0.25, 0.75, 2.0):  # of scores that are alike these are best
        assert float(judges(torch.full((3,), other), torch.full((3,), other))) >= at_a_draw
    win = {"lsgan": (1.0, 0.0), "nonsaturating": (40.0, -40.0), "hinge": (1.0, -1.0)}[adversarial]
    assert float(judges(*map(torch.tensor, win))) == pytest.approx(0, abs=1e-9)
    reports = [turn.report for turn in method.turns(batch())]
    assert set(method.games) <= {name for report in reports for name in report}


def test_a_critic_has_no_such_scale() -> None:
    assert dict(tiny(adversarial="wgan-gp").games) == {}


def test_a_run_logs_what_the_detectors_find_and_says_it_once(tmp_path: Path, monkeypatch) -> None:
    fired = [True, True, False, True]

    def measure(watch: Watch) -> Watched:
        return Watched({"swd": 1.0}, [Finding("identity", 1.23456789, fired.pop(0))])

    monkeypatch.setattr(Watch, "measure", measure)
    assert train_tiny(tmp_path / "run", *EVALUATED) == 0
    assert [line.split(":")[0] for line in events(tmp_path / "run", "identity")] == [
        "warning",
        "identity is gone",
        "warning",
    ]
    rows = [row for row in read_log(tmp_path / "run/log.jsonl") if "watch/identity" in row]
    assert [(row["step"], row["watch/identity"]) for row in rows] == [(step, 1.23457) for step in (2, 4, 6, 8)]


@pytest.mark.parametrize(("size", "found"), [(32, set(DETECTORS)), (16, set())])
def test_evaluations_of_a_run_are_looked_through(size: int, found: set, tmp_path: Path) -> None:
    sizes = [f"data.size={size}", f"data.load_size={size}", "method.discriminator.layers=2"]
    assert train_tiny(tmp_path / "run", *EVALUATED, "eval.every=8", *sizes) == 0
    rows = [row for row in read_log(tmp_path / "run/log.jsonl") if row["step"] == 8]
    assert {key[6:] for row in rows for key in row if key.startswith("watch/")} - {"D_Y", "D_X"} == found
    assert any("eval/swd" in row for row in rows)


def test_a_run_whose_discriminators_have_won_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(engine.alarms, "STEPS", 3)
    monkeypatch.setattr(engine.alarms, "ROWS", 3)
    lsgan = replace(ADVERSARIAL["lsgan"], draw=1e3)  # beside which any loss is that of one that has won
    monkeypatch.setitem(ADVERSARIAL, "lsgan", lsgan)
    assert train_tiny(tmp_path / "run", "log.every=1") == 0
    told = events(tmp_path / "run", "has won")
    assert [line.split(": ")[1] for line in told] == ["D_Y has won", "D_X has won"]
    assert all("method.r1_weight=0.025" in line for line in told)
    rows = [row for row in read_log(tmp_path / "run/log.jsonl") if "loss/D_Y" in row]
    assert all(row["watch/D_Y"] == pytest.approx(row["loss/D_Y"] / 1e3, abs=1e-5) for row in rows)
