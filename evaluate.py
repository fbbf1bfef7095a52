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

from engine.exits import DONE, UserError, run_script

GRID_ROWS = 8


def main() -> int:
    arguments = parse_arguments()
    if arguments.pictures < 0 or arguments.batch_size < 1:
        raise UserError("--pictures must be at least 0 (all) and --batch-size at least 1")
    if arguments.set and not any(target.endswith(".yaml") for target in arguments.runs):
        raise UserError(f"--set {arguments.set[0]}: settings change a recipe; a run's are in its config.yaml")
    from engine.report import read_evaluation, score_table

    if arguments.show:
        for run in map(Path, arguments.runs):
            found = read_evaluation(run)
            if found is None:
                raise UserError(f"{run}: has no report yet; evaluate.py {run} makes it")
            print_scores(found)
        return DONE
    found = [evaluate(target, arguments) for target in arguments.runs]
    evaluations = [each for each, _ in found]
    if arguments.report:
        compare(found, arguments.report)
        print(f"\n{score_table(evaluations)}\nreport: {arguments.report / 'report.md'}")
        return DONE
    for each in evaluations:
        print_scores(each)
    return DONE


def print_scores(evaluation) -> None:
    from engine.report import score_table

    run = Path(evaluation.facts["run"])
    print(f"\n{run}\n{score_table([evaluation])}\nreport: {run / 'report' / 'report.md'}")


def parse_arguments() -> argparse.Namespace:
    title, _, rest = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=title, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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


def evaluate(target: str, arguments: argparse.Namespace) -> tuple:
    """Write the report of one run; returns its Evaluation and its Pictures."""
    from engine.progress import progress
    from engine.report import Evaluation, new_report_folder, write_report
    from engine.wandb_run import WandbRun
    from metrics import METRICS
    from metrics.measure import measure
    from models.translator import load

    run = run_folder(target, arguments.set)
    translator = load(str(run), device=arguments.device, style=None)
    pictures = collect(translator, arguments)
    scores = []
    with progress(len(METRICS), "metric", "measure") as bar:
        for score in measure(pictures):
            row = {name: getattr(score.metric, name) for name in ("label", "better", "unit", "enough")}
            scores.append(row | dataclasses.asdict(score))
            bar.update()
    found = Evaluation(describe(run, translator, pictures), scores)
    folder = new_report_folder(run / "report")
    write_report(folder, [found], columns_of(pictures, {"translation": pictures}))
    log_to_wandb(WandbRun(run, translator.config.log, {"evaluation": found.facts}), translator.step, folder, scores)
    return found, pictures


def run_folder(target: str, settings: list[str]) -> Path:
    """The folder of a run, where its report can be written; that of an untrained method's recipe is made."""
    from data import SOURCES
    from engine.config import load_config
    from engine.run_folder import RunFolder, read_run_config
    from models import METHODS

    run = Path(target)
    if run.suffix == ".yaml":
        config = load_config(run, settings, METHODS, SOURCES)
        if METHODS[config.method.name].is_trained:
            raise UserError(f"{run}: {config.method.name} has to be trained: train.py {run}; then evaluate its run")
        with RunFolder(config) as folder:
            folder.start()
            folder.finish(0)
        return folder.path
    read_run_config(run)  # a checkpoint alone has no folder for a report
    if not os.access(run, os.W_OK):
        raise UserError(f"{run}: cannot be written to; its report has no place")
    return run


def compare(found: list[tuple], folder: Path) -> None:
    """One report of several runs, which must have been asked to translate the same photographs."""
    import torch

    from engine.report import new_report_folder, write_report

    evaluations, pictures = zip(*found, strict=True)
    for each, theirs in zip(evaluations[1:], pictures[1:], strict=True):
        for domain in ("photographs", "paintings"):
            ours, other = getattr(pictures[0], domain), getattr(theirs, domain)
            if ours.shape != other.shape or not torch.equal(ours, other):
                first = evaluations[0].facts["run"]
                raise UserError(
                    f"--report: {first} and {each.facts['run']} have other held-out {domain}; only runs of the same "
                    "data and size can be compared"
                )
    names = [each.name for each in evaluations]
    if len(set(names)) < len(names):
        names = [str(each.facts["run"]) for each in evaluations]
    columns = columns_of(pictures[0], dict(zip(names, pictures, strict=True)))
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_report(new_report_folder(folder), evaluations, columns)


def columns_of(pictures, translations: dict) -> dict:
    """Of the grid: a few photographs, what each method made of them, and the truth or other paintings."""
    truths = pictures.truths
    columns = {"photograph": pictures.photographs}
    columns |= {name: each.translations for name, each in translations.items()}
    columns |= {"real painting": pictures.paintings} if truths is None else {"true painting": truths}
    rows = min(GRID_ROWS, *(len(x) for x in columns.values()))
    return {name: x[:rows] for name, x in columns.items()}


def collect(translator, arguments: argparse.Namespace):
    """Read the held-out pictures and translate the photographs."""
    import torch

    from data import open_source
    from data.images import denormalise, normalise
    from data.loader import read_pictures
    from data.source import SourceWithTruth
    from engine.progress import progress
    from metrics.measure import Pictures
    from models.method import Style

    data = translator.config.data
    content, style = (open_source(options, domain, "held_out") for domain, options in data.domains())
    count = arguments.pictures or max(len(content), len(style))
    photographs, names = read_pictures(content, count, data.size)
    paintings, _ = read_pictures(style, count, data.size)
    truths = other = None
    if isinstance(content, SourceWithTruth):
        truths, _ = read_pictures(content.counterpart(), count, data.size)
        other, _ = read_pictures(content.counterpart(variant=1), count, data.size)
    styles = draw_styles(translator, len(photographs)) if translator.method.needs_style else None
    translations = []
    with progress(len(photographs), "picture", "translate") as bar:
        for first in range(0, len(photographs), arguments.batch_size):
            batch = photographs[first : first + arguments.batch_size]
            given = None if styles is None else [Style((styles[first : first + len(batch)].to(translator.device),))]
            # Measured as they would be saved: rounded to 8 bits.
            translations.append(denormalise(translator.translate(normalise(batch), styles=given).cpu()))
            bar.update(len(batch))
    parts = (torch.cat(translations), photographs, paintings, truths, other)
    return Pictures(*(None if part is None else normalise(part) for part in parts))


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
