"""A mistake in the configuration is answered at once, in one line, with the mend."""

import subprocess
import sys
from pathlib import Path

import pytest

from data import SOURCES
from engine.config import ConfigError, config_from_dict, differences, load_config, to_dict
from engine.run_folder import RunError, RunFolder
from models import METHODS
from tests.conftest import call

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "configs/demo.yaml"


def load(*words: str, path: Path = DEMO):
    return load_config(path, words, METHODS, SOURCES)


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("train.batchsize=3", ["train.batchsize", "did you mean train.batch_size"]),
        ("sede=1", ["sede", "did you mean seed"]),
        ("method.generator.chanels=8", ["method.generator.chanels", "method.generator.channels"]),
        ("method.name=cyclgan", ["method.name", "did you mean cyclegan"]),
        ("method.adversarial=lsgam", ["method.adversarial", "'hinge'", "did you mean lsgan"]),
        ("data.content.source=coko", ["data.content.source", "folder", "synthetic"]),
        ("data.content.scenes=0", ["data.content.scenes = 0", "greater than or equal to 1"]),
        ("method.learning_rate=-1", ["method.learning_rate = -1", "greater than 0"]),
        ("method.learning_rate=nan", ["method.learning_rate", "finite"]),
        ("method.generator.dropout=1", ["less than 1"]),
        ("data.size=big", ["data.size = big", "valid integer"]),
        ("data.size=12.5", ["data.size = 12.5", "valid integer"]),
        ("data.flip=maybe", ["data.flip = maybe", "valid boolean"]),
        ("data.size=128", ["data.load_size", "at least data.size = 128"]),
        ("train=3", ["train", "batch_size"]),
        ("seed=", ["seed = nothing", "integer"]),
        ("run=", ["run"]),
        ("amp", ["amp", "key=value"]),
        ("--epochs=3", ["--epochs=3", "without dashes: epochs=3"]),
        ("data.size=${nothing}", ["nothing"]),
        ("data.content=[", ["command line"]),
        ("method.generator=[1]", ["Cannot merge"]),
        ("run=???", ["run"]),
        ("seed=true", ["seed = true", "valid integer"]),
        ("seed=99999999999999999999999", ["seed"]),
        ("data.content.source=[a]", ["data.content.source"]),
        ("run=caf\udce9", ["run=caf\\udce9", "use a link of another name"]),
        ("data.load_size=1000000000000", ["data.load_size", "less than or equal to 8192"]),
        ("data.root=pictures", ["data.root = pictures", "data.content.source = synthetic has no root"]),
        ("data.augment.content.rotation=200", ["data.augment.content.rotation = 200", "less than or equal to 180"]),
        ("data.augment.style.hue=0.7", ["data.augment.style.hue = 0.7", "0.5"]),
        ("data.augment.content.jitter=1", ["data.augment.content.jitter", "brightness"]),
        ("schedule.warmup=251", ["schedule.warmup = 251", "at most schedule.constant = 250"]),
        ("schedule.warmup=-1", ["schedule.warmup = -1"]),
        ("data.augment.rotation=10", ["data.augment.rotation", "content, style"]),
    ],
)
def test_a_wrong_setting_gets_one_line_that_names_it(word: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(word)
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    "text", ["007", "art #1", "12:30", "null", "x: y", "*/best", "[1890]", "{a}", "yes", "größe 画"]
)
def test_a_path_is_taken_as_it_is_written(text: str) -> None:
    config = load(f"run={text}", f"data.style.root={text}", path=ROOT / "configs/cyclegan.yaml")
    assert (config.run, config.data.style.root) == (text, text)


