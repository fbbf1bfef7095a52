"""A picture in parts is the picture at once: without seams, whatever its size and the memory there is."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from engine.exits import UserError
from engine.schema import Config
from models import build_method
from models.networks.normalise import InstanceNorm2d, instance_norm, normalising, told_norm
from models.options import CycleGANOptions, FeatureOptions, GatysOptions, GeneratorOptions
from models.translator import Translator
from tests.large_pictures import CPU, NETWORKS, apart, at_once, exact_statistics, picture, translator
from translation import large, memory
from translation.graph import NotLocalError, reach, read_graph
from translation.large import STATISTICS, choose_tile, fits_whole, translate_large
from translation.painter import Painter
from translation.statistics import sampled, thumbnail
from translation.tiles import Tiler


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("sides", [(96, 72), (61, 95), (1, 70), (90, 3)], ids=str)
@pytest.mark.parametrize("tile", [16, 32])
def test_tiles_with_the_statistics_of_the_whole_are_the_whole(name: str, sides: tuple[int, int], tile: int) -> None:
    painter, pixels = translator(name), picture(*sides)
    whole = at_once(painter, pixels)
    tiler = Tiler(painter.translate, tile, reach(read_graph(painter)), 4, CPU, blend=4, smallest=16)
    with normalising(painter.method, exact_statistics(painter, pixels)):
        assert apart(tiler(pixels), whole) <= 1


def test_tiles_need_all_of_their_margin() -> None:
    painter, pixels = translator("transposed"), picture(96, 72)
    statistics, found = exact_statistics(painter, pixels), []
    for margin in (reach(read_graph(painter)), 4):
        with normalising(painter.method, statistics):
            found.append(Tiler(painter.translate, 24, margin, 4, CPU, blend=0)(pixels))
    whole = at_once(painter, pixels)
    assert apart(found[0], whole) <= 1
    assert apart(found[1], whole) > 8


def test_blending_adds_up_to_one_and_hides_a_step() -> None:
    levels = iter([-1.0, 1.0])

    def one_level(x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, next(levels))

    found = Tiler(one_level, 32, 0, 1, CPU, blend=4)(np.zeros((8, 64, 3), np.uint8))
    steps = np.diff(found[0, :, 0].astype(int))
    assert found[0, 0, 0] == 0
    assert found[0, -1, 0] == 255
    assert steps.min() == 0
    assert steps.max() <= 255 / 8 + 1


@pytest.mark.parametrize("limit", [90, 70])
def test_a_tile_that_does_not_fit_is_halved_and_the_rest_goes_on(limit: int) -> None:
    painter, pixels = translator("transposed"), picture(90, 130)
    sides, done = [], []

    def small_memory(x: torch.Tensor) -> torch.Tensor:
        sides.append(max(x.shape[2:]))
        if len(sides) > 1 and sides[-1] > limit:  # the first tile is done and stays
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return painter.translate(x)

    margin = reach(read_graph(painter))
    with normalising(painter.method, exact_statistics(painter, pixels)):
        tiler = Tiler(small_memory, 64, margin, 4, CPU, blend=4, smallest=8)
        found = tiler(pixels, lambda part, of: done.append((part, of)))
    assert apart(found, at_once(painter, pixels)) <= 1
    assert tiler.tile < 64
    assert sum(side > limit for side in sides) <= 4
    assert [part for part, _ in done] == sorted({part for part, _ in done})
    assert done[-1] == (90 * 130, 90 * 130)


def test_out_of_memory_at_the_smallest_tile_is_an_error_and_so_is_any_other() -> None:
    def full(x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    def broken(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("something else")

    for translate, words in ((full, "out of memory"), (broken, "something else")):
        with pytest.raises(RuntimeError, match=words):
            Tiler(translate, 64, 4, 4, CPU, smallest=16)(picture(64, 64))


def test_estimates_know_a_picture_that_fits() -> None:
    painter, pixels = translator("johnson"), picture(40, 44)
    whole = at_once(painter, pixels)
    for kind in ("sampled", "thumbnail"):
        assert apart(translate_large(painter, pixels, tile=32, statistics=kind), whole) <= 1


@pytest.mark.parametrize("statistics", STATISTICS)
def test_without_statistics_of_the_whole_parts_are_exact(statistics: str) -> None:
    painter, pixels = translator("resize, skips, pixel norm"), picture(150, 130)
    found = translate_large(painter, pixels, tile=32, statistics=statistics)
    assert apart(found, at_once(painter, pixels)) <= 1


def test_crops_are_nearer_to_the_whole_than_a_thumbnail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grain is what a thumbnail loses."""
    monkeypatch.setattr("translation.statistics.CROP", 16)
    painter = translator("transposed")
    pixels, last = picture(192, 256), read_graph(painter)
    exact = exact_statistics(painter, pixels)

    def wrong(found: dict) -> float:
        rates = [(found[norm][1] / exact[norm][1]).log().abs().mean() for norm in exact]
        return float(sum(rates))

    room = 128 * 128
    assert set(sampled(painter, last, pixels, room)) == set(exact)
    assert wrong(sampled(painter, last, pixels, room)) < 0.5 * wrong(thumbnail(painter, last, pixels, room))


