"""What comes out of a translation: formats, transparency, colours, sizes, blending."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin

from data.images import picture_size
from data.photograph import lay_alpha, open_photograph
from models import load_translator
from models.networks.generator import ResnetGenerator
from models.networks.padding import ReflectConv2d
from models.networks.winograd import WinogradConv2d, with_winograd
from models.translator import Translator
from tests.broken_files import picture
from tests.conftest import call
from translation.fast import ENOUGH, SIZES, OftenCompiled, make_fast
from translation.finish import Finish, SizeRule
from translation.pipeline import alike


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def with_alpha(*size: int) -> Image.Image:
    image = picture(*size).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(size))
    return image


@pytest.mark.parametrize(("form", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_a_format_can_be_chosen_and_quality_is_its(form: str, kind: str, tiny_run: Path, tmp_path: Path) -> None:
    picture(40, 30).save(tmp_path / "a.bmp")
    sizes = []
    for words in ((), ("--quality", "30")):
        assert call("translate", tiny_run, tmp_path / "a.bmp", tmp_path / "out", "--format", form, *words) == 0
        (found,) = (tmp_path / "out").iterdir()
        with Image.open(found) as image:
            assert (image.format, image.size, found.name) == (kind, (40, 30), f"a.{form}")
        sizes.append(found.stat().st_size)
        found.unlink()
    assert sizes[0] == sizes[1] if form == "png" else sizes[0] > 1.5 * sizes[1]
    assert call("translate", tiny_run, tmp_path / "a.bmp", tmp_path / "b.tif", "--format", form) == 2


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_transparency_is_laid_over_the_translation_again(suffix: str, tiny_run: Path, tmp_path: Path) -> None:
    source = with_alpha(30, 20)
    source.save(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    assert call("translate", tiny_run, tmp_path / f"a{suffix}", tmp_path / "out") == 0
    with Image.open(tmp_path / f"out/a{suffix}") as found:
        assert np.array_equal(np.asarray(found.getchannel("A")), np.asarray(source.getchannel("A")))
        colours = np.asarray(found.convert("RGB")).astype(int)
    alone = np.asarray(load_translator(str(tiny_run))(source)).astype(int)
    seen = np.asarray(source.getchannel("A")) > 0  # where nothing is seen, a format may keep no colour
    assert np.abs(colours - alone)[seen].max() == 0
    assert call("translate", tiny_run, tmp_path / f"a{suffix}", tmp_path / "out", "--format", "jpg") == 0
    assert pixels(tmp_path / "out/a.jpg")[0].min() > 200  # over white, where the photograph is transparent


def test_a_palettes_transparency_counts_and_an_opaque_picture_gets_none(tmp_path: Path) -> None:
    image = picture(8, 8).quantize(4)
    image.save(tmp_path / "p.png", transparency=0)
    assert open_photograph(tmp_path / "p.png").alpha.getextrema() == (0, 255)
    picture(8, 8).convert("RGBA").save(tmp_path / "opaque.png")
    assert open_photograph(tmp_path / "opaque.png").alpha is None
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(tmp_path / "grey16.png")
    found = open_photograph(tmp_path / "grey16.png")
    assert found.alpha is None
    assert np.asarray(found.picture)[0, 0].tolist() == [156] * 3
    assert lay_alpha(found.picture, None, tmp_path / "x.png") is found.picture


def test_colours_come_to_srgb_by_the_profile_and_a_broken_one_is_passed_over(tmp_path: Path) -> None:
    source = Image.new("RGB", (8, 8), (200, 30, 60))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source.save(tmp_path / "srgb.png", icc_profile=lab)
    assert open_photograph(tmp_path / "srgb.png").picture.getpixel((0, 0)) == (200, 30, 60)
    source.save(tmp_path / "broken.png", icc_profile=b"no profile")
    assert open_photograph(tmp_path / "broken.png").picture.getpixel((0, 0)) == (200, 30, 60)
    source.save(tmp_path / "wide.png", icc_profile=wide_gamut())
    wide = open_photograph(tmp_path / "wide.png").picture.getpixel((0, 0))
    assert wide[0] > 215  # the same numbers mean more red there
    assert wide != (200, 30, 60)


def wide_gamut() -> bytes:
    """sRGB's profile with red's primary moved outwards, under another name."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for entry in range(int.from_bytes(content[128:132], "big")):
        tag = content[132 + 12 * entry : 144 + 12 * entry]
        offset = int.from_bytes(tag[4:8], "big")
        if tag[:4] == b"rXYZ":
            for axis, value in enumerate((0.60, 0.28, 0.0)):
                content[offset + 8 + 4 * axis : offset + 12 + 4 * axis] = round(value * 65536).to_bytes(4, "big")
        if tag[:4] == b"desc":
            size = int.from_bytes(tag[8:12], "big")
            content[offset : offset + size] = content[offset : offset + size].replace(b"s\0R\0G\0B", b"w\0i\0d\0e")
    return bytes(content)


def test_sizes_are_of_the_header_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(40, 24).save(tmp_path / "turned.jpg", exif=exif)
    assert picture_size(tmp_path / "turned.jpg") == open_photograph(tmp_path / "turned.jpg").picture.size == (24, 40)


