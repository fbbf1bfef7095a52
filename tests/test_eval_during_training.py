"""Metrics while training goes on change nothing of the run, and its best checkpoint is kept whatever happens."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

import engine.best
from data import SOURCES
from engine.best import Best, BestKeeper
from engine.checkpoint import SaveError, checkpoint_path, list_checkpoints, load_checkpoint, newest_checkpoint, step_of
from engine.config import load_config
from engine.logger import read_log
from metrics import METRICS
from metrics.features import FeatureStore
from metrics.measure import Evaluator, Score
from metrics.references import read_references
from metrics.sets import PictureSet, References
from metrics.watch import Watch, watchable
from models import METHODS, load_translator
from models.candidate import RunCandidate
from models.translator import load
from tests.broken_files import picture
from tests.conftest import ROOT, TINY, call, train_tiny
from tests.test_adain import TINY_ADAIN
from tests.test_resume import assert_same_run, status, tiny_process, wait_for
from tests.test_vgg_finetune import RECIPE as CLASSIFIER

EVALUATED = ("eval.every=2", "eval.pictures=5", "checkpoints.keep_best=swd")
CONTENT = {"ssim_content", "gradient_correlation", "edge_f1"}
FREE = {"psnr_truth", "ssim_truth", "swd", "frechet_random", "moments_random", "gram_random"} | CONTENT
TOO_FEW_OR_SMALL = {"deception_random", "ms_ssim_content"}


def evaluations(run: Path) -> dict[int, dict[str, float]]:
    """Of the log, by step."""
    log = read_log(run / "log.jsonl")
    rows = [(row["step"], {k[5:]: v for k, v in row.items() if k.startswith("eval/")}) for row in log]
    found = {step: values for step, values in rows if values}
    assert len(found) == sum(bool(values) for _, values in rows)  # no step twice
    return found


def measured_by_evaluator(run: Path, checkpoint: Path, recipe: str, words: tuple[str, ...]) -> dict[str, float]:
    """What the evaluation's own classes give for a checkpoint."""
    data = load_config(ROOT / recipe, [f"run={run}", *words], METHODS, SOURCES).data
    references = read_references(data, data.size, 5)
    photographs = references.photographs
    candidate = RunCandidate(run, load(str(checkpoint), style=None))
    translations = PictureSet(candidate.translate(photographs.pixels, photographs.names, 8), photographs.names)
    evaluator = Evaluator(references, FeatureStore(torch.device("cpu"), pretrained=False))
    return {found.key: found.value for found in evaluator.measure(translations) if isinstance(found, Score)}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 8 steps with an evaluation every second one; tests write nothing into it."""
    run = tmp_path_factory.mktemp("runs") / "evaluated"
    assert train_tiny(run, *EVALUATED, "checkpoints.keep_last=1", "checkpoints.keep_every=2") == 0
    return run


def best_of(run: Path) -> dict:
    """What best.json says, after a check that best.pt is whole and says the same."""
    state = load_checkpoint(run / "checkpoints/best.pt")
    told = json.loads((run / "checkpoints/best.json").read_text())
    assert state["best"] == told
    assert state["step"] == told["step"]
    line = (run / "checkpoints/best.pt.sha256").read_text()
    assert re.fullmatch(r"[0-9a-f]{64}  best\.pt\n", line)
    return told


def test_rows_hold_what_the_evaluator_gives_for_the_checkpoint_of_that_step(evaluated: Path) -> None:
    found = evaluations(evaluated)
    assert list(found) == [2, 4, 6, 8]
    assert set(found[2]) == FREE == set(watchable(True, 32, 5)) == set(watchable(True, 999, 999)) - TOO_FEW_OR_SMALL
    for step in (2, 8):
        wanted = measured_by_evaluator(
            evaluated, checkpoint_path(evaluated / "checkpoints", step), "configs/demo.yaml", TINY
        )
        assert found[step] == wanted


def test_measuring_does_not_disturb_the_run(evaluated: Path, tiny_run: Path) -> None:
    assert_same_run(evaluated, tiny_run)


def test_the_last_step_is_evaluated_and_the_best_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = tmp_path / "run"
    assert train_tiny(run, "eval.every=3", "eval.pictures=4", "checkpoints.keep_best=psnr_truth") == 0
    found = {step: values["psnr_truth"] for step, values in evaluations(run).items()}
    assert list(found) == [3, 6, 8]
    best = max(found, key=found.get)
    assert best_of(run) == {"metric": "psnr_truth", "value": found[best], "step": best, "pictures": 4}
    said = capsys.readouterr().err
    assert "step 3, evaluated: psnr_truth " in said
    assert f"the best: psnr_truth {found[best]:.5g} at step {best}, kept as {run}/checkpoints/best.pt" in said


def test_the_best_outlives_pruning_and_translates(tmp_path: Path, scripted: list) -> None:
    run = tmp_path / "run"
    scripted[:] = [5.0, 3.0, 3.0, 4.0]
    assert train_tiny(run, *EVALUATED, "checkpoints.keep_last=1") == 0
    assert best_of(run) == {"metric": "swd", "value": 3.0, "step": 4, "pictures": 5}  # of equals, the first
    assert [step_of(path) for path in list_checkpoints(run / "checkpoints")] == [8]
    assert newest_checkpoint(run / "checkpoints")[0]["step"] == 8
    picture(30, 20).save(tmp_path / "photograph.png")
    painter = load_translator(str(run / "checkpoints/best.pt"))
    assert painter.step == 4
    with Image.open(tmp_path / "photograph.png") as photograph:
        assert painter(photograph).size == (30, 20)
    assert call("translate", run / "checkpoints/best.pt", tmp_path / "photograph.png", tmp_path / "out.png") == 0


def test_higher_is_better_where_the_table_says_so(tmp_path: Path) -> None:
    keeper = BestKeeper(tmp_path, "psnr_truth", higher_is_better=True, pictures=4)
    keeper.kept = Best("psnr_truth", 10.0, 1, 4)
    assert not keeper.consider(2, {"psnr_truth": 9.0})
    assert not keeper.consider(2, {"swd": 99.0})
    assert keeper.consider(2, {"psnr_truth": 11.0})


def test_killed_with_9_and_resumed_it_has_the_same_best(evaluated: Path, tmp_path: Path) -> None:
    run = tmp_path / "killed"
    process = tiny_process(run, *EVALUATED, "checkpoints.every=100")
    wait_for(lambda: (run / "checkpoints/best.pt").exists(), process)
    process.kill()
    process.wait()
    assert train_tiny(run, *EVALUATED, "checkpoints.every=100", "data.workers=1") == 0
    assert_same_run(evaluated, run)
    assert best_of(run) == best_of(evaluated)
    assert evaluations(run) == evaluations(evaluated)


class Killed(BaseException):
    """As kill -9 does, it leaves everything as it is."""


@pytest.mark.parametrize("survived", range(4))
def test_killed_between_any_two_files_the_old_or_the_new_best_is_whole(
    survived: int, tmp_path: Path, scripted: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second best is written in four files, one after another; the process dies after `survived` of them."""
    run, write, written = tmp_path / "run", engine.best.write_atomically, []

    def write_until_killed(path: Path, content: object) -> None:
        if len(written) == 3 + survived:  # the first best is three: its checksum stands alone from the start
            raise Killed
        written.append(path)
        write(path, content)

    monkeypatch.setattr(engine.best, "write_atomically", write_until_killed)
    scripted[:] = [5.0, 3.0]
    with pytest.raises(Killed):
        train_tiny(run, *EVALUATED, "checkpoints.every=100", "checkpoints.keep_last=1")
    state = load_checkpoint(run / "checkpoints/best.pt")
    assert state["best"]["step"] == state["step"] == (2 if survived < 2 else 4)
    assert load_translator(str(run / "checkpoints/best.pt")).step == state["step"]

    monkeypatch.setattr(engine.best, "write_atomically", write)
    scripted[:] = [4.0, 4.0]  # of steps 6 and 8: the evaluation of step 4 is not repeated
    assert train_tiny(run, *EVALUATED, "checkpoints.every=100", "checkpoints.keep_last=1") == 0
    assert best_of(run) == {"metric": "swd", "value": 3.0, "step": 4, "pictures": 5}
    assert not scripted


