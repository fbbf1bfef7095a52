"""Pictures are read whole or refused by name; draws are functions of their seeds alone."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import open_source
from data.folder import open_folder, place, split
from data.images import (
    PictureError,
    denormalise,
    find_pictures,
    normalise,
    open_picture,
    resize_and_crop,
    save_picture,
    to_picture,
    to_tensor,
)
from data.loader import batches, open_training_data, steps_per_epoch
from data.options import FolderOptions, SyntheticOptions
from data.source import DataError
from data.transforms import build_augmentation
from data.unpaired import Unpaired
from engine.config import DataConfig

CPU = torch.device("cpu")


def picture(width: int = 24, height: int = 16, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def jpeg(image: Image.Image, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **settings)
    return buffer.getvalue()


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


# -- reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"this is a shopping list", "not a picture"),
        (jpeg(picture(64, 64))[:900], "truncated"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_the_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=f"holiday.jpg.*{reason}"):
        open_picture(path)


def test_a_missing_file_and_a_decompression_bomb_are_refused(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(PictureError, match="none.png: no such file"):
        open_picture(tmp_path / "none.png")
    picture(30, 30).save(tmp_path / "big.png")
    monkeypatch.setattr("data.images.MAX_PIXELS", 899)
    with pytest.raises(PictureError, match="30 x 30 px is above 899"):
        open_picture(tmp_path / "big.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    upright = Image.new("RGB", (32, 16), "blue")
    upright.paste((255, 0, 0), (0, 0, 8, 8))  # a red corner, top left
    turn = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270}  # fmt: skip
    stored = upright.transpose(turn[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "p.jpg", exif=exif, quality=95)
    found = open_picture(tmp_path / "p.jpg")
    assert found.size == (32, 16)
    assert found.getpixel((3, 3))[0] > 200
    assert found.getpixel((28, 12))[2] > 200


def test_transparency_is_composited_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.png")
    Image.new("LA", (4, 4), (0, 127)).save(tmp_path / "b.png")
    palette = Image.new("P", (4, 4), 0)
    palette.save(tmp_path / "c.png", transparency=0)
    assert open_picture(tmp_path / "a.png").getpixel((0, 0)) == (255, 255, 255)
    assert open_picture(tmp_path / "b.png").getpixel((0, 0)) == (128, 128, 128)
    assert open_picture(tmp_path / "c.png").getpixel((0, 0)) == (255, 255, 255)


def test_deep_pictures_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 16, dtype=np.uint16)[None].repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray((ramp / 65535).astype(np.float32)).save(tmp_path / "float.tif")
    for name in ("deep.png", "float.tif"):
        found = np.asarray(open_picture(tmp_path / name))[0, :, 0]
        assert np.abs(found - np.linspace(0, 255, 16)).max() <= 1


def test_cmyk_palette_and_animation_become_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.jpg")
    red, green, blue = open_picture(tmp_path / "c.jpg").getpixel((4, 4))
    assert red > 200
    assert max(green, blue) < 60
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("blue", "red")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert open_picture(tmp_path / "a.gif").getpixel((0, 0)) == (0, 0, 255)


def test_a_wrong_extension_is_read_by_content_and_odd_names_work(tmp_path: Path) -> None:
    picture().save(tmp_path / "really.png")
    (tmp_path / "really.png").rename(tmp_path / "claims.jpg")
    odd = os.fsencode(tmp_path) + b"/caf\xe9.png"
    picture().save(io.BytesIO(), "PNG")
    with open(odd, "wb") as file:
        picture().save(file, "PNG")
    names = find_pictures(tmp_path)
    assert len(names) == 2
    assert all(open_picture(tmp_path / name).size == (24, 16) for name in names)


def test_folders_are_searched_deeply_in_order_and_loops_end(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "a/1.jpg", "a/b/3.webp", "a/notes.txt", "a/.hidden.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a/b/loop").symlink_to(tmp_path)
    assert find_pictures(tmp_path) == ["a/1.jpg", "a/b/3.webp", "b/2.PNG"]


# -- tensors ---------------------------------------------------------------------------------------------------


def test_every_grey_level_survives_the_way_to_a_tensor_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, 16, 16)
    there = normalise(levels)
    assert (there.min(), there.max()) == (-1, 1)
    assert torch.equal(denormalise(there), levels)
    assert torch.equal(to_tensor(to_picture(there)), levels)
    assert denormalise(torch.tensor([0.6 / 127.5 - 1, -5.0, 5.0])).tolist() == [1, 0, 255]  # rounded, clamped


def test_held_out_pictures_keep_their_aspect() -> None:
    wide = Image.new("RGB", (200, 100), "white")
    wide.paste("black", (0, 0, 50, 100))
    assert np.asarray(resize_and_crop(wide, 50))[:, 1:].min() == 255  # the left quarter is cropped, not squeezed in


def test_a_picture_is_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    class Broken(Image.Image):
        def save(self, path, **settings):
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        save_picture(Broken(), tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


# -- folders as sources ----------------------------------------------------------------------------------------


def test_train_and_held_out_parts_are_apart_and_stable(tmp_path: Path) -> None:
    for i in range(60):
        picture(seed=i).save(tmp_path / f"{i}.png")
    options = FolderOptions(root=str(tmp_path), held_out_share=0.25)
    train, held_out = (set(open_folder(options, "content", part).names) for part in ("train", "held_out"))
    assert not train & held_out
    assert len(train | held_out) == 60
    assert 5 < len(held_out) < 25
    for i in range(60, 80):
        picture(seed=i).save(tmp_path / f"{i}.png")
    assert held_out < set(open_folder(options, "content", "held_out").names)
    assert 0.08 < np.mean([place(f"{i}.jpg") < 0.1 for i in range(5000)]) < 0.12
    assert split(["a", "b", "c"], 1e-9) == (["a", "b"], ["c"])  # one at least is held out, however few there are


@pytest.mark.parametrize("part", ["train", "held_out"])
def test_a_given_held_out_folder_is_used(part: str, tmp_path: Path) -> None:
    for name in ("train/a.png", "test/b.png"):
        (tmp_path / name).parent.mkdir()
        picture().save(tmp_path / name)
    options = FolderOptions(root=str(tmp_path / "train"), held_out=str(tmp_path / "test"))
    assert list(open_folder(options, "style", part).names) == {"train": ["a.png"], "held_out": ["b.png"]}[part]


def test_a_wrong_folder_is_named_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "file.jpg").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("a")
    (tmp_path / "one").mkdir()
    picture().save(tmp_path / "one/only.png")
    for root, reason in (
        ("", "is missing"),
        (str(tmp_path / "one"), "no picture is left to train on"),
        (str(tmp_path / "none"), "no such folder"),
        (str(tmp_path / "file.jpg"), "is a file"),
        (str(tmp_path / "empty"), "no pictures among its 0 files"),
        (str(tmp_path / "texts"), "no pictures among its 1 files .*jpg"),
    ):
        with pytest.raises(DataError, match=rf"data\.style\.root.*{reason}"):
            open_source(FolderOptions(root=root), "style", "train")


# -- draws -----------------------------------------------------------------------------------------------------


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
    assert steps_per_epoch(dataset, 2) == 3
    whole = list(batches(dataset, 2, 0, 7, 0, CPU))
    rest = list(batches(dataset, 2, 3, 7, workers, CPU))
    assert len(rest) == 4
    for a, b in zip(whole[3:], rest, strict=True):
        assert torch.equal(a.content, b.content)
        assert torch.equal(a.style, b.style)
        assert a.content_names == b.content_names
    assert whole[0].content.shape == (2, 3, 16, 16)
    assert -1 <= whole[0].content.min() < whole[0].content.max() <= 1


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
        next(batches(dataset, 2, 0, 4, workers, CPU))
    assert "\n" not in str(caught.value)
