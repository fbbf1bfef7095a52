"""Imports point one way: the table of CONTRIBUTING.md, held against the code."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("data", "models", "metrics", "engine", "translation")
SCRIPTS = ("train", "evaluate", "translate", "prepare", "compress", "export", "convert")

# Of ours, what a file may import: the prefixes for its package, and for single files what they may besides.
OURS = {
    "data": ("data",),
    "models": ("models", "data.batch"),
    "metrics": ("metrics",),
    "engine": ("engine", "models.method", "data.batch", "data.images", "data.options"),
    "translation": ("translation", "data", "models", "metrics", "engine"),
}
OURS_BESIDES = {
    "models/translator.py": ("data", "engine"),
    "models/style.py": ("data", "engine"),
    "models/candidate.py": ("data", "engine"),
    "models/judge.py": ("data", "engine"),
    "models/official.py": ("engine.weights",),
    "models/exported.py": ("data", "engine"),
    "models/safetensors_file.py": ("engine.weights",),
    "models/onnx_file.py": ("engine.weights",),
    "metrics/features.py": ("engine.weights", "engine.distributed", "engine.cache"),
    "metrics/cost.py": ("engine.flops",),
    "metrics/references.py": ("data", "engine.schema"),
    "models/trainee.py": ("data", "engine"),
    "models/teacher.py": ("engine.checkpoint",),
    "models/networks/vgg_weights.py": ("engine.checkpoint", "engine.weights"),
}

# Of others, the one file or package that is a library's door.
DOORS = {
    "PIL": ("data/", "engine/", "translation/", "models/translator.py", "models/style.py"),
    "albumentations": ("data/transforms.py",),
    "pyarrow": ("data/wikiart_shards.py",),
    "av": ("data/video.py",),
    "cv2": ("data/transforms.py", "metrics/optical_flow.py"),
    "torchvision": ("data/", "metrics/vgg_style.py", "metrics/perceptual.py"),
    "torchmetrics": ("metrics/",),
    "torch_fidelity": ("metrics/inception.py",),
    "wandb": ("engine/wandb_run.py",),
    "omegaconf": ("engine/config.py",),
    "pydantic": ("engine/config.py",),
    "tqdm": ("engine/progress.py",),
    "tabulate": ("engine/tables.py",),
    "jinja2": ("engine/page.py",),
    "matplotlib": ("engine/plots.py",),
    "safetensors": ("models/safetensors_file.py",),
    "onnxruntime": ("models/onnx_file.py",),
    "onnx": ("translation/onnx_graph.py",),
}


@functools.cache  # a library's test reads all files
def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


FILES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def is_within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_package_imports_only_what_the_table_allows(path: Path) -> None:
    allowed = OURS[path.parts[0]] + OURS_BESIDES.get(str(path), ())
    ours = [name for name in imports(ROOT / path) if name.split(".")[0] in PACKAGES]
    assert [name for name in ours if not is_within(name, allowed)] == []


def test_scripts_are_imported_by_nobody() -> None:
    assert [f for f in FILES if any(name.split(".")[0] in SCRIPTS for name in imports(ROOT / f))] == []


@pytest.mark.parametrize("library", DOORS)
def test_a_library_is_imported_at_its_door_only(library: str) -> None:
    files = [*FILES, *(Path(f"{script}.py") for script in SCRIPTS)]
    users = [str(path) for path in files if any(name.split(".")[0] == library for name in imports(ROOT / path))]
    assert [user for user in users if not user.startswith(DOORS[library])] == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_import_nothing_slow_before_the_command_line_is_read(script: str) -> None:
    tree = ast.parse((ROOT / f"{script}.py").read_text())
    top = {name.split(".")[0] for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
           for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module])}  # fmt: skip
    assert not top & {"torch", "PIL", "numpy", *DOORS}


def test_the_table_of_contributing_is_the_one_that_is_tested() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for package, allowed in OURS.items():
        row = re.search(rf"^\| `{package}/` \|([^|]*)\|", text, re.MULTILINE).group(1)
        assert set(re.findall(r"`([^`]+)`", row)) == set(allowed)
