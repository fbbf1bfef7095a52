"""export.py: each format does what the run does for any size, or leaves no file; 8 bits come with a report."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.cache import TensorCache
from metrics.psnr import psnr
from models import load_translator
from models.exported import KEY
from models.networks.generator import ResnetGenerator
from models.networks.transform import TransformNetwork
from models.networks.unet import UnetGenerator
from models.onnx_file import OnnxMethod, start_session
from tests.broken_files import picture
from tests.conftest import call
from tests.test_exported import SIZES, noise
from translation import exporting
from translation.int8 import Quantised, best_range, quantise
from translation.onnx_backend import through_onnx
from translation.onnx_graph import graph_of
from translation.plain import ManyAtOnce, Phases, plain

NETWORKS = {
    "transposed": lambda: ResnetGenerator(4, 1),
    "resize, skips, dropout, pixel norm": lambda: ResnetGenerator(4, 1, "resize", 0.5, True, norm="pixel"),
    "blur, attention": lambda: ResnetGenerator(4, 1, "blur", downsample="blur", attention=True),
    "unet, blur, resize": lambda: UnetGenerator(4, 2, "resize", downsample="blur"),
    "johnson": lambda: TransformNetwork(4, 1, True),
}


def seeded(make) -> nn.Module:
    """With biases and affine norms that are not those of the start."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make().eval().requires_grad_(False)
        for value in network.parameters():
            if value.ndim == 1:
                value.normal_(0.5, 0.5)
    return network


def test_a_transposed_convolution_is_one_of_four_times_the_channels() -> None:
    transposed = nn.ConvTranspose2d(3, 2, 3, 2, 1, 1)
    x = noise(2, 5, 7)
    torch.testing.assert_close(Phases(transposed)(x), transposed(x))


