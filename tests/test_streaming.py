"""Exact streaming: any rows of any layer are those of the whole, wherever they are kept."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from models.networks.normalise import normalising
from tests.large_pictures import CPU, NETWORKS, apart, at_once, picture, translator
from translation import large, memory, rows
from translation.graph import ordered, reach, read_graph
from translation.large import choose_statistics, translate_large
from translation.operations import Convolve, ConvolveTransposed, Double, Reflect
from translation.rows import InMemory, NoRoomError, OnDisk, Place
from translation.streaming import Moments, Streamer, bytes_kept, plan


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


def test_how_far_a_network_looks_is_counted_as_it_is_seen_by_its_gradient() -> None:
    for name in ("transposed", "resize", "blur", "unet", "johnson"):
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


def test_a_graph_is_in_order() -> None:
    nodes = ordered(read_graph(translator()))
    assert nodes[0].operation is None
    assert all(nodes.index(each) < i for i, node in enumerate(nodes) for each in node.inputs)
