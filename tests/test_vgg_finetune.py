"""Transfer learning: classes shown equally often, blocks that stay frozen, honest counts, a run that others can use."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.batch import LabelledBatch, Share
from data.images import PictureError
from data.labelled import Labelled, read_labels
from data.labels import Labels
from data.loader import Positions, batches
from data.source import DataError
from data.transforms import build_augmentation
from engine.checkpoint import load_checkpoint
from engine.logger import read_log
from models import build_method
from models.networks.vgg_weights import load_vgg
from models.options import FeatureOptions, VggFinetuneOptions
from models.vgg_finetune import balanced_accuracy, count_confusion
from tests.broken_files import picture
from tests.conftest import ROOT, call, evaluate

RECIPE = ROOT / "configs/vgg_wikiart.yaml"
COLOURS = {"red": (200, 60, 40), "blue": (40, 60, 200)}
TINY_CLASSIFIER = [
    *("method.features.weights=random", "method.label=folder", "method.frozen_blocks=4", "method.dropout=0"),
    *("data.style.source=folder", "data.style.held_out_share=0.3", "data.size=32", "data.load_size=36"),
    *("data.workers=0", "train.batch_size=4", "schedule.constant=24", "schedule.decay=0"),
    *("log.wandb=disabled", "log.every=2", "log.pictures_every=24", "checkpoints.every=12"),
]


class Named:
    """Pictures whose names begin with their class; some cannot be read."""

    def __init__(self, counts: dict[str, int], bad: tuple[str, ...] = ()):
        self.names = [f"{name}/{i}.png" for name, count in counts.items() for i in range(count)]
        self.bad = bad

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image.Image:
        if self.names[index] in self.bad:
            raise PictureError(self.names[index], "made to fail")
        return Image.new("RGB", (20, 20))

    def name(self, index: int) -> str:
        return self.names[index]


def labelled(counts: dict[str, int], bad: tuple[str, ...] = (), seed: int = 0) -> Labelled:
    source = Named(counts, bad)
    return Labelled(source, read_labels(source, "folder"), seed, build_augmentation(16, 20), 16)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two classes, told apart by their colour, one of them three times as large."""
    for name, count in (("red", 24), ("blue", 8)):
        (tmp_path / "art" / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.asarray(picture(32, 32, seed=i), np.int16) // 4 + COLOURS[name]
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "art" / name / f"{i}.png")
    return tmp_path / "art"


def test_classes_come_equally_often_and_a_class_shows_all_its_pictures_before_one_again() -> None:
    dataset = labelled({"many": 9, "few": 2, "one": 1})
    row = [dataset[position] for position in range(54)]
    assert [int(n) for n in np.bincount([c for _, c in row])] == [18, 18, 18]
    assert dataset.classes == ("few", "many", "one")
    assert all(p.name.startswith(dataset.classes[c]) for p, c in row)
    many = [p.name for p, c in row if c == 1]
    assert len(set(many[:9])) == len(set(many[9:])) == 9
    assert many[:9] != many[9:]
    assert [p.name for p, _ in row] != [labelled({"many": 9, "few": 2, "one": 1}, seed=1)[i][0].name for i in range(54)]
    assert dataset.shares == (2 / 12, 9 / 12, 1 / 12)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_start_anywhere_and_keep_labels_beside_pictures(workers: int) -> None:
    dataset = labelled({"a": 5, "b": 3}, bad=("a/1.png", "b/0.png"))
    whole = list(batches(dataset, Positions(Share(3), 0, 8), 0, torch.device("cpu")))
    rest = list(batches(dataset, Positions(Share(3), 15, 3), workers, torch.device("cpu")))
    assert [batch.names for batch in rest] == [batch.names for batch in whole[5:]]
    for batch in whole:
        assert [dataset.classes[c] for c in batch.classes] == [name[0] for name in batch.names]
        assert batch.pictures.shape == (3, 3, 16, 16)
    assert not {"a/1.png", "b/0.png"} & {name for batch in whole for name in batch.names}
    assert any(batch.unreadable for batch in whole)


def test_an_unreadable_picture_is_replaced_by_one_of_its_class_and_a_lost_class_by_others() -> None:
    dataset = labelled({"a": 6, "b": 6, "c": 1}, bad=("a/0.png", "c/0.png"))
    classes = [(dataset[i][0], dataset[i][1]) for i in range(36)]
    replaced = [(p, c) for p, c in classes if p.unreadable]
    of_a = [dataset.classes[c] for p, c in replaced if "a/0.png" in p.unreadable[0]]
    assert set(of_a) == {"a"}
    of_c = [dataset.classes[c] for p, c in replaced if "c/0.png" in p.unreadable[0]]
    assert set(of_c) == {"a", "b"}


def test_pictures_with_several_labels_or_none_are_in_no_class() -> None:
    labels = Labels.of(["a", "a;x", "b", "", "b"])
    dataset = Labelled(Named({"p": 5}), labels, 0, build_augmentation(16, 20), 16)
    assert dataset.classes == ("a", "b")
    assert dataset.shares == (1 / 3, 2 / 3)
    assert {dataset[i][0].index for i in range(12)} == {0, 2, 4}
    loose = Named({"a": 2, "b": 2})
    loose.names.append("loose.png")
    assert read_labels(loose, "folder").names == ("", "a", "b")


