"""Translate pictures with a trained run: a file or a folder -> a file or a folder.

    translate.py runs/demo photographs/ paintings/
    translate.py runs/demo paintings/ photographs/ --direction painting2photo
    translate.py configs/gatys.yaml photographs/ paintings/ --style starry-night.jpg
    translate.py runs/adain photographs/ paintings/ --style a.jpg b.jpg --mask left.png right.png
    translate.py latest_net_G.pth photographs/ paintings/

Nested folders are mirrored, names and sizes are kept. Pictures that are there already are skipped, so the same
command goes on where it was stopped. A bad file costs only itself: it is listed in failures.csv (exit code 3).
Official weights are files of junyanz/pytorch-CycleGAN-and-pix2pix (latest_net_G.pth, latest_net_G_A.pth,
latest_net_G_B.pth); each holds one direction.
"""

import argparse
import csv
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from engine.command_line import Parser
from engine.exits import DONE, SOME_FAILED, UserError, run_script
from models.options import PRESERVED_COLOURS

HEADER = ("picture", "reason")
PRESERVE = (
    "keep the photograph's colours: take the translation's luminance alone (the default of the two), or give the "
    "paintings the photograph's colours first (moments)"
)
MASK = "one for each of --style, white where it is shown: a picture, or a folder of them under the photographs' names"
FAILURES = ("failures.csv", *(f"failures-{i}.csv" for i in range(1, 1000)))  # the first that is not somebody else's


def main() -> int:
    arguments = parse_arguments()
    if arguments.batch_size < 1:
        raise UserError("--batch-size must be at least 1")
    if not 0 <= arguments.alpha <= 1:
        raise UserError(f"--alpha {arguments.alpha}: must be 0 to 1")
    if arguments.mask and len(arguments.mask) != len(arguments.style):
        raise UserError(f"--mask: {len(arguments.mask)} masks for {len(arguments.style)} styles; one for each")
    if missing := [path for path in arguments.mask if not path.exists()]:
        raise UserError(f"--mask {missing[0]}: no such picture or folder")
    from data.outputs import make_folders, plan_outputs

    jobs = plan_outputs(arguments.input, arguments.output)
    open_jobs = [job for job in jobs if arguments.overwrite or not job.target.exists()]
    make_folders(open_jobs)
    return translate_all(jobs, open_jobs, arguments)


def translate_all(jobs: list, open_jobs: list, arguments: argparse.Namespace) -> int:
    """Do the open ones of the jobs and sum up, also when interrupted; returns the exit code."""
    results = iter(())
    if open_jobs:
        from engine.progress import say
        from models import load_translator
        from models.style import check_masks

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
        if arguments.preserve_color == "moments" and not translator.styles:
            raise UserError("--preserve-color moments: changes the colours of --style, of which none is taken here")
        if translator.method.described:
            say(translator.method.described)
        results = translate(translator, open_jobs, arguments)
    failures: list[tuple[str, str]] = []
    done = 0
    try:
        for job, problem in results:
            failures += [(job.name, problem)] if problem else []
            done += not problem
    finally:
        left = len(open_jobs) - done - len(failures)
        there = len(jobs) - len(open_jobs)
        hint = " (--overwrite replaces them)" if there else ""
        write_failures(arguments.output, failures)
        print(
            f"{done} translated, {there} there already{hint}, {len(failures)} failed"
            + (f", {left} left" if left else "")
            + f": {arguments.output}"
        )
    return SOME_FAILED if failures else DONE


def parse_arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a run folder of train.py, one of its checkpoints, the recipe of an untrained method, or official weights "
        "of CycleGAN (.pth)",
    )
    parser.add_argument("input", metavar="INPUT", type=Path, help="a picture or a folder, searched with its subfolders")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="a folder; for one picture also a file")
    parser.add_argument("--direction", help="photo2painting (default) or painting2photo")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--batch-size", type=int, default=1, help="pictures of one size translated together")
    parser.add_argument("--style", nargs="+", default=(), metavar="FILE|FOLDER", help="paintings whose style is taken")
    parser.add_argument("--style-weights", default="", metavar="0.7,0.3", help="one for each of --style")
    parser.add_argument("--alpha", type=float, default=1.0, help="0 to 1, how much of the style, for AdaIN (1)")
    parser.add_argument("--mask", nargs="+", default=(), type=Path, metavar="FILE|FOLDER", help=MASK)
    parser.add_argument(
        "--preserve-color", nargs="?", const="luminance", default="", choices=PRESERVED_COLOURS, help=PRESERVE
    )
    parser.add_argument("--set", nargs="+", default=(), metavar="key=value", help="changes of a recipe")
    parser.add_argument("--overwrite", action="store_true", help="replace translations that exist")
    return parser.parse_args()


