"""What users say about style: several paintings, masks, and colours that are kept."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from data.images import normalise, to_tensor
from engine.exits import DONE, SOME_FAILED, UserError
from models import build_method
from models.adain import _in_region
from models.losses import adain, channel_statistics, moments
from models.method import Style
from models.options import AdaINOptions, FeatureOptions
from models.style import keep_luminance, match_colours, merge, read_styles, share_out
from models.translator import Translator
from tests.broken_files import picture
from tests.conftest import ROOT, call


def tensor(seed: int, size: int = 48) -> torch.Tensor:
    return normalise(to_tensor(picture(size, size, seed=seed))[None])


def halves(size: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    left = torch.zeros(1, 1, size, size)
    left[..., : size // 2] = 1
    return left, 1 - left


@pytest.fixture(scope="module")
def adain_translator() -> Translator:
    """Untrained: its decoder makes noise of features, which is all that masks need."""
    torch.manual_seed(0)
    method = build_method(AdaINOptions(features=FeatureOptions(weights="random", padding="reflect"), layer="relu3_1"))
    method.begin(torch.zeros(1, 3, 16, 16))
    return Translator(method, "photo2painting", None, 0, torch.device("cpu"), [Style((tensor(1),), (1.0,))] * 2)


def test_a_folder_shares_its_weight_and_styles_merge(tmp_path: Path) -> None:
    for i in range(3):
        picture(20, 20, seed=i).save(tmp_path / f"{i}.png")
    styles = read_styles([str(tmp_path / "0.png"), str(tmp_path)], [0.7, 0.3])
    assert [len(style.pictures) for style in styles] == [1, 3]
    assert merge(styles).shares() == pytest.approx((0.7, 0.1, 0.1, 0.1))


def test_statistics_of_a_region_by_hand() -> None:
    features = torch.tensor([[[[1.0, 3.0, 100.0]]]])
    mean, deviation = channel_statistics(features, 0.0, torch.tensor([[[[1.0, 1.0, 0.0]]]]))
    assert (mean.item(), deviation.item()) == (2.0, 1.0)
    whole = channel_statistics(features, 0.0, torch.full((1, 1, 1, 3), 0.2))
    assert torch.allclose(torch.stack(whole), torch.stack(channel_statistics(features, 0.0)))


def test_each_region_takes_the_statistics_of_its_own_style() -> None:
    generator = torch.Generator().manual_seed(0)
    content, a, b = (torch.randn(1, 8, 12, 12, generator=generator) * k + k for k in (1.0, 2.0, 3.0))
    left, right = halves(12)
    for style, region in ((a, left), (b, right)):
        found = channel_statistics(adain(content, style, region=region), region=region)
        for ours, theirs in zip(found, channel_statistics(style), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-3)


def test_shares_of_masks() -> None:
    left, right = halves(8)
    assert [torch.equal(*pair) for pair in zip(share_out([left, right], [1, 1], (8, 8)), (left, right), strict=True)]
    both = share_out([torch.ones(1, 1, 3, 3), torch.ones(1, 1, 5, 5)], [3, 1], (8, 8))
    assert both[0].unique().item() == pytest.approx(0.75)
    assert sum(both).unique().item() == pytest.approx(1)
    (faint,) = share_out([left / 2], [7], (8, 8))
    assert torch.allclose(faint, left / 2)
    nothing = share_out([torch.zeros(1, 1, 4, 4)] * 2, [1, 1], (8, 8))
    assert sum(nothing).abs().max() == 0


def test_pixels_outside_a_mask_do_not_change_when_the_other_style_is_swapped(adain_translator: Translator) -> None:
    content, masks = tensor(0, 50), halves(50)
    found = []
    for other in (2, 3):
        adain_translator.styles = (Style((tensor(1),), (1.0,)), Style((tensor(other),), (1.0,)))
        found.append(adain_translator.translate(content, masks=masks))
    assert found[0].shape == content.shape
    assert torch.equal(found[0][..., :25], found[1][..., :25])
    assert (found[0][..., 25:] - found[1][..., 25:]).abs().mean() > 1e-4
    uncovered = adain_translator.translate(content, masks=[masks[0], torch.zeros_like(masks[0])])
    assert torch.equal(uncovered[..., 25:], content[..., 25:])


def test_a_regions_statistics_are_the_photographs_there(adain_translator: Translator) -> None:
    """What the right half shows does not matter to the left half's statistics, but to those of the whole."""
    content, other = tensor(0), tensor(0)
    other[..., 30:] = 1 - other[..., 30:].abs()
    left = halves()[0]
    method, style = adain_translator.method, Style((tensor(1),), region=left)
    with torch.no_grad():
        ours, theirs = (method.translate(x, style)[..., :4] for x in (content, other))
        whole = [method.translate(x, Style((tensor(1),)))[..., :4] for x in (content, other)]
    assert (ours - theirs).abs().max() < 0.2 * (whole[0] - whole[1]).abs().max()


