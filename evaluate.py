"""Measure translations on held-out pictures: RUN/report/ each, and a table; several stand side by side in one report.

    evaluate.py runs/demo
    evaluate.py runs/demo runs/demo_johnson --report runs/comparison
    evaluate.py runs/demo somebodys/pictures --report runs/comparison
    evaluate.py somebodys/pictures --content photographs/ --style paintings/ --size 256 --report runs/theirs
    evaluate.py runs/demo official/latest_net_G_A.pth --report runs/comparison
    evaluate.py runs/demo runs/demo/checkpoints/best.pt --report runs/comparison
    evaluate.py configs/gatys.yaml --set run=runs/gatys data.content.root=PHOTOGRAPHS data.style.root=PAINTINGS
    evaluate.py runs/demo --classifier runs/vgg_wikiart --classes claude-monet
    evaluate.py runs/demo --show        print the table of the last report
    torchrun --nproc-per-node=4 evaluate.py runs/demo       shared by four processes or GPUs; the same numbers

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.command_line import Parser
from engine.exits import DONE, USER_ERROR, UserError, run_script

GRID_ROWS = 8
DEFAULT_SIZE, SMALLEST, LARGEST = 256, 16, 8192  # px
FEWEST = 4  # pictures: two halves of two


def main() -> int:
    arguments = parse_arguments()
    if arguments.batch_size < 1 or not (arguments.pictures == 0 or arguments.pictures >= FEWEST):
        raise UserError(f"--pictures must be 0 (all) or at least {FEWEST}, and --batch-size at least 1")
    if arguments.size and not SMALLEST <= arguments.size <= LARGEST:
        raise UserError(f"--size {arguments.size}: must be {SMALLEST} to {LARGEST} px")
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
    parser.add_argument("--classifier", type=Path, metavar="RUN", help="of vgg_finetune: another judge of deception")
    parser.add_argument(
        "--classes", nargs="+", default=(), metavar="NAME", help="that count as deceived (those of the real paintings)"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", nargs="+", default=(), metavar="key=value", help="changes of a recipe")
    parser.add_argument(
        "--without-pretrained", action="store_true", help="leave out FID, LPIPS and whatever else needs others' weights"
    )
    parser.add_argument("--show", action="store_true", help="print the last report's table, measure nothing")
    return parser.parse_args()


def show(arguments: argparse.Namespace) -> int:
    from engine.report import read_evaluations

    for run in map(Path, arguments.runs):
        found = read_evaluations(run)
        if not found:
            raise UserError(f"{run}: has no report yet; evaluate.py {run} makes it")
        print_scores(found, run / "report" if (run / "report").is_dir() else run)
    return DONE


def evaluate(arguments: argparse.Namespace) -> int:
    """What can be wrong is found out before anything slow is done: of all runs first the folders, then the pictures."""
    from engine.distributed import join_team
    from engine.report import check_report_folder
    from models.candidate import open_candidate

    with join_team() as team:
        candidates = [open_candidate(run, arguments.set if run.endswith(".yaml") else (), arguments.device)
                      for run in arguments.runs]  # fmt: skip
        if arguments.report is None and (homeless := [each.path for each in candidates if each.report is None]):
            raise UserError(f"{homeless[0]}: nothing is written into or beside what is no run; give --report DIR")
        for folder in filter(None, [*(each.report for each in candidates), arguments.report]):
            team.once(lambda folder=folder: check_report_folder(folder))
        opened = list(with_references(candidates, arguments))
        if arguments.report:
            refuse_other_pictures(opened)
        found = list(evaluate_all(opened, arguments, team))
        if team.leads:
            write_reports(candidates, found, arguments.report)
    rows = [row for each in found for row in each.evaluation.missing if row["wanted"]]
    wanted = {f"error: not measured: {row['label']}: {row['reason']}": None for row in rows}
    for line in wanted if team.leads else ():
        print(line, file=sys.stderr)
    return USER_ERROR if wanted else DONE


def with_references(candidates: list, arguments: argparse.Namespace) -> Iterator[tuple]:
    """Each candidate with what it is measured by: the pictures of the command line, of its own data, or of the first
    run's. They are read once for all that have the same."""
    from metrics.references import read_references

    given = {"content": arguments.content, "style": arguments.style}
    found = {}
    for candidate in candidates:
        data = candidate.data or next((each.data for each in candidates if each.data), None)
        if data is None and not all(given.values()):
            raise UserError(f"{candidate.path}: without a run --content PHOTOGRAPHS and --style PAINTINGS are needed")
        size = arguments.size or (data.size if data else DEFAULT_SIZE)
        key = repr((data and data.domains(), size))
        if key not in found:
            found[key] = read_references(data, size, arguments.pictures, given)
        yield candidate, found[key]


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


