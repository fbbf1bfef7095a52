"""Measure translations on held-out pictures: RUN/report/ each, and a table; several stand side by side in one report.

    evaluate.py runs/demo
    evaluate.py runs/demo runs/demo_johnson --report runs/comparison
    evaluate.py runs/demo somebodys/pictures --report runs/comparison
    evaluate.py somebodys/pictures --content photographs/ --style paintings/ --size 256 --report runs/theirs
    evaluate.py runs/demo official/latest_net_G_A.pth --report runs/comparison
    evaluate.py configs/gatys.yaml --set run=runs/gatys data.content.root=PHOTOGRAPHS data.style.root=PAINTINGS
    evaluate.py runs/demo --show        print the table of the last report

Photographs and paintings are the held-out parts of the first run's own data, at the size of its training, or --content
and --style. A method that takes its style from pictures gets a painting of the training part for each photograph, drawn
by the run's seed. The recipe of a method that is not trained becomes a run folder. Finished pictures, of whatever
program, bear the photographs' names, in any format. Official weights are files of junyanz/pytorch-CycleGAN-and-pix2pix
(latest_net_G.pth, latest_net_G_A.pth); like finished pictures they have no data and no place for a report of their own.
"""

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from engine.command_line import Parser
from engine.exits import DONE, USER_ERROR, UserError, run_script

GRID_ROWS = 8
DETECTED = 512  # pictures that the detectors look at
FEWEST = 4  # pictures: two halves of two


def main() -> int:
    arguments = parse_arguments()
    if arguments.batch_size < 1 or not (arguments.pictures == 0 or arguments.pictures >= FEWEST):
        raise UserError(f"--pictures must be 0 (all) or at least {FEWEST}, and --batch-size at least 1")
    if arguments.set and not any(target.endswith(".yaml") for target in arguments.runs):
        raise UserError(f"--set {arguments.set[0]}: settings change a recipe; a run's are in its config.yaml")
    return show(arguments) if arguments.show else evaluate(arguments)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a run folder of train.py, the recipe of an untrained method, official weights of CycleGAN (.pth), or a "
        "folder of finished pictures",
    )
    parser.add_argument("--content", metavar="PHOTOGRAPHS", help="instead of the held-out ones of the first run's data")
    parser.add_argument("--style", metavar="PAINTINGS", help="instead of the held-out ones of the first run's data")
    parser.add_argument("--size", type=int, default=0, help="px of --content and --style (the first run's, else 256)")
    parser.add_argument("--report", type=Path, metavar="DIR", help="a report of all of them, side by side")
    parser.add_argument("--pictures", type=int, default=0, help="held-out pictures a domain (default: all)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", nargs="+", default=(), metavar="key=value", help="changes of a recipe")
    parser.add_argument(
        "--without-pretrained", action="store_true", help="leave out FID, LPIPS and whatever else needs others' weights"
    )
    parser.add_argument("--show", action="store_true", help="print the last report's table, measure nothing")
    return parser.parse_args()


def show(arguments: argparse.Namespace) -> int:
    from engine.report import read_evaluation

    for run in map(Path, arguments.runs):
        found = read_evaluation(run)
        if found is None:
            raise UserError(f"{run}: has no report yet; evaluate.py {run} makes it")
        print_scores([found], run / "report")
    return DONE


def evaluate(arguments: argparse.Namespace) -> int:
    """What can be wrong is found out before anything slow is done: of all runs first the folders, then the pictures."""
    from engine.report import check_report_folder
    from models.candidate import open_candidate

    candidates = [open_candidate(run, arguments.set if run.endswith(".yaml") else (), arguments.device)
                  for run in arguments.runs]  # fmt: skip
    if arguments.report is None and (homeless := [each.path for each in candidates if each.report is None]):
        raise UserError(f"{homeless[0]}: nothing is written into or beside what is no run; give --report DIR")
    for folder in filter(None, [*(each.report for each in candidates), arguments.report]):
        check_report_folder(folder)
    opened = [(each, read_references(each, candidates, arguments)) for each in candidates]
    if arguments.report:
        refuse_other_pictures(opened)
    found = list(evaluate_all(opened, arguments))
    if arguments.report:
        compare(found, arguments.report)
    else:
        for (evaluation, *_), candidate in zip(found, candidates, strict=True):
            print_scores([evaluation], candidate.report)
    wanted = [each for each in found[0][0].missing if each["wanted"]]
    for each in wanted:
        print(f"error: not measured: {each['label']}: {each['reason']}", file=sys.stderr)
    return USER_ERROR if wanted else DONE


def read_references(candidate, candidates: list, arguments: argparse.Namespace):
    """What a candidate is measured by: the pictures of the command line, of its own data, or of the first run's."""
    from data import open_source
    from data.loader import read_pictures
    from data.options import FolderOptions
    from data.source import SourceWithTruth
    from metrics.measure import check_enough
    from metrics.sets import PictureSet, References

    data = candidate.data or next((each.data for each in candidates if each.data), None)
    given = {"content": arguments.content, "style": arguments.style}
    if data is None and not all(given.values()):
        raise UserError(f"{candidate.path}: without a run --content PHOTOGRAPHS and --style PAINTINGS are needed")
    size = arguments.size or (data.size if data else 256)
    own = dict(data.domains()) if data else {}
    sources = {}
    for domain, path in given.items():
        options = FolderOptions(held_out=path, root=path) if path else own[domain]
        sources[domain] = open_source(options, domain, "held_out")
    count = arguments.pictures or max(map(len, sources.values()))
    wanted = {"photographs": sources["content"], "paintings": sources["style"]}
    if isinstance(sources["content"], SourceWithTruth):
        wanted |= {
            "truths": sources["content"].counterpart(),
            "other_truths": sources["content"].counterpart(variant=1),
        }
    references = References(**{name: PictureSet(*read_pictures(each, count, size)) for name, each in wanted.items()})
    check_enough(len(references.photographs), len(references.paintings))
    return references


