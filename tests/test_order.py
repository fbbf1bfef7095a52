"""The order of an epoch and every draw are computed: the same for any workers, any start, any number of processes."""

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.batch import Share
from data.images import PictureError
from data.loader import Positions, batches, batches_ahead, open_training_data
from data.options import AugmentOptions, FolderOptions, SyntheticOptions
from data.source import DataError
from data.transforms import build_augmentation
from data.unpaired import Unpaired
from engine.schema import AugmentConfig, DataConfig
from tests.broken_files import picture
from tests.conftest import ROOT, TINY, call

CPU = torch.device("cpu")


class Numbers:
    """Picture i is filled with i; some cannot be read."""

    def __init__(self, count: int, bad: tuple[int, ...] = ()):
        self.count, self.bad = count, bad

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Image.Image:
        if index in self.bad:
            raise PictureError(self.name(index), "made to fail")
        return Image.new("RGB", (20, 20), (index, index, index))

    def name(self, index: int) -> str:
        return f"{index}.png"


def row(dataset: Unpaired, positions: range) -> list[tuple[str, str]]:
    return [tuple(p.name for p in dataset[position]) for position in positions]


def drawn(scenes: int, size: int, **data: object) -> Unpaired:
    options = SyntheticOptions(scenes=scenes, size=size)
    return open_training_data(DataConfig(content=options, style=options, size=16, load_size=24, **data), seed=3)


def unpaired(content: Numbers, style: Numbers, seed: int = 1) -> Unpaired:
    return Unpaired(content, style, seed, build_augmentation(16, 20, flip=True))


def test_every_picture_comes_once_a_pass_and_the_smaller_domain_wraps() -> None:
    names = row(unpaired(Numbers(6), Numbers(4)), range(12))
    assert sorted(x for x, _ in names[:6]) == sorted(x for x, _ in names[6:]) == [f"{i}.png" for i in range(6)]
    for k in range(3):
        assert sorted(y for _, y in names[4 * k : 4 * k + 4]) == [f"{i}.png" for i in range(4)]
    assert [x for x, _ in names[:6]] != [x for x, _ in names[6:]]


def test_the_domains_are_shuffled_independently_and_by_the_seed() -> None:
    same = Numbers(50)
    names = row(unpaired(same, same), range(50))
    assert sum(x == y for x, y in names) < 10
    assert names == row(unpaired(same, same), range(50))
    assert names != row(unpaired(same, same, seed=2), range(50))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_the_same_for_any_worker_count_and_start(workers: int) -> None:
    dataset = drawn(scenes=5, size=20)
    whole = list(batches(dataset, Positions(Share(2), 0, 7), 0, CPU))
    rest = list(batches(dataset, Positions(Share(2), 2 * 3, 4), workers, CPU))
    assert len(rest) == 4
    for a, b in zip(whole[3:], rest, strict=True):
        assert torch.equal(a.content, b.content)
        assert torch.equal(a.style, b.style)
        assert a.content_names == b.content_names
    assert whole[0].content.shape == (2, 3, 16, 16)
    assert -1 <= whole[0].content.min() < whole[0].content.max() <= 1


@pytest.fixture
def unforked() -> Iterator[None]:
    """As it is from Python 3.14 on."""
    multiprocessing.set_start_method("forkserver", force=True)
    yield
    multiprocessing.set_start_method(None, force=True)


@pytest.mark.usefixtures("unforked")
def test_workers_need_not_be_forked() -> None:
    dataset = drawn(scenes=5, size=20, augment=augmentations(rotation=5, brightness=0.2, cutout=0.3))
    found = [list(batches(dataset, Positions(Share(2), 0, 2), workers, CPU)) for workers in (0, 1)]
    assert [len(of_run) for of_run in found] == [2, 2]
    for a, b in zip(*found, strict=True):
        assert torch.equal(a.content, b.content)


def test_augmentation_is_a_function_of_its_seed() -> None:
    augment = build_augmentation(16, 20, flip=True)
    source = picture(20, 20)
    draws = {augment(source, np.random.default_rng(seed)).tobytes() for seed in range(40)}
    assert len(draws) > 20
    assert np.array_equal(*(augment(source, np.random.default_rng(7)) for _ in range(2)))


def test_a_picture_is_augmented_anew_in_every_pass() -> None:
    dataset = drawn(scenes=1, size=24)
    passes = [dataset[position][0].pixels.tobytes() for position in range(12)]
    assert len(set(passes)) > 8
    assert passes == [dataset[position][0].pixels.tobytes() for position in range(12)]


