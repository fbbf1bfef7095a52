"""An evaluation shared by processes, and one that was killed, give the numbers of one that was neither."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.cache import TensorCache
from engine.distributed import ALONE
from models.candidate import RunCandidate
from models.translator import load
from tests.conftest import ROOT, call, evaluate, train_tiny

PICTURES = 37  # three batches of features, nineteen of translations: neither can be shared evenly


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("shared") / "run"
    words = (f"data.content.held_out={PICTURES}", f"data.style.held_out={PICTURES}", "schedule.decay=0")
    assert train_tiny(run, *words) == 0
    return run


def by_processes(count: int, run: Path, cache: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "--standalone"]
    words = (str(ROOT / "evaluate.py"), str(run), "--without-pretrained", "--batch-size", "2", *words)
    environment = os.environ | {"ATELIER_CACHE": str(cache)}
    return subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=300)


def found_in(report: Path) -> tuple:
    values = json.loads((report / "metrics.json").read_text())
    return values["scores"], values["findings"], values["nearest"], (report / "pictures.csv").read_text()


def test_two_processes_give_the_same_numbers_as_one(run: Path, tmp_path: Path, monkeypatch) -> None:
    done = by_processes(2, run, tmp_path / "two")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("report:") == 1  # one of them talks
    shared = found_in(run / "report")
    assert len(list((tmp_path / "two/translations").iterdir())) == -(-PICTURES // 2)
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "one"))
    assert evaluate(run, "--batch-size", "2") == 0
    assert found_in(run / "report") == shared  # to the bit


def test_an_error_of_one_process_ends_all_of_them(run: Path, tmp_path: Path) -> None:
    done = by_processes(2, run, tmp_path, "--report", "/proc/none/report")  # only the first looks at folders
    assert done.returncode != 0
    assert done.stderr.count("no report can be written there") == 1


MEET = """
import sys
from engine.distributed import join_team
with join_team() as team:
    assert team.map(lambda x: (team.rank, 2 * x), range(5)) == [(i % 2, 2 * i) for i in range(5)]
    assert team.once(lambda: team.rank) == 0
    try:
        team.map(lambda x: 1 // x, [1, 0, 1])  # the second is not the first process's
    except ZeroDivisionError as error:
        said = f"known: {'in process 1' in error.__notes__[0]}"
    try:
        team.agree(lambda: [1, 2][2 - team.rank])
    except IndexError:
        open(f"{sys.argv[1]}/{team.rank}", "w").write(f"{said}, agreed")
"""


def test_the_error_of_any_process_is_known_to_all(tmp_path: Path) -> None:
    (tmp_path / "meet.py").write_text(MEET)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [*torchrun, tmp_path / "meet.py", tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["known: True, agreed"] * 2


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


def test_a_killed_evaluation_goes_on_where_it_was(run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "whole"))
    assert evaluate(run, "--batch-size", "4") == 0
    whole = found_in(run / "report")

    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "killed"))
    honest, calls = RunCandidate.apply, []

    def apply(candidate: RunCandidate, pictures: torch.Tensor, styles: torch.Tensor | None = None) -> torch.Tensor:
        calls.append(len(pictures))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return honest(candidate, pictures, styles)

    monkeypatch.setattr(RunCandidate, "apply", apply)
    with pytest.raises(KeyboardInterrupt):
        evaluate(run, "--batch-size", "4")
    kept = list((tmp_path / "killed/translations").iterdir())
    assert len(kept) == 3
    kept[0].write_bytes(b"half")
    calls[:] = [0] * 10
    assert evaluate(run, "--batch-size", "4") == 0
    batches = -(-PICTURES // 4)
    # What was missing, what was damaged; and five more that the cost is measured with.
    assert len(calls) - 10 == batches - 3 + 1 + 5
    assert found_in(run / "report") == whole


def test_one_alone_needs_no_group() -> None:
    assert ALONE.map(lambda x: x + 1, [1, 2, 3]) == [2, 3, 4]
    assert ALONE.once(lambda: 5) == ALONE.agree(lambda: 5) == 5
    assert ALONE.leads
