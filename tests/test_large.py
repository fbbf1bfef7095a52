"""A picture in parts is the picture at once: without seams, whatever its size and the memory there is."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from data.images import denormalise, normalise, to_tensor
from engine.exits import UserError
from engine.schema import Config
from models import build_method
from models.networks.normalise import InstanceNorm2d, instance_norm, normalising, told_norm
from models.options import (
    CycleGANOptions,
    DiscriminatorOptions,
    FeatureOptions,
    GatysOptions,
    GeneratorOptions,
    JohnsonOptions,
)
from models.translator import Translator
from translation import large, memory, rows
from translation.graph import Node, NotLocalError, ordered, reach, read_graph
from translation.large import STATISTICS, choose_statistics, choose_tile, fits_whole, translate_large
from translation.operations import Convolve, ConvolveTransposed, Double, Reflect
from translation.rows import InMemory, NoRoomError, OnDisk, Place
from translation.statistics import sampled, thumbnail
from translation.streaming import Moments, Streamer, bytes_kept, plan
from translation.tiles import Tiler

CPU = torch.device("cpu")
NETWORKS = {
    "transposed": GeneratorOptions(channels=4, blocks=1),
    "resize": GeneratorOptions(channels=4, blocks=2, upsample="resize"),
    "transposed, skips": GeneratorOptions(channels=4, blocks=1, skips=True, dropout=0.5),
    "resize, skips": GeneratorOptions(channels=4, blocks=1, upsample="resize", skips=True),
    "johnson": JohnsonOptions(channels=4, blocks=1, num_styles=1),
    "johnson, skips": JohnsonOptions(channels=4, blocks=1, num_styles=1, skips=True),
}


def translator(name: str = "resize, skips") -> Translator:
    """Untrained, but with numbers that matter in every weight."""
    options = NETWORKS[name]
    if isinstance(options, GeneratorOptions):
        options = CycleGANOptions(generator=options, discriminator=DiscriminatorOptions(channels=4))
    torch.manual_seed(0)
    method = build_method(options)
    with torch.no_grad():
        for weight in method.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return Translator(method, "photo2painting", Config(method=options), 0, CPU)


def picture(height: int, width: int) -> np.ndarray:
    """uint8 [H, W, 3], brighter and rougher to the right, so that no part is like the whole."""
    rng = np.random.default_rng([height, width])
    across = np.linspace(0, 1, width)[None, :, None]
    smooth = 60 + 120 * across + 20 * np.sin(np.arange(height) / 5)[:, None, None]
    return np.clip(smooth + rng.normal(0, 1, (height, width, 3)) * (5 + 40 * across), 0, 255).astype(np.uint8)


def at_once(painter: Translator, pixels: np.ndarray) -> np.ndarray:
    return denormalise(painter.translate(normalise(to_tensor(pixels)[None])))[0].permute(1, 2, 0).numpy()


def apart(ours: np.ndarray, theirs: np.ndarray) -> int:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == np.uint8
    return int(np.abs(ours.astype(int) - theirs).max())


def exact_statistics(painter: Translator, pixels: np.ndarray) -> dict:
    return thumbnail(painter, read_graph(painter), pixels, pixels.size)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("sides", [(48, 64), (67, 33), (1, 50), (50, 1), (17, 96)], ids=str)
def test_exact_statistics_give_the_untiled_picture(name: str, sides: tuple[int, int]) -> None:
    painter, pixels = translator(name), picture(*sides)
    whole = at_once(painter, pixels)
    for tile in (16, 32):
        assert apart(translate_large(painter, pixels, tile=tile, statistics="exact"), whole) <= 1


@pytest.mark.parametrize("folder", [False, True], ids=["memory", "file"])
@pytest.mark.parametrize("room", [1, 100_000])
def test_streaming_is_the_same_by_single_rows_and_through_a_file(folder: bool, room: int, tmp_path) -> None:
    painter, pixels = translator(), picture(41, 38)
    place = Place(CPU, str(tmp_path) if folder else None)
    streamer = Streamer(painter.method, pixels, 44, 40, CPU, place, room)
    assert apart(streamer(read_graph(painter)), at_once(painter, pixels)) <= 1
    assert streamer.kept == {}
    assert list(tmp_path.iterdir()) == []


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


def test_how_far_a_network_looks_is_counted_as_it_is_seen_by_its_gradient() -> None:
    for name in ("transposed", "resize", "johnson"):
        painter = translator(name)
        x = torch.zeros(1, 3, 8, 256, requires_grad=True)
        with normalising(painter.method, lambda norm, x: (x.new_zeros(x.shape[1]), x.new_ones(x.shape[1]))):
            made = painter.method.translate(x, None, painter.direction)
        spans = []
        for column in range(128, 132):
            (gradient,) = torch.autograd.grad(made[..., column].sum(), x, retain_graph=True)
            seen = gradient[0].abs().sum(dim=(0, 1)).nonzero()
            spans += [column - int(seen.min()), int(seen.max()) - column]
        assert max(spans) <= reach(read_graph(painter)) <= max(spans) + 4


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


def test_strips_that_do_not_fit_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    painter, pixels = translator(), picture(60, 40)
    whole, make, refused = at_once(painter, pixels), Convolve.make, []

    def small_memory(self, strips, start: int, first: int, end: int, height: int) -> torch.Tensor:
        if end - first > 9:
            refused.append(end - first)
            raise MemoryError
        return make(self, strips, start, first, end, height)

    monkeypatch.setattr(Convolve, "make", small_memory)
    assert apart(translate_large(painter, pixels, tile=64, statistics="exact"), whole) <= 1
    assert refused


def test_estimates_know_a_picture_that_fits() -> None:
    painter, pixels = translator("johnson"), picture(40, 44)
    whole = at_once(painter, pixels)
    for kind in ("sampled", "thumbnail"):
        assert apart(translate_large(painter, pixels, tile=32, statistics=kind), whole) <= 1


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


def test_moments_of_strips_are_those_of_all_rows() -> None:
    x = 1000 + torch.randn(1, 3, 37, 29, dtype=torch.float64) * torch.tensor([0.1, 1, 30]).view(1, 3, 1, 1)
    moments = Moments()
    for strip in x.float().split(5, dim=2):
        moments.add(strip)
    variance, mean = torch.var_mean(x.float().double(), dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(moments.found(CPU)[0], mean.float())
    torch.testing.assert_close(moments.found(CPU)[1], variance.float(), rtol=1e-3, atol=0)


OPERATIONS = {
    "reflect": (lambda: Reflect(3), lambda: nn.ReflectionPad2d(3)),
    "conv": (lambda: nn.Conv2d(2, 3, 5, padding=2), None),
    "stride": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), None),
    "valid": (lambda: nn.Conv2d(2, 3, 7), None),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1), None),
    "transposed 4": (lambda: nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1), None),
    "nearest": (lambda: Double("nearest"), lambda: nn.Upsample(scale_factor=2, mode="nearest")),
    "bilinear": (lambda: Double("bilinear"), lambda: nn.Upsample(scale_factor=2, mode="bilinear")),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("height", [7, 12])
def test_any_rows_of_a_layer_are_those_of_the_layer(name: str, height: int) -> None:
    torch.manual_seed(0)
    made, reference = (each and each() for each in OPERATIONS[name])
    kinds = {nn.Conv2d: Convolve, nn.ConvTranspose2d: ConvolveTransposed}
    operation, layer = (kinds[type(made)](made), made) if type(made) in kinds else (made, reference)
    x = torch.randn(1, 2, height, 9)
    whole = layer(x)
    assert (operation.side(height), operation.side(9)) == whole.shape[2:]
    for first in range(whole.shape[2]):
        for end in range(first + 1, whole.shape[2] + 1):
            start, stop = operation.wanted(first, end, height)
            found = operation.make([x[:, :, start:stop]], start, first, end, height)
            torch.testing.assert_close(found, whole[:, :, first:end], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kept", [InMemory, OnDisk])
def test_what_is_kept_is_read_as_it_was_written(kept: type, tmp_path) -> None:
    more = (str(tmp_path),) if kept is OnDisk else ()
    store, x = kept(3, 11, 5, CPU, *more), torch.randn(1, 3, 11, 5)
    for first in (6, 0, 3):
        store.write(first, x[:, :, first : first + 5])
    assert torch.equal(store.read(2, 10), x[:, :, 2:10])
    assert list(tmp_path.iterdir()) == []
    store.close()


def test_what_is_kept_is_counted_and_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    painter = translator()
    most, now = 0, {}
    last = read_graph(painter)
    for one in plan(last):
        if one.kept:
            now[one.node] = 4 * one.node.channels * int(64 * 48 * one.node.share**2)
        most = max(most, sum(now.values()))
        assert set(one.reads) <= set(now)
        for node in one.done:
            del now[node]
    assert now == {}
    assert bytes_kept(plan(last), 64, 48) == most
    assert all(one.node.share < Fraction(1) for one in plan(last) if one.kept)
    monkeypatch.setattr(rows.shutil, "disk_usage", lambda folder: type("usage", (), {"free": 7}))
    monkeypatch.setattr(memory, "MOST", 1000)
    monkeypatch.setattr(large, "_room", lambda last, side: 1000)
    with pytest.raises(NoRoomError, match=r"bytes needed in .*, 7 free; name a larger disk by TMPDIR"):
        translate_large(painter, picture(64, 48), statistics="exact")
    assert choose_statistics(painter, 4000, 4000) == "sampled"


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
    with pytest.raises(NotLocalError, match="cyclegan: .*softmax"):
        translate_large(painter, pixels)


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


def test_a_graph_is_in_order() -> None:
    nodes = ordered(read_graph(translator()))
    assert nodes[0].operation is None
    assert all(nodes.index(each) < i for i, node in enumerate(nodes) for each in node.inputs)
    assert isinstance(nodes[0], Node)