def test_a_best_of_steps_that_are_lost_is_found_again(tmp_path: Path, scripted: list, capsys) -> None:
    run = tmp_path / "run"
    scripted[:] = [5.0, 6.0, 4.0, 4.5]
    assert train_tiny(run, *EVALUATED) == 0
    for step in (6, 8):
        checkpoint_path(run / "checkpoints", step).write_bytes(b"damaged")
    scripted[:] = [6.0, 4.0, 4.5]  # of steps 4, 6 and 8
    assert train_tiny(run, *EVALUATED) == 0
    said = capsys.readouterr().err
    assert "the best so far, swd 5 at step 2, is not in" in said
    assert best_of(run) == {"metric": "swd", "value": 4.0, "step": 6, "pictures": 5}


def test_a_finished_run_stays_untouched(tmp_path: Path, scripted: list) -> None:
    run = tmp_path / "run"
    scripted[:] = [5.0, 4.0, 6.0, 6.0]
    assert train_tiny(run, *EVALUATED) == 0
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    assert train_tiny(run, *EVALUATED) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"} == before


@pytest.mark.parametrize("keep_last", [1, 3])
def test_a_damaged_best_is_copied_again_while_its_checkpoint_is_there(
    keep_last: int, tmp_path: Path, scripted: list, capsys
) -> None:
    run, kept = tmp_path / "run", f"checkpoints.keep_last={keep_last}"
    scripted[:] = [5.0, 4.0, 6.0, 6.0]
    assert train_tiny(run, *EVALUATED, kept) == 0
    (run / "checkpoints/best.pt").write_bytes(b"damaged")
    scripted[:] = [7.0]
    assert train_tiny(run, *EVALUATED, kept, "schedule.decay=5") == 0
    assert best_of(run)["step"] == (4 if keep_last == 3 else 9)
    assert ("is not in" in capsys.readouterr().err) == (keep_last == 1)