def evaluate_all(opened: list[tuple], arguments: argparse.Namespace) -> Iterator[tuple]:
    """(Evaluation, translations, references) of each candidate; a run's own report is written."""
    from engine.device import choose_device
    from metrics.features import FeatureStore, default_cache
    from metrics.measure import Evaluator

    store = FeatureStore(choose_device(arguments.device), default_cache(), not arguments.without_pretrained)
    evaluators = {}
    for candidate, references in opened:
        key = (references.photographs.key, references.paintings.key)
        evaluator = evaluators.setdefault(key, Evaluator(references, store))
        evaluation, translations = evaluate_one(candidate, references, evaluator, arguments.batch_size)
        if candidate.report:
            candidate.keep()
            write_own_report(candidate, evaluation, columns_of(references, {"translation": translations}))
        yield evaluation, translations, references


def evaluate_one(candidate, references, evaluator, batch_size: int) -> tuple:
    """Its Evaluation, and its translations."""
    from engine.logger import read_log
    from engine.progress import progress
    from engine.report import Evaluation
    from metrics import METRICS
    from metrics.detectors import DETECTORS, detect
    from metrics.measure import Score
    from metrics.sets import PictureSet, to_unit

    photographs = references.photographs
    translations = PictureSet(candidate.translate(photographs.pixels, photographs.names, batch_size), photographs.names)
    scores, missing = [], []
    with progress(len(METRICS), "metric", "measure") as bar:
        for found in evaluator.measure(translations):
            metric = METRICS[found.key]
            row = {name: getattr(metric, name) for name in ("label", "better", "unit", "enough")}
            if isinstance(found, Score):
                scores.append(row | dataclasses.asdict(dataclasses.replace(found, pictures=None)))
            else:
                missing.append(row | dataclasses.asdict(found))
            bar.update()
    few = slice(DETECTED)
    findings = [
        {name: getattr(DETECTORS[found.key], name) for name in ("label", "fires", "threshold", "said")}
        | dataclasses.asdict(found)
        for found in detect(to_unit(translations.pixels[few]), to_unit(photographs.pixels[few]))
    ]
    facts = candidate.facts() | describe(references)
    return Evaluation(facts, scores, missing, findings, read_log(candidate.path / "log.jsonl")), translations


def write_own_report(run, evaluation, columns: dict) -> None:
    from engine.report import new_report_folder, write_report
    from engine.wandb_run import WandbRun

    folder = new_report_folder(run.report)
    write_report(folder, [evaluation], columns, [command()])
    wandb = WandbRun(run.path, run.translator.config.log, {"evaluation": evaluation.facts})
    log_to_wandb(wandb, run.translator.step, folder, evaluation.scores)


def refuse_other_pictures(opened: list[tuple]) -> None:
    """What can be compared was asked to translate the same photographs."""
    first, ours = opened[0]
    for candidate, theirs in opened[1:]:
        for domain in ("photographs", "paintings"):
            if getattr(ours, domain).key != getattr(theirs, domain).key:
                raise UserError(
                    f"--report: {first.path} and {candidate.path} have other held-out {domain}; only what has the same "
                    "data and size can be compared (or give both --content and --style)"
                )


def compare(found: list[tuple], folder: Path) -> None:
    """One report of several runs."""
    from engine.report import names_of, new_report_folder, write_report

    evaluations, translations, references = zip(*found, strict=True)
    columns = columns_of(references[0], dict(zip(names_of(evaluations), translations, strict=True)))
    write_report(new_report_folder(folder), evaluations, columns, [command()])
    print_scores(evaluations, folder)


def print_scores(evaluations: list, folder: Path) -> None:
    from engine.report import score_table

    of = "" if len(evaluations) > 1 else f"{evaluations[0].facts['run']}\n"
    print(f"\n{of}{score_table(evaluations)}\nreport: {folder / 'report.html'}")


def columns_of(references, translations: dict) -> dict:
    """Of the grid: a few photographs, what each method made of them, and the truth or other paintings."""
    from metrics.sets import to_unit

    columns = {"photograph": references.photographs, **translations}
    truths = references.truths
    columns |= {"real painting": references.paintings} if truths is None else {"true painting": truths}
    rows = min(GRID_ROWS, *(len(each) for each in columns.values()))
    return {name: to_unit(each.pixels[:rows]) for name, each in columns.items()}


def command() -> str:
    return shlex.join(["evaluate.py", *sys.argv[1:]])


def describe(references) -> dict:
    """What the report says about the pictures."""
    import torch

    side = references.photographs.pixels.shape[-1]
    return {
        "photographs": f"{len(references.photographs)}, the first {references.photographs.names[0]}",
        "paintings": f"{len(references.paintings)}, the first {references.paintings.names[0]}",
        "preprocessing": f"RGB, shorter side to {side} px (bicubic, antialiased), centre crop, 8 bits",
        "versions": f"torch {torch.__version__}",
    }


def log_to_wandb(wandb, step: int, folder: Path, scores: list[dict]) -> None:
    from PIL import Image

    wandb.log(step, {f"evaluation/{score['key']}": score["value"] for score in scores})
    columns = ["key", "label", "better", "value", "untouched", "truth", "real", "n"]
    wandb.log_table("evaluation/scores", columns, [[score[c] for c in columns] for score in scores])
    wandb.log_picture(step, "evaluation/grid", Image.open(folder / "grid.png"))
    wandb.finish()


if __name__ == "__main__":
    run_script(main)
