"""What it costs to translate a folder: ours, and the plain loop that people write.

    OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m benchmarks.translate PHOTOGRAPHS           256 px, 64 channels, 9 blocks

The plain loop takes one picture at a time: open, resize, forward, save as PNG; torch's own layers, eager, fp32, no
gradients (benchmarks/plain_networks.py). Ours is what translate.py does with --format png --resize-to-training-size:
translation.folder.Folder with translation.fast. Both have the same weights, drawn at random, and the same pictures,
brought to 256 px on the shorter side; if there are fewer than --pictures they come again. They take turns; a round is
one share of the pictures, and the ratio is that of rounds. Memory is the most that a process of its own held for
one side, beyond what it held with its network. --int8 adds a third side: ours with what export.py --format int8-onnx
makes of the network, calibrated on the same photographs; how near that is to float32 is said.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image

from benchmarks.plain_networks import plain_generator
from data.images import denormalise, find_pictures, normalise, to_tensor
from engine.signals import StopRequest
from metrics.cost import Peak
from models import load_translator
from models.translator import Translator
from translation.fast import make_fast
from translation.finish import SizeRule
from translation.folder import Folder, HowToSave, threads_for
from translation.int8_report import export_int8
from translation.painter import Painter
from translation.plan import Job

MULTIPLE = 4  # of sides, which the plain network wants
IN_MEMORY_RUN = 12  # pictures
WANTED = 40.0  # dB of int8

Side = Callable[[Sequence[Path], Path], None]  # pictures into a folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--weights", type=Path, help="official weights instead of random ones")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--alone", choices=SIDES, help="one side once, for its memory: prints MiB")
    arguments = parser.parse_args()
    found = [arguments.photographs / name for name in find_pictures(arguments.photographs)]
    pictures = [found[i % len(found)] for i in range(arguments.pictures)]
    with tempfile.TemporaryDirectory() as folder:
        if arguments.alone:
            return print(json.dumps(held(arguments.alone, pictures[:IN_MEMORY_RUN], Path(folder), arguments)))
        compare(pictures, Path(folder), arguments)


def compare(pictures: list[Path], folder: Path, arguments: argparse.Namespace) -> None:
    sides = {name: make(folder, arguments) for name, make in SIDES.items() if name != "int8" or arguments.int8}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    share = len(pictures) // arguments.rounds
    for number in range(-1, arguments.rounds):  # the first warms up
        own = pictures[max(0, number) * share :][:share]
        for name, side in sides.items():
            out = folder / f"{name}-{number}"
            out.mkdir()
            began = time.perf_counter()
            side(own, out)
            seconds[name].append(time.perf_counter() - began)
            assert len(list(out.glob("*.png"))) == len(own)
    print(f"{arguments.rounds} rounds of {share} pictures, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    for name in sides:
        rates, memory = [share / each for each in seconds[name][1:]], alone(name, arguments)
        print(f"{name:8} {statistics.median(rates):.3f} pictures/s, {memory:.0f} MiB beyond its network")
    for name in list(sides)[1:]:
        ratios = sorted(a / b for a, b in zip(seconds["plain"][1:], seconds[name][1:], strict=True))
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{name} / plain: {middle:.2f} ({low:.2f} .. {high:.2f})")


def alone(side: str, arguments: argparse.Namespace) -> float:
    command = [sys.executable, "-m", "benchmarks.translate", str(arguments.photographs), "--alone", side]
    command += [f"--{key}={getattr(arguments, key)}" for key in ("size", "channels", "blocks")]
    command += [f"--weights={arguments.weights}"] if arguments.weights else []
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def held(name: str, pictures: list[Path], folder: Path, arguments: argparse.Namespace) -> float:
    side = SIDES[name](folder, arguments)
    (folder / "out").mkdir()
    peak = Peak(torch.device("cpu"))
    side(pictures, folder / "out")
    return peak.read()


def plain_side(folder: Path, arguments: argparse.Namespace) -> Side:
    network = plain_generator(arguments.channels, arguments.blocks).eval()
    network.load_state_dict(torch.load(official(folder, arguments), weights_only=True))
    rule = SizeRule(training=arguments.size)

    def translate(pictures: Sequence[Path], out: Path) -> None:
        for number, path in enumerate(pictures):
            image = Image.open(path).convert("RGB")
            size = tuple(side // MULTIPLE * MULTIPLE for side in rule(image.size))
            image = image.resize(size, Image.Resampling.BICUBIC)
            with torch.no_grad():
                found = network(normalise(to_tensor(image).unsqueeze(0)))
            Image.fromarray(denormalise(found)[0].permute(1, 2, 0).numpy()).save(out / f"{number}.png")

    return translate


def our_side(folder: Path, arguments: argparse.Namespace) -> Side:
    translator = load_translator(str(official(folder, arguments)), device="cpu")
    make_fast(translator)
    return with_threads(translator, arguments)


def int8_side(folder: Path, arguments: argparse.Namespace) -> Side:
    file = folder / "int8.onnx"
    translator = load_translator(str(official(folder, arguments)), device="cpu")
    found = export_int8(translator, file, arguments.photographs, WANTED, 0.0)
    if not arguments.alone:
        print(f"int8: {found['PSNR, dB']}, {found['share in 8 bits']:.0%} of the multiplications in 8 bits")
    return with_threads(load_translator(str(file), device="cpu"), arguments)


def official(folder: Path, arguments: argparse.Namespace) -> Path:
    """The plain network's weights."""
    if arguments.weights:
        return arguments.weights
    torch.manual_seed(0)
    weights = folder / "latest_net_G.pth"
    torch.save(plain_generator(arguments.channels, arguments.blocks).state_dict(), weights)
    return weights


def with_threads(translator: Translator, arguments: argparse.Namespace) -> Side:
    how = HowToSave(threads=threads_for(), size=SizeRule(training=arguments.size))

    def translate(pictures: Sequence[Path], out: Path) -> None:
        jobs = [Job(path, out / f"{number}.png", str(number)) for number, path in enumerate(pictures)]
        folder = Folder(Painter(translator), how, StopRequest(), lambda job, problem: None)
        folder.translate(jobs)
        assert len(folder.tally.translated) == len(jobs), folder.tally

    return translate


SIDES: dict[str, Callable[[Path, argparse.Namespace], Side]] = {
    "plain": plain_side,
    "ours": our_side,
    "int8": int8_side,
}


if __name__ == "__main__":
    main()
