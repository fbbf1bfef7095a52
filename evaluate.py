"""Measure trained runs on held-out pictures: runs -> RUN/report/ each, and a table.

    evaluate.py runs/demo
    evaluate.py runs/demo runs/other --pictures 512
    evaluate.py runs/demo --show        print the table of the last report

Photographs and paintings are the held-out parts of the run's own data, at the size of its training.
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
    from engine.report import read_scores, score_table

    for run in map(Path, arguments.runs):
        if arguments.show:
            scores = read_scores(run)
            if scores is None:
                raise UserError(f"{run}: has no report yet; evaluate.py {run} makes it")
        else:
            scores = evaluate(run, arguments)
        print(f"\n{run}\n{score_table(scores)}\nreport: {run / 'report' / 'report.md'}")
    return DONE


def parse_arguments() -> argparse.Namespace:
    title, _, rest = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=title, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run folder of train.py")
    parser.add_argument("--pictures", type=int, default=0, help="held-out pictures a domain (default: all)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--show", action="store_true", help="print the last report's table, measure nothing")
    return parser.parse_args()


def evaluate(run: Path, arguments: argparse.Namespace) -> list[dict]:
    """Write the report of one run; returns its scores."""
    from engine.progress import progress
    from engine.report import new_report_folder, write_report
    from engine.run_folder import read_run_config
    from engine.wandb_run import WandbRun
    from metrics import METRICS
    from metrics.measure import measure
    from models import load_translator

    read_run_config(run)  # a checkpoint alone has no folder for a report
    if not os.access(run, os.W_OK):
        raise UserError(f"{run}: cannot be written to; its report has no place")
    translator = load_translator(str(run), device=arguments.device)
    pictures = collect(translator, arguments)
    scores = []
    with progress(len(METRICS), "metric", "measure") as bar:
        for score in measure(pictures):
            row = {name: getattr(score.metric, name) for name in ("label", "better", "unit", "enough")}
            scores.append(row | dataclasses.asdict(score))
            bar.update()
    facts = describe(run, translator, pictures)
    columns = {"photograph": pictures.photographs, "translation": pictures.translations}
    columns["real painting" if pictures.truths is None else "true painting"] = (
        pictures.paintings if pictures.truths is None else pictures.truths
    )
    rows = min(GRID_ROWS, *(len(x) for x in columns.values()))
    folder = new_report_folder(run)
    write_report(folder, facts, scores, {name: x[:rows] for name, x in columns.items()})
    log_to_wandb(WandbRun(run, translator.config.log, {"evaluation": facts}), translator.step, folder, scores)
    return scores


def collect(translator, arguments: argparse.Namespace):
    """Read the held-out pictures and translate the photographs."""
    import torch

    from data import open_source
    from data.images import denormalise, normalise
    from data.loader import read_pictures
    from data.source import SourceWithTruth
    from engine.progress import progress
    from metrics.measure import Pictures

    data = translator.config.data
    content, style = (open_source(options, domain, "held_out") for domain, options in data.domains())
    count = arguments.pictures or max(len(content), len(style))
    photographs, names = read_pictures(content, count, data.size)
    paintings, _ = read_pictures(style, count, data.size)
    truths = other = None
    if isinstance(content, SourceWithTruth):
        truths, _ = read_pictures(content.counterpart(), count, data.size)
        other, _ = read_pictures(content.counterpart(variant=1), count, data.size)
    translations = []
    with progress(len(photographs), "picture", "translate") as bar:
        for batch in photographs.split(arguments.batch_size):
            # Measured as they would be saved: rounded to 8 bits.
            translations.append(denormalise(translator.translate(normalise(batch)).cpu()))
            bar.update(len(batch))
    parts = (torch.cat(translations), photographs, paintings, truths, other)
    return Pictures(*(None if part is None else normalise(part) for part in parts))


def describe(run: Path, translator, pictures) -> dict:
    """What the report says about itself."""
    import torch

    data = translator.config.data
    return {
        "run": str(run),
        "method": translator.config.method.name,
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