def test_one_root_for_both_domains() -> None:
    cyclegan = ROOT / "configs/cyclegan.yaml"
    data = load("data.root=both", path=cyclegan).data
    assert (data.content.root, data.style.root) == ("both", "both")
    data = load("data.root=both", "data.style.root=own", path=cyclegan).data
    assert (data.content.root, data.style.root) == ("both", "own")
    data = load("data.root=both", "data.style.source=coco", path=cyclegan).data
    assert (data.style.source, data.style.root) == ("coco", "both")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("data: 5", "data.root=x"),
        ("data: {content: 3}", "data.root=x"),
        ("data: {content: {source: [a]}}", "data.root=x"),
    ],
)
def test_one_root_over_a_wrong_recipe_is_still_one_line(text: str, word: str, tmp_path: Path) -> None:
    recipe = tmp_path / "a.yaml"
    recipe.write_text(f"run: r\nmethod: {{name: cyclegan}}\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load(word, path=recipe)
    assert "\n" not in str(caught.value)


def test_one_root_in_a_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "a.yaml"
    recipe.write_text("run: r\nmethod: {name: cyclegan}\ndata: {root: both, content: {source: folder}, "
                      "style: {source: folder, root: own}}\n")  # fmt: skip
    data = load(path=recipe).data
    assert (data.content.root, data.style.root) == ("both", "own")
    data = load("data.root=other", path=recipe).data
    assert (data.content.root, data.style.root) == ("other", "other")


def test_a_mistake_in_the_file_names_the_file(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(DEMO.read_text() + "\ntrian: {batch_size: 3}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: trian is no key; did you mean train\?"):
        load(path=recipe)
    recipe.write_text("run: [a\nseed: 1")
    with pytest.raises(ConfigError, match=r"mine\.yaml, line 2: not a YAML file"):
        load(path=recipe)
    recipe.write_text("- a\n- b")
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load(path=recipe)
    with pytest.raises(ConfigError, match="no such recipe"):
        load(path=tmp_path / "none.yaml")


def test_choosing_another_source_forgets_the_options_of_the_first() -> None:
    config = load("data.content.source=folder", "data.content.root=pictures")
    assert (config.data.content.source, config.data.content.root) == ("folder", "pictures")
    assert config.data.style.source == "synthetic"
    with pytest.raises(ConfigError, match=r"data\.content\.scenes is no key"):
        load("data.content.source=folder", "data.content.scenes=3")


def test_overrides_win_and_defaults_fill_in() -> None:
    config = load("train.batch_size=7", "method.generator.channels=9", "data.content.seed=5")
    assert (config.train.batch_size, config.method.generator.channels, config.data.content.seed) == (7, 9, 5)
    assert (config.method.pool_size, config.method.first) == (50, "generators")


def test_a_key_of_a_section_leaves_the_others_as_the_method_has_them() -> None:
    """CUT's networks are not CycleGAN's, Johnson's VGG is not Gatys': naming one of their options changes that one."""
    config = load("method.name=cut", "method.generator.channels=8", "method.discriminator.channels=8")
    generator, discriminator = config.method.generator, config.method.discriminator
    assert (generator.channels, generator.upsample, generator.downsample, generator.initialise) == (
        *(8, "blur", "blur", "xavier"),
    )
    assert (discriminator.channels, discriminator.downsample, discriminator.initialise) == (8, "blur", "xavier")
    assert load("method.name=johnson", "method.features.weights=random").method.features.network == "vgg16"
    assert load("method.name=adain", "method.features.weights=random").method.features.padding == "reflect"


def test_a_run_may_have_begun_under_former_names() -> None:
    config = load("method.name=cut", "method.num_patches=128", "method.nce_identity=false", "run=begun")
    saved = to_dict(config)
    saved["method"]["positions"] = saved["method"].pop("num_patches")
    saved["method"]["identity"] = saved["method"].pop("nce_identity")
    assert config_from_dict(saved, "saved", METHODS, SOURCES) == config
    assert RunFolder(config).check_same_run(saved) == {}
    saved["method"]["positions"] = 64
    with pytest.raises(RunError, match=r"method\.num_patches was 64, is 128"):
        RunFolder(config).check_same_run(saved)


@pytest.mark.parametrize("centred", [False, True])
def test_a_run_may_have_begun_when_the_identity_loss_was_centred_or_not(centred: bool) -> None:
    config = load("method.name=cyclegan", f"method.identity_free_tint={float(centred)}", "run=begun")
    saved = to_dict(config)
    del saved["method"]["identity_free_tint"]
    saved["method"]["centred_identity"] = centred
    assert config_from_dict(saved, "saved", METHODS, SOURCES) == config
    assert RunFolder(config).check_same_run(saved) == {}
    with pytest.raises(ConfigError, match="identity_free_tint = true"):
        load("method.name=cyclegan", "method.identity_free_tint=true")


def test_options_that_do_not_go_together_are_one_line(capsys: pytest.CaptureFixture) -> None:
    words = ("run=x", "method.name=cut", "method.nce_identity=false", "method.identity_weight=1")
    assert call("train", ROOT / "configs/demo.yaml", *words) == 2
    assert capsys.readouterr().err.strip().splitlines() == [
        "method.identity_weight: paintings are translated only with method.nce_identity=true"
    ]


def test_a_configuration_survives_the_way_through_plain_values() -> None:
    config = load("seed=4")
    assert config_from_dict(to_dict(config), "saved", METHODS, SOURCES) == config
    assert differences(to_dict(config), to_dict(load("seed=5"))) == {"seed": (4, 5)}


def test_tables_agree_with_the_tags_of_their_options() -> None:
    assert all(entry.options().name == name for name, entry in METHODS.items())
    assert all(entry.options().source == name for name, entry in SOURCES.items())


@pytest.mark.parametrize("script", ["train", "evaluate", "translate", "prepare"])
def test_help_does_not_wait_for_torch(script: str) -> None:
    code = f"import sys; sys.argv = ['{script}.py', '--help']\nimport {script}\ntry: {script}.main()\n" + (
        "except SystemExit: pass\nslow = {'torch', 'numpy', 'PIL', 'wandb', 'albumentations'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "usage:" in run.stdout


def test_a_configuration_error_does_not_wait_for_torch_and_ends_with_2() -> None:
    code = "import sys, runpy; sys.argv = ['train.py', 'configs/demo.yaml', 'sede=1']\n" + (
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit as end: print('torch' in sys.modules, end.code)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.split() == ["False", "2"], (run.stdout, run.stderr)
    assert run.stderr.count("\n") == 1
    assert "Traceback" not in run.stderr


def test_show_prints_every_setting(capsys: pytest.CaptureFixture) -> None:
    from tests.conftest import call

    assert call("train", DEMO, "--show", "seed=11") == 0
    shown = capsys.readouterr().out
    assert "seed: 11" in shown
    assert "identity_weight:" in shown
