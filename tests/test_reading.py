"""Pictures are read whole and right, or refused by name with the reason: promises D1 to D20."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.files import FolderFiles, read_picture
from data.images import (
    PictureError,
    decode,
    denormalise,
    find_pictures,
    normalise,
    open_picture,
    planes,
    resize,
    resize_and_crop,
    save_picture,
    to_picture,
    to_tensor,
    upright_size,
)
from engine.progress import say
from tests.broken_files import BAD, ODD, encoded, picture

COLOURS = {  # of the last pixel
    "D8 CMYK": (255, 55, 55),
    "D8 YCCK": (55, 55, 55),
    "D9 16 bits": (255, 255, 255),
    "D9 float": (255, 255, 255),
    "D10 alpha": (233, 155, 155),
    "D10 palette": (255, 255, 255),
    "D10 grey and alpha": (159, 159, 159),
    "D12 animated GIF": (0, 0, 254),
    "D12 animated WebP": (0, 0, 254),
    "D12 animated PNG": (0, 0, 254),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_with_its_name_and_the_reason(kind: str, tmp_path: Path) -> None:
    make, word = BAD[kind]
    make(tmp_path / "holiday.jpg")
    with pytest.raises(PictureError, match=f"holiday.jpg: .*{word}") as caught:
        read_picture(FolderFiles(tmp_path), "holiday.jpg")
    assert caught.value.reason
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_picture_is_read_right(kind: str, tmp_path: Path) -> None:
    ODD[kind](tmp_path / "odd.jpg")
    found = read_picture(FolderFiles(tmp_path), "odd.jpg")
    assert (found.mode, found.size) == ("RGB", (24, 16))
    if kind in COLOURS:
        assert np.abs(np.subtract(found.getpixel((23, 15)), COLOURS[kind])).max() <= 2


def test_flipped_bytes_that_still_decode_are_accepted(tmp_path: Path) -> None:
    content = bytearray(encoded(picture(64, 64), "JPEG"))
    content[-300] ^= 0x10
    (tmp_path / "a.jpg").write_bytes(content)
    assert open_picture(tmp_path / "a.jpg").size == (64, 64)


def test_a_missing_file_and_one_above_our_own_limit_are_refused(tmp_path: Path, monkeypatch) -> None:
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
    with (tmp_path / "p.jpg").open("rb") as file:
        assert upright_size(file, found) == (32, 16)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_other_formats_are_turned_upright_too(kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (16, 32)).save(tmp_path / "p", kind, exif=exif)
    with (tmp_path / "p").open("rb") as file:
        found = decode(file, "p")
        file.seek(0)
        assert found.size == upright_size(file, found) == (32, 16)


def test_a_float_picture_with_an_infinite_value_keeps_the_others(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    values[0, 0] = np.inf
    Image.fromarray(values).save(tmp_path / "f.tif")
    found = np.asarray(open_picture(tmp_path / "f.tif"))[..., 0]
    assert found[3, 3] == 255
    assert abs(int(found[2, 0]) - 136) <= 1


def test_transparency_is_composited_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.png")
    Image.new("LA", (4, 4), (0, 127)).save(tmp_path / "b.png")
    assert open_picture(tmp_path / "a.png").getpixel((0, 0)) == (255, 255, 255)
    assert open_picture(tmp_path / "b.png").getpixel((0, 0)) == (128, 128, 128)


def test_deep_pictures_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 16, dtype=np.uint16)[None].repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray((ramp / 65535).astype(np.float32)).save(tmp_path / "float.tif")
    for name in ("deep.png", "float.tif"):
        found = np.asarray(open_picture(tmp_path / name))[0, :, 0]
        assert np.abs(found - np.linspace(0, 255, 16)).max() <= 1


def test_names_of_any_bytes_and_wrong_extensions_work_and_can_be_said(tmp_path: Path, capsys) -> None:
    (tmp_path / "claims.jpg").write_bytes(encoded(picture(), "PNG"))
    odd = os.fsdecode(b"caf\xe9.png")
    (tmp_path / odd).write_bytes(encoded(picture(), "JPEG"))
    (tmp_path / os.fsdecode(b"\xff.jpg")).touch()
    names = find_pictures(tmp_path)
    assert len(names) == 3
    assert {open_picture(tmp_path / name).size for name in names[:2]} == {(24, 16)}
    with pytest.raises(PictureError) as caught:
        open_picture(tmp_path / names[2])
    say(str(caught.value))
    assert "the file is empty" in capsys.readouterr().err


def test_folders_are_searched_deeply_in_order_and_loops_end(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "a/1.jpg", "a/b/3.webp", "a/notes.txt", "a/.hidden.png", "a/1.png", "a/1.JPG"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a/b/loop").symlink_to(tmp_path)
    assert find_pictures(tmp_path) == ["a/1.JPG", "a/1.jpg", "a/1.png", "a/b/3.webp", "b/2.PNG"]


# -- size ------------------------------------------------------------------------------------------------------


def test_a_draft_is_smaller_but_never_too_small() -> None:
    smooth = picture(16, 12).resize((1600, 1200), Image.Resampling.BICUBIC)
    content = encoded(smooth, "JPEG", quality=95)
    assert decode(io.BytesIO(content), "a.jpg", draft=286).size == (800, 600)
    assert decode(io.BytesIO(content), "a.jpg", draft=60).size == (200, 150)
    assert decode(io.BytesIO(content), "a.jpg", draft=601).size == (1600, 1200)
    assert decode(io.BytesIO(content), "a.jpg").size == (1600, 1200)
    whole, draft = (resize(decode(io.BytesIO(content), "a.jpg", d), 286, 286)[..., :3].astype(int) for d in (0, 286))
    assert np.abs(whole - draft).mean() < 1


@pytest.mark.parametrize("size", [(20, 20), (40, 13), (7, 90), (90, 60)])
def test_resize_is_pillows_to_one_grey_level(size: tuple[int, int]) -> None:
    source = picture(90, 60)
    expected = np.asarray(source.resize(size, Image.Resampling.BICUBIC)).astype(int)
    found = resize(source, *size)
    assert found.shape == (size[1], size[0], 4)
    assert np.abs(found[..., :3] - expected).max() <= 1
    assert torch.equal(planes(torch.from_numpy(found.copy())[None])[0], to_tensor(found[..., :3]))


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
