"""Write a trained network for other programs, checked against the run: safetensors, ONNX, TorchScript, ONNX in 8 bits.

    export.py runs/demo painter.onnx --format onnx
    export.py runs/demo painter.safetensors --format safetensors
    export.py runs/demo painter.int8.onnx --format int8-onnx --calibration photographs/
    export.py latest_net_G.pth painter.onnx --format onnx --pictures photographs/

One file holds one direction. It takes pictures of any size and number, and says of itself what it is. Before it gets
its name it translates noise, and --pictures, and is compared with the run. translate.py and evaluate.py take
safetensors and ONNX in the place of a run; TorchScript is for C++ (reading it would run code of the file).
"""

import argparse
import importlib.util
from pathlib import Path

from engine.command_line import Parser
from engine.exits import DONE, UserError, run_script

SUFFIXES = {"safetensors": ".safetensors", "onnx": ".onnx", "torchscript": ".pt", "int8-onnx": ".int8.onnx"}
NEEDS = {"safetensors": ("safetensors",), "onnx": ("onnx", "onnxscript", "onnxruntime"), "torchscript": ()}
MOST_DECIBELS = 100


def main() -> int:
    arguments = parse_arguments()
    int8 = arguments.format == "int8-onnx"
    if int8 and not arguments.calibration:
        raise UserError("--format int8-onnx: wants --calibration FOLDER, photographs such as will be translated")
    if arguments.calibration and not int8:
        raise UserError("--calibration: is for --format int8-onnx; --pictures are compared on")
    if not 0 <= arguments.least_psnr <= arguments.wanted_psnr <= MOST_DECIBELS:
        raise UserError(f"--least-psnr and --wanted-psnr: 0 to {MOST_DECIBELS} dB, the first not above the second")
    for library in NEEDS["onnx" if int8 else arguments.format]:
        if not importlib.util.find_spec(library):
            raise UserError(f"--format {arguments.format}: {library} is not installed; pip install {library}")
    return export(arguments)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("run", metavar="RUN", help="a run folder, a checkpoint, official weights or a safetensors file")
    parser.add_argument(
        "output", metavar="OUT", nargs="?", type=Path, help="a file (DIRECTION.onnx ... in RUN/exports)"
    )
    parser.add_argument("--format", required=True, choices=SUFFIXES)
    parser.add_argument("--direction", help="photo2painting (default) or painting2photo")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="to compare on, beside noise")
    parser.add_argument("--calibration", type=Path, metavar="FOLDER", help="photographs that show the 8 bits' ranges")
    parser.add_argument(
        "--wanted-psnr", type=float, default=40.0, help="dB against float; convolutions stay in float for it (40)"
    )
    parser.add_argument("--least-psnr", type=float, default=35.0, help="dB, below which nothing is written (35)")
    return parser.parse_args()


def export(arguments: argparse.Namespace) -> int:
    from models import load_translator
    from models.exported import network_of
    from translation.exporting import export as write
    from translation.exporting import read_photographs

    translator = load_translator(arguments.run, arguments.direction, "cpu", style=None)
    network_of(translator.method, translator.direction)  # raises where there is more than one
    path = arguments.output or default_output(Path(arguments.run), translator.direction, arguments.format)
    photographs = read_photographs(arguments.pictures) if arguments.pictures else []
    if arguments.format == "int8-onnx":
        from translation.int8_report import export_int8

        report = export_int8(translator, path, arguments.calibration, arguments.wanted_psnr, arguments.least_psnr)
        for name, value in report.items():
            print(f"{name}: {words(value)}")
        print(f"{path}; its report: {path}.report.json")
    else:
        print(f"{path}: differs from torch by {write(translator, arguments.format, path, photographs)}")
    return DONE


def default_output(run: Path, direction: str, kind: str) -> Path:
    if not run.is_dir():
        return run.with_name(f"{run.stem}{SUFFIXES[kind]}")
    (run / "exports").mkdir(exist_ok=True)
    return run / "exports" / f"{direction}{SUFFIXES[kind]}"


def words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    run_script(main)