@dataclass(frozen=True)
class Evaluated:
    """A candidate's Evaluation, for the report; and the pictures that it is about, References and metrics' Measured."""

    evaluation: Any
    references: Any
    measured: Any


def evaluate_all(opened: list[tuple], arguments: argparse.Namespace, team) -> Iterator[Evaluated]:
    from engine.cache import default_cache
    from engine.device import choose_device
    from metrics.features import NETWORKS, FeatureStore
    from metrics.measure import Evaluator

    cache, device, pretrained = default_cache(), choose_device(arguments.device), not arguments.without_pretrained
    evaluators = {}
    for candidate, references in opened:
        if id(references) not in evaluators:
            networks = NETWORKS | judge_of(arguments, references)
            evaluators[id(references)] = Evaluator(references, FeatureStore(device, cache, pretrained, team, networks))
        yield evaluate_one(candidate, evaluators[id(references)], arguments, cache)


def judge_of(arguments: argparse.Namespace, references) -> dict:
    """The network that --classifier names, for metrics.features."""
    from metrics.features import Network
    from models.judge import open_judge

    if not arguments.classifier:
        if arguments.classes:
            raise UserError("--classes: of which classifier? give --classifier RUN")
        return {}
    judge, identity = open_judge(arguments.classifier, arguments.classes, references.paintings.labels)
    return {"classifier": Network(lambda: judge, identity, pretrained=False)}


def evaluate_one(candidate, evaluator, arguments: argparse.Namespace, cache) -> Evaluated:
    from engine.logger import read_log
    from engine.progress import progress
    from engine.summary import Evaluation
    from metrics import METRICS
    from metrics.evaluation import measure_all, rows_of
    from metrics.sets import PictureSet

    references, team = evaluator.references, evaluator.store.team
    photographs = references.photographs
    translated = candidate.translate(photographs.pixels, photographs.names, arguments.batch_size, cache, team)
    with progress(len(METRICS), "metric", "measure") as bar:
        measured = measure_all(PictureSet(translated, photographs.names), evaluator, bar.update)
    known = references.known or references.paintings
    nearest = {
        "by": measured.nearest_by,
        "among": len(known),
        "ratio": measured.nearest.ratio if candidate.data else None,  # what others have learnt from is not known
        "names": [known.names[place] for place in measured.nearest.places[:GRID_ROWS].tolist()],
    }
    evaluation = Evaluation(
        candidate.facts() | describe(references, arguments),
        **rows_of(measured),
        cost=team.once(lambda: cost_of(candidate, photographs.pixels[: arguments.batch_size])),
        nearest=nearest,
        configuration=candidate.configuration(),
        log=read_log(candidate.path / "log.jsonl"),
    )
    return Evaluated(evaluation, references, measured)


def cost_of(candidate, pixels) -> dict:
    """Measured on the spot; {} for finished pictures."""
    from data.images import normalise
    from metrics.cost import measure_cost

    if candidate.apply is None:
        return {}
    method = candidate.translator.method
    pictures = normalise(pixels).to(candidate.translator.device)
    return dataclasses.asdict(measure_cost(candidate.apply, method, pictures, method.optimizes))