def test_augmentation_resizes_like_the_reference_recipe() -> None:
    source = picture(90, 60)
    expected = np.asarray(source.resize((20, 20), Image.Resampling.BICUBIC))
    found = build_augmentation(20, 20, flip=False)(source, np.random.default_rng(0))[..., :3]
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_an_unreadable_picture_is_replaced_the_same_way_every_time_and_reported() -> None:
    dataset = unpaired(Numbers(6, bad=(2, 3)), Numbers(6))
    items = [dataset[position] for position in range(6)]
    assert not {x.name for x, _ in items} & {"2.png", "3.png"}
    reported = [line for x, _ in items for line in x.unreadable]
    assert {line.split(":")[0] for line in reported} >= {"2.png", "3.png"}
    again = unpaired(Numbers(6, bad=(2, 3)), Numbers(6))
    assert row(again, range(6)) == [(x.name, y.name) for x, y in items]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_that_cannot_be_read_at_all_ends_with_one_line(workers: int) -> None:
    dataset = unpaired(Numbers(3, bad=(0, 1, 2)), Numbers(3))
    with pytest.raises(DataError, match="20 pictures in a row could not be read") as caught:
        next(batches(dataset, Positions(Share(2), 0, 4), workers, CPU))
    assert "\n" not in str(caught.value)


def augmentations(**options: float) -> DataConfig:
    return AugmentConfig(AugmentOptions(**options), AugmentOptions())


EVERYTHING = {
    "rotation": 10,
    "scale": 0.2,
    "brightness": 0.2,
    "contrast": 0.2,
    "saturation": 0.2,
    "hue": 0.1,
    "cutout": 0.3,
}


def content_of(dataset: Unpaired, first_step: int, last_step: int, workers: int) -> dict[int, bytes]:
    """The pixels of the content, by position."""
    found = batches(dataset, Positions(Share(2), 2 * first_step, last_step - first_step), workers, CPU)
    pixels = torch.cat([batch.content for batch in found]).numpy()
    return {2 * first_step + i: each.tobytes() for i, each in enumerate(pixels)}


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["recipe", "everything"])
def test_two_workers_three_epochs_and_a_resume_draw_all_differently_and_the_same_again(options: dict) -> None:
    dataset = drawn(scenes=8, size=48, augment=augmentations(**options))
    alone = content_of(dataset, 0, 12, 0)  # three epochs of eight pictures in batches of two
    assert len(set(alone.values())) == 24
    assert content_of(dataset, 0, 12, 2) == alone
    resumed = content_of(dataset, 5, 12, 2)
    assert resumed == {position: pixels for position, pixels in alone.items() if position >= 10}


@pytest.mark.parametrize("option", EVERYTHING)
def test_each_augmentation_changes_its_domain_alone(option: str) -> None:
    plain, changed = drawn(8, 48), drawn(8, 48, augment=augmentations(**{option: EVERYTHING[option]}))
    for position in range(4):
        (x, y), (changed_x, changed_y) = plain[position], changed[position]
        assert changed_x.pixels.shape == x.pixels.shape
        assert not np.array_equal(changed_x.pixels[..., :3], x.pixels[..., :3])
        assert np.array_equal(changed_y.pixels[..., :3], y.pixels[..., :3])


def test_a_picture_that_keeps_its_aspect_is_cropped_and_not_squeezed() -> None:
    wide = Image.new("RGB", (200, 50), "white")
    wide.paste("black", (0, 0, 100, 50))
    augment = build_augmentation(24, 24, flip=False, keep_aspect=True)
    shares = [augment(wide, np.random.default_rng(seed))[..., 0].mean() / 255 for seed in range(20)]
    assert min(shares) < 0.02
    assert max(shares) > 0.98
    squeezed = build_augmentation(24, 24, flip=False)(wide, np.random.default_rng(0))[..., 0].mean() / 255
    assert 0.45 < squeezed < 0.55
    sliver = Image.new("RGB", (1, 5000))
    assert augment(sliver, np.random.default_rng(0)).shape == (24, 24, 4)


