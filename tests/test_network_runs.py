"""Networks' options by the command line: trained, resumed, translated and exported, or refused in one line."""

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.checkpoint import list_checkpoints, step_of
from models import load_translator
from tests.broken_files import picture
from tests.conftest import call, train_tiny
from tests.test_export import photographs
from tests.test_resume import assert_same_run

SHORT = ("schedule.constant=2", "schedule.decay=0", "train.batch_size=1")


@pytest.fixture(scope="module")
def unet_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "unet"
    words = ("network=unet", "levels=2", "attention=true", "spectral_norm=true", "dropout=0.5")
    assert train_tiny(run, *SHORT, *(f"method.generator.{word}" for word in words)) == 0
    return run


@pytest.mark.parametrize(
    "words",
    [
        ("generator.downsample=blur", "generator.upsample=blur", "discriminator.downsample=blur"),
        ("generator.attention=true",),
        ("generator.network=unet", "generator.levels=5"),
        ("generator.spectral_norm=true", "discriminator.spectral_norm=true", "adversarial=wgan-gp"),
        ("discriminator.scales=2", "discriminator.layers=2", "r1_weight=1", "r1_every=1", "diffaugment=[cutout]"),
    ],
    ids=str,
)
def test_two_steps_of_training(words: tuple[str, ...], tmp_path: Path) -> None:
    assert train_tiny(tmp_path / "run", *SHORT, *(f"method.{word}" for word in words)) == 0


def test_a_resumed_run_with_spectral_norm_is_the_same_run(tmp_path: Path) -> None:
    words = ("method.generator.spectral_norm=true", "method.discriminator.spectral_norm=true", "train.ema=0.9")
    short = ("schedule.constant=4", "schedule.decay=0", "checkpoints.every=2", "log.pictures_every=1")
    one, two = tmp_path / "one", tmp_path / "two"
    for run in (one, two):
        assert train_tiny(run, *words, *short) == 0
    for path in list_checkpoints(two / "checkpoints"):
        if step_of(path) > 2:  # as if the process had died after step 2
            path.unlink()
    assert train_tiny(two, *words, *short) == 0
    assert_same_run(one, two)
    translator = load_translator(str(one), device="cpu")
    assert type(translator.method.G.model[1]) is nn.Conv2d


@pytest.mark.parametrize("kind", ["safetensors", "onnx", "torchscript"])
def test_a_unet_with_attention_and_spectral_norm_leaves_home(kind: str, unet_run: Path, tmp_path: Path) -> None:
    """export.py compares the file with the run."""
    assert call("export", unet_run, tmp_path / "a", "--format", kind) == 0
    if kind == "safetensors":
        x = torch.rand(1, 3, 20, 16)
        ours, theirs = (load_translator(str(path), device="cpu").translate(x) for path in (unet_run, tmp_path / "a"))
        assert torch.equal(ours, theirs)


def test_8_bits_are_refused_by_name(unet_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = photographs(tmp_path / "photographs", 2)
    words = ("--format", "int8-onnx", "--calibration", folder)
    assert call("export", unet_run, tmp_path / "a.onnx", *words) == 2
    assert "int8-onnx: method.generator.network = unet is not written in 8 bits" in capsys.readouterr().err
    assert not (tmp_path / "a.onnx").exists()


def test_a_unet_translates_by_the_command_line(unet_run: Path, tmp_path: Path) -> None:
    picture(21, 30).save(tmp_path / "photograph.png")
    assert call("translate", unet_run, tmp_path / "photograph.png", tmp_path / "painting.png") == 0
    assert (tmp_path / "painting.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data.size=20", "method.generator.network=unet", "method.generator.levels=3"),
         "data.size = 20: method.generator.levels = 3 takes sides of multiples of 8 px, at least 8"),
        (("method.discriminator.scales=2",),
         "method.discriminator.scales = 2 with method.discriminator.layers = 3 takes sides of at least 47 px"),
        (("data.size=18", "method.discriminator.layers=2"),
         "data.size = 18: method.generator takes sides of multiples of 4 px, at least 16"),
        (("train.recompute=true", "method.generator.spectral_norm=true"), "would not compute the same again"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_go_together(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert train_tiny(tmp_path / "run", *SHORT, *words) == 2
    assert said in capsys.readouterr().err
