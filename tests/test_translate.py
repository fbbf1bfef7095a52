"""Translating folders: nothing lost, nothing overwritten, every picture at its own size.

| row | what happens | test |
|---|---|---|
| R1 | the output exists; input and output are one | here: test_what_exists_is_skipped..., test_a_users_mistake... |
| R2 | interrupted, killed | here: test_killed_with_9_...; test_translate_many: test_killed_again_and_again_... |
| R3 | read-only, full disk | here: test_a_read_only_output_...; test_translate_many: test_a_full_disk_... |
| R4 | nested folders, collisions | here: test_the_tree_is_mirrored_...; test_translate_plan |
| R5, R6 | odd and tiny sizes | here: test_the_tree_is_mirrored_and_sizes_and_names_are_kept |
| R7 | very large pictures | test_large |
| R8 | transparency | test_translate_look: test_transparency_is_laid_over_the_translation_again |
| R9 | EXIF, ICC | here: test_exif_...; test_translate_look: test_colours_come_to_srgb_... |
| R10 | a bad file | here: test_bad_files_are_listed_and_the_rest_is_done |
| R11 | 16 bits, animations | test_translate_look: test_a_palettes_...; test_reading |
| R12 | wrong checkpoint, wrong direction | here: test_a_users_mistake_is_code_2_and_one_line |
| R13 | two processes on one folder | test_translate_many: test_independent_processes_share_a_folder |
| R14 | Ctrl-C | test_translate_many: test_ctrl_c_ends_with_a_summary_and_130_... |
| D1 to D22 | files of every kind, translated | test_translate_odd |
"""

import csv
import hashlib
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import load_translator
from tests.broken_files import encoded, picture
from tests.conftest import ROOT, call
from tests.processes import start