@pytest.mark.parametrize(
    ("rule", "size", "found"),
    [
        (SizeRule(), (37, 51), (37, 51)),
        (SizeRule(longest=40), (80, 20), (40, 10)),
        (SizeRule(longest=40), (30, 20), (30, 20)),
        (SizeRule(longest=40), (400, 3), (40, 1)),
        (SizeRule(training=32), (64, 96), (32, 48)),
        (SizeRule(training=32), (8, 16), (32, 64)),
        (SizeRule(longest=48, training=32), (8, 16), (24, 48)),
    ],
)
def test_the_size_that_is_translated_at(rule: SizeRule, size: tuple, found: tuple) -> None:
    assert rule(size) == found


def test_the_options_of_size_reach_the_picture(tiny_run: Path, tmp_path: Path) -> None:
    picture(80, 64).save(tmp_path / "a.png")
    for words, size in ((("--max-side", "40"), (40, 32)), (("--resize-to-training-size",), (40, 32))):
        assert call("translate", tiny_run, tmp_path / "a.png", tmp_path / "out", "--overwrite", *words) == 0
        assert picture_size(tmp_path / "out/a.png") == size
    assert call("translate", tiny_run, tmp_path / "a.png", tmp_path / "out", "--overwrite", "--side-by-side") == 0
    both = pixels(tmp_path / "out/a.png")
    assert both.shape == (64, 160, 3)
    assert np.array_equal(both[:, :80], np.asarray(picture(80, 64)))


def test_blending_and_whose_luminance(tiny_run: Path, tmp_path: Path) -> None:
    source = picture(32, 32)
    source.save(tmp_path / "a.png")

    def translated(*words: str) -> np.ndarray:
        assert call("translate", tiny_run, tmp_path / "a.png", tmp_path / "out", "--overwrite", *words) == 0
        return pixels(tmp_path / "out/a.png")

    photograph, whole = np.asarray(source).astype(int), translated()
    assert np.array_equal(translated("--blend", "0"), photograph)
    assert np.abs(translated("--blend", "0.25") - (0.75 * photograph + 0.25 * whole)).max() <= 1
    luma = np.array([0.299, 0.587, 0.114])
    inside = lambda x: ((x > 0) & (x < 255)).all(-1)  # noqa: E731  # what was not clipped
    for found, of in ((translated("--keep-luminance"), photograph), (translated("--keep-color"), whole)):
        assert np.abs((found - of) @ luma)[inside(found)].max() < 1.5
    assert np.array_equal(translated("--keep-color"), translated("--preserve-color", "luminance"))


