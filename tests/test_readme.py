"""What the documents say can be done can be done."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from data import SOURCES
from engine.config import load_config
from models import METHODS
from tests.broken_files import picture
from tests.conftest import ROOT, TINY, call
from tests.test_imports import PACKAGES, SCRIPTS

README = (ROOT / "README.md").read_text()
BLOCKS = {kind: re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL) for kind in ("sh", "python")}


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", BLOCKS["sh"][0], re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    ci = (ROOT / ".ci/run").read_text()
    assert all(f"make {target}" in ci for target in ("test", "demo", "lint"))


def test_what_make_trains_are_recipes() -> None:
    told = subprocess.run(
        ["make", "-n", "demo", "compare"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    trained = re.findall(r"train\.py (configs/\w+\.yaml) (.+)", told)
    assert {recipe for recipe, _ in trained} >= {
        f"configs/demo{name}.yaml" for name in ("", "_modern", "_cut", "_fastcut")
    }
    for recipe, words in trained:
        load_config(ROOT / recipe, words.split(), METHODS, SOURCES)
    evaluated = re.findall(r"evaluate\.py (.+?) *--report", told.replace("\\\n", ""))[-1].split()
    assert {word for word in evaluated if not word.endswith(".yaml")} == {
        word.removeprefix("run=") for _, words in trained for word in words.split() if "runs/compare" in word
    }


def test_the_three_lines_for_your_own_folders_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for domain in ("PHOTOGRAPHS", "PAINTINGS"):
        (tmp_path / domain).mkdir()
        for i in range(24):
            picture(40, 36, seed=i).save(tmp_path / domain / f"{i}.jpg")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    smaller = [word for word in TINY if not word.startswith(("data.content", "data.style"))]
    lines = [shlex.split(line) for line in BLOCKS["sh"][1].splitlines()]
    assert len(lines) == 3
    for python, script, *words in lines:
        assert python == ".venv/bin/python"
        if script == "train.py":
            words += [*smaller, "schedule.unit=steps"]
            words += ["data.content.held_out_share=0.4", "data.style.held_out_share=0.4"]
        # FID's networks would have to be downloaded.
        offline = ["--without-pretrained"] if script == "evaluate.py" else []
        assert call(script.removesuffix(".py"), *words, *offline) == 0
    assert (tmp_path / "runs/mine/report/report.md").exists()
    assert len(list((tmp_path / "TRANSLATIONS").glob("*.jpg"))) == 24


def test_the_python_snippet_runs(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(30, 20).save(tmp_path / "photograph.jpg")
    monkeypatch.chdir(tmp_path)
    (snippet,) = BLOCKS["python"]
    exec(snippet.replace("runs/demo", str(tiny_run)), {})
    assert (tmp_path / "painting.png").exists()


def test_every_file_that_the_documents_name_exists() -> None:
    names = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"`(configs/\w+\.yaml)`", README)
    assert [name for name in names if not (ROOT / name).exists() and not name.startswith("http")] == []


def test_the_rooms_of_contributing_are_the_rooms_there_are() -> None:
    tree = re.search(r"## The rooms\n\n```\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL).group(1)
    named = set(re.findall(r"\w+\.py", tree))
    present = {path.name for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    drawing = {path.name for path in (ROOT / "data/drawing").glob("*.py")}
    assert present - drawing - named == set()
    assert named - present - {f"{script}.py" for script in SCRIPTS} == set()


def test_every_dependency_has_its_reason_in_the_readme() -> None:
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    table = README[README.index("## Dependencies") :]
    assert [name for name in pinned if name not in table] == []
