"""Promises of the drawn domains: a pure function, unpaired, look-alikes that only context tells apart."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.drawing.painting import painting
from data.drawing.photograph import photograph
from data.drawing.rasterise import rasterise
from data.drawing.scene import LOOK_ALIKES, MATERIALS, compose
from data.options import SyntheticOptions
from data.synthetic import SyntheticSource, open_synthetic

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = SyntheticOptions(seed=3, scenes=40, held_out=12, size=32)


def digest(domain: str, index: int) -> str:
    source = SyntheticSource(domain, seed=3, size=32, first=0, count=20)
    return hashlib.sha256(source[index].tobytes()).hexdigest()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def test_same_bytes_in_another_process_and_another_order() -> None:
    wanted = [("photograph", 4), ("painting", 4), ("photograph", 1), ("painting", 0)]
    here = {item: digest(*item) for item in wanted}
    code = (
        "from tests.test_synthetic import digest\n"
        f"for item in {wanted[::-1]!r}: print(digest(*item))"
    )  # fmt: skip
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [here[item] for item in wanted[::-1]]


def test_global_random_state_is_neither_read_nor_moved() -> None:
    np.random.seed(0)
    before = photograph(compose(1, 5), 16)
    assert np.random.random() == pytest.approx(0.5488135)
    assert np.array_equal(before, photograph(compose(1, 5), 16))


def test_no_scene_is_shared_between_domains_or_parts() -> None:
    parts = [open_synthetic(OPTIONS, d, p) for d in ("content", "style") for p in ("train", "held_out")]
    assert [len(source) for source in parts] == [40, 12, 40, 12]
    scenes = [source.scene(i) for source in parts for i in range(len(source))]
    assert len(set(scenes)) == len(scenes)
    assert {source.domain for source in parts[:2]} == {"photograph"}
    assert {source.domain for source in parts[2:]} == {"painting"}


@pytest.mark.parametrize("size", [16, 50, 64])
@pytest.mark.parametrize("domain", ["photograph", "painting"])
def test_pictures_have_the_size_asked_for(domain: str, size: int) -> None:
    source = SyntheticSource(domain, seed=0, size=size, first=7, count=2)
    assert (source[0].mode, source[0].size) == ("RGB", (size, size))
    drawn = photograph(compose(0, 7), size) if domain == "photograph" else painting(compose(0, 7), size)
    assert (drawn.dtype, drawn.shape) == (np.uint8, (size, size, 3))
    assert np.array_equal(np.asarray(source[0]), drawn)
    assert source.materials(0).shape == (size, size)
    assert source.materials(0).max() < len(MATERIALS)


def test_a_caller_may_change_its_picture() -> None:
    source = SyntheticSource("photograph", seed=0, size=16, first=0, count=1)
    before = source[0].tobytes()
    source[0].paste((0, 0, 0), (0, 0, 16, 16))
    assert source[0].tobytes() == before


def test_counterpart_is_the_same_scene_in_the_other_domain() -> None:
    content = open_synthetic(OPTIONS, "content", "held_out")
    truth = content.counterpart()
    assert truth.domain == "painting"
    assert truth.counterpart() == content
    assert [truth.name(i) for i in range(12)] == [content.name(i) for i in range(12)]
    assert np.array_equal(content.materials(5), truth.materials(5))
    assert content.name(1) == "scene_1000002.png"


def test_variants_differ_in_strokes_and_agree_in_the_rest() -> None:
    scenes = [compose(0, i) for i in range(8)]
    first = [painting(s, 64) for s in scenes]
    between_variants = np.mean([psnr(a, painting(s, 64, variant=1)) for a, s in zip(first, scenes, strict=True)])
    from_photograph = np.mean([psnr(a, photograph(s, 64)) for a, s in zip(first, scenes, strict=True)])
    assert 24 < between_variants < 30
    assert 8 < from_photograph < 11.5


def test_look_alikes_share_a_colour_only_as_photographs() -> None:
    pooled = {name: ([], []) for pair in LOOK_ALIKES for name in pair}
    for index in range(24):
        scene = compose(0, index)
        layout, shot, work = rasterise(scene, 64), photograph(scene, 64), painting(scene, 64)
        evenly_lit = (layout.light > 0.45) & (layout.light < 0.65)
        for name, (as_photograph, as_painting) in pooled.items():
            mask = evenly_lit & (layout.material == MATERIALS.index(name))
            as_photograph.append(shot[mask])
            as_painting.append(work[mask])
    mean = {name: [np.concatenate(side).mean(0) for side in sides] for name, sides in pooled.items()}
    for a, b in LOOK_ALIKES:
        assert np.abs(mean[a][0] - mean[b][0]).max() < 20, (a, b)
        assert np.linalg.norm(mean[a][1] - mean[b][1]) > 90, (a, b)


def test_200_scenes_all_differ() -> None:
    pictures = np.stack([photograph(compose(0, i), 32) for i in range(200)]).reshape(200, -1).astype(np.float32)
    square = (pictures**2).sum(1)
    distance = np.maximum(square[:, None] + square[None] - 2 * pictures @ pictures.T, 0) / pictures.shape[1]
    np.fill_diagonal(distance, np.inf)
    assert np.sqrt(distance.min()) > 6  # grey levels; the sensor's own noise is about 3 between two shots


def test_a_scene_keeps_its_composition_at_every_size() -> None:
    small, large = (rasterise(compose(0, 2), n).material for n in (64, 192))
    assert np.mean(small == large[1::3, 1::3]) > 0.97


def test_wrong_names_are_answered_with_the_right_ones() -> None:
    with pytest.raises(ValueError, match="'photograph', 'painting'"):
        SyntheticSource("sculpture", seed=0, size=16, first=0, count=1)
    with pytest.raises(ValueError, match="'content', 'style'"):
        open_synthetic(OPTIONS, "photograph", "train")
    with pytest.raises(ValueError, match="'train', 'held_out'"):
        open_synthetic(OPTIONS, "content", "test")
    with pytest.raises(IndexError):
        open_synthetic(OPTIONS, "content", "train")[40]