def test_a_flat_region_does_not_blow_up_what_lies_beside_it() -> None:
    features = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    features[..., :4] = 0.5
    region = halves(8)[0]
    found = _in_region(features, torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)), region)
    assert found.abs().max() < 10


def test_a_style_without_weight_is_left_out(adain_translator: Translator) -> None:
    content, masks = tensor(0, 50), halves(50)
    adain_translator.styles = (Style((tensor(1),), (0.0,)), Style((tensor(2),), (1.0,)))
    found = adain_translator.translate(content, masks=masks)
    assert torch.equal(found[..., :25], content[..., :25])
    assert not torch.allclose(found[..., 25:], content[..., 25:])


def test_colours_by_moments_of_several_photographs_with_a_painting_each(adain_translator: Translator) -> None:
    contents, styles = torch.cat([tensor(0), tensor(3)]), torch.cat([tensor(1), tensor(2)])
    together = adain_translator.translate(contents, "moments", styles=[Style((styles,))])
    alone = [
        adain_translator.translate(x, "moments", styles=[Style((y,))])
        for x, y in zip(contents.split(1), styles.split(1), strict=True)
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    with pytest.raises(UserError, match="preserve_color = hue"):
        adain_translator.translate(contents, "hue")


def test_paintings_come_at_the_size_that_the_method_wants(tmp_path: Path) -> None:
    for name, size in (("large", (900, 300)), ("thin", (300, 6)), ("right", (40, 50))):
        picture(*size, seed=1).save(tmp_path / f"{name}.png")
    paths = [str(tmp_path / f"{name}.png") for name in ("large", "thin", "right")]
    shapes = [tuple(style.pictures[0].shape[-2:]) for style in read_styles(paths, side=100, smallest=16)]
    assert shapes == [(100, 300), (16, 800), (50, 40)]


def test_a_region_too_small_for_the_features_is_no_trouble(adain_translator: Translator) -> None:
    dot = torch.zeros(1, 1, 48, 48)
    dot[..., 0, 0] = 1
    nowhere = torch.zeros_like(dot)
    assert adain_translator.translate(tensor(0), masks=[dot, nowhere]).isfinite().all()


def test_matched_colours_have_the_photographs_moments() -> None:
    photograph, painting = tensor(0) * 0.3, tensor(1) * 0.5
    (matched,) = match_colours(Style((painting,)), photograph).pictures
    for ours, theirs in zip(moments(matched), moments(photograph), strict=True):
        assert torch.allclose(ours, theirs, atol=2e-3)
    grey = painting.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    assert match_colours(Style((grey,)), photograph).pictures[0].isfinite().all()


def test_luminance_keeps_the_colour_differences_of_the_photograph() -> None:
    photograph, translation = tensor(0) * 0.3, tensor(1) * 0.3
    found = keep_luminance(photograph, translation)
    assert torch.allclose(found[:, 0] - found[:, 2], photograph[:, 0] - photograph[:, 2], atol=1e-6)


def test_masks_on_the_command_line(tmp_path: Path, capsys) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "masks/deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png", "c.png"):
        picture(40, 36, seed=len(name)).save(tmp_path / "in" / name)
    picture(40, 36, seed=9).save(tmp_path / "s.png")
    white = picture(40, 36).point(lambda _: 255)
    white.save(tmp_path / "masks/a.jpg")
    white.point(lambda _: 0).save(tmp_path / "masks/deep/b.png")
    out = tmp_path / "out"
    words = ["translate", ROOT / "configs/demo_gatys.yaml", tmp_path / "in", out, "--set", "method.iterations=2"]
    assert call(*words, "--style", tmp_path / "s.png", "--mask", tmp_path / "masks") == SOME_FAILED
    assert "failed: c.png: mask" in capsys.readouterr().err
    opened = [to_tensor(Image.open(path)) for path in (out / "deep/b.png", tmp_path / "in/deep/b.png")]
    assert torch.equal(*opened)  # all black: nothing is shown
    assert (out / "a.png").exists()
    whole = [*words, "--style", tmp_path / "s.png", "--mask", tmp_path / "masks/a.jpg", "--overwrite"]
    assert call(*whole) == DONE
