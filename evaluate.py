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
from pathlib import Path

from engine.command_line import Parser
from engine.exits import DONE, UserError, run_script

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
    found = [evaluate_one(*case, arguments) for case in opened]
    if arguments.report:
        compare(found, arguments.report)
        return DONE
    for (evaluation, _), (run, _) in zip(found, cases, strict=True):
        print_scores([evaluation], run / "report")
    return DONE


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
    held_out = read_held_out(translator.config.data, arguments.pictures)
    check_enough(len(held_out["photographs"]), len(held_out["paintings"]))
    return translator, held_out


def evaluate_one(run: Path, translator, held_out: dict, arguments: argparse.Namespace) -> tuple:
    """Write the report of one run; returns its Evaluation and its Pictures."""
    from engine.progress import progress
    from engine.report import Evaluation, new_report_folder, write_report
    from engine.run_folder import RunFolder
    from engine.wandb_run import WandbRun
    from metrics import METRICS
    from metrics.measure import measure

    pictures = translate(translator, held_out, arguments.batch_size)
    scores = []
    with progress(len(METRICS), "metric", "measure") as bar:
        for score in measure(pictures):
            row = {name: getattr(score.metric, name) for name in ("label", "better", "unit", "enough")}
            scores.append(row | dataclasses.asdict(score))
            bar.update()
    if not run.exists():  # of a recipe
        with RunFolder(translator.config) as made:
            made.start()
            made.finish(0)
    found = Evaluation(describe(run, translator, pictures), scores)
    folder = new_report_folder(run / "report")
    write_report(folder, [found], columns_of(pictures, {"translation": pictures}))
    log_to_wandb(WandbRun(run, translator.config.log, {"evaluation": found.facts}), translator.step, folder, scores)
    return found, pictures


def refuse_other_pictures(opened: list[tuple]) -> None:
    """Runs can be compared that were asked to translate the same photographs."""
    import torch

    first, _, ours = opened[0]
    for run, _, theirs in opened[1:]:
        for domain in ("photographs", "paintings"):
            a, b = ours[domain], theirs[domain]
            if a.shape != b.shape or not torch.equal(a, b):
                raise UserError(
                    f"--report: {first} and {run} have other held-out {domain}; only runs of the same data and size "
                    "can be compared"
                )


def compare(found: list[tuple], folder: Path) -> None:
    """One report of several runs."""
    from engine.report import names_of, new_report_folder, write_report

    evaluations, pictures = zip(*found, strict=True)
    columns = columns_of(pictures[0], dict(zip(names_of(evaluations), pictures, strict=True)))
    write_report(new_report_folder(folder), evaluations, columns)
    print_scores(evaluations, folder)


def print_scores(evaluations: list, folder: Path) -> None:
    from engine.report import score_table

    of = "" if len(evaluations) > 1 else f"{evaluations[0].facts['run']}\n"
    print(f"\n{of}{score_table(evaluations)}\nreport: {folder / 'report.md'}")


def columns_of(pictures, translations: dict) -> dict:
    """Of the grid: a few photographs, what each method made of them, and the truth or other paintings."""
    truths = pictures.truths
    columns = {"photograph": pictures.photographs}
    columns |= {name: each.translations for name, each in translations.items()}
    columns |= {"real painting": pictures.paintings} if truths is None else {"true painting": truths}
    rows = min(GRID_ROWS, *(len(x) for x in columns.values()))
    return {name: x[:rows] for name, x in columns.items()}


def read_held_out(data, count: int) -> dict:
    """The held-out pictures of a run's data, at most `count` a domain (0: all): Pictures without translations."""
    from data import open_source
    from data.images import normalise
    from data.loader import read_pictures
    from data.source import SourceWithTruth

    content, style = (open_source(options, domain, "held_out") for domain, options in data.domains())
    count = count or max(len(content), len(style))
    sources = {"photographs": content, "paintings": style}
    if isinstance(content, SourceWithTruth):
        sources |= {"truths": content.counterpart(), "other_truths": content.counterpart(variant=1)}
    return {name: normalise(read_pictures(each, count, data.size)[0]) for name, each in sources.items()}


def translate(translator, held_out: dict, batch_size: int):
    """The held-out pictures with the translations of their photographs, as Pictures."""
    import torch

    from data.images import denormalise, normalise
    from engine.progress import progress
    from metrics.measure import Pictures
    from models.method import Style

    photographs = held_out["photographs"]
    styles = draw_styles(translator, len(photographs)) if translator.method.needs_style else None
    found = []
    with progress(len(photographs), "picture", "translate") as bar:
        for first in range(0, len(photographs), batch_size):
            batch = photographs[first : first + batch_size]
            given = None if styles is None else [Style((styles[first : first + len(batch)].to(translator.device),))]
            # Measured as they would be saved: rounded to 8 bits.
            found.append(denormalise(translator.translate(batch, styles=given).cpu()))
            bar.update(len(batch))
    return Pictures(translations=normalise(torch.cat(found)), **held_out)


def draw_styles(translator, count: int):
    """A painting of the training part for each photograph, [count, 3, H, W] in [-1, 1]: those that are held out are
    what the translations are compared with."""
    from data import open_source
    from data.loader import drawn_pictures

    config = translator.config
    return drawn_pictures(open_source(config.data.style, "style", "train"), count, config.data.size, config.seed)


def describe(run: Path, translator, pictures) -> dict:
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
        "photographs": f"{len(pictures.photographs)} held out, source {data.content.source}",
        "paintings": f"{len(pictures.paintings)} held out, source {data.style.source}",
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