def test_estimates_are_the_same_twice_and_fit_into_less_memory() -> None:
    painter, pixels = translator(), picture(150, 170)
    last, translate, refused = read_graph(painter), painter.translate, []
    first, again = (sampled(painter, last, pixels, 2**14) for _ in range(2))
    assert all(torch.equal(first[norm][0], again[norm][0]) for norm in first)

    def small_memory(x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] * x.shape[2] * x.shape[3] > 2**13:
            refused.append(x.shape)
            raise MemoryError
        return translate(x)

    painter.translate = small_memory
    assert set(thumbnail(painter, last, pixels, 2**14)) == set(first)
    assert refused


def test_ordinary_translation_and_weights_stay_as_they_were() -> None:
    painter, pixels = translator(), picture(64, 48)
    before, names = at_once(painter, pixels), list(painter.method.state_dict())
    weights = [weight.clone() for weight in painter.method.parameters()]
    for kind in STATISTICS:
        translate_large(painter, pixels, tile=16, statistics=kind)
    assert np.array_equal(at_once(painter, pixels), before)
    assert list(painter.method.state_dict()) == names
    assert all(map(torch.equal, painter.method.parameters(), weights))
    norms = [module for module in painter.method.modules() if isinstance(module, InstanceNorm2d)]
    assert all("statistics" not in vars(norm) or norm.statistics is None for norm in norms)


def test_norms_forget_after_an_error() -> None:
    network = nn.Sequential(InstanceNorm2d(3), InstanceNorm2d(3, affine=True))
    with pytest.raises(KeyError), normalising(network, lambda norm, x: {}[norm]):
        network(torch.zeros(1, 3, 4, 4))
    assert all(norm.statistics is None for norm in network)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_norm_that_is_told_its_own_statistics_is_itself(memory_format: torch.memory_format, dtype) -> None:
    torch.manual_seed(0)
    x = (5 + 3 * torch.randn(1, 4, 8, 6)).to(dtype, memory_format=memory_format)
    weight, bias = torch.randn(2, 4)
    variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
    found = told_norm(x, mean, variance, weight, bias)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(found, instance_norm(x, weight, bias))


def test_what_cannot_be_done_is_told_in_one_line(narrow_vgg: None) -> None:
    painter, pixels = translator(), picture(20, 20)
    with pytest.raises(UserError, match="statistics = guessed: must be one of: auto, exact"):
        translate_large(painter, pixels, statistics="guessed")
    with pytest.raises(UserError, match="tile = 8"):
        translate_large(painter, pixels, tile=8)
    with pytest.raises(UserError, match="uint8"):
        translate_large(painter, pixels.astype(np.float32))
    options = GatysOptions(features=FeatureOptions(weights="random"))
    gatys = Translator(build_method(options), "photo2painting", Config(method=options), 0, CPU)
    with pytest.raises(NotLocalError, match="gatys: .* cannot be translated in parts"):
        translate_large(gatys, pixels)
    assert fits_whole(gatys, 10**5, 10**5)
    painter.method.G.model[3] = nn.Softmax2d()
    with pytest.raises(NotLocalError, match="cyclegan: .*: Softmax2d is not known to be local"):
        translate_large(painter, pixels)


def test_attention_is_counted_but_not_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    options = CycleGANOptions(generator=GeneratorOptions(channels=4, blocks=1, attention=True))
    painter, pixels = (
        Translator(build_method(options), "photo2painting", Config(method=options), 0, CPU),
        picture(64, 48),
    )
    with pytest.raises(NotLocalError, match="cyclegan with method.generator.attention = true: .* --max-side"):
        translate_large(painter, pixels)
    photograph = Image.fromarray(pixels)
    (found,) = Painter(painter, tile=16).paint([photograph], ["a.png"])  # which fits, and so needs no parts
    assert found.size == photograph.size
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2**16)
    (said,) = Painter(painter).paint([photograph], ["a.png"])
    assert said.startswith("out of memory at 48 x 64 px; in parts: cyclegan with method.generator.attention = true")
    assert "\n" not in said


def test_tiles_follow_from_the_memory_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    painter, sides = translator(), []
    for free in (0, 2**26, 2**28, 2**40):
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: free)
        sides.append(choose_tile(painter))
        assert fits_whole(painter, 64, 64) == (free > 0)
    assert sides == sorted(sides)
    assert sides[0] == 64
    assert len(set(sides)) > 2
    assert large.bytes_a_pixel(read_graph(painter)) >= 2 * 4 * 4


def test_the_memory_of_a_container_counts(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    group = tmp_path / "job"
    group.mkdir()
    for name, text in {"max": "1000", "current": "700", "stat": "anon 5\ninactive_file 50"}.items():
        (group / f"memory.{name}").write_text(text)
    assert memory._left_in(group) == 350
    assert memory._left_in(tmp_path) is None
    (group / "memory.max").write_text("max")
    assert memory._left_in(group) is None
    assert memory.free_bytes(CPU) > 0
