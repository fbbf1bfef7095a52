"""What is known of the pictures comes into the report: groups, nearest paintings, a judge; and all of it into W&B."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.options import FolderOptions, WikiartOptions
from engine.schema import DataConfig
from metrics.breakdown import by_paintings, by_photographs
from metrics.measure import Score
from metrics.nearest import find_nearest
from metrics.references import read_references
from tests.broken_files import picture
from tests.conftest import ROOT, TINY, call, evaluate, train_tiny
from tests.test_vgg_finetune import TINY_CLASSIFIER
from tests.test_wandb import history, read_offline

COLOURS = {"Fauvism": (200, 60, 40), "Realism": (40, 60, 200)}


def score(key: str, values: list[float]) -> Score:
    return Score(key, 0.0, None, None, None, None, len(values), pictures=torch.tensor(values, dtype=torch.double))


def test_groups_are_means_over_their_pictures_and_a_picture_may_be_in_several() -> None:
    labels = {"supercategory": ("animal;food", "animal", "", "animal", "food", "animal", "animal", "food")}
    values = [1.0, 2.0, 9.0, 3.0, 5.0, 4.0, 5.0, 7.0]
    found = list(by_photographs([score("ssim_content", values)], labels))
    assert [(each.kind, each.group, each.n, each.value) for each in found] == [("supercategory", "animal", 5, 3.0)]
    low, high = found[0].interval  # three pictures of food are too few
    assert 1 <= low < 3 < high <= 5
    assert list(by_photographs([score("ssim_content", values)], {"artist": ("one",) * 8})) == []  # all: says nothing


def test_translations_are_nearest_to_the_group_whose_moments_they_have() -> None:
    generator = torch.Generator().manual_seed(0)
    red = torch.rand(6, 2944, generator=generator).double() + 1
    blue = torch.rand(7, 2944, generator=generator).double() + 2
    labels = {"style": ("Fauvism",) * 6 + ("Realism",) * 7}
    found = {
        each.group: each.value for each in by_paintings(red + 0.01, torch.cat([red, blue]), labels, "moments_random")
    }
    assert found["Fauvism"] < 0.01 < found["Realism"]


def test_paintings_come_in_a_drawn_order_of_which_halves_are_alike(wikiart: Path) -> None:
    data = DataConfig(
        content=FolderOptions(held_out=str(wikiart), root=str(wikiart)),
        style=WikiartOptions(root=str(wikiart), held_out_share=0.9),
    )
    references = read_references(data, 16, 0)
    styles = references.paintings.labels["style"]
    half = len(styles) // 2
    assert {styles[:half].count("Fauvism"), styles[half:].count("Fauvism")} - {0, half} != set()
    assert set(styles[:half]) == set(styles[half:]) == set(COLOURS)
    assert len(references.known) > 0
    assert set(references.known.names).isdisjoint(references.paintings.names)
    again = read_references(data, 16, 0)
    assert again.paintings.names == references.paintings.names


def test_the_nearest_are_found_and_copies_are_told_from_a_manner() -> None:
    known, unseen, new = (torch.randn(40, 8, generator=torch.Generator().manual_seed(i)).double() for i in range(3))
    copied = find_nearest(known[[3, 7, 11]] + 1e-3, known, unseen)
    assert copied.places.tolist() == [3, 7, 11]
    assert copied.ratio < 0.01
    assert 0.6 < find_nearest(new, known, unseen).ratio < 1.6
    assert find_nearest(new, known).ratio is None
    dead = torch.cat([known, torch.zeros(40, 1)], dim=1)  # a feature that no known painting has
    strange = torch.cat([known[[5]], torch.ones(1, 1)], dim=1)
    assert find_nearest(strange, dead, torch.cat([unseen, torch.zeros(40, 1)], dim=1)).ratio < 10


@pytest.fixture(scope="module")
def wikiart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wikiart")
    for style, colour in COLOURS.items():
        (root / style).mkdir()
        for i in range(24):
            pixels = np.asarray(picture(40, 36, seed=i)) // 4 + np.array(colour, np.uint8) // 2
            Image.fromarray(pixels.astype(np.uint8)).save(root / style / f"artist-{i % 2}_no-{i}.png")
    return root


@pytest.fixture(scope="module")
def run(wikiart: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("known") / "run"
    tiny = [word for word in TINY if not word.startswith("data.style")]
    style = ["data.style.source=wikiart", f"data.style.root={wikiart}", "data.style.held_out_share=0.5"]
    assert call("train", ROOT / "configs/demo.yaml", f"run={run}", *tiny, *style, "schedule.decay=0") == 0
    return run


def test_paintings_that_have_labels_are_broken_down_by_them(run: Path) -> None:
    assert evaluate(run) == 0
    found = json.loads((run / "report/metrics.json").read_text())["groups"]
    assert {(each["kind"], each["group"]) for each in found} >= {
        ("style", "Fauvism"), ("style", "Realism"), ("artist", "artist-0"), ("artist", "artist-1")
    }  # fmt: skip
    assert {each["key"] for each in found} == {"moments_random"}
    text = (run / "report/report.md").read_text()
    assert "by style:" in text
    assert "Fauvism" in (run / "report/report.html").read_text()


@pytest.mark.usefixtures("narrow_vgg")
def test_a_classifier_of_paintings_judges(run: Path, wikiart: Path, tmp_path: Path, capsys) -> None:
    judge = tmp_path / "judge"
    words = [word for word in TINY_CLASSIFIER if not word.startswith(("method.label", "data.style.source"))]
    words += ["method.label=style", "data.style.source=wikiart", f"data.style.root={wikiart}"]
    assert call("train", ROOT / "configs/vgg_wikiart.yaml", f"run={judge}", *words) == 0
    assert evaluate(run, "--classifier", judge) == 2
    assert "all of its classes are the target" in capsys.readouterr().err
    assert evaluate(run, "--classifier", judge, "--classes", "Cubism") == 2
    assert "--classes Cubism" in capsys.readouterr().err
    assert evaluate(run, "--classes", "Realism") == 2
    assert evaluate(run, "--classifier", run) == 2
    assert "a run of vgg_finetune is wanted" in capsys.readouterr().err
    rates = {}
    for style in COLOURS:
        assert evaluate(run, "--classifier", judge, "--classes", style) == 0
        scores = {each["key"]: each for each in json.loads((run / "report/metrics.json").read_text())["scores"]}
        rates[style] = scores["deception_classifier"]
    assert sum(rate["value"] for rate in rates.values()) == pytest.approx(1)  # two classes: one or the other
    assert sum(rate["untouched"] for rate in rates.values()) == pytest.approx(1)


def test_the_report_goes_to_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [tmp_path / "one", tmp_path / "two"]
    for seed, run in enumerate(runs):
        assert train_tiny(run, f"seed={seed}", "schedule.decay=0", "schedule.constant=2") == 0
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert evaluate(*runs, "--report", tmp_path / "both") == 0
    for run in runs:
        logged = {key.partition(".")[0] for row in history(read_offline(run)) for key in row}
        assert {"evaluation/swd", "evaluation/scores", "evaluation/grid", "evaluation/report"} <= logged
        assert {"comparison/scores", "comparison/report", "comparison/Content against style"} <= logged
        pages = [path.read_text() for path in (run / "wandb").rglob("*.html")]
        assert any(page.startswith("<!doctype html>") and "Two side by side" in page for page in pages)