SIZES = {
    "plain.png": (32, 32),
    "odd.png": (37, 51),
    "deep/er/wide.png": (90, 7),
    "deep/er/still.webp": (33, 32),
    "tiny.png": (1, 1),
    "narrow.png": (1, 40),
    "same.jpg": (25, 18),
    "same.png": (25, 18),
    "Same.png": (18, 25),
}


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for seed, (name, size) in enumerate(SIZES.items()):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(*size, seed=seed).save(path)
    return tmp_path / "in"


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_tree_is_mirrored_and_sizes_and_names_are_kept(tiny_run: Path, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert call("translate", tiny_run, photographs, out) == 0
    assert set(contents(out)) == set(SIZES)
    for name, size in SIZES.items():
        with Image.open(out / name) as image:
            assert image.size == size
            assert image.format == {".jpg": "JPEG", ".webp": "WEBP"}.get(Path(name).suffix, "PNG")
    assert contents(out) != contents(photographs)


def test_what_exists_is_skipped_and_what_is_missing_is_made_again_to_the_byte(
    tiny_run: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert call("translate", tiny_run, photographs, out) == 0
    first = contents(out)
    (out / "odd.png").unlink()
    (out / "plain.png").write_bytes(b"retouched by hand")
    assert call("translate", tiny_run, photographs, out) == 0
    assert "1 translated, 8 there already (--overwrite replaces them), 0 failed" in capsys.readouterr().out
    assert (out / "plain.png").read_bytes() == b"retouched by hand"
    assert call("translate", tiny_run, photographs, out, "--overwrite") == 0
    assert contents(out) == first


def test_bad_files_are_listed_and_the_rest_is_done(tiny_run: Path, photographs: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    bad = {"cut.jpg": encoded(picture(64, 64), "JPEG")[:700], "deep/empty.png": b"", "text.jpg": b"dear diary"}
    for name, content in bad.items():
        (photographs / name).write_bytes(content)
    assert call("translate", tiny_run, photographs, out, "--batch-size", "4") == 3
    assert set(contents(out)) == {*SIZES, "failures.csv"}
    with open(out / "failures.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["picture"] for row in rows} == set(bad)
    assert all(row["reason"] for row in rows)
    assert "9 translated, 0 there already, 3 failed" in capsys.readouterr().out
    for name in bad:
        (photographs / name).unlink()
    assert call("translate", tiny_run, photographs, out) == 0
    assert not (out / "failures.csv").exists()


def test_a_batch_gives_what_single_pictures_give(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(5):
        picture(20, 24, seed=i).save(tmp_path / f"in/{i}.png")
    for size in (1, 2, 5):
        assert call("translate", tiny_run, tmp_path / "in", tmp_path / f"out{size}", "--batch-size", size) == 0
    one = [np.asarray(Image.open(tmp_path / f"out1/{i}.png")).astype(int) for i in range(5)]
    for size in (2, 5):
        many = [np.asarray(Image.open(tmp_path / f"out{size}/{i}.png")).astype(int) for i in range(5)]
        assert max(np.abs(a - b).max() for a, b in zip(one, many, strict=True)) <= 1  # one grey level: rounding


def test_exif_orientation_is_applied_and_gone(tiny_run: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(40, 24).save(tmp_path / "turned.jpg", exif=exif)
    assert call("translate", tiny_run, tmp_path / "turned.jpg", tmp_path / "out") == 0
    with Image.open(tmp_path / "out/turned.jpg") as image:
        assert image.size == (24, 40)
        assert image.getexif().get(0x0112, 1) == 1


def test_one_file_goes_into_a_folder_or_under_a_name(tiny_run: Path, tmp_path: Path) -> None:
    picture(20, 20).save(tmp_path / "a.png")
    assert call("translate", tiny_run, tmp_path / "a.png", tmp_path / "folder") == 0
    assert call("translate", tiny_run, tmp_path / "a.png", tmp_path / "b.webp") == 0
    assert Image.open(tmp_path / "folder/a.png").size == Image.open(tmp_path / "b.webp").size == (20, 20)


def test_both_directions_and_their_networks(tiny_run: Path, tmp_path: Path) -> None:
    source = picture(32, 32)
    there = load_translator(tiny_run)
    back = load_translator(tiny_run, "painting2photo")
    assert there.direction == "photo2painting"
    assert np.any(np.asarray(there(source)) != np.asarray(back(source)))
    source.save(tmp_path / "a.png")
    assert call("translate", tiny_run, tmp_path / "a.png", tmp_path / "out", "--direction", "painting2photo") == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/a.png")), np.asarray(back(source)))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "I;16", "F"])
def test_the_library_takes_pictures_of_any_mode(mode: str, tiny_run: Path) -> None:
    source = Image.new(mode, (19, 23))
    result = load_translator(tiny_run)(source)
    assert (result.mode, result.size) == ("RGB", (19, 23))


def test_a_translator_is_the_generator_of_the_checkpoint(tiny_run: Path) -> None:
    translator = load_translator(str(tiny_run))
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.equal(translator.translate(x), translator.method.G(x))
    assert (translator.step, translator.config.method.name) == (8, "cyclegan")
    one = load_translator(str(tiny_run / "checkpoints/step_00000006.pt"))
    assert one.step == 6
    assert not torch.equal(one.translate(x), translator.translate(x))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("{run}", "{in}", "{in}"), "is both input and output"),
        (("{run}", "{tmp}/none", "{tmp}/out"), "no such file or folder"),
        (("{run}", "{tmp}", "{in}/plain.png"), "is a file; an output folder is wanted"),
        (("{run}", "{in}/plain.png", "{tmp}/a.xyz"), "cannot write .xyz"),
        (("{run}", "{in}/plain.png", "{in}", "--overwrite"), "is both input and output"),
        (("{tmp}/none", "{in}", "{tmp}/out"), "no such run folder"),
        (("{in}", "{in}", "{tmp}/out"), "is no run folder"),
        (("{in}/plain.png", "{in}", "{tmp}/out"), "checksum"),
        (("{run}", "{in}", "{tmp}/out", "--direction", "up"), "direction = up: not one of: photo2painting"),
        (("{run}", "{in}", "{tmp}/out", "--device", "abacus"), "device = abacus"),
        (("{run}", "{in}", "{tmp}/out", "--batch-size", "0"), "--batch-size"),
    ],
)
def test_a_users_mistake_is_code_2_and_one_line(
    words: tuple[str, ...], message: str, tiny_run: Path, photographs: Path, tmp_path: Path, capsys
) -> None:
    places = {"run": tiny_run, "in": photographs, "tmp": tmp_path}
    assert call("translate", *(word.format(**places) for word in words)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len([line for line in said.splitlines() if "picture/s" not in line]) == 1


def test_two_pictures_never_become_one_and_an_output_around_the_input_works(tiny_run: Path, tmp_path: Path) -> None:
    raw = tmp_path / "photos/raw"
    raw.mkdir(parents=True)
    picture(20, 20).save(raw / "a.gif")
    assert call("translate", tiny_run, raw, tmp_path / "photos") == 0
    assert (tmp_path / "photos/a.gif.png").exists()
    picture(20, 20).save(raw / "a.gif.png")
    assert call("translate", tiny_run, raw, tmp_path / "photos") == 2


def test_a_list_of_failures_that_is_not_ours_is_kept(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.png").write_bytes(b"")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/failures.csv").write_text("student,grade")
    assert call("translate", tiny_run, tmp_path / "in", tmp_path / "out") == 3
    assert (tmp_path / "out/failures.csv").read_text() == "student,grade"
    assert "bad.png" in (tmp_path / "out/failures-1.csv").read_text()


def test_an_output_inside_the_input_is_not_translated_again(tiny_run: Path, photographs: Path) -> None:
    for _ in range(2):
        assert call("translate", tiny_run, photographs, photographs / "painted") == 0
    assert set(contents(photographs / "painted")) == set(SIZES)


def test_killed_with_9_no_half_file_has_a_final_name_and_the_rest_follows(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(60):
        picture(100, 76, seed=i).save(tmp_path / f"in/{i:02}.png")
    out = tmp_path / "out"
    process = start(ROOT / "translate.py", tiny_run, tmp_path / "in", out)
    while len(list(out.glob("[0-9]*.png"))) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    made = list(out.glob("[0-9]*.png"))
    assert 3 <= len(made) < 60
    for path in made:
        Image.open(path).load()
    before = contents(out)
    assert call("translate", tiny_run, tmp_path / "in", out) == 0
    after = contents(out)
    assert {name: after[name] for name in before if not name.startswith(".")} == {
        name: digest for name, digest in before.items() if not name.startswith(".")
    }
    assert call("translate", tiny_run, tmp_path / "in", tmp_path / "unharmed") == 0
    assert contents(tmp_path / "unharmed") == {name: d for name, d in after.items() if not name.startswith(".")}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_is_found_before_the_model_is_loaded(photographs: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    assert call("translate", tmp_path / "none", photographs, tmp_path / "out") == 2
    assert "cannot be written to" in capsys.readouterr().err