def test_parts_are_the_whole_and_memory_decides(tiny_run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    with_alpha(90, 70).save(tmp_path / "a.png")

    def translated(*words: str) -> np.ndarray:
        words = (tiny_run, tmp_path / "a.png", tmp_path / "out", "--overwrite", "--blend", "0.5", *words)
        assert call("translate", *words) == 0
        with Image.open(tmp_path / "out/a.png") as image:
            return np.asarray(image).astype(int)

    whole = translated()
    assert np.abs(translated("--tile", "32", "--statistics", "exact") - whole).max() <= 1
    assert np.abs(translated("--tile", "32", "--statistics", "sampled") - whole).mean() < 5
    monkeypatch.setattr("translation.painter.largest_whole", lambda translator: 90 * 70 - 1)
    assert np.abs(translated() - whole).max() <= 1
    monkeypatch.undo()
    honest = Translator.translate

    def translate(translator: Translator, pictures: torch.Tensor, *others: object) -> torch.Tensor:
        if pictures[0, 0].numel() > 64 * 64:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(translator, pictures, *others)

    monkeypatch.setattr(Translator, "translate", translate)
    assert np.abs(translated() - whole).max() <= 1
    assert call("translate", tiny_run, tmp_path / "a.png", tmp_path / "out", "--tile", "8") == 2
    assert "--tile 8: must be at least 16" in capsys.readouterr().err


def test_finishing_in_strips_is_finishing_at_once() -> None:
    x, y = (np.random.default_rng(i).integers(0, 256, (37, 20, 3), dtype=np.uint8) for i in range(2))
    finish = Finish(blend=0.5, keep_luminance=True)
    assert np.array_equal(finish.in_strips(x, y.copy(), rows=8), finish.in_strips(x, y.copy(), rows=100))
    assert Finish().in_strips(x, y) is y


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--blend", "1.5"), "--blend 1.5: must be 0 to 1"),
        (("--quality", "101"), "--quality 101"),
        (("--max-side", "-1"), "--max-side -1: must be at least 0"),
        (("--keep-luminance", "--keep-color"), "leave the photograph as it is"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple, message: str, tmp_path: Path, capsys) -> None:
    assert call("translate", "none", "none", tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err


def test_the_summary_for_machines(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    picture(20, 20).save(tmp_path / "a.png")
    assert call("translate", tiny_run, tmp_path / "a.png", tmp_path / "out", "--json") == 0
    found = json.load(io.StringIO(capsys.readouterr().out))
    assert (found["translated"], found["failed"], found["left"], found["exit"]) == (1, 0, [], 0)
    assert found["pictures_per_second"] > 0


@pytest.mark.parametrize("size", [(6, 6), (7, 9), (33, 18), (130, 11)])
@pytest.mark.parametrize("padded", ["", "reflected", "zeros"])
def test_winograds_convolution_is_the_convolution(size: tuple[int, int], padded: str) -> None:
    torch.manual_seed(0)
    plain = (
        ReflectConv2d(32, 48, 3)
        if padded == "reflected"
        else torch.nn.Conv2d(32, 48, 3, padding=int(padded == "zeros"))
    )
    x = torch.randn(2, 32, *size)
    with torch.no_grad():
        wanted, found = plain.double()(x.double()), WinogradConv2d(plain.float())(x)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-4


def test_a_fast_generator_differs_by_less_than_can_be_seen() -> None:
    torch.manual_seed(0)
    network = ResnetGenerator(16, 2).eval().requires_grad_(False)
    x = torch.rand(1, 3, 32, 40) * 2 - 1
    wanted = network(x)
    fast = with_winograd(network)
    assert sum(isinstance(module, WinogradConv2d) for module in fast.modules()) == 4  # the blocks', of 64 channels
    assert (fast(x) - wanted).abs().max() * 127.5 < 0.05


def test_the_networks_of_a_translator_are_made_fast_and_translate_the_same(tiny_run: Path) -> None:
    plain, fast = (load_translator(str(tiny_run)) for _ in range(2))
    make_fast(fast)
    x = torch.rand(1, 3, 21, 34) * 2 - 1
    assert (plain.translate(x) - fast.translate(x)).abs().max() < 1e-3
    bf16 = load_translator(str(tiny_run))
    make_fast(bf16, "bf16")
    assert 0 < (plain.translate(x) - bf16.translate(x)).abs().mean() < 0.05


def test_only_sizes_that_come_often_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    class Recorded(torch.nn.Module):
        def __init__(self, network: torch.nn.Module, name: str):
            super().__init__()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            compiled.append(x.shape[-1])
            return x

    monkeypatch.setattr("translation.fast.Compiled", Recorded)
    often = OftenCompiled(torch.nn.Identity(), "G")
    for width in range(1, SIZES + 4):
        for _ in range(ENOUGH + 1):
            often(torch.zeros(1, 3, 4, width))
    assert compiled == [width for width in range(1, SIZES + 1) for _ in range(2)]


def test_pictures_of_a_size_come_together_and_none_waits_for_ever() -> None:
    items = [1, 2, 1, 1, 3, 2, 1]
    assert list(alike(items, lambda x: x, 2, 10)) == [[1, 1], [2, 2], [1, 1], [3]]
    assert list(alike(items, lambda x: x, 1, 10)) == [[x] for x in items]
    held = list(alike(range(20), lambda x: x % 7, 9, 5))
    assert sorted(x for batch in held for x in batch) == list(range(20))
    assert max(map(len, held)) <= 3


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_and_profiles_of_a_strange_type_are_passed_over(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "a maker of cameras", 72.0
    whole = exif.tobytes()
    for i in range(len(whole)):
        picture(24, 16).save(tmp_path / "a.jpg", exif=whole[:i] + b"\xff" + whole[i + 1 :])
        assert sorted(open_photograph(tmp_path / "a.jpg").picture.size) == [16, 24]
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[34675], tags.tagtype[34675] = "text", 2
    picture(9, 7).save(tmp_path / "a.tif", tiffinfo=tags)
    assert open_photograph(tmp_path / "a.tif").picture.size == (9, 7)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photograph_is_turned_as_pillow_would(turn: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    picture(9, 7).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = ImageOps.exif_transpose(image)
    assert np.array_equal(open_photograph(tmp_path / "a.png").picture, expected)
    assert picture_size(tmp_path / "a.png") == expected.size


def test_beside_its_translation_a_photograph_stays_transparent(tiny_run: Path, tmp_path: Path) -> None:
    source = with_alpha(9, 7)
    source.save(tmp_path / "a.png")
    assert call("translate", tiny_run, tmp_path / "a.png", tmp_path / "b.png", "--side-by-side") == 0
    with Image.open(tmp_path / "b.png") as both:
        alpha = np.asarray(both.getchannel("A"))
    assert np.array_equal(alpha, np.hstack([np.asarray(source.getchannel("A"))] * 2))


def test_sizes_that_a_format_or_the_memory_does_not_hold_are_told(tiny_run: Path, tmp_path: Path, capsys) -> None:
    Image.new("RGB", (16384, 1)).save(tmp_path / "a.png")
    assert call("translate", tiny_run, tmp_path / "a.png", tmp_path / "a.webp") == 3
    assert "webp holds 16383 px a side" in capsys.readouterr().err
    Image.new("RGB", (200_000, 1)).save(tmp_path / "a.png")  # with 32 px as its shorter side
    assert call("translate", tiny_run, tmp_path / "a.png", tmp_path / "b.png", "--resize-to-training-size") == 3
    assert "would be 6400000 x 32 px" in capsys.readouterr().err
