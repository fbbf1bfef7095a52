"""evaluate.py and prepare.py, run on a tiny run as a user would."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from engine.report import read_evaluations
from engine.summary import Evaluation
from engine.tables import score_table
from engine.weights import URLS
from metrics import METRICS
from tests.broken_files import picture
from tests.conftest import call, evaluate, train_tiny

FREE = [  # of others' weights, and measured on six pictures of 32 px
    key for key, metric in METRICS.items()
    if metric.network == "" and metric.features in ("", "random-moments", "random-gram") and metric.against != "scores"
    and metric.fewest <= 6 and metric.smallest <= 32
]  # fmt: skip


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_a_report_holds_every_metric_with_its_anchors(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert evaluate(run) == 0
    printed = capsys.readouterr().out
    found = json.loads((run / "report/metrics.json").read_text())
    assert [score["key"] for score in found["scores"]] == FREE
    assert {each["key"] for each in found["missing"]} == set(METRICS) - set(FREE) - {"artfid", "deception_classifier"}
    for score in found["scores"]:
        assert np.isfinite([score["value"], score["untouched"], score["real"]]).all()
        assert score["n"] == (3 if METRICS[score["key"]].equal else 6)
        assert score["label"] in printed
    assert found["training steps"] == 8
    assert found["seed"] == 0
    assert re.fullmatch("SHA-256 [0-9a-f]{16}", found["weights"])
    assert found["configuration"] == (run / "config.yaml").read_text()
    assert all(f"{library} " in found["versions"] for library in ("torch", "torchmetrics", "torch-fidelity", "pillow"))
    text = (run / "report/report.md").read_text()
    assert "![grid](grid.png)" in text
    assert found["configuration"] in text
    assert "```sh\nevaluate.py " in text
    assert "<summary>configuration</summary>" in (run / "report/report.html").read_text()
    assert all(METRICS[key].label in text for key in FREE)
    assert "FID" not in text.partition("Not measured:")[0]  # the features are random
    assert Image.open(run / "report/grid.png").width > 3 * 32


def test_missing_weights_are_named_and_the_rest_of_the_report_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for network, url in URLS.items():
        monkeypatch.setitem(URLS, network, f"http://127.0.0.1:9/{url.rpartition('/')[2]}")
    run = tmp_path / "run"
    assert train_tiny(run, "data.style.held_out=12") == 0
    assert call("evaluate", run) == 2
    said = capsys.readouterr()
    file = tmp_path / "torch/hub/checkpoints/pt_inception-2015-12-05-6726825d.pth"
    assert f"not measured: FID (TF-2015 Inception 6726825d, TF bilinear 299 px): {file}: is not there" in said.err
    assert "its SHA-256 begins with 6726825d" in said.err
    found = json.loads((run / "report/metrics.json").read_text())
    assert [score["key"] for score in found["scores"]] == FREE
    assert "Not measured:" in (run / "report/report.md").read_text()


def test_the_score_of_the_untouched_photograph_is_the_score_of_doing_nothing(run: Path) -> None:
    from metrics.psnr import psnr

    assert evaluate(run) == 0
    from data.images import normalise
    from data.loader import read_pictures
    from data.options import SyntheticOptions
    from data.synthetic import open_synthetic

    source = open_synthetic(SyntheticOptions(held_out=6, size=32), "content", "held_out")
    photographs, truths = (normalise(read_pictures(s, 6, 32)[0]) for s in (source, source.counterpart()))
    scores = {score["key"]: score for score in read_evaluations(run)[0].scores}
    assert scores["psnr_truth"]["untouched"] == pytest.approx(psnr(photographs, truths).mean().item(), rel=1e-5)


def test_evaluating_twice_gives_the_same_numbers_and_keeps_the_first_report(run: Path) -> None:
    assert evaluate(run) == 0
    first = (run / "report/metrics.json").read_bytes()
    (run / "report/notes.txt").write_text("mine")
    assert evaluate(run, "--batch-size", "3") == 0
    assert (run / "report-1/notes.txt").read_text() == "mine"
    assert (run / "report-1/metrics.json").read_bytes() == first
    before, after = (read_scores_of(path) for path in (run / "report-1", run / "report"))
    assert before == pytest.approx(after, rel=1e-3)
    assert evaluate(run) == 0
    assert (run / "report-2").is_dir()


def read_scores_of(report: Path) -> list[float]:
    return [score["value"] for score in json.loads((report / "metrics.json").read_text())["scores"]]


def test_show_prints_the_last_table_and_measures_nothing(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert evaluate(run, "--show") == 2
    assert "has no report yet" in capsys.readouterr().err
    assert evaluate(run) == 0
    table = capsys.readouterr().out
    assert evaluate(run, "--show") == 0
    assert capsys.readouterr().out == table


def test_a_folder_without_truth_is_evaluated_too(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for domain, colour in (("photographs", (40, 90, 160)), ("paintings", (200, 120, 30))):
        (tmp_path / domain).mkdir()
        for i in range(30):
            pixels = np.asarray(picture(40, 36, seed=i)) // 4 + np.array(colour, np.uint8) // 2
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / domain / f"{i}.jpg")
    (tmp_path / "photographs/bad.jpg").write_bytes(b"broken")
    folders = [
        word
        for domain, name in (("content", "photographs"), ("style", "paintings"))
        for word in (
            f"data.{domain}.source=folder",
            f"data.{domain}.root={tmp_path / name}",
            f"data.{domain}.held_out_share=0.4",
        )
    ]
    from tests.conftest import TINY

    tiny = [word for word in TINY if not word.startswith(("data.content", "data.style"))]
    from tests.conftest import ROOT

    assert call("train", ROOT / "configs/demo.yaml", f"run={tmp_path / 'run'}", *tiny, *folders) == 0
    assert evaluate(tmp_path / "run") == 0
    assert {score["key"] for score in read_evaluations(tmp_path / "run")[0].scores} == {
        key for key in FREE if METRICS[key].against != "truth"
    }


GATYS = ("--set", "data.content.held_out=4", "data.style.held_out=8", "data.content.size=32", "data.style.size=32",
         "data.size=32", "data.load_size=32", "data.content.scenes=5", "data.style.scenes=5", "log.wandb=disabled",
         "method.iterations=2")  # fmt: skip


def test_runs_stand_side_by_side_in_one_report(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other = tmp_path / "other"
    assert train_tiny(other, "seed=1") == 0
    report = tmp_path / "deep/report"
    assert evaluate(run, other, "--report", report) == 0
    header = capsys.readouterr().out.splitlines()[1].split()
    assert header[2:4] == ["run", "other"]
    found = json.loads((report / "metrics.json").read_text())["runs"]
    alone = [json.loads((folder / "report/metrics.json").read_text()) for folder in (run, other)]
    assert found == alone
    assert Image.open(report / "grid.png").width > Image.open(run / "report/grid.png").width
    assert "## other" in (report / "report.md").read_text()
    assert evaluate(run, other, "--report", report) == 0
    assert (tmp_path / "deep/report-1/report.md").exists()


def test_runs_of_other_pictures_are_not_compared(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert train_tiny(tmp_path / "other", "data.content.held_out=5") == 0
    assert evaluate(run, tmp_path / "other", "--report", tmp_path / "report") == 2
    assert "other held-out photographs" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_an_untrained_method_is_evaluated_by_its_recipe(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from tests.conftest import ROOT

    run = tmp_path / "gatys"
    assert evaluate(ROOT / "configs/demo_gatys.yaml", *GATYS, f"run={run}") == 0
    facts = json.loads((run / "report/metrics.json").read_text())
    assert facts["networks"] == "features: vgg19, random weights (seed 0)"
    assert facts["style"] == "a training painting for each photograph"
    assert evaluate(run, "--batch-size", "3") == 0  # it is a run folder now
    again = json.loads((run / "report/metrics.json").read_text())
    assert [s["value"] for s in again["scores"]] == pytest.approx([s["value"] for s in facts["scores"]], rel=0.05)
    assert evaluate(ROOT / "configs/demo.yaml") == 2
    assert "has to be trained" in capsys.readouterr().err
    assert evaluate(run, "--set", "seed=1") == 2


def test_styles_are_drawn_from_the_training_part(monkeypatch: pytest.MonkeyPatch) -> None:
    import models.candidate
    from data import open_source
    from data.options import SyntheticOptions
    from engine.schema import Config, DataConfig

    parts, styles = [], []
    monkeypatch.setattr(
        models.candidate, "open_source", lambda o, d, part: parts.append(part) or open_source(o, d, part)
    )
    options = SyntheticOptions(scenes=3, held_out=2, size=32)

    def translate(batch: torch.Tensor, styles: list) -> torch.Tensor:
        given.append(styles[0].pictures[0])
        return batch

    given: list[torch.Tensor] = []
    config = Config(data=DataConfig(content=options, style=options, size=32))
    method = SimpleNamespace(needs_style=True, named_parameters=list, named_buffers=list)
    translator = SimpleNamespace(
        config=config, method=method, device=torch.device("cpu"), translate=translate, direction="photo2painting"
    )
    pixels = torch.zeros(5, 3, 32, 32, dtype=torch.uint8)
    models.candidate.RunCandidate(Path("run"), translator).translate(pixels, [""] * 5, 2)
    styles = torch.cat(given)
    assert parts == ["train"]
    assert [len(each) for each in given] == [2, 2, 1]
    assert len({each.numpy().tobytes() for each in styles}) == 3


def finished(folder: Path, count: int = 6, colour: int = 0) -> Path:
    """Pictures of any program, of another format and size, for the tiny run's held-out scenes."""
    from data.options import SyntheticOptions
    from data.synthetic import open_synthetic

    source = open_synthetic(SyntheticOptions(held_out=count, size=32), "content", "held_out")
    (folder / "deep").mkdir(parents=True)
    for i in range(count):
        picture(48, 40, seed=i + colour).save(folder / "deep" / f"{Path(source.name(i)).stem}.jpg")
    return folder


