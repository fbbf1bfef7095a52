"""An evaluation shared by processes, and one that was killed, give the numbers of one that was neither."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from engine.cache import TensorCache
from engine.distributed import ALONE
from models.candidate import RunCandidate
from models.translator import load
from tests.conftest import ROOT, call, evaluate, train_tiny
from tests.processes import TORCHRUN, start

PICTURES = 33  # three batches of features, nine of translations: neither can be shared evenly
WORDS = ("--batch-size", "4", "--size", "16")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("shared") / "run"
    words = (f"data.content.held_out={PICTURES}", f"data.style.held_out={PICTURES}", "schedule.decay=0")
    assert train_tiny(run, *words) == 0
    return run


def found_in(report: Path) -> tuple:
    values = json.loads((report / "metrics.json").read_text())
    return values["scores"], values["findings"], values["nearest"], (report / "pictures.csv").read_text()


@pytest.fixture(scope="module")
def whole(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """What one process finds that nobody disturbs."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ATELIER_CACHE", str(tmp_path_factory.mktemp("whole")))
        assert evaluate(run, *WORDS) == 0
    return found_in(run / "report")


# Two processes of torchrun meet once, because their start takes longest, and then run evaluate.py as themselves: first
# as it should be, then with a report that cannot be.
MEET = """
import runpy, sys
from contextlib import nullcontext
import engine.distributed

folder, script, *words = sys.argv[1:]
with engine.distributed.join_team() as team:
    assert team.map(lambda x: (team.rank, 2 * x), range(5)) == [(i % 2, 2 * i) for i in range(5)]
    assert team.once(lambda: team.rank) == 0
    try:
        team.map(lambda x: 1 // x, [1, 0, 1])  # the second is not the first process's
    except ZeroDivisionError as error:
        said = f"known: {'in process 1' in error.__notes__[0]}"
    try:
        team.agree(lambda: [1, 2][2 - team.rank])
    except IndexError:
        open(f"{folder}/{team.rank}", "w").write(f"{said}, agreed")
    engine.distributed.join_team = lambda: nullcontext(team)
    sys.argv = [script, *words]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        assert ended.code == 0
    sys.argv += ["--report", "/proc/none/report"]  # only the first looks at folders
    runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="module")
def two(run: Path, whole: tuple, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A folder of what two processes left, how they ended, and what they found."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "meet.py").write_text(MEET)
    words = (folder / "meet.py", folder, ROOT / "evaluate.py", run, "--without-pretrained", *WORDS)
    process = start(*TORCHRUN, "--nproc-per-node=2", *words, PYTHONPATH=str(ROOT), ATELIER_CACHE=str(folder))
    process.wait(300)
    return folder, process, found_in(run / "report")


def test_the_error_of_any_process_is_known_to_all(two: tuple) -> None:
    folder, process, _ = two
    assert [(folder / rank).read_text() for rank in "01"] == ["known: True, agreed"] * 2, process.said()


def test_two_processes_give_the_same_numbers_as_one(two: tuple, run: Path, whole: tuple) -> None:
    folder, process, shared = two
    said, errors = process.said()
    assert said.count("report:") == 1, errors  # one of them talks
    assert (run / "report-1").is_dir()  # what `whole` had found; so what is compared is theirs
    assert len(list((folder / "translations").iterdir())) == -(-PICTURES // 4)
    assert shared == whole  # to the bit


def test_an_error_of_one_process_ends_all_of_them(two: tuple) -> None:
    _, process, _ = two
    assert process.returncode != 0
    assert process.said()[1].count("no report can be written there") == 1


@pytest.mark.usefixtures("narrow_vgg")
def test_other_weights_other_options_and_other_styles_are_other_translations(tmp_path: Path) -> None:
    """What was kept of one run is not taken for another's."""
    from tests.test_adain import TINY_ADAIN

    cache = TensorCache(tmp_path / "cache")
    words = (*TINY_ADAIN, "schedule.constant=1", "schedule.decay=0", "log.wandb=disabled")
    kept = tmp_path / "cache/translations"
    for number, more in enumerate([(), ("seed=1",), ("method.features.seed=5",)]):
        run = tmp_path / str(number)
        assert call("train", ROOT / "configs/adain.yaml", f"run={run}", *words, *more) == 0
        candidate = RunCandidate(run, load(str(run), style=None))
        pixels = torch.arange(3 * 32 * 32, dtype=torch.int64).remainder(256).to(torch.uint8).view(1, 3, 32, 32)
        found = candidate.translate(pixels, ["x"], 1, cache)
        assert torch.equal(candidate.translate(pixels, ["x"], 1, cache), found)
        assert len(list(kept.iterdir())) == 2 * number + 1
        candidate.translator.config = dataclasses.replace(candidate.translator.config, seed=77)  # that draws the styles
        candidate.translate(pixels, ["x"], 1, cache)
        assert len(list(kept.iterdir())) == 2 * number + 2


def test_a_killed_evaluation_goes_on_where_it_was(run: Path, whole: tuple, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "killed"))
    honest, calls = RunCandidate.apply, []

    def apply(candidate: RunCandidate, pictures: torch.Tensor, styles: torch.Tensor | None = None) -> torch.Tensor:
        calls.append(len(pictures))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return honest(candidate, pictures, styles)

    monkeypatch.setattr(RunCandidate, "apply", apply)
    with pytest.raises(KeyboardInterrupt):
        evaluate(run, *WORDS)
    kept = list((tmp_path / "killed/translations").iterdir())
    assert len(kept) == 3
    kept[0].write_bytes(b"half")
    calls[:] = [0] * 10
    assert evaluate(run, *WORDS) == 0
    batches = -(-PICTURES // 4)
    # What was missing, what was damaged; and five more that the cost is measured with.
    assert len(calls) - 10 == batches - 3 + 1 + 5
    assert found_in(run / "report") == whole


def test_one_alone_needs_no_group() -> None:
    assert ALONE.map(lambda x: x + 1, [1, 2, 3]) == [2, 3, 4]
    assert ALONE.once(lambda: 5) == ALONE.agree(lambda: 5) == 5
    assert ALONE.leads