def test_another_metric_starts_afresh_and_says_so(tmp_path: Path, scripted: list, capsys) -> None:
    run = tmp_path / "run"
    scripted[:] = [1.0, 1.0]
    assert train_tiny(run, *EVALUATED, "schedule.decay=0") == 0
    scripted[:] = [9.0, 8.0]
    assert train_tiny(run, *EVALUATED, "eval.pictures=6") == 0
    assert best_of(run) == {"metric": "swd", "value": 8.0, "step": 8, "pictures": 6}
    assert "checkpoints.keep_best was swd (eval.pictures = 5), is swd (eval.pictures = 6)" in capsys.readouterr().err
    assert train_tiny(run, "schedule.decay=5") == 0  # neither eval.every nor keep_best: what is recorded is handed on
    assert best_of(run)["step"] == load_checkpoint(checkpoint_path(run / "checkpoints", 9))["best"]["step"] == 8


def test_a_full_disk_costs_a_best_and_no_earlier_one(tmp_path: Path, scripted: list, monkeypatch, capsys) -> None:
    run, write = tmp_path / "run", engine.best.write_atomically

    def full(path: Path, content: object) -> None:
        if path.name == "best.pt" and path.exists():
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(engine.best, "write_atomically", full)
    scripted[:] = [5.0, 4.0, 6.0, 6.0]
    assert train_tiny(run, *EVALUATED) == 0
    assert "best.pt: could not be saved (No space left on device): " in capsys.readouterr().err
    assert status(run)["state"] == "finished"
    assert load_checkpoint(run / "checkpoints/best.pt")["step"] == 2
    assert load_checkpoint(checkpoint_path(run / "checkpoints", 8))["best"]["step"] == 2


def test_a_best_whose_checkpoint_cannot_be_saved_is_none(tmp_path: Path, scripted: list, monkeypatch) -> None:
    import engine.loop

    saved = engine.loop.save_checkpoint

    def failing(folder: Path, step: int, content: dict) -> Path:
        if step == 4:
            raise SaveError(f"{folder}: could not be saved (No space left on device)")
        return saved(folder, step, content)

    monkeypatch.setattr(engine.loop, "save_checkpoint", failing)
    scripted[:] = [5.0, 3.0, 4.0, 6.0]
    assert train_tiny(tmp_path / "run", *EVALUATED) == 0
    assert best_of(tmp_path / "run")["step"] == 6


def test_what_goes_wrong_with_an_evaluation_costs_its_row(tmp_path: Path, scripted: list, capsys) -> None:
    run = tmp_path / "run"
    scripted[:] = [ZeroDivisionError("a bug"), float("nan"), 4.0, 5.0]
    assert train_tiny(run, *EVALUATED) == 0
    said = capsys.readouterr().err
    assert "step 2 is not evaluated: ZeroDivisionError: a bug" in said
    assert "step 4: not finite: swd" in said
    assert evaluations(run) == {6: {"swd": 4.0}, 8: {"swd": 5.0}}
    assert best_of(run)["step"] == 6


def test_translations_that_are_not_finite_do_not_stop_the_run(tmp_path: Path, monkeypatch, capsys) -> None:
    from models.cyclegan import CycleGAN

    honest = CycleGAN.translate
    monkeypatch.setattr(CycleGAN, "translate", lambda *arguments: honest(*arguments) * float("nan"))
    run = tmp_path / "run"
    assert train_tiny(run, *EVALUATED) == 0
    assert "step 2 is not evaluated: 5 of 5 translations are not finite" in capsys.readouterr().err
    assert evaluations(run) == {}
    assert not (run / "checkpoints/best.pt").exists()