def write_reports(candidates: list, found: list[Evaluated], together: Path | None) -> None:
    """Each run's own report, and the one of all of them."""
    from engine.report import log_report
    from engine.wandb_run import WandbRun

    made: list[dict] = [{} for _ in candidates]  # reports by name, for each run's W&B
    for candidate, each, reports in zip(candidates, found, made, strict=True):
        if candidate.report:
            candidate.keep()
            reports["evaluation"] = write_one(candidate.report, [each])
            if together is None:
                print_scores([each.evaluation], candidate.report)
    if together:
        comparison = write_one(together, found)
        for reports in made if len(found) > 1 else ():
            reports["comparison"] = comparison
        print_scores([each.evaluation for each in found], together)
    for candidate, reports in zip(candidates, made, strict=True):
        if candidate.report:
            facts = reports["evaluation"].evaluations[0].facts
            wandb = WandbRun(candidate.path, candidate.translator.config.log, {"evaluation": facts})
            for name, report in reports.items():
                log_report(wandb, candidate.translator.step, name, report)
            wandb.finish()


def write_one(folder: Path, found: list[Evaluated]):
    from engine.report import write_report

    return write_report(folder, [each.evaluation for each in found], pictures_of(found), [command()])


def pictures_of(found: list[Evaluated]):
    """The columns of the grid: a few photographs, what each method made of them with the nearest painting that is
    known, and the truth or other paintings; and all translations for the best and the worst."""
    from engine.report import Pictures
    from engine.summary import names_of
    from metrics.sets import to_unit

    names = names_of([each.evaluation for each in found])
    references = found[0].references
    rows = min(GRID_ROWS, len(references.photographs), len(references.paintings))
    columns = [("photograph", references.photographs.pixels)]
    for name, each in zip(names, found, strict=True):
        known = each.references.known or each.references.paintings
        columns.append((name, each.measured.translations.pixels))
        columns.append((f"nearest to {name}", known.pixels[each.measured.nearest.places[:rows]]))
    truths = references.truths
    last = ("real painting", references.paintings.pixels) if truths is None else ("true painting", truths.pixels)
    shown: dict = {}
    for name, pixels in (*columns, last):
        while name in shown:  # a run may be called "photograph"
            name += "'"
        shown[name] = to_unit(pixels[:rows])
    return Pictures(
        shown,
        references.photographs.pixels,
        {name: each.measured.translations.pixels for name, each in zip(names, found, strict=True)},
    )


def print_scores(evaluations: list, folder: Path) -> None:
    from engine.tables import score_table

    of = "" if len(evaluations) > 1 else f"{evaluations[0].facts['run']}\n"
    print(f"\n{of}{score_table(evaluations)}\nreport: {folder / 'report.html'}")


def command() -> str:
    return shlex.join(["evaluate.py", *sys.argv[1:]])


def describe(references, arguments: argparse.Namespace) -> dict:
    """What the report says about the pictures, and by what they are judged."""
    from engine.versions import versions

    side = references.photographs.pixels.shape[-1]
    pictures = {"photographs": (references.photographs, arguments.content),
                "paintings": (references.paintings, arguments.style)}  # fmt: skip
    judge = {"judge": f"{arguments.classifier} {' '.join(arguments.classes)}".strip()} if arguments.classifier else {}
    return {
        **{kind: f"{len(each)} of {folder or 'the held-out ones'}, the first {each.names[0]}"
           for kind, (each, folder) in pictures.items()},
        "preprocessing": f"RGB, shorter side to {side} px (bicubic, antialiased), centre crop, 8 bits",
        **judge,
        "versions": ", ".join(f"{library} {version}" for library, version in versions().items()),
    }  # fmt: skip


if __name__ == "__main__":
    run_script(main)
