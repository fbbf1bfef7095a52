"""Official weights: files of CycleGAN's reference code translate, and what is no such file is refused in one line."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from engine.weights import WeightsError
from models import load_translator
from models.official import open_official
from tests.broken_files import picture
from tests.conftest import ROOT, call, evaluate
from tests.processes import start


class Block(nn.Module):
    def __init__(self, c: int, dropout: bool):
        super().__init__()
        between = [nn.Dropout(0.5)] if dropout else []
        self.conv_block = nn.Sequential(
            *[nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), nn.InstanceNorm2d(c), nn.ReLU(), *between],
            *[nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), nn.InstanceNorm2d(c)],
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Reference(nn.Module):
    """The reference code's generator as its files describe it: plain torch, none of our networks."""

    def __init__(self, c: int = 8, blocks: int = 2, dropout: bool = False, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = nn.Sequential(
                *[nn.ReflectionPad2d(3), nn.Conv2d(3, c, 7), nn.InstanceNorm2d(c), nn.ReLU()],
                *[nn.Conv2d(c, 2 * c, 3, 2, 1), nn.InstanceNorm2d(2 * c), nn.ReLU()],
                *[nn.Conv2d(2 * c, 4 * c, 3, 2, 1), nn.InstanceNorm2d(4 * c), nn.ReLU()],
                *[Block(4 * c, dropout) for _ in range(blocks)],
                *[nn.ConvTranspose2d(4 * c, 2 * c, 3, 2, 1, 1), nn.InstanceNorm2d(2 * c), nn.ReLU()],
                *[nn.ConvTranspose2d(2 * c, c, 3, 2, 1, 1), nn.InstanceNorm2d(c), nn.ReLU()],
                *[nn.ReflectionPad2d(3), nn.Conv2d(c, 3, 7), nn.Tanh()],
            )
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def with_statistics(state: dict) -> dict:
    """As files of before 2018 have them: running statistics behind every norm."""
    counted = {f"model.2.{name}": torch.full((8,), 7.0) for name in ("running_mean", "running_var")}
    inner = {f"model.10.conv_block.6.{name}": torch.full((32,), 7.0) for name in ("running_mean", "running_var")}
    return {**state, **counted, **inner, "model.2.num_batches_tracked": torch.tensor(9)}


def prefixed(prefix: str, state: dict) -> dict:
    return {prefix + key: value for key, value in state.items()}


VARIANTS = {
    "plain": (Reference(), lambda state: state),
    "six blocks": (Reference(12, 6), lambda state: state),
    "nine blocks": (Reference(4, 9), lambda state: state),
    "dropout": (Reference(dropout=True), lambda state: state),
    "statistics, DataParallel": (Reference(), lambda state: prefixed("module.", with_statistics(state))),
    "compiled": (Reference(), lambda state: prefixed("_orig_mod.", state)),
    "both prefixes": (Reference(), lambda state: prefixed("module._orig_mod.", state)),
    "both, the other way round": (Reference(), lambda state: prefixed("_orig_mod.module.", state)),
    "half": (Reference().half().float(), lambda state: {key: value.half() for key, value in state.items()}),
    "double": (Reference(), lambda state: {key: value.double() for key, value in state.items()}),
}


def saved(path: Path, state: object, **settings: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path, **settings)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return saved(tmp_path / "official/latest_net_G_A.pth", Reference().state_dict())


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_file_translates_as_the_network_that_it_was_saved_from(variant: str, tmp_path: Path) -> None:
    network, change = VARIANTS[variant]
    translator = load_translator(str(saved(tmp_path / "latest_net_G.pth", change(network.state_dict()))))
    x = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(translator.translate(x).cpu(), network(x), rtol=0, atol=1e-5)
    assert {value.dtype for value in translator.method.parameters()} == {torch.float32}
    assert (translator.direction, translator.step, translator.method.optimizers) == ("photo2painting", 0, {})


def test_the_old_file_format_and_a_checksum_of_the_users_own_change_nothing(weights: Path, tmp_path: Path) -> None:
    state = Reference().state_dict()
    old = saved(tmp_path / "weights.bin", state, _use_new_zipfile_serialization=False)
    one, two = load_translator(str(weights)), load_translator(str(old))
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(one.translate(x), two.translate(x))
    checksum = sha256(weights.read_bytes()).hexdigest()
    assert one.method.described == f"ResNet generator, 2 blocks, 8 channels, sha256 {checksum[:8]}"
    weights.with_name(f"{weights.name}.sha256").write_text(f"{checksum}  {weights.name}\n")
    assert torch.equal(load_translator(str(weights)).translate(x), one.translate(x))
    weights.with_name(f"{weights.name}.sha256").write_text(f"{'0' * 64}  {weights.name}\n")
    with pytest.raises(ValueError, match="is damaged"):
        load_translator(str(weights))


@pytest.mark.parametrize("size", [(17, 23), (1, 1), (3, 40), (16, 16)])
def test_pictures_keep_their_size(size: tuple[int, int], weights: Path) -> None:
    translator = load_translator(str(weights))
    assert translator(picture(*size)).size == size
    assert translator.translate(torch.zeros(1, 3, *size)).shape == (1, 3, *size)


def test_loading_draws_nothing(weights: Path) -> None:
    before = torch.get_rng_state()
    open_official(weights)
    assert torch.equal(torch.get_rng_state(), before)


def test_there_is_nothing_to_train_and_one_direction(weights: Path) -> None:
    method = load_translator(str(weights)).method
    with pytest.raises(NotImplementedError):
        method.turns(None)
    assert not any(value.requires_grad for value in method.parameters())
    with pytest.raises(ValueError, match="painting2photo: not one of: photo2painting; official weights hold one"):
        load_translator(str(weights), "painting2photo")
    with pytest.raises(ValueError, match="takes none"):
        load_translator(str(weights), style=["a.png"])


def changed(**values: object) -> dict:
    """Reference weights with other values (two underscores stand for a dot), or without what is None."""
    state = Reference().state_dict() | {key.replace("__", "."): value for key, value in values.items()}
    return {key: value for key, value in state.items() if value is not None}


def affine_norms() -> dict:
    inner = [(f"{block}.conv_block.{i}", 32) for block in (10, 11) for i in (2, 6)]
    norms = [("2", 8), ("5", 16), ("8", 32), *inner, ("13", 16), ("16", 8)]
    return changed() | {f"model.{i}.{kind}": torch.ones(c) for i, c in norms for kind in ("weight", "bias")}


def convolutions(*names: str) -> dict:
    return {f"{name}.weight": torch.zeros(8, 3, 4, 4) for name in names}


REFUSED = {
    "not finite": (changed(model__4__bias=torch.full((16,), torch.nan)), "model.4.bias is not finite"),
    "infinite as float32": (
        changed(model__4__bias=torch.full((16,), 1e300, dtype=torch.float64)),
        "bias is not finite",
    ),
    "a key is missing": (changed(model__19__bias=None, model__12__bias=None), "it lacks model.12.bias"),
    "no first convolution": (changed(model__1__weight=None), "it holds model.1.bias, model.4.weight, model.4.bias and"),
    "a key is too much": (changed(model__30__weight=torch.zeros(2, 2)), "it also has model.30.weight"),
    "a block is missing": (
        {key: value for key, value in Reference(blocks=3).state_dict().items() if ".11." not in key},
        "it lacks model.11.conv_block.1.weight, model.11.conv_block.1.bias, model.11.conv_block.5.weight and 1 more",
    ),
    "no blocks": (Reference(blocks=0).state_dict(), "is no ResNet generator"),
    "a line end in a key": (changed() | {"a\nb": torch.zeros(1)}, r"it also has a\nb"),
    "grey pictures": (changed(model__1__weight=torch.zeros(8, 1, 7, 7)), "(8, 1, 7, 7); (8, 3, 7, 7) is wanted"),
    "resize-convolutions": (changed(model__12__weight=torch.zeros(16, 32, 3, 3)), "model.12.weight has the shape"),
    "whole numbers": (changed(model__1__bias=torch.ones(8).long()), "model.1.bias is no tensor of floating"),
    "not a tensor": (changed(model__1__bias="none"), "model.1.bias is no tensor of floating"),
    "sparse": (changed(model__1__bias=torch.ones(8).to_sparse()), "model.1.bias is no tensor of floating"),
    "without values": (changed(model__1__bias=torch.zeros(8, device="meta")), "model.1.bias has no values"),
    "affine norm": (affine_norms(), "its normalisation has weights (model.2.weight, model.5.weight, model.8.weight"),
    "discriminator": (
        convolutions("model.0", "model.2", "model.5", "model.8", "model.11"),
        "is a discriminator, which translates nothing; the generator's file is latest_net_G*.pth",
    ),
    "pixel discriminator": (convolutions("net.0", "net.2", "net.5"), "is a discriminator"),
    "U-Net": (convolutions("model.model.0", "model.model.1.model.1"), "is a U-Net generator"),
    "blur-pooling": (changed(model__7__filt=torch.zeros(16, 1, 3, 3)), "is a generator with blur-pooling"),
    "another network": (convolutions("features.0"), "it holds features.0.weight"),
    "a whole checkpoint": ({"epoch": 3, "G": changed()}, "it holds epoch, G"),
    "an empty dict": ({}, "it holds nothing"),
    "a list": ([torch.zeros(3)], "holds no weights by name (list)"),
    "numbers for names": ({1: torch.zeros(3)}, "holds no weights by name (dict)"),
    "ours": ({"format": 1, "step": 3, "config": {}, "method": {}}, "latest_net_G.pth.sha256 is missing"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_such_generator_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    state, message = REFUSED[kind]
    path = saved(tmp_path / "latest_net_G.pth", state)
    with pytest.raises(WeightsError) as caught:
        load_translator(str(path))
    said = str(caught.value)
    assert caught.value.exit_code == 2
    assert said.startswith(f"{path}: ")
    assert message in said
    assert len(said.splitlines()) == 1


class Touch:
    """Pickled, it would make a file where it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_files_that_torch_has_not_written_whole_are_refused_and_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.pth", Reference().state_dict()).read_bytes()
    contents = {"empty": b"", "text": b"dear diary\n", "cut": whole[: len(whole) // 2], "page": b"<!DOCTYPE html>"}
    files = [tmp_path / f"{name}.pth" for name in contents]
    for file, content in zip(files, contents.values(), strict=True):
        file.write_bytes(content)
    files.append(saved(tmp_path / "code.pth", {"model.1.weight": Touch(tmp_path / "ran")}))
    files.append(saved(tmp_path / "module.pth", Reference()))
    for file in files:
        with pytest.raises(WeightsError) as caught:
            load_translator(str(file))
        assert str(caught.value).startswith(f"{file}: is no file of weights")
        assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "ran").exists()


def test_our_own_checkpoint_is_no_official_file(tiny_run: Path, tmp_path: Path) -> None:
    name = "step_00000008.pt"
    messages = {
        name: f"{name}: its checksum {name}.sha256 is missing",
        "best.pth": "best.pth: is a checkpoint of train.py; its checksum best.pth.sha256 is missing",
    }
    for copy, message in messages.items():
        shutil.copy(tiny_run / "checkpoints" / name, tmp_path / copy)
        with pytest.raises(ValueError, match=message):
            load_translator(str(tmp_path / copy))


def test_a_folder_is_translated_from_the_command_line(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture(17, 23).save(tmp_path / "in/odd.png")
    process = start(ROOT / "translate.py", weights, tmp_path / "in", tmp_path / "out")
    said = "".join(process.communicate())
    assert process.returncode == 0, said
    assert "ResNet generator, 2 blocks, 8 channels" in said
    found = np.asarray(Image.open(tmp_path / "out/odd.png"))
    assert found.shape == (23, 17, 3)
    assert np.array_equal(found, np.asarray(load_translator(str(weights))(picture(17, 23))))


def test_a_wrong_file_is_code_2_and_one_line_of_both_scripts(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    picture().save(tmp_path / "a.png")
    discriminator = saved(tmp_path / "latest_net_D_A.pth", REFUSED["discriminator"][0])
    for words in (("translate", discriminator, tmp_path / "a.png", tmp_path / "out"), ("evaluate", discriminator)):
        assert call(*words) == 2
        said = capsys.readouterr().err
        assert "latest_net_D_A.pth: is a discriminator" in said
        assert len(said.splitlines()) == 1


def test_weights_are_evaluated_and_nothing_is_written_beside_them(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("photographs", "paintings"):
        (tmp_path / name).mkdir()
        for i in range(6):
            picture(40, 36, seed=i + 10 * len(name)).save(tmp_path / name / f"{i}.png")
    folders = ("--content", tmp_path / "photographs", "--style", tmp_path / "paintings", "--size", "32")
    report = ("--report", tmp_path / "report")
    assert evaluate(weights, *folders) == 2
    assert "give --report DIR" in capsys.readouterr().err
    assert evaluate(weights, *report) == 2
    assert "--content PHOTOGRAPHS and --style PAINTINGS are needed" in capsys.readouterr().err
    assert evaluate(weights, *folders, *report) == 0
    facts = json.loads((tmp_path / "report/metrics.json").read_text())
    assert facts["method"] == "CycleGAN, official weights"
    assert facts["networks"].startswith("ResNet generator, 2 blocks, 8 channels, sha256 ")
    assert not facts.keys() & {"direction", "training steps"}
    assert list(weights.parent.iterdir()) == [weights]


def test_weights_stand_beside_a_run_on_its_pictures(weights: Path, tiny_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    assert evaluate(run, weights, "--report", tmp_path / "report") == 0
    facts = json.loads((tmp_path / "report/metrics.json").read_text())["runs"]
    assert [each["method"] for each in facts] == ["cyclegan", "CycleGAN, official weights"]
    assert facts[0]["photographs"] == facts[1]["photographs"]
    assert list(weights.parent.iterdir()) == [weights]