def test_finished_pictures_stand_beside_a_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    theirs = finished(tmp_path / "theirs")
    before = sorted(theirs.rglob("*"))
    assert evaluate(run, theirs) == 2
    assert "give --report DIR" in capsys.readouterr().err
    assert evaluate(theirs, run, "--report", tmp_path / "report") == 0
    facts = json.loads((tmp_path / "report/metrics.json").read_text())["runs"]
    assert [each["method"] for each in facts] == ["finished pictures", "cyclegan"]
    assert sorted(theirs.rglob("*")) == before
    next(theirs.rglob("*.jpg")).unlink()
    assert evaluate(run, theirs, "--report", tmp_path / "other") == 2
    assert "1 of the 6 photographs have no picture that can be read there: scene_" in capsys.readouterr().err


def test_folders_alone_can_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("photographs", "paintings"):
        (tmp_path / name).mkdir()
        for i in range(6):
            picture(40, 36, seed=i + 10 * len(name)).save(tmp_path / name / f"scene_{i}.png")
    theirs = tmp_path / "theirs"
    shutil.copytree(tmp_path / "photographs", theirs)
    words = [theirs, "--report", tmp_path / "report", "--size", "32"]
    assert evaluate(*words) == 2
    assert "--content PHOTOGRAPHS and --style PAINTINGS are needed" in capsys.readouterr().err
    assert evaluate(*words, "--content", tmp_path / "photographs", "--style", tmp_path / "paintings") == 0
    scores = {s["key"]: s for s in json.loads((tmp_path / "report/metrics.json").read_text())["scores"]}
    assert scores["ssim_content"]["value"] == pytest.approx(1)  # nothing was translated
    words = (tmp_path / "report/report.md").read_text()
    assert "is no better than the untouched photographs" in words
    assert "theirs changes next to nothing: it is nearly the identity." in words
    assert evaluate(tmp_path / "nothing", *words[1:]) == 2


