"""A compressed run is smaller, is a run like any other, and the full one stays as it is."""

import hashlib
import json
import shutil
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from data.batch import Batch
from engine.checkpoint import list_checkpoints, newest_checkpoint, step_of
from engine.logger import read_log
from metrics.cost import measure_cost
from models import build_method, load_translator
from models.distillation import Distilled
from models.networks.generator import ResnetGenerator
from models.networks.pruning import Layers, choose_channels, copy_slice, count_parameters, most_channels
from models.options import CycleGANOptions, DistilledOptions, GeneratorOptions
from models.teacher import TeacherError, read_teacher
from tests.broken_files import picture
from tests.conftest import call, evaluate, move, train_tiny
from tests.test_resume import status, weights

SHORT = ("--keep", "0.5", "--steps", "6")


def compress(full: Path, out: Path, *words: str | Path) -> int:
    return call("compress", full, out, *SHORT, *words)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def errors(capsys: pytest.CaptureFixture) -> str:
    """The one line of an error."""
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    return line


@pytest.fixture(scope="module")
def small_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of both directions; tests read it and write nothing into it."""
    out = tmp_path_factory.mktemp("compressed") / "small"
    before = contents(tiny_run)
    assert compress(tiny_run, out) == 0
    assert contents(tiny_run) == before
    return out


# -- the slice -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upsample", ["transposed", "resize", "blur"])
@pytest.mark.parametrize("skips", [False, True])
def test_a_slice_without_the_channels_that_nobody_reads_gives_the_same_output(upsample: str, skips: bool) -> None:
    torch.manual_seed(0)
    downsample = "blur" if upsample == "blur" else "strided"
    full, small = (ResnetGenerator(c, 2, upsample, 0.0, skips, downsample).eval() for c in (8, 5))
    spared = choose_channels(full, 5)
    its, kept = Layers.of(full), spared
    with torch.no_grad():
        silence(its.down[1], kept.full)
        silence(its.down[2], kept.half)
        for (first, second), inside in zip(its.blocks, kept.inside, strict=True):
            silence(first, kept.quarter)
            silence(second, inside)
        silence(its.up[0], kept.quarter)
        silence(its.up[1], kept.up_half)
        silence(its.last, kept.up_full)
    chosen = choose_channels(full, 5)
    assert torch.equal(chosen.quarter, spared.quarter)
    copy_slice(full, small, chosen)
    x = torch.rand(2, 3, 16, 20) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(full(x), small(x), atol=1e-5)
        assert full(x).std() > 1e-3


def silence(reader: nn.Module, kept: Tensor) -> None:
    """Let a convolution read the kept channels only."""
    axis = 0 if isinstance(reader, nn.ConvTranspose2d) else 1
    gone = [c for c in range(reader.weight.shape[axis]) if c not in kept.tolist()]
    reader.weight.index_fill_(axis, torch.tensor(gone), 0.0)


def test_the_channels_that_are_read_most_are_kept_and_every_reader_has_one_vote() -> None:
    full = ResnetGenerator(2, 1)
    its = Layers.of(full)
    with torch.no_grad():
        for module in full.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.weight.fill_(0.01)
        its.blocks[0][0].weight[:, 5] = 1.0  # two readers of the stream; the second one's weights are large
        its.up[0].weight[7], its.up[0].weight[3] = 300.0, 200.0
        its.down[1].weight[:, 1] = 1.0
        its.last.weight[:, 0] = 1.0
    kept = choose_channels(full, 1)
    assert kept.quarter.tolist() == [0, 3, 5, 7]  # of those that are alike the first
    assert (kept.full.tolist(), kept.up_full.tolist()) == ([1], [0])
    joined = ResnetGenerator(2, 1, skips=True)
    joined.load_state_dict(full.state_dict())
    with torch.no_grad():
        Layers.of(joined).last.weight[:, 1] = 1.0
    kept = choose_channels(joined, 1)
    assert kept.full.tolist() == kept.up_full.tolist() == [1]


def test_the_widest_generator_within_the_share() -> None:
    options = GeneratorOptions(channels=16, blocks=6)
    channels = most_channels(options, 0.5)
    full = count_parameters(options, 16)
    assert count_parameters(options, channels) <= full / 2 < count_parameters(options, channels + 1)
    for upsample in ("transposed", "resize"):
        assert full == sum(weight.numel() for weight in ResnetGenerator(16, 6, upsample).parameters())
    assert count_parameters(GeneratorOptions(), 64) == 11_378_179
    assert most_channels(options, 0.999) == 15
    assert most_channels(options, 1e-6) == 0


# -- the method ------------------------------------------------------------------------------------------------


def test_the_loss_is_the_distance_of_the_outputs_and_only_the_student_moves(tiny_run: Path) -> None:
    torch.manual_seed(0)
    generator = GeneratorOptions(channels=2, blocks=1, upsample="resize", skips=True)
    method = build_method(DistilledOptions(teacher=str(tiny_run), generator=generator))
    x, y = torch.rand(2, 2, 3, 16, 16) * 2 - 1
    method.begin(y)
    full = load_translator(str(tiny_run), device="cpu").method
    assert torch.equal(method.T_G(x), full.G(x))
    assert torch.equal(method.T_F(y), full.F(y))
    (turn,) = method.turns(Batch(x, y))
    assert torch.allclose(turn.report["G"], (method.G(x) - full.G(x)).abs().mean())
    assert torch.allclose(turn.loss, turn.report["G"] + (method.F(y) - full.F(y)).abs().mean())
    move(method, turn)
    assert torch.equal(method.T_G(x), full.G(x))
    assert next(iter(method.turns(Batch(x, y)))).loss < turn.loss
    assert not any(key.startswith("T_") for key in method.state_dict())


def test_a_student_may_be_as_wide_as_its_teacher_and_then_is_it(tiny_run: Path) -> None:
    generator = GeneratorOptions(channels=4, blocks=1, upsample="resize", skips=True)
    method = Distilled(DistilledOptions(teacher=str(tiny_run), generator=generator))
    x = torch.rand(1, 3, 16, 16)
    method.begin(x)
    assert torch.equal(method.G(x), method.T_G(x))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("channels", 5, "channels = 5: .* has only 4"),
        ("blocks", 2, "blocks = 2: .* has 1"),
        ("skips", False, "skips = False: .* has True, and a slice"),
        ("downsample", "blur", "downsample = blur: .* has strided, and a slice"),
        ("norm", "pixel", "norm = pixel: .* has instance, and a slice"),
        ("spectral_norm", True, "spectral_norm = True: a slice has the weights that its teacher translates with"),
    ],
)
def test_what_is_no_slice_of_the_teacher_is_refused(tiny_run: Path, key: str, value: object, words: str) -> None:
    options = {"channels": 2, "blocks": 1, "upsample": "resize", "skips": True} | {key: value}
    method = Distilled(DistilledOptions(teacher=str(tiny_run), generator=GeneratorOptions(**options)))
    with pytest.raises(TeacherError, match=words):
        method.begin(torch.zeros(1, 3, 16, 16))


# -- the run ---------------------------------------------------------------------------------------------------


def test_half_the_parameters_and_fewer_multiplications(tiny_run: Path, small_run: Path) -> None:
    costs = []
    for run in (tiny_run, small_run):
        translator = load_translator(str(run), device="cpu")
        with torch.inference_mode():
            costs.append(
                measure_cost(translator.translate, translator.method, torch.zeros(1, 3, 16, 16), optimizes=False)
            )
    full, small = costs
    assert small.parameters <= full.parameters / 2
    assert small.gmacs < full.gmacs


def test_it_is_a_run_like_any_other(small_run: Path, tmp_path: Path) -> None:
    assert status(small_run) == {"state": "finished", "step": 6, "exit": 0, "reason": ""}
    rows = read_log(small_run / "log.jsonl")
    assert {"loss/G", "loss/F"} <= set().union(*rows)
    assert list((small_run / "samples").glob("*.png"))
    run = tmp_path / "moved"
    shutil.copytree(small_run, run)  # and no teacher is wanted
    picture(30, 20).save(tmp_path / "photograph.png")
    for direction in ("photo2painting", "painting2photo"):
        out = tmp_path / f"{direction}.png"
        assert call("translate", run, tmp_path / "photograph.png", out, "--direction", direction) == 0
        assert out.exists()
    assert evaluate(run) == 0
    measured = json.loads((run / "report" / "metrics.json").read_text())
    assert "distilled" in json.dumps(measured)
    assert call("train", run / "config.yaml") == 0  # finished: said, and nothing done


def test_one_direction_alone(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "back"
    assert compress(tiny_run, out, "--direction", "painting2photo") == 0
    state, _ = newest_checkpoint(out / "checkpoints")
    assert {key.split(".")[0] for key in state["method"]} == {"F"}
    translator = load_translator(str(out), device="cpu")
    assert translator.direction == "painting2photo"
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(translator.translate(x), translator.method.F(x))
    picture(20, 20).save(tmp_path / "a.png")
    assert call("translate", out, tmp_path / "a.png", tmp_path / "b.png", "--direction", "photo2painting") == 2
    assert "not one of: painting2photo" in capsys.readouterr().err


def test_interrupted_and_resumed_is_bit_identical(tiny_run: Path, small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "parts"
    assert compress(tiny_run, out) == 0
    for path in list_checkpoints(out / "checkpoints"):
        if step_of(path) > 3:  # as if the process had died after step 3
            path.unlink()
    assert compress(tiny_run, out, "data.workers=1") == 0
    a, b = weights(small_run), weights(out)
    assert a.keys() == b.keys()
    assert len(a) > 20
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_its_recipe_goes_on_with_it_too(tiny_run: Path, small_run: Path, tmp_path: Path) -> None:
    assert call("train", small_run / "config.yaml", f"run={tmp_path / 'again'}") == 0
    a, b = weights(small_run), weights(tmp_path / "again")
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_a_running_average_is_what_is_learnt_from(tmp_path: Path) -> None:
    full = tmp_path / "averaged"
    assert train_tiny(full, "train.ema=0.9") == 0
    teacher = read_teacher(str(full))
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(teacher.generator("G")(x), load_translator(str(full), device="cpu").method.G(x))


def test_a_long_training_is_followed_by_a_tenth_of_it(tiny_run: Path) -> None:
    from compress import settings_for

    words = Namespace(run=tiny_run, out="out", direction="both", steps=None)
    teacher = read_teacher(str(tiny_run))
    assert settings_for(words, teacher, 2)["schedule.decay"] == 1000
    assert settings_for(words, replace(teacher, step=50_000), 2)["schedule.decay"] == 5000


def test_blurs_and_norms_are_handed_on_and_spectral_norm_is_baked(tmp_path: Path) -> None:
    full, out = tmp_path / "full", tmp_path / "out"
    options = ("downsample=blur", "upsample=blur", "norm=pixel", "spectral_norm=true")
    assert train_tiny(full, *(f"method.generator.{option}" for option in options)) == 0
    assert compress(full, out) == 0
    teacher = read_teacher(str(full)).generator("G")
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(teacher(x), load_translator(str(full), device="cpu").method.G(x))
    small = load_translator(str(out), device="cpu").method.options.generator
    assert (small.downsample, small.upsample, small.norm, small.spectral_norm) == ("blur", "blur", "pixel", False)


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--keep", "0"), "--keep 0.0: must be more than 0"),
        (("--keep", "1"), "--keep 1.0: must be more than 0 and less than 1"),
        (("--keep", "nan"), "--keep nan"),
        (("--keep", "0.001"), "one channel is the least"),
        (("--steps", "0"), "--steps 0: must be at least 1"),
        (("method.learning_rat=1",), "did you mean method.learning_rate"),
    ],
)
def test_mistaken_words(
    words: tuple[str, ...], said: str, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert compress(tiny_run, tmp_path / "out", *words) == 2
    assert said in errors(capsys)
    assert not (tmp_path / "out").exists()


def test_runs_that_cannot_be_made_smaller(
    tiny_run: Path, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert compress(tmp_path / "nowhere", out) == 2
    assert "no such run folder" in errors(capsys)
    assert compress(small_run, out) == 2
    assert "is a run of distilled; only those of cyclegan" in errors(capsys)
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(tiny_run / "config.yaml", empty)
    assert compress(empty, out) == 2
    assert "no good checkpoint" in errors(capsys)
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [(("network=unet", "levels=2"), "network = unet"), (("attention=true",), "attention = True")],
)
def test_networks_that_cannot_be_made_smaller(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    full = tmp_path / "full"
    short = ("schedule.constant=1", "schedule.decay=0")
    assert train_tiny(full, *short, *(f"method.generator.{word}" for word in words)) == 0
    assert compress(full, tmp_path / "out") == 2
    assert f"method.generator.{said}: only ResNet generators without attention" in errors(capsys)
    assert not (tmp_path / "out").exists()


def test_places_that_are_taken(tiny_run: Path, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert compress(tiny_run, tiny_run) == 2
    assert "choose another OUT_RUN" in errors(capsys)
    other = tmp_path / "other"
    shutil.copytree(tiny_run, other)
    assert compress(tiny_run, other) == 2
    assert "is a run of cyclegan; choose another OUT_RUN" in errors(capsys)
    assert compress(other, small_run) == 2
    assert "was made of" in errors(capsys)
    assert call("compress", tiny_run, small_run, "--keep", "0.2", "--steps", "6") == 2
    assert "method.generator.channels was 2, is 1" in errors(capsys)
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.tex").write_text("years of work")
    assert compress(tiny_run, strange) == 2
    assert "holds other files" in errors(capsys)


def test_a_teacher_that_has_changed_meanwhile(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    full, out = tmp_path / "full", tmp_path / "out"
    shutil.copytree(tiny_run, full)
    assert compress(full, out) == 0
    assert train_tiny(full, "schedule.decay=5") == 0
    capsys.readouterr()
    for again in (lambda: compress(full, out), lambda: call("train", out / "config.yaml")):
        assert again() == 2
        assert "has changed since this training began" in errors(capsys)
    shutil.rmtree(full)
    assert call("train", out / "config.yaml") == 2
    assert "no such run; it is needed until this training is over" in errors(capsys)
    assert load_translator(str(out), device="cpu").step == 6


def test_the_teachers_options_have_a_place_in_the_schema() -> None:
    """A generator's option that compress.py does not hand on would be lost."""
    handed_on = {"channels", "blocks", "upsample", "downsample", "skips", "norm"}
    without_weights, refused, baked = {"dropout", "initialise"}, {"network", "levels", "attention"}, {"spectral_norm"}
    assert set(GeneratorOptions.__dataclass_fields__) == handed_on | without_weights | refused | baked
    assert CycleGANOptions().generator == DistilledOptions().generator