def test_accuracy_uses_the_training_shares_as_prior() -> None:
    torch.manual_seed(0)
    classifier = build_method(VggFinetuneOptions(features=FeatureOptions(weights="random"), frozen_blocks=5))
    classifier.begin(("rare", "common"), (0.001, 0.999))
    classifier.eval()
    torch.nn.init.zeros_(classifier.head.weight)
    classifier.head.bias.data = torch.tensor([1.0, 0.0])  # sees nothing, and says "rare" but for the prior
    truth = torch.tensor([0, 1, 1, 1])
    found = classifier.examine(LabelledBatch(torch.zeros(4, 3, 32, 32), truth))
    assert found.scores == {"accuracy": 0.75, "balanced_accuracy": 0.5, "majority": 0.75}
    assert found.tables["confusion"].rows == [["rare", 1, 0], ["common", 3, 0]]


def test_labels_that_are_not_there_are_answered_with_those_that_are() -> None:
    with pytest.raises(DataError, match="method.label = artist: .* one of: folder"):
        read_labels(Named({"a": 1}), "artist")
    with pytest.raises(DataError, match="all labelled a; two classes"):
        Labelled(Named({"a": 2}), Labels.of(["a", "a"]), 0, build_augmentation(16, 20), 16)


def test_confusion_and_balanced_accuracy_by_hand() -> None:
    truth, found = torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 0, 0, 1, 1, 0])
    confusion = count_confusion(truth, found, 3)
    assert confusion.tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert balanced_accuracy(confusion) == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_frozen_blocks_have_no_parameters_and_the_others_learn() -> None:
    torch.manual_seed(0)
    classifier = build_method(VggFinetuneOptions(features=FeatureOptions(weights="random"), frozen_blocks=4))
    classifier.begin(("a", "b"), (0.5, 0.5))
    learnt = {name.split("_")[0] for name, _ in classifier.network.named_parameters()}
    assert learnt == {"conv5"}
    assert "network.conv1_1_weight" in classifier.state_dict()
    rates = [group["lr"] for group in classifier.optimizers["classifier"].param_groups]
    assert rates == [1e-3, 1e-4]


@pytest.mark.usefixtures("narrow_vgg")
def test_a_run_learns_resumes_to_the_bit_and_serves_gram_losses(folders: Path, tmp_path: Path, capsys) -> None:
    words = [f"data.style.root={folders}", *TINY_CLASSIFIER]
    assert call("train", RECIPE, f"run={tmp_path / 'whole'}", *words) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "vgg19, random weights (seed 0), 4 blocks frozen; tells apart 2: blue, red" in said
    rows = read_log(tmp_path / "whole/log.jsonl")
    assert any({"learning_rate/classifier/head", "learning_rate/classifier/blocks"} <= row.keys() for row in rows)
    scores = next(row for row in rows if "held_out/accuracy" in row)
    assert scores["held_out/accuracy"] > scores["held_out/majority"]
    assert scores["held_out/balanced_accuracy"] > 0.9
    confusion = next(row["table/confusion"] for row in rows if "table/confusion" in row)
    assert [row[0] for row in confusion["rows"]] == ["blue", "red"]
    assert (tmp_path / "whole/samples/step_00000024.png").exists()

    assert call("train", RECIPE, f"run={tmp_path / 'two'}", *words, "schedule.constant=12") == 0
    assert call("train", RECIPE, f"run={tmp_path / 'two'}", *words) == 0
    states = [load_checkpoint(tmp_path / run / "checkpoints/step_00000024.pt")["method"] for run in ("whole", "two")]
    differing = [k for k in states[0] if torch.is_tensor(states[0][k]) and not torch.equal(states[0][k], states[1][k])]
    assert states[0].keys() == states[1].keys()
    assert differing == []

    features = FeatureOptions(weights=str(tmp_path / "whole"))
    vgg = load_vgg(features, "relu5_4")
    assert torch.equal(vgg.conv5_4_weight, states[0]["network.conv5_4_weight"])
    assert not torch.equal(vgg.conv5_1_weight, load_vgg(FeatureOptions(weights="random"), "relu5_4").conv5_1_weight)
    assert vgg.described.endswith("step 24, from vgg19, random weights (seed 0), 4 blocks frozen)")


@pytest.mark.usefixtures("narrow_vgg")
def test_what_a_classifier_is_not_asked_is_answered_in_one_line(folders: Path, tmp_path: Path, capsys) -> None:
    words = [f"data.style.root={folders}", *TINY_CLASSIFIER, "schedule.constant=1"]
    assert call("train", RECIPE, f"run={tmp_path / 'run'}", *words) == 0
    assert call("translate", tmp_path / "run", folders, tmp_path / "out") == 2
    assert "translates none" in capsys.readouterr().err
    assert evaluate(tmp_path / "run") == 2
    assert call("train", RECIPE, f"run={tmp_path / 'other'}", *words, f"data.content.root={folders}") == 2
    assert "data.content is of no use: vgg_finetune learns from the other domain alone" in capsys.readouterr().err
    assert call("train", RECIPE, f"run={tmp_path / 'other'}", *words, "train.batch_size=1") == 2
    assert "train.batch_size = 1" in capsys.readouterr().err
    assert call("train", RECIPE, f"run={tmp_path / 'other'}", *words, "method.label=artist") == 2
    assert "method.label = artist" in capsys.readouterr().err
    (folders / "green").mkdir()
    for i in range(8):
        picture(32, 32, seed=i).save(folders / "green" / f"{i}.png")
    assert call("train", RECIPE, f"run={tmp_path / 'run'}", *words, "schedule.constant=2") == 2
    assert (
        "now it is vgg19, random weights (seed 0), 4 blocks frozen; tells apart 3: blue, green"
        in capsys.readouterr().err
    )
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] != "running"
