"""What export.py and convert.py write is read in the place of a run; what is no such file is refused in one line."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file
from torch import Tensor

from engine.weights import WeightsError
from models import load_translator
from models.exported import KEY
from tests.broken_files import picture
from tests.conftest import call, evaluate
from tests.test_official import VARIANTS, Reference, Touch, saved, with_statistics

SIZES = ((1, 16, 16), (2, 17, 23), (3, 1, 5))


def noise(number: int, height: int, width: int) -> Tensor:
    return torch.rand(number, 3, height, width, generator=torch.Generator().manual_seed(height)) * 2 - 1


def same(one: Path, other: Path, direction: str | None = None) -> None:
    """Both translate alike, whatever the size."""
    first, second = load_translator(str(one), direction, "cpu"), load_translator(str(other), None, "cpu")
    for size in SIZES:
        torch.testing.assert_close(first.translate(noise(*size)), second.translate(noise(*size)), rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def files(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny run in each format that is read, in its second direction."""
    folder = tmp_path_factory.mktemp("exported")
    made = {"safetensors": folder / "a.safetensors", "onnx": folder / "a.onnx"}
    for kind, path in made.items():
        assert call("export", tiny_run, path, "--format", kind, "--direction", "painting2photo") == 0
    return made


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_a_file_translates_as_its_run_and_knows_what_it_is(kind: str, files: dict[str, Path], tiny_run: Path) -> None:
    same(tiny_run, files[kind], "painting2photo")
    translator = load_translator(str(files[kind]))
    facts = translator.method.facts
    assert (translator.direction, translator.step, translator.config.data.size) == ("painting2photo", 8, 32)
    assert (facts.method["name"], facts.method["generator"]["channels"], len(facts.recipe)) == ("cyclegan", 4, 64)
    assert translator(picture(17, 23)).size == (17, 23)
    with pytest.raises(ValueError, match="photo2painting: not one of: painting2photo; an exported file holds one"):
        load_translator(str(files[kind]), "photo2painting")
    with pytest.raises(NotImplementedError):
        translator.method.turns(None)


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_both_scripts_take_a_file(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    for name in ("photographs", "paintings"):
        (tmp_path / name).mkdir()
        for i in range(4):
            picture(34, 35, seed=i).save(tmp_path / name / f"{i}.png")
    assert call("translate", files[kind], tmp_path / "photographs", tmp_path / "out") == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    folders = ("--content", tmp_path / "photographs", "--style", tmp_path / "paintings", "--size", "32")
    assert evaluate(files[kind], *folders, "--report", tmp_path / "report") == 0
    assert json.loads((tmp_path / "report/metrics.json").read_text())["method"] == "cyclegan"


def test_two_graphs_are_never_taken_for_one_another(files: dict[str, Path], tiny_run: Path, tmp_path: Path) -> None:
    """evaluate.py keeps translations under the weights that made them, and a graph has none of torch's."""
    from models.candidate import open_candidate

    assert call("export", tiny_run, tmp_path / "other.onnx", "--format", "onnx") == 0
    one, other = (open_candidate(str(path), (), "cpu").weights() for path in (files["onnx"], tmp_path / "other.onnx"))
    assert one != other


def test_a_safetensors_file_is_exported_again(files: dict[str, Path], tmp_path: Path) -> None:
    assert call("export", files["safetensors"], tmp_path / "b.onnx", "--format", "onnx") == 0
    same(files["onnx"], tmp_path / "b.onnx")
    assert call("export", files["onnx"], tmp_path / "c.safetensors", "--format", "safetensors") == 2


@pytest.mark.parametrize("variant", ["plain", "dropout", "statistics, DataParallel"])
def test_official_weights_are_converted(variant: str, tmp_path: Path) -> None:
    network, change = VARIANTS[variant]
    weights = saved(tmp_path / "latest_net_G_B.pth", change(network.state_dict()))
    target = tmp_path / "b.safetensors"
    assert call("convert", weights, target, "--direction", "painting2photo") == 0
    translator = load_translator(str(target))
    assert (translator.direction, translator.step) == ("painting2photo", 0)
    x = noise(2, 24, 32)
    with torch.no_grad():
        torch.testing.assert_close(translator.translate(x).cpu(), network(x), rtol=0, atol=1e-5)
    assert call("convert", weights, target) == 2
    assert load_translator(str(target)).direction == "painting2photo"


def test_statistics_behind_a_prefix_change_nothing(tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in with_statistics(Reference().state_dict()).items()}
    translator = load_translator(str(saved(tmp_path / "latest_net_G.pth", state)))
    x = noise(1, 32, 24)
    with torch.no_grad():
        torch.testing.assert_close(translator.translate(x).cpu(), Reference()(x), rtol=0, atol=1e-5)


def rewritten(source: Path, target: Path, weights: dict | None = None, **facts: object) -> Path:
    """The file with other facts or weights; None takes one away."""
    with safe_open(source, "pt") as file:
        said = json.loads(file.metadata()[KEY]) | facts
    said = {key: value for key, value in said.items() if value is not None}
    kept = {key: value for key, value in (load_file(source) | (weights or {})).items() if value is not None}
    save_file(kept, target, {KEY: json.dumps(said)})
    return target


WRONG = {
    "later version": ({}, {"version": 2}, "is of version 2"),
    "another format": ({}, {"format": "x"}, "was not exported by Atelier"),
    "no direction": ({}, {"direction": None}, "its metadata are not those"),
    "unknown direction": ({}, {"direction": "up"}, "its metadata are damaged"),
    "wrong multiple": ({}, {"size_multiple": 0}, "its metadata are damaged"),
    "a text for a number": ({}, {"step": "many"}, "its metadata are damaged (step)"),
    "unknown method": ({}, {"method": {"name": "magic"}}, "magic"),
    "another width": ({}, {"method": {"name": "cyclegan", "generator": {"channels": 5, "blocks": 1}}}, "is wanted"),
    "too many blocks": ({}, {"method": {"name": "cyclegan", "generator": {"blocks": 10**7}}}, "has fewer weights"),
    "a style is wanted": ({}, {"method": {"name": "adain"}}, "adain has none of this name"),
    "a key is missing": ({"model.1.weight": None}, {}, "lacks model.1.weight"),
    "a key is too much": ({"model.99.weight": torch.zeros(2)}, {}, "also has model.99.weight"),
    "not finite": ({"model.1.bias": torch.full((4,), torch.nan)}, {}, "model.1.bias is not finite"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_refused_in_one_line(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    weights, facts, message = WRONG[kind]
    path = rewritten(files["safetensors"], tmp_path / "wrong.safetensors", weights, **facts)
    with pytest.raises(ValueError, match="wrong.safetensors|direction") as caught:
        load_translator(str(path))
    assert caught.value.exit_code == 2
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_damaged_and_foreign_files_are_refused_and_no_code_is_run(files: dict[str, Path], tmp_path: Path) -> None:
    whole = {kind: path.read_bytes() for kind, path in files.items()}
    contents = {
        "cut.safetensors": whole["safetensors"][:-50],
        "cut.onnx": whole["onnx"][: len(whole["onnx"]) // 2],
        "text.onnx": b"dear diary",
        "empty.onnx": b"",
        "pickle.safetensors": pickle.dumps(Touch(tmp_path / "ran")),
        "pickle.onnx": pickle.dumps(Touch(tmp_path / "ran")),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError) as caught:
            load_translator(str(tmp_path / name))
        assert str(caught.value).startswith(str(tmp_path / name))
        assert len(str(caught.value).splitlines()) == 1
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(WeightsError, match="was not exported by Atelier"):
        load_translator(str(tmp_path / "foreign.safetensors"))
    assert not (tmp_path / "ran").exists()