def read_weights(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")] if text else []
    except ValueError:
        raise UserError(f"--style-weights {text}: numbers with commas between them, for example 0.7,0.3") from None


def translate(translator, jobs: list, arguments: argparse.Namespace) -> Iterator[tuple]:
    """Do the jobs; yields (job, what went wrong or "") for each."""
    from engine.progress import progress, say

    batch_size = 1 if arguments.mask else arguments.batch_size  # a photograph's masks are of any size
    with progress(len(jobs), "picture", f"translate {translator.direction}") as bar:

        def show(done: int, total: int, losses: dict[str, float]) -> None:
            parts = " ".join(f"{name} {value:.3g}" for name, value in losses.items())
            bar.set_postfix_str(f"iteration {done}/{total} {parts}", refresh=False)
            bar.update(0)

        for batch in same_size_batches(jobs, batch_size):
            for job, problem in translate_batch(translator, batch, arguments, show):
                if problem:
                    say(f"failed: {job.name}: {problem}")
                bar.update()
                yield job, problem


def same_size_batches(jobs: list, batch_size: int) -> Iterator[list[tuple]]:
    """Runs of up to `batch_size` neighbouring jobs whose pictures are of one size, as (job, picture); a picture
    that cannot be read comes alone, as (job, the error)."""
    opened = ((job, open_or_error(job.source)) for job in jobs)
    for _, group in groupby(opened, key=lambda pair: getattr(pair[1], "size", None)):
        batch = []
        for pair in group:
            batch.append(pair)
            if len(batch) == batch_size or isinstance(pair[1], Exception):
                yield batch
                batch = []
        if batch:
            yield batch


def open_or_error(path: Path):
    from data.images import PictureError, open_picture

    try:
        return open_picture(path)
    except PictureError as error:
        return error


def translate_batch(translator, batch: list[tuple], arguments: argparse.Namespace, show: Callable) -> Iterator[tuple]:
    """Translate and save pictures of one size; yields (job, what went wrong or ""). What is too large for the memory
    together is tried one by one."""
    import torch

    from data.images import PictureError, normalise, save_picture, to_picture, to_tensor
    from models.style import read_masks

    if isinstance(batch[0][1], Exception):
        yield batch[0][0], batch[0][1].reason
        return
    try:
        pixels = normalise(torch.stack([to_tensor(picture) for _, picture in batch]))
        masks = read_masks(arguments.mask, batch[0][0].name) if arguments.mask else ()
        translations = translator.translate(pixels, arguments.preserve_color, masks, show).cpu()
    except PictureError as error:
        yield batch[0][0], f"mask {error}"
        return
    except RuntimeError as error:  # torch.OutOfMemoryError is one, and the CPU has no class of its own
        if isinstance(error, torch.linalg.LinAlgError):
            translations = torch.full((len(batch), 1, 1, 1), torch.nan)
        elif isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            translations = None
        else:
            raise
    if translations is None and len(batch) > 1:
        for one in batch:
            yield from translate_batch(translator, [one], arguments, show)
        return
    if translations is None:
        job, picture = batch[0]
        yield job, f"out of memory at {picture.width} x {picture.height} px"
        return
    for (job, _), translation in zip(batch, translations, strict=True):
        if not translation.isfinite().all():
            yield job, "the translation is not finite: nothing is saved"
            continue
        try:
            save_picture(to_picture(translation), job.target)
            yield job, ""
        except OSError as error:
            yield job, f"could not be saved ({error.strerror or error})"


def write_failures(output: Path, failures: list[tuple[str, str]]) -> None:
    """failures.csv in the output folder says what failed in the last run; without failures there is none."""
    folder = output if output.is_dir() else output.parent
    path = next(path for name in FAILURES if not (path := folder / name).exists() or is_ours(path))
    if failures:
        with open(path, "w", newline="", errors="backslashreplace") as file:
            csv.writer(file).writerows([HEADER, *failures])
    elif path.exists():
        path.unlink()


def is_ours(path: Path) -> bool:
    return path.read_text(errors="replace").startswith(",".join(HEADER))


if __name__ == "__main__":
    run_script(main)
