"""A translator in 8 bits, and what that gains and costs: speed, PSNR and SSIM on held-out photographs."""

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor

from engine.exits import UserError
from engine.progress import say
from metrics.psnr import psnr
from metrics.ssim import ssim
from models.exported import network_of
from models.onnx_file import OnnxMethod
from models.options import GeneratorOptions
from models.translator import Translator
from translation.exporting import as_onnx, claimed, compare, opened, read_photographs, refuse_existing
from translation.int8 import quantise
from translation.plain import plain

UNKNOWN_SIZE = 256  # px, of official weights
MOST_PHOTOGRAPHS = 100
HELD_OUT = 5  # each so-many-th photograph is held out
ROUNDS = 7
SMALLEST_FOR_SSIM = 12  # px


def export_int8(translator: Translator, path: Path, calibration: Path, wanted: float, least: float) -> dict:
    """Write `path` and, beside it, its report; returns the report.

    Args:
        calibration: a folder of photographs such as will be translated.
        wanted: dB, see `translation.int8.quantise`; least: dB on average, below which there is no file.
    """
    _refuse_other_networks(translator)
    refuse_existing(report := path.with_name(f"{path.name}.report.json"))
    given = read_photographs(calibration, MOST_PHOTOGRAPHS)
    held_out = given[::HELD_OUT]
    learnt = [photograph for i, photograph in enumerate(given) if i % HELD_OUT] or given
    size = translator.config.data.size if translator.step else UNKNOWN_SIZE
    with claimed(path) as temporary:
        network = plain(network_of(translator.method, translator.direction))
        choice = quantise(network, [_fitted(p, translator.method) for p in _at_both_sizes(learnt, size)], wanted)
        say(f"int8: {choice.share:.0%} of the multiplications; in float: {', '.join(choice.float_names)}")
        temporary.write_bytes(as_onnx(translator, network))
        file = opened(temporary, "int8-onnx")
        compare(translator, file)  # that it takes all sizes
        found = _quality(translator, file, [*_at_both_sizes(held_out, size)])
        if not found["PSNR, dB"]["mean"] >= least:
            raise UserError(
                f"{path}: is not written: {found['PSNR, dB']['mean']:.1f} dB on average against float, below {least}; "
                "more photographs may help, a larger --wanted-psnr leaves more in float, --least-psnr allows it"
            )
        found |= {"calibrated on": len(learnt), "held out": len(held_out), "share in 8 bits": round(choice.share, 3)}
        found |= {"in float": list(choice.float_names)}
        found |= measure_speed(translator, OnnxMethod(path, as_onnx(translator)), OnnxMethod(temporary), size)
        report.write_text(json.dumps(found, indent=1) + "\n")
    return found


def _refuse_other_networks(translator: Translator) -> None:
    """8 bits count on a norm behind every convolution but the first and the last."""
    generator = getattr(translator.method.options, "generator", GeneratorOptions())
    for key in ("network", "attention", "norm"):
        if (given := getattr(generator, key)) != getattr(GeneratorOptions(), key):
            raise UserError(
                f"--format int8-onnx: method.generator.{key} = {given} is not written in 8 bits; --format onnx takes it"
            )


def measure_speed(translator: Translator, in_float: OnnxMethod, in_int8: OnnxMethod, size: int) -> dict:
    """Seconds a picture at size x size, batch 1: medians of rounds in which all take turns."""
    picture = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    sides: dict[str, Callable[[Tensor], Tensor]] = {
        "torch float32": translator.translate,
        "onnxruntime float32": in_float.translate,
        "onnxruntime int8": in_int8.translate,
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            start = time.perf_counter()
            side(picture)
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(found[1:]) for name, found in seconds.items()}
    return {
        "seconds a picture": {name: round(value, 4) for name, value in median.items()},
        "times as fast as torch": round(median["torch float32"] / median["onnxruntime int8"], 2),
        "times as fast as onnxruntime": round(median["onnxruntime float32"] / median["onnxruntime int8"], 2),
        "measured at": f"{size} px, {torch.get_num_threads()} threads, {os.cpu_count()} cores",
    }


def _quality(translator: Translator, file: Callable[[Tensor], Tensor], photographs: Sequence[Tensor]) -> dict:
    decibels, similarity = [], []
    for photograph in photographs:
        wanted, found = translator.translate(photograph).cpu().clamp(-1, 1), file(photograph).clamp(-1, 1)
        decibels.append(float(psnr(found, wanted)))
        if min(photograph.shape[-2:]) >= SMALLEST_FOR_SSIM:
            similarity.append(float(ssim(found, wanted)))
    return {"PSNR, dB": _mean_and_least(decibels), "SSIM": _mean_and_least(similarity)}


def _mean_and_least(values: list[float]) -> dict[str, float]:
    return {"mean": round(statistics.fmean(values), 4), "least": round(min(values), 4)} if values else {}


def _at_both_sizes(photographs: Sequence[Tensor], size: int) -> list[Tensor]:
    """At their own size, and with the shorter side at that of training: instance norm knows no size, ranges do."""
    found = list(photographs)
    for photograph in photographs:
        factor = size / min(photograph.shape[-2:])
        sides = [max(1, round(side * factor)) for side in photograph.shape[-2:]]
        small = functional.interpolate(photograph, sides, mode="bicubic", antialias=True).clamp(-1, 1)
        found.append(small[..., : 2 * size, : 2 * size])
    return found


def _fitted(photograph: Tensor, method) -> Tensor:
    """Padded as the network takes it."""
    height, width = (
        -(-max(side, method.smallest_side) // method.size_multiple) * method.size_multiple
        for side in photograph.shape[-2:]
    )
    return functional.pad(
        photograph, (0, width - photograph.shape[-1], 0, height - photograph.shape[-2]), mode="replicate"
    )
