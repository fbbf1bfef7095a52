"""Measure runs on held-out pictures: RUN/report/ each, and a table; several stand side by side in one report.

    evaluate.py runs/demo
    evaluate.py runs/demo runs/demo_johnson --report runs/comparison
    evaluate.py configs/gatys.yaml --set run=runs/gatys data.content.root=PHOTOGRAPHS data.style.root=PAINTINGS
    evaluate.py runs/demo --show        print the table of the last report

Photographs and paintings are the held-out parts of the run's own data, at the size of its training. A method that takes
its style from pictures gets a painting of the training part for each photograph, drawn by the run's seed. The recipe of
a method that is not trained becomes a run folder.
"""

import argparse
import dataclasses
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from engine.command_line import Parser
from engine.exits import DONE, USER_ERROR, UserError, run_script

GRID_ROWS = 8
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
        "runs", nargs="+", metavar="RUN", help="a run folder of train.py, or the recipe of an untrained method"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="a report of all the runs, side by side")
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

    cases = [(run_folder(target, arguments.set), target) for target in arguments.runs]
    for folder in [*(run / "report" for run, _ in cases), *([arguments.report] if arguments.report else [])]:
        check_report_folder(folder)
    opened = [(run, *open_case(target, arguments)) for run, target in cases]
    if arguments.report:
        refuse_other_pictures(opened)
    found = list(evaluate_all(opened, arguments))
    if arguments.report:
        compare(found, arguments.report)
    else:
        for (evaluation, *_), (run, _) in zip(found, cases, strict=True):
            print_scores([evaluation], run / "report")
    wanted = [each for each in found[0][0].missing if each["wanted"]]
    for each in wanted:
        print(f"error: not measured: {each['label']}: {each['reason']}", file=sys.stderr)
    return USER_ERROR if wanted else DONE


def run_folder(target: str, settings: list[str]) -> Path:
    """The folder of a run, where its report can be written; of an untrained method's recipe, the one that it names.

    Raises:
        UserError: it is another's.
    """
    from data import SOURCES
    from engine.config import differences, load_config, to_dict
    from engine.run_folder import read_run_config
    from models import METHODS

    run = Path(target)
    if run.suffix == ".yaml":
        config = load_config(run, settings, METHODS, SOURCES)
        if METHODS[config.method.name].is_trained:
            raise UserError(f"{run}: {config.method.name} has to be trained: train.py {run}; then evaluate its run")
        run = Path(config.run)
        changed = differences(read_run_config(run), to_dict(config)) if (run / "config.yaml").exists() else {}
        changed = [key for key in changed if not key.startswith(("run", "log."))]
        if changed or (run.exists() and not run.is_dir()):
            raise UserError(
                f"run = {run}: is there and is not of this recipe and these settings ({', '.join(changed[:3])}); give "
                f"--set run=ANOTHER, or evaluate.py {run}"
            )
        return run
    read_run_config(run)  # a checkpoint alone has no folder for a report
    if not os.access(run, os.W_OK):
        raise UserError(f"{run}: cannot be written to; its report has no place")
    return run


def open_case(target: str, arguments: argparse.Namespace) -> tuple:
    """The method, and the pictures that it will be measured by, not yet translated."""
    from metrics.measure import check_enough
    from models.translator import load

    translator = load(target, device=arguments.device, style=None, settings=arguments.set if ".yaml" in target else ())
    references = read_references(translator.config.data, arguments.pictures)
    check_enough(len(references.photographs), len(references.paintings))
    return translator, references


def evaluate_all(opened: list[tuple], arguments: argparse.Namespace) -> Iterator[tuple]:
    """(Evaluation, translations, references) of each run, whose report is written."""
    from metrics.features import FeatureStore, default_cache
    from metrics.measure import Evaluator

    store = FeatureStore(opened[0][1].device, default_cache(), not arguments.without_pretrained)
    evaluators = {}
    for run, translator, references in opened:
        key = (references.photographs.key, references.paintings.key)
        evaluator = evaluators.setdefault(key, Evaluator(references, store))
        yield evaluate_one(run, translator, references, evaluator, arguments)