def test_a_convolution_makes_many_pixels_at_once() -> None:
    convolution = nn.Conv2d(3, 3, 7)
    x = noise(2, 14, 18)
    torch.testing.assert_close(ManyAtOnce(convolution)(x), convolution(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_is_the_network_for_any_size_and_number(name: str) -> None:
    network = seeded(NETWORKS[name])
    session = start_session(graph_of(plain(network), 4, 16, {"a": "b"}))
    assert session.get_modelmeta().custom_metadata_map == {"a": "b"}
    for size in SIZES:
        x = noise(*size)
        right, below = (-(-max(side, 16) // 4) * 4 - side for side in (x.shape[3], x.shape[2]))
        wanted = network(nn.functional.pad(x, (0, right, 0, below), mode="replicate"))[..., : size[1], : size[2]]
        (found,) = session.run(None, {"photographs": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=0, atol=1e-4)


def test_torchscript_runs_elsewhere_and_is_not_read_here(tiny_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    assert call("export", tiny_run, path, "--format", "torchscript") == 0
    extra = {KEY: ""}
    with warnings.catch_warnings(action="ignore"):
        program = torch.jit.load(path, _extra_files=extra)
    assert json.loads(extra[KEY])["direction"] == "photo2painting"
    translator = load_translator(str(tiny_run), device="cpu")
    for size in SIZES:
        torch.testing.assert_close(program(noise(*size)), translator.translate(noise(*size)), rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="is a TorchScript program, whose code would be run"):
        load_translator(str(path))


def test_the_default_file_is_in_the_run_and_nothing_is_overwritten(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    import shutil

    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    assert call("export", run, "--format", "safetensors") == 0
    assert (run / "exports/photo2painting.safetensors").exists()
    assert "grey levels at most" in capsys.readouterr().out
    assert call("export", run, "--format", "safetensors") == 2
    assert "is there already" in capsys.readouterr().err


def test_what_differs_is_not_left_behind(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "MOST", -1.0)
    assert call("export", tiny_run, tmp_path / "a.onnx", "--format", "onnx") == 1
    assert list(tmp_path.iterdir()) == []


def photographs(folder: Path, count: int = 6) -> Path:
    """Smooth ones: noise has no range that others share."""
    folder.mkdir()
    for i in range(count):
        picture(5, 4, seed=i).resize((50, 40)).save(folder / f"{i}.png")
    return folder


def test_8_bits_come_with_a_report(tiny_run: Path, tmp_path: Path) -> None:
    path, folder = tmp_path / "a.onnx", photographs(tmp_path / "photographs")
    words = ("export", tiny_run, path, "--format", "int8-onnx", "--calibration", folder)
    assert call(*words, "--wanted-psnr", "20", "--least-psnr", "20") == 0
    report = json.loads((tmp_path / "a.onnx.report.json").read_text())
    assert report["PSNR, dB"]["least"] > 25
    assert report["SSIM"]["mean"] > 0.8
    assert {"times as fast as torch", "times as fast as onnxruntime", "in float", "held out"} <= report.keys()
    assert (report["held out"], report["calibrated on"]) == (2, 4)
    translator = load_translator(str(path))
    assert translator.method.facts.precision == "int8"
    assert translator(picture(17, 23)).size == (17, 23)


def test_too_few_decibels_leave_no_file(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = photographs(tmp_path / "photographs")
    words = ("export", tiny_run, tmp_path / "a.onnx", "--format", "int8-onnx", "--calibration", folder)
    assert call(*words, "--wanted-psnr", "100", "--least-psnr", "100") == 2
    assert "is not written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["photographs"]


@pytest.mark.parametrize("name", ["transposed", "blur, attention", "johnson"])
def test_8_bits_are_close_and_the_graph_rounds_as_torch_does(name: str) -> None:
    network, changed = seeded(NETWORKS[name]), plain(seeded(NETWORKS[name]))
    x = nn.functional.interpolate(noise(4, 6, 6), (32, 32), mode="bicubic").clamp(-1, 1)
    choice = quantise(changed, x.split(1), wanted=0)
    assert any(isinstance(module, Quantised) for module in changed.modules())
    assert choice.float_names[0] == next(n for n, m in plain(network).named_modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        assert psnr(changed(x), network(x)).min() > 25
    (found,) = start_session(graph_of(changed, 4, 16, {})).run(None, {"photographs": x.numpy()})
    assert psnr(torch.from_numpy(found), network(x)).min() > 25


def test_a_range_is_that_of_the_least_error() -> None:
    values = torch.cat([torch.linspace(-1, 1, 10**6), torch.tensor([4.0])])[None]
    low, high = best_range(values)
    assert 1 <= float(high) < 2
    assert float(low) <= -1


def test_the_backend_translates_alike_and_is_made_once(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator, cache = load_translator(str(tiny_run), device="cpu"), TensorCache(tmp_path)
    made = through_onnx(translator, cache)
    assert isinstance(made.method, OnnxMethod)
    monkeypatch.setattr("translation.onnx_backend.as_onnx", None)
    again = through_onnx(translator, cache)
    for size in SIZES:
        torch.testing.assert_close(made.translate(noise(*size)), translator.translate(noise(*size)), rtol=0, atol=1e-4)
        assert torch.equal(made.translate(noise(*size)), again.translate(noise(*size)))


MISTAKES = {
    "no calibration": (("--format", "int8-onnx"), "wants --calibration FOLDER"),
    "calibration of floats": (("--format", "onnx", "--calibration", "."), "is for --format int8-onnx"),
    "unknown format": (("--format", "coreml"), "invalid choice"),
    "no pictures": (("--format", "onnx", "--pictures", "nowhere"), "no folder with pictures"),
    "no such direction": (("--format", "onnx", "--direction", "up"), "not one of"),
    "wrong decibels": (("--format", "onnx", "--least-psnr", "80"), "the first not above the second"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_told_in_one_line(
    kind: str, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words, message = MISTAKES[kind]
    try:
        code = call("export", tiny_run, tmp_path / "a.onnx", *words)
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr().err
    assert code == 2
    assert message in said
    assert list(tmp_path.iterdir()) == []


def test_a_method_of_more_than_one_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from tests.conftest import ROOT

    recipe = ROOT / "configs/demo_gatys.yaml"
    assert call("export", recipe, tmp_path / "a.onnx", "--format", "onnx") == 2
    assert "gatys: takes more than a photograph and one network" in capsys.readouterr().err
