"""Translate pictures with a trained run: a file or a folder -> a file or a folder.

    translate.py runs/demo photographs/ paintings/
    translate.py runs/demo 'photographs/**/*.jpg' paintings/ --format png --max-side 2048
    find photographs -type f -newer paintings | translate.py runs/demo - paintings/
    translate.py runs/demo paintings/ photographs/ --direction painting2photo
    translate.py configs/gatys.yaml photographs/ paintings/ --style starry-night.jpg
    translate.py runs/adain photographs/ paintings/ --style a.jpg b.jpg --mask left.png right.png
    translate.py latest_net_G.pth photographs/ paintings/
    translate.py runs/demo holiday.mp4 painted.mp4
    torchrun --nproc-per-node=4 translate.py runs/demo photographs/ paintings/

Nested folders are mirrored, names and sizes are kept. Pictures that are there already are skipped, so the same
command goes on where it was stopped, and several processes share one output folder. A bad file costs only itself: it
is listed in failures.csv (exit code 3). Official weights are files of junyanz/pytorch-CycleGAN-and-pix2pix
(latest_net_G.pth, latest_net_G_A.pth, latest_net_G_B.pth); each holds one direction.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from engine.command_line import Parser
from engine.exits import DONE, UserError, answer, printable, run_script
from models.options import PRESERVED_COLOURS

KEEP_COLOR = (
    "keep the photograph's colours: take the translation's luminance alone (the default of the two), or give the "
    "paintings the photograph's colours first (moments)"
)
USUAL_SIZE = 256  # px, of training pictures, until the run says its own
MASK = "one for each of --style, white where it is shown: a picture, or a folder of them under the photographs' names"


def main() -> int:
    arguments = parse_arguments()
    check(arguments)
    from engine.distributed import join_team
    from engine.progress import say

    with join_team() as team, team.one_voice():
        from translation.videos import left_alone, name_videos

        if videos := name_videos(arguments.inputs):
            return translate_named_videos(videos, arguments, team)
        code = translate(arguments, team)
        if team.leads and (number := left_alone(arguments.inputs)):
            say(f"videos left alone: {number}; name them to have them translated")
        return code


def translate(arguments: argparse.Namespace, team) -> int:
    """Plan, do what is not there yet, and sum up, also when interrupted; returns the exit code."""
    from engine.progress import say
    from engine.signals import StopRequest
    from translation.claims import clean_up
    from translation.folder import Tally, clock_of, not_there
    from translation.plan import check_room, make_folders, plan_outputs
    from translation.summary import list_failures, sum_up

    listed = sys.stdin and sys.stdin.buffer if "-" in arguments.inputs else None
    jobs = team.once(lambda: plan_outputs(arguments.inputs, arguments.output, arguments.format, listed))
    open_jobs = jobs if arguments.overwrite else team.once(lambda: not_there(jobs))
    if arguments.dry_run:
        return team.once(lambda: show_plan(jobs, open_jobs, arguments))
    began, tally = time.monotonic(), Tally()
    team.once(lambda: clean_up(jobs, open_jobs))
    with StopRequest(of_team=team.size > 1) as stop:
        if open_jobs:
            team.once(lambda: make_folders(open_jobs))
            team.once(lambda: check_room(open_jobs, arguments.output, foreseen_size(arguments)))
            since = team.once(lambda: clock_of(open_jobs[0].target.parent) if arguments.overwrite else None)
            own = len(open_jobs) * team.rank // team.size  # where this process begins; it ends with the others' shares
            tally = translate_jobs(open_jobs[own:] + open_jobs[:own], since, arguments, stop)
        try:
            tallies = team.all((tally, stop.signal))
        except Exception:  # a process is gone, and with it the summary; what has failed here is listed all the same
            list_failures(arguments.output, jobs, tally.failed)
            raise
    seconds = time.monotonic() - began
    summary = team.once(lambda: sum_up(jobs, open_jobs, tallies, arguments.output, seconds))
    if team.leads:
        *more, line = summary.lines(arguments.overwrite)
        for each in more:
            say(each)
        answer(json.dumps(summary.values()) if arguments.json else printable(line))
    return summary.exit_code


def translate_jobs(jobs: list, since: float | None, arguments: argparse.Namespace, stop):
    """Load the model and do the jobs; returns their Tally."""
    from engine.progress import progress, say
    from translation.finish import SizeRule
    from translation.folder import Folder, HowToSave, threads_for

    def optimising(done: int, total: int, losses: dict[str, float]) -> None:
        if stop.signal:
            raise KeyboardInterrupt
        parts = " ".join(f"{name} {value:.3g}" for name, value in losses.items())
        bar.set_postfix_str(f"iteration {done}/{total} {parts}", refresh=False)
        bar.update(0)

    def told(job, problem: str) -> None:
        if problem:
            say(f"failed: {job.name}: {problem}")
        bar.update()

    painter = open_painter(arguments, optimising)
    translator = painter.translator
    size = SizeRule(arguments.max_side, translator.config.data.size if arguments.resize_to_training_size else 0)
    how = HowToSave(
        batch_size_for(translator, arguments), arguments.threads or threads_for(), arguments.quality, since, size
    )
    with progress(len(jobs), "picture", f"translate {translator.direction}") as bar:
        folder = Folder(painter, how, stop, told)
        folder.translate(jobs)
    return folder.tally


def open_painter(arguments: argparse.Namespace, optimising=None):
    """Load the model; returns a translation.painter.Painter that does what the options say."""
    from engine.progress import say
    from models import load_translator
    from models.style import check_masks
    from translation.fast import make_fast
    from translation.finish import Finish
    from translation.painter import Painter

    check_masks(arguments.mask)
    translator = load_translator(
        arguments.run,
        arguments.direction,
        arguments.device,
        arguments.style,
        read_weights(arguments.style_weights),
        arguments.alpha,
        arguments.set,
    )
    if arguments.keep_color == "moments" and not translator.styles:
        raise UserError("--keep-color moments: changes the colours of --style, of which none is taken here")
    if translator.method.described:
        say(translator.method.described)
    if arguments.backend == "onnx":
        from translation.onnx_backend import through_onnx

        translator = through_onnx(translator)
    make_fast(translator, arguments.precision, arguments.compile)
    keeps = arguments.keep_color == "luminance"
    finish = Finish(arguments.blend, arguments.keep_luminance, keeps, arguments.side_by_side)
    return Painter(
        translator,
        finish,
        "" if keeps else arguments.keep_color,
        arguments.mask,
        optimising,
        arguments.precision,
        arguments.tile,
        arguments.statistics,
    )


def translate_named_videos(videos: list[Path], arguments: argparse.Namespace, team) -> int:
    from translation.videos import VideoOptions, plan_videos, translate_videos

    if team.size > 1:
        raise UserError("a video is translated by one process: without torchrun")
    for name in ("mask", "side_by_side", "max_side", "resize_to_training_size", "format", "quality"):
        if getattr(arguments, name):
            raise UserError(f"--{name.replace('_', '-')}: is for pictures; a video takes none")
    jobs = plan_videos(videos, arguments.output)
    if arguments.dry_run:
        return show_plan(
            jobs, [job for job in jobs if arguments.overwrite or not os.path.exists(job.target)], arguments
        )
    options = VideoOptions(arguments.batch_size or 1, arguments.crf, arguments.partial, arguments.overwrite)
    return translate_videos(jobs, lambda: open_painter(arguments), options, arguments.json)


def batch_size_for(translator, arguments: argparse.Namespace) -> int:
    """On a CPU batches are no faster, and one by one the same picture gives the same bytes in any company; and a
    photograph's masks are of any size."""
    if arguments.mask or (translator.device.type == "cpu" and not translator.method.optimizes):
        return 1
    return arguments.batch_size or (1 if translator.method.optimizes else 8)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a run folder of train.py, one of its checkpoints, what export.py wrote (.safetensors, .onnx), the recipe "
        "of an untrained method, or official weights of CycleGAN (.pth)",
    )
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="a picture, a folder, searched with its subfolders, a pattern, or - for a list on standard input",
    )
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="a folder; for one picture also a file")
    parser.add_argument("--direction", help="photo2painting (default) or painting2photo")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--backend", default="torch", choices=("torch", "onnx"), help="what runs the network (torch)")
    parser.add_argument("--batch-size", type=int, help="pictures of one size translated together, on a GPU (8)")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "tf32", "bf16"), help="of the network (fp32)")
    parser.add_argument("--compile", action="store_true", help="torch.compile, for the sizes that come often")
    parser.add_argument("--tile", type=int, metavar="PX", help="translate larger pictures in parts (as memory allows)")
    parser.add_argument(
        "--statistics", default="auto", choices=("auto", "exact", "sampled", "thumbnail"),
        help="of a picture in parts, for its norms: its own, kept on the disk; estimated; of its thumbnail",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=0, help="that read, and as many that write (2 to 8)")
    parser.add_argument("--overwrite", action="store_true", help="replace translations that exist")
    parser.add_argument("--dry-run", action="store_true", help="show what would become what, and translate nothing")
    parser.add_argument("--json", action="store_true", help="the summary as one line of JSON")
    style = parser.add_argument_group("style")
    style.add_argument("--style", nargs="+", default=(), metavar="FILE|FOLDER", help="paintings whose style is taken")
    style.add_argument("--style-weights", default="", metavar="0.7,0.3", help="one for each of --style")
    style.add_argument("--alpha", type=float, default=1.0, help="0 to 1, how much of the style, for AdaIN (1)")
    style.add_argument("--mask", nargs="+", default=(), type=Path, metavar="FILE|FOLDER", help=MASK)
    style.add_argument("--set", nargs="+", default=(), metavar="key=value", help="changes of a recipe")
    look = parser.add_argument_group("what comes out")
    look.add_argument("--format", default="", choices=("png", "jpg", "webp"), help="(default: each picture's own)")
    look.add_argument("--quality", type=int, default=0, help="1 to 100, of JPEG and WebP (95, and lossless)")
    look.add_argument("--max-side", type=int, default=0, metavar="PX", help="reduce larger pictures to this first")
    look.add_argument(
        "--resize-to-training-size", action="store_true", help="bring the shorter side to that of training first"
    )
    look.add_argument("--blend", type=float, default=1.0, help="0 to 1, share of the translation in the picture (1)")
    look.add_argument("--keep-luminance", action="store_true", help="the photograph's, with the translation's colours")
    look.add_argument(
        *("--keep-color", "--preserve-color"), nargs="?", const="luminance", default="",
        choices=PRESERVED_COLOURS, help=KEEP_COLOR,
    )  # fmt: skip
    look.add_argument("--crf", type=int, help="of videos: 0 (best) to 51, of WebM 63 (17; 24)")
    look.add_argument("--partial", action="store_true", help="of a damaged video take what can be decoded")
    look.add_argument("--side-by-side", action="store_true", help="the photograph on the left of its translation")
    return parser.parse_args()