def evaluate_one(run: Path, translator, references, evaluator, arguments: argparse.Namespace) -> tuple:
    """Write the report of one run; returns its Evaluation, its translations and what they were compared with."""
    from engine.logger import read_log
    from engine.progress import progress
    from engine.report import Evaluation, new_report_folder, write_report
    from engine.run_folder import RunFolder
    from engine.wandb_run import WandbRun
    from metrics import METRICS
    from metrics.measure import Score

    translations = translate(translator, references.photographs, arguments.batch_size)
    scores, missing = [], []
    with progress(len(METRICS), "metric", "measure") as bar:
        for found in evaluator.measure(translations):
            metric = METRICS[found.key]
            row = {name: getattr(metric, name) for name in ("label", "better", "unit", "enough")}
            (scores if isinstance(found, Score) else missing).append(row | dataclasses.asdict(found))
            bar.update()
    if not run.exists():  # of a recipe
        with RunFolder(translator.config) as made:
            made.start()
            made.finish(0)
    evaluation = Evaluation(describe(run, translator, references), scores, missing, read_log(run / "log.jsonl"))
    folder = new_report_folder(run / "report")
    write_report(folder, [evaluation], columns_of(references, {"translation": translations}), [command()])
    wandb = WandbRun(run, translator.config.log, {"evaluation": evaluation.facts})
    log_to_wandb(wandb, translator.step, folder, scores)
    return evaluation, translations, references


def refuse_other_pictures(opened: list[tuple]) -> None:
    """Runs can be compared that were asked to translate the same photographs."""
    first, _, ours = opened[0]
    for run, _, theirs in opened[1:]:
        for domain in ("photographs", "paintings"):
            if getattr(ours, domain).key != getattr(theirs, domain).key:
                raise UserError(
                    f"--report: {first} and {run} have other held-out {domain}; only runs of the same data and size "
                    "can be compared"
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


def read_references(data, count: int):
    """The held-out pictures of a run's data, at most `count` a domain (0: all)."""
    from data import open_source
    from data.loader import read_pictures
    from data.source import SourceWithTruth
    from metrics.sets import PictureSet, References

    content, style = (open_source(options, domain, "held_out") for domain, options in data.domains())
    count = count or max(len(content), len(style))
    sources = {"photographs": content, "paintings": style}
    if isinstance(content, SourceWithTruth):
        sources |= {"truths": content.counterpart(), "other_truths": content.counterpart(variant=1)}
    return References(**{name: PictureSet(*read_pictures(each, count, data.size)) for name, each in sources.items()})


def translate(translator, photographs, batch_size: int):
    """The translations of the photographs as they would be saved, a PictureSet."""
    import torch

    from data.images import denormalise
    from engine.progress import progress
    from metrics.sets import PictureSet, to_unit
    from models.method import Style

    styles = draw_styles(translator, len(photographs)) if translator.method.needs_style else None
    found = []
    with progress(len(photographs), "picture", "translate") as bar:
        for first in range(0, len(photographs), batch_size):
            batch = to_unit(photographs.pixels[first : first + batch_size])
            given = None if styles is None else [Style((styles[first : first + len(batch)].to(translator.device),))]
            found.append(denormalise(translator.translate(batch, styles=given).cpu()))
            bar.update(len(batch))
    return PictureSet(torch.cat(found), photographs.names)


def draw_styles(translator, count: int):
    """A painting of the training part for each photograph, [count, 3, H, W] in [-1, 1]: those that are held out are
    what the translations are compared with."""
    from data import open_source
    from data.loader import drawn_pictures

    config = translator.config
    return drawn_pictures(open_source(config.data.style, "style", "train"), count, config.data.size, config.seed)


def command() -> str:
    return shlex.join(["evaluate.py", *sys.argv[1:]])


def describe(run: Path, translator, references) -> dict:
    """What the report says about itself."""
    import torch

    data = translator.config.data
    return {
        "run": str(run),
        "method": translator.config.method.name,
        **({"networks": translator.method.described} if translator.method.described else {}),
        **({"style": "a training painting for each photograph"} if translator.method.needs_style else {}),
        "direction": translator.direction,
        "training steps": translator.step,
        "photographs": f"{len(references.photographs)} held out, source {data.content.source}",
        "paintings": f"{len(references.paintings)} held out, source {data.style.source}",
        "preprocessing": f"RGB, shorter side to {data.size} px (bicubic, antialiased), centre crop, 8 bits",
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
