"""What the Gram family does to pictures, in numbers: one table for each method that is given.

    .venv/bin/python -m benchmarks.gram_family --gatys PHOTOGRAPH PAINTING [--save gatys.png]
    .venv/bin/python -m benchmarks.gram_family --johnson runs/demo_johnson
    .venv/bin/python -m benchmarks.gram_family --adain runs/demo_adain

gatys: the demo's recipe at 256 px, by Gram matrices and by moments: how far the style loss falls, what the content loss
    is in units of the photograph's own variance, and the time. johnson: each held-out photograph's distance of Gram
    matrices to the mean one of the held-out paintings, untouched and translated. adain: held-out photographs at rising
    strength, and two styles on the two halves of a picture.
"""

import argparse
import time

import torch
from tabulate import tabulate
from torch import Tensor

from data import SOURCES, open_source
from data.images import normalise, open_picture, resize_and_crop, to_tensor
from data.loader import read_pictures
from engine.config import load_config
from engine.sheet import draw_sheet
from metrics.psnr import psnr
from models import METHODS, build_method
from models.losses import channel_statistics, gram_matrix
from models.method import Style
from models.networks.vgg import VGG
from models.networks.vgg_weights import load_vgg
from models.translator import Translator, load

SIDE = 256  # px
PICTURES = 64  # held-out ones
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gatys", nargs=2, metavar=("PHOTOGRAPH", "PAINTING"))
    parser.add_argument("--save", help="where Gatys's pictures go")
    parser.add_argument("--johnson", metavar="RUN")
    parser.add_argument("--adain", metavar="RUN")
    arguments = parser.parse_args()
    if arguments.gatys:
        gatys(*arguments.gatys, arguments.save)
    if arguments.johnson:
        johnson(load(arguments.johnson, device="cpu"))
    if arguments.adain:
        translator = load(arguments.adain, device="cpu", style=None)
        strengths(translator)
        halves(translator)


def gatys(photograph: str, painting: str, save: str | None) -> None:
    content, style = (
        normalise(to_tensor(resize_and_crop(open_picture(path), SIDE)).unsqueeze(0)) for path in (photograph, painting)
    )
    columns, rows = {"photograph": content, "painting": style}, []
    for statistics in ("moments", "gram"):
        settings = [f"method.statistics={statistics}"]
        method = build_method(load_config("configs/demo_gatys.yaml", settings, METHODS, SOURCES).method)
        start = time.perf_counter()
        columns[statistics] = method.translate(content, Style((style,)))
        seconds = time.perf_counter() - start
        with torch.no_grad():
            parts = method.loss(content, [style], [1.0])(columns[statistics])[1]
        rows.append((statistics, float(parts["style"]), float(parts["content"]), seconds))
    header = ["statistics", "style loss, of the photograph's", "content loss, of its variance", "s"]
    print(tabulate(rows, headers=header, floatfmt=".4f"), "\n")
    if save:
        draw_sheet(columns).save(save)


def johnson(translator: Translator) -> None:
    options = translator.config.method
    vgg = load_vgg(options.features, options.style_layers[-1])
    photographs, paintings = held_out(translator)
    sets = {"untouched": photographs, "translated": translator.translate(photographs), "real paintings": paintings}
    features = {name: in_batches(vgg, pictures, options.style_layers) for name, pictures in sets.items()}
    rows = []
    for layer in options.style_layers:
        grams = {name: gram_matrix(found[layer]) for name, found in features.items()}
        target = grams["real paintings"].mean(dim=0)
        unit = target.square().mean()
        rows.append((layer, *(float((g - target).square().mean(dim=(1, 2)).mean() / unit) for g in grams.values())))
    print(tabulate(rows, headers=["Gram distance per picture", *sets], floatfmt=".3f"), "\n")


def strengths(translator: Translator) -> None:
    """Distances are those of AdaIN's losses: statistics at every layer to the painting's, deepest features to the
    photograph's."""
    method = translator.method
    photographs, paintings = held_out(translator)
    painting = paintings[:1]
    with torch.no_grad():
        style = method.f(painting, method.style_layers)
    content = in_batches(method.f, photographs, [method.deepest])[method.deepest]
    rows = []
    for strength in STRENGTHS:
        found = translator.translate(photographs, styles=[Style((painting,), strength=strength)])
        features = in_batches(method.f, found, method.style_layers)
        style_distance = sum(
            float((ours - theirs).square().mean())
            for layer in method.style_layers
            for ours, theirs in zip(channel_statistics(features[layer]), channel_statistics(style[layer]), strict=True)
        )
        content_distance = float((features[method.deepest] - content).square().mean())
        rows.append((strength, style_distance, content_distance, float(psnr(found, photographs).mean())))
    print(tabulate(rows, headers=["strength", "style distance", "content distance", "PSNR, dB"], floatfmt=".4f"), "\n")


def halves(translator: Translator) -> None:
    """Two paintings on two halves: how far each half's statistics are from either."""
    method = translator.method
    photographs, paintings = held_out(translator)
    a, b = paintings[:1], most_different(method.f, method.style_layers, paintings)
    left = torch.zeros(1, 1, *photographs.shape[-2:])
    left[..., : left.shape[-1] // 2] = 1
    found = translator.translate(
        photographs, masks=[left, 1 - left], styles=[Style((each,), (1.0,)) for each in (a, b)]
    )
    rows = []
    for name, half in (("left, painting A", found.chunk(2, dim=3)[0]), ("right, painting B", found.chunk(2, dim=3)[1])):
        rows.append((name, *(style_distances(method.f, method.style_layers, half, each).mean() for each in (a, b))))
    print(tabulate(rows, headers=["half", "distance to A", "distance to B"], floatfmt=".4f"), "\n")


def most_different(vgg: VGG, layers: list[str], paintings: Tensor) -> Tensor:
    return paintings[[int(style_distances(vgg, layers, paintings, paintings[:1]).argmax())]]


def style_distances(vgg: VGG, layers: list[str], pictures: Tensor, painting: Tensor) -> Tensor:
    """[N]: AdaIN's style loss of each picture."""
    ours, theirs = (in_batches(vgg, each, layers) for each in (pictures, painting))
    return sum(
        (x - y).square().mean(dim=(1, 2, 3))
        for layer in layers
        for x, y in zip(channel_statistics(ours[layer]), channel_statistics(theirs[layer]), strict=True)
    )


def held_out(translator: Translator) -> tuple[Tensor, Tensor]:
    data = translator.config.data
    photographs, paintings = (
        normalise(read_pictures(open_source(options, domain, "held_out"), PICTURES, data.size)[0])
        for domain, options in data.domains()
    )
    return photographs, paintings


@torch.no_grad()
def in_batches(vgg: VGG, pictures: Tensor, layers: list[str]) -> dict[str, Tensor]:
    found = [vgg(some, layers) for some in pictures.split(16)]
    return {layer: torch.cat([each[layer] for each in found]) for layer in layers}


if __name__ == "__main__":
    main()