def test_a_recipe_does_not_replace_another_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from tests.conftest import ROOT

    before = (run / "config.yaml").read_text()
    assert evaluate(ROOT / "configs/demo_gatys.yaml", *GATYS, f"run={run}") == 2
    assert "is there and is not of this recipe" in capsys.readouterr().err
    assert (run / "config.yaml").read_text() == before
    made = tmp_path / "gatys"
    assert evaluate(ROOT / "configs/demo_gatys.yaml", *GATYS, f"run={made}", "data.style.held_out=2") == 2
    assert not made.exists()


@pytest.mark.parametrize("place", ["{run}", "{tmp}/mine", "{tmp}/file", "{tmp}/file/below", "/proc/none/report"])
def test_a_report_replaces_nothing_else(place: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years")
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert evaluate(run, "--report", place.format(run=run, tmp=tmp_path)) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_runs_of_one_name_are_told_apart(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other = Path(shutil.copytree(run, tmp_path / "deep" / run.name))
    assert evaluate(run, other, "--report", tmp_path / "report") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[2:4] == [str(run), str(other)]


@pytest.mark.parametrize(
    "words",
    [("{tmp}/none",), ("{run}", "--pictures", "-1"), ("{run}", "--pictures", "3"), ("{run}", "--batch-size", "0")],
)
def test_a_users_mistake_is_code_2(words: tuple[str, ...], tiny_run: Path, tmp_path: Path) -> None:
    assert evaluate(*(word.format(run=tiny_run, tmp=tmp_path) for word in words)) == 2


def test_a_run_without_a_checkpoint_says_so(run: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.rmtree(run / "checkpoints")
    assert evaluate(run) == 2
    assert "no good checkpoint yet" in capsys.readouterr().err


def test_prepare_draws_both_renderings_and_keeps_what_exists(tmp_path: Path) -> None:
    words = ("synthetic", tmp_path / "drawn", "--scenes", "3", "--size", "32")
    assert call("prepare", *words) == 0
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")}
    assert len(names) == 6
    assert {Path(name).name for name in names if "photographs" in name} == {
        Path(name).name for name in names if "paintings" in name
    }
    first = next(iter(sorted(tmp_path.rglob("*.png"))))
    first.write_bytes(b"mine")
    assert call("prepare", *words) == 0
    assert first.read_bytes() == b"mine"
    assert call("prepare", *words, "--seed", "1") == 2
    assert call("prepare", "synthetic", tmp_path / "other", "--scenes", "0") == 2


def test_the_table_prints_numbers_that_can_be_read() -> None:
    row = {"key": "l", "label": "L", "unit": "dB", "better": "higher", "value": 12.3456, "interval": (0.5, 1234.5)}
    score = row | {"untouched": 1.0, "truth": None, "real": 100.0, "n": 7, "enough": 7}
    table = score_table([Evaluation({"run": "runs/a"}, [score])])
    assert all(part in table for part in ("L, dB (n=7)", "12.35 (0.500 .. 1234)", "1.000", "100.00", "translation"))
    several = score_table([Evaluation({"run": f"runs/{name}"}, [score | {"enough": 8}]) for name in "ab"])
    assert "n=7: TOO FEW" in several
    assert several.splitlines()[0].split()[:4] == ["metric", "better", "a", "b"]


def test_too_few_held_out_pictures_are_refused_with_the_mend(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert train_tiny(tmp_path / "run", "data.style.held_out=1") == 0
    assert evaluate(tmp_path / "run") == 2
    assert "6 photographs and 1 paintings are held out" in capsys.readouterr().err


def test_training_logs_samples_of_the_same_held_out_pictures(tiny_run: Path) -> None:
    sheets = sorted((tiny_run / "samples").iterdir())
    assert [path.name for path in sheets] == ["step_00000004.png", "step_00000008.png"]
    first, last = (np.asarray(Image.open(path)) for path in sheets)
    assert first.shape == last.shape
    width = first.shape[1] // 6  # columns: photograph, translation, reconstruction, and the way back
    assert np.array_equal(first[:, :width], last[:, :width])
    assert not np.array_equal(first[:, width : 2 * width], last[:, width : 2 * width])