@pytest.mark.usefixtures("narrow_vgg")
def test_a_method_that_takes_its_style_from_pictures(tmp_path: Path) -> None:
    run = tmp_path / "adain"
    words = [*TINY_ADAIN, "data.content.held_out=5", "schedule.constant=2", "schedule.decay=2", *EVALUATED]
    assert call("train", ROOT / "configs/adain.yaml", f"run={run}", *words) == 0
    found = evaluations(run)
    assert list(found) == [2, 4]
    checkpoint = checkpoint_path(run / "checkpoints", 4)
    assert found[4] == measured_by_evaluator(run, checkpoint, "configs/adain.yaml", tuple(words))
    assert best_of(run)["step"] in found


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["eval.every=2", "checkpoints.keep_best=sdw"], ["checkpoints.keep_best = sdw", *METRICS]),
        (["checkpoints.keep_best=swd"], ["checkpoints.keep_best = swd", "eval.every"]),
        (["eval.every=2", "checkpoints.keep_best=fid"], ["checkpoints.keep_best = fid", "pretrained", "swd"]),
        (["eval.every=2", "checkpoints.keep_best=artfid"], ["pretrained", "swd"]),
        (["eval.every=2", "checkpoints.keep_best=ms_ssim_content"], ["larger pictures", "data.size", "swd"]),
        (["eval.every=2", "checkpoints.keep_best=deception_random"], ["eval.pictures", "swd"]),
        (["eval.every=2", "eval.patience=3"], ["eval.patience = 3", "checkpoints.keep_best"]),
        (["eval.patience=-1"], ["eval.patience = -1"]),
        (["eval.every=-1"], ["eval.every = -1"]),
        (["eval.every=2", "eval.pictures=3"], ["eval.pictures = 3", "4"]),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(words: list[str], parts: list[str], tmp_path, capsys) -> None:
    for plan in ((), ("--plan",)):
        assert train_tiny(tmp_path / "run", *words, *plan) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert all(part in line for part in parts), line
        assert not (tmp_path / "run").exists()


def test_the_truth_is_refused_where_the_data_knows_none(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for i in range(12):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        picture(40, 36, seed=i).save(tmp_path / "pictures" / f"{i}.png")
    folders = ["data.content.source=folder", "data.style.source=folder", f"data.root={tmp_path / 'pictures'}"]
    words = [word for word in TINY if not word.startswith(("data.content", "data.style"))]
    words += [
        *folders,
        f"data.content.held_out={tmp_path / 'pictures'}",
        f"data.style.held_out={tmp_path / 'pictures'}",
    ]
    recipe, run = ROOT / "configs/demo.yaml", tmp_path / "run"
    assert call("train", recipe, f"run={run}", *words, *EVALUATED, "checkpoints.keep_best=psnr_truth") == 2
    assert "checkpoints.keep_best = psnr_truth: needs the truth" in capsys.readouterr().err
    assert call("train", recipe, f"run={run}", *words, *EVALUATED) == 0
    assert set(evaluations(run)[8]) == FREE - {"psnr_truth", "ssim_truth"}


def test_with_too_few_pictures_it_trains_without_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = tmp_path / "run"
    assert train_tiny(run, *EVALUATED, "data.style.held_out=3") == 0
    said = capsys.readouterr().err
    assert "warning: eval.every = 2: 5 photographs and 3 paintings are held out" in said
    assert "checkpoints.keep_best = swd: never measured, no best is kept" in said
    assert evaluations(run) == {}


@pytest.mark.parametrize("word", ["eval.every=2", "checkpoints.keep_best=swd"])
def test_a_classifier_is_not_measured_by_translations(word: str, tmp_path: Path, capsys) -> None:
    assert call("train", CLASSIFIER, f"run={tmp_path / 'run'}", word) == 2
    assert "vgg_finetune translates nothing" in capsys.readouterr().err


def test_features_of_translations_are_not_kept_from_one_evaluation_to_the_next() -> None:
    """A run of days evaluates hundreds of times."""
    draws = torch.Generator().manual_seed(0)

    def drawn(count: int) -> PictureSet:
        pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=draws, dtype=torch.uint8)
        return PictureSet(pixels, tuple(map(str, range(count))))

    references = References(drawn(12), drawn(14))
    watch = Watch(references, lambda photographs: drawn(len(photographs)).pixels, torch.device("cpu"))
    kept = []
    for _ in range(3):
        watch.measure()
        kept.append(set(watch.evaluator.store._features))
    assert kept[0] == kept[1] == kept[2] != set()