def check(arguments: argparse.Namespace) -> None:
    """What is wrong whatever the pictures are; raises UserError."""
    for name, least in {"batch_size": 1, "tile": 16, "threads": 0, "max_side": 0, "quality": 0}.items():
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least {least}")
    if arguments.quality > 100:
        raise UserError(f"--quality {arguments.quality}: must be 1 to 100")
    for name in ("alpha", "blend"):
        if not 0 <= getattr(arguments, name) <= 1:
            raise UserError(f"--{name} {getattr(arguments, name)}: must be 0 to 1")
    if arguments.backend == "onnx" and (arguments.precision != "fp32" or arguments.compile):
        raise UserError("--backend onnx: --precision and --compile are torch's")
    if arguments.keep_luminance and arguments.keep_color == "luminance":
        raise UserError("--keep-luminance --keep-color: both together leave the photograph as it is")
    if arguments.mask and len(arguments.mask) != len(arguments.style):
        raise UserError(f"--mask: {len(arguments.mask)} masks for {len(arguments.style)} styles; one for each")
    if missing := [path for path in arguments.mask if not path.exists()]:
        raise UserError(f"--mask {missing[0]}: no such picture or folder")


def read_weights(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")] if text else []
    except ValueError:
        raise UserError(f"--style-weights {text}: numbers with commas between them, for example 0.7,0.3") from None


def foreseen_size(arguments: argparse.Namespace):
    """The SizeRule as far as it is known before the model is loaded."""
    from translation.finish import SizeRule

    return SizeRule(arguments.max_side, USUAL_SIZE if arguments.resize_to_training_size else 0)


def show_plan(jobs: list, open_jobs: list, arguments: argparse.Namespace) -> int:
    from translation.plan import check_room

    needed, free = check_room(open_jobs, arguments.output, foreseen_size(arguments))
    there = len(jobs) - len(open_jobs)
    pairs = [(printable(str(job.source)), printable(str(job.target))) for job in open_jobs]
    if arguments.json:
        answer(json.dumps({"to_translate": pairs, "there": there, "bytes_needed": needed, "bytes_free": free}))
        return DONE
    for source, target in pairs:
        answer(f"{source} -> {target}")
    room = f"about {needed / 1e6:,.1f} MB are wanted, {free / 1e6:,.1f} MB are free"
    answer(f"{len(pairs)} to translate, {there} there already; {room}")
    return DONE


if __name__ == "__main__":
    run_script(main)
