"""What a compressed run costs beside the full one: parameters, multiplications, and time.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.compressed runs/demo runs/small
    .venv/bin/python -m benchmarks.compressed runs/demo runs/small --side 64 --batch 16 --rounds 40

Both translate the same noise, which costs what pictures cost; they take turns in one process, in a new order every
round; medians are compared, with the quartiles of the ratios of rounds.
"""

import argparse
import statistics
import time

import torch
from tabulate import tabulate
from torch import Tensor

from metrics.cost import measure_cost
from models import load_translator
from models.translator import Translator

WARM_UP = 2  # rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("full", help="a run")
    parser.add_argument("small", help="what compress.py made of it")
    parser.add_argument("--direction", help="of both; the small one's first, unless it is given")
    parser.add_argument("--side", type=int, default=256, help="px")
    parser.add_argument("--batch", type=int, default=1, help="pictures at once")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    small = load_translator(arguments.small, arguments.direction, arguments.device)
    full = load_translator(arguments.full, small.direction, arguments.device)
    pictures = torch.rand(arguments.batch, 3, arguments.side, arguments.side, device=full.device) * 2 - 1
    sides = {"full": full, "small": small}
    seconds = interleave(sides, pictures, arguments.rounds)
    report(sides, seconds, pictures)


@torch.inference_mode()
def interleave(sides: dict[str, Translator], pictures: Tensor, rounds: int) -> dict[str, list[float]]:
    """Seconds of every round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(WARM_UP + rounds):
        names = list(sides) if number % 2 else list(sides)[::-1]
        for name in names:
            taken = _timed(sides[name], pictures)
            if number >= WARM_UP:
                seconds[name].append(taken)
    return seconds


def _timed(translator: Translator, pictures: Tensor) -> float:
    began = time.perf_counter()
    translator.translate(pictures)
    if pictures.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def report(sides: dict[str, Translator], seconds: dict[str, list[float]], pictures: Tensor) -> None:
    count, _, _, side = pictures.shape
    costs = {}
    for name, translator in sides.items():
        with torch.inference_mode():
            costs[name] = measure_cost(translator.translate, translator.method, pictures[:1], optimizes=False)
    rows = [
        [name, costs[name].parameters, costs[name].gmacs, 1000 * statistics.median(seconds[name]) / count]
        for name in sides
    ]
    headers = ["", "parameters", "GMACs at 256 px", f"ms a picture of {side} px"]
    print(tabulate(rows, headers=headers, floatfmt=("", "", ".3f", ".1f"), intfmt=","))
    ratios = [full / small for full, small in zip(seconds["full"], seconds["small"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(
        f"\nsmall over full: {costs['small'].parameters / costs['full'].parameters:.3f} of the parameters, "
        f"{costs['small'].gmacs / costs['full'].gmacs:.3f} of the multiplications; {middle:.2f} times as fast "
        f"(quartiles of {len(ratios)} rounds {low:.2f} .. {high:.2f}), {count} at once, {pictures.device.type}, "
        f"{torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    main()