@pytest.mark.parametrize(("count", "passes"), [(1, 1), (1, 4), (2, 1), (2, 2), (4, 1)])
def test_processes_and_passes_share_the_same_batches(count: int, passes: int) -> None:
    dataset = unpaired(Numbers(10), Numbers(7))
    whole = [batch.content_names for batch in batches(dataset, Positions(Share(4), 12, 6), 0, CPU)]
    shares = [Share(4 // count // passes, passes, rank, count) for rank in range(count)]
    streams = [batches(dataset, Positions(share, 12, 6), 0, CPU) for share in shares]
    for expected in whole:
        parts = [next(stream) for stream in streams for _ in range(passes)]
        assert sum((part.content_names for part in parts), ()) == expected
    assert [next(stream, None) for stream in streams] == [None] * count  # all do the same number of steps


@pytest.mark.parametrize("purpose", ["pool_y", "pool_x"])
def test_what_is_drawn_for_a_picture_goes_by_its_place(purpose: str) -> None:
    whole = Share(8).places(0, seed=3, step=5).uniform(purpose, 2)
    assert whole.shape == (8, 2)
    assert 0 <= whole.min() < whole.max() < 1
    shares = [(Share(2, passes=2, rank=rank, count=2), number) for rank in range(2) for number in range(2)]
    parts = [share.places(number, seed=3, step=5).uniform(purpose, 2) for share, number in shares]
    assert torch.equal(torch.cat(parts), whole)
    for other in (Share(8).places(0, seed=3, step=6), Share(8).places(0, seed=4, step=5)):
        assert not torch.equal(other.uniform(purpose, 2), whole)
    assert not torch.equal(Share(8).places(0, seed=3, step=5).uniform("other", 2), whole)


def test_positions_are_computed_and_not_stored() -> None:
    far = Positions(Share(4, rank=1, count=2), 8 * 10**9, 10**6)
    assert len(far) == 4 * 10**6
    assert [far[0], far[3], far[4]] == [8 * 10**9 + 4, 8 * 10**9 + 7, 8 * 10**9 + 12]
    with pytest.raises(IndexError):
        far[len(far)]


def test_training_reads_large_jpegs_as_drafts(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        picture(200, 200).save(tmp_path / name)
    folder = FolderOptions(root=str(tmp_path))
    assert (
        open_training_data(DataConfig(content=folder, style=folder, size=16, load_size=24), 0).sources["style"].draft
        == 24
    )


@pytest.mark.parametrize(("size", "workers", "batch", "ahead"), [(256, 8, 1, 8), (512, 2, 4, 2), (64, 2, 1, 16)])
def test_what_is_read_ahead_fits_into_a_containers_shared_memory(
    size: int, workers: int, batch: int, ahead: int
) -> None:
    dataset = Unpaired(Numbers(3), Numbers(3), 0, build_augmentation(16, 20), size=size)
    assert batches_ahead(dataset, batch, workers) == ahead
    assert ahead == 2 or ahead * workers * batch * 8 * size**2 <= 32 * 2**20


def test_files_that_vanish_or_break_in_a_run_are_replaced_counted_and_said(tmp_path: Path, monkeypatch) -> None:
    for domain in ("content", "style"):
        (tmp_path / domain).mkdir()
        for i in range(8):
            picture(24, 24, seed=i).save(tmp_path / domain / f"{i}.png")
    monkeypatch.setattr("data.doubts.find_doubts", lambda *arguments: _break(tmp_path / "content"))
    roots = [f"data.{domain}.root={tmp_path / domain}" for domain in ("content", "style")]
    tiny = [word for word in TINY if not word.startswith(("data.content.", "data.style."))]
    words = [*tiny, *roots, "schedule.unit=steps", "schedule.constant=8", "schedule.decay=0"]
    assert call("train", ROOT / "configs/cyclegan.yaml", f"run={tmp_path / 'run'}", *words) == 0
    log = (tmp_path / "run/log.jsonl").read_text()
    assert "replaced a picture that could not be read (no. 2)" in log
    assert "no such file" in log
    assert "truncated" in log
    assert '"data/replaced": ' in log


def _break(folder: Path) -> list[str]:
    """Between the listing and the reading."""
    (folder / "1.png").unlink()
    for i in (2, 3, 4):
        (folder / f"{i}.png").write_bytes((folder / f"{i}.png").read_bytes()[:200])
    return []


class Broken(Numbers):
    def __getitem__(self, index: int) -> Image.Image:
        raise RuntimeError("a bug")


def test_an_error_in_a_worker_ends_the_worker(tmp_path: Path) -> None:
    """In a process of its own, that would hang for ever at its end."""
    code = (
        "import torch\n"
        "from data.batch import Share\n"
        "from data.loader import Positions, batches\n"
        "from tests.test_order import Broken, unpaired\n"
        "next(batches(unpaired(Broken(3), Broken(3)), Positions(Share(), 0, 4), 1, torch.device('cpu')))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert found.returncode == 1
    assert "a bug" in found.stderr
