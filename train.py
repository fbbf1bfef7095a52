"""Train a method: one recipe -> one run folder.

    train.py configs/demo.yaml                        the recipe as it stands
    train.py configs/cyclegan.yaml run=runs/monet train.batch_size=4 data.style.root=paintings

The same command again resumes a run that was stopped or killed.
"""

import argparse
from contextlib import ExitStack

from data import SOURCES, open_source
from engine.command_line import Parser
from engine.exits import DONE, UserError, run_script
from metrics import METRICS
from models import METHODS, build_method

MANY = 1 << 16  # px, or pictures: no metric wants more


def main() -> int:
    arguments = parse_arguments()
    from engine.config import load_config, to_yaml

    config = load_config(arguments.recipe, arguments.settings, METHODS, SOURCES)
    if arguments.show:
        print(to_yaml(config), end="")
        return DONE
    if not METHODS[config.method.name].is_trained:
        raise UserError(
            f"{config.method.name} has nothing to train; translate with its recipe: "
            f"translate.py {arguments.recipe} PHOTOGRAPHS OUT --style PAINTING"
        )
    return launch(config, arguments.plan)


def launch(config, plan: bool = False) -> int:
    """Train, or with `plan` say what it would take; for compress.py, too."""
    check_evaluation(config)
    check_batch(config)
    # Imported here: a mistake in the configuration is answered without waiting for torch.
    from engine.device import choose_device, memory_in_words
    from engine.distributed import join_team
    from engine.run_folder import RunFolder
    from engine.signals import stop_with_torchrun

    device = choose_device(config.train.device)
    with join_team(device) as team, ExitStack() as stack:
        stop_with_torchrun()
        with team.one_voice(), memory_in_words():
            if plan:
                return try_out(config, team, device)
            run = RunFolder(config, team.leads)
            team.agree(lambda: stack.enter_context(run))
            return train(run, team, device)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("recipe", help="a YAML file, for example configs/demo.yaml")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings that differ from the recipe")
    parser.add_argument("--show", action="store_true", help="print every setting with its value, and stop")
    parser.add_argument("--plan", action="store_true", help="try 20 steps, say what all of them will take, and stop")
    arguments, rest = parser.parse_known_args()
    arguments.settings += rest  # settings after an option; and "--seed=1", which load_config answers
    return arguments


def check_evaluation(config) -> None:
    """What the configuration's schema cannot know: the metrics, and what a method can be measured by."""
    every, metric = config.eval.every, config.checkpoints.keep_best
    if (every or metric) and not METHODS[config.method.name].translates:
        given = f"eval.every = {every}" if every else f"checkpoints.keep_best = {metric}"
        raise UserError(
            f"{given}: {config.method.name} translates nothing that could be measured; its own scores of "
            "held-out pictures are logged every log.pictures_every steps"
        )
    if config.eval.patience and not metric:
        raise UserError(
            f"eval.patience = {config.eval.patience}: nothing says what is better; set checkpoints.keep_best, too, for "
            "example to swd"
        )
    if metric and metric not in METRICS:
        raise UserError(f"checkpoints.keep_best = {metric}: not one of: {', '.join(METRICS)}")
    if metric and not every:
        raise UserError(f"checkpoints.keep_best = {metric}: nothing is measured while eval.every = 0; set it, too")


def check_batch(config) -> None:
    """Of the classifier, whose batch norm sees what one process takes at once."""
    if not METHODS[config.method.name].translates and config.train.batch_size < 2:
        raise UserError("train.batch_size = 1: the classifier compares the pictures of a batch; 2 or more a process")


def check_size(learner, size: int) -> None:
    """Whether the networks take pictures of data.size: they say so themselves."""
    for network in learner.children():
        multiple, smallest = getattr(network, "size_multiple", 1), getattr(network, "smallest_side", 1)
        if size % multiple or size < smallest:
            sides = f"multiples of {multiple} px, at least {smallest}" if multiple > 1 else f"at least {smallest} px"
            raise UserError(f"data.size = {size}: {network.sized_by} takes sides of {sides}")


def train(run, team, device) -> int:
    from engine.config import to_dict
    from engine.loop import fit
    from metrics.remedies import advice

    config = run.config
    training = prepare(config, team, device)
    measure, higher_is_better = None, False
    if config.eval.every:  # by the first process; the others know whether, and wait

        def start() -> tuple:
            return start_evaluation(training.method, config, device) if team.leads else (dict, False)

        measure, higher_is_better = team.agree(start)
        measure = measure if team.once(lambda: measure is not None) else None
    return fit(training, run, advice(to_dict(config)), measure, higher_is_better)


def try_out(config, team, device) -> int:
    """Say what the whole run would take."""
    from engine.progress import say
    from engine.rehearsal import rehearse

    training = prepare(config, team, device)
    for line in rehearse(training).lines():
        say(line)
    return DONE


def prepare(config, team, device):
    """What is trained on what."""
    import torch

    from data.batch import Share
    from data.doubts import find_doubts
    from data.loader import Positions, batches
    from engine.accelerate import prepare_determinism
    from engine.progress import say
    from engine.schedule import Plan
    from engine.training import Training

    data = config.data
    if config.train.deterministic:
        prepare_determinism()
    torch.manual_seed(config.seed)
    learner = build_method(config.method)
    check_size(learner, data.size)
    held_out = {domain: open_source(options, domain, "held_out") for domain, options in data.domains()}
    check_best(config, held_out)
    start = start_translation if METHODS[config.method.name].translates else start_classification
    dataset, samples = start(learner, held_out, config, device)
    learner.to(device)
    for doubt in find_doubts(dict(data.domains()), dataset.sources, held_out):
        say(f"warning: {doubt}")
    share = Share(config.train.batch_size, config.train.accumulate, team.rank, team.size)
    plan = Plan(config.schedule, dataset.items_per_epoch, share.whole)

    def read(plan: Plan, first: int, num_steps: int):
        # Of the plan that training follows, which a resumed run knows only when its checkpoint is read.
        calm = data.jitter == "constant"
        row = dataset.calm_from(plan.item(plan.decay_step)) if calm else dataset
        return batches(row, Positions(share, plan.item(first), num_steps), data.workers, device)

    for line in plan.describe(share):
        say(line)
    return Training(learner, config, read, samples, plan, share, device, team)


def start_translation(method, held_out: dict, config, device) -> tuple:
    """Pairs to learn from, and the held-out ones of every sample sheet."""
    from data.loader import fixed_batch, open_training_data, spread_pictures

    size, count = config.data.size, config.log.num_pictures
    dataset = open_training_data(config.data, config.seed)
    samples = fixed_batch(held_out["content"], held_out["style"], count, size).to(device)
    styles = samples.style
    if method.num_styles:
        styles = spread_pictures(dataset.sources["style"], method.num_styles, size).to(device)
    method.to(device).begin(styles)
    return dataset, samples


def start_classification(classifier, held_out: dict, config, device) -> tuple:
    """Labelled pictures to learn from, and held-out ones to be examined by."""
    from data.loader import labelled_batch, open_labelled_data

    label, size, count = config.method.label, config.data.size, config.log.num_pictures
    dataset = open_labelled_data(config.data, label, config.seed)
    classifier.begin(dataset.classes, dataset.shares)
    samples = labelled_batch(held_out["style"], label, dataset.classes, count, size)
    return dataset, samples.to(device)


def check_best(config, held_out: dict) -> None:
    """Whether checkpoints.keep_best can be measured in training, on these pictures."""
    from data.source import SourceWithTruth
    from metrics.watch import watchable

    metric, size = config.checkpoints.keep_best, config.data.size
    if not metric:
        return
    has_truth = isinstance(held_out["content"], SourceWithTruth)
    fewest = min(config.eval.pictures, *map(len, held_out.values()))
    known = watchable(has_truth, size, fewest)
    if metric not in known:
        lacks = {
            "the truth, which this data does not know": watchable(True, size, fewest),
            "more or larger pictures (eval.pictures, data.size)": watchable(has_truth, MANY, MANY),
        }
        lack = next((lack for lack, possible in lacks.items() if metric in possible), "pretrained weights")
        raise UserError(f"checkpoints.keep_best = {metric}: needs {lack}; in training one of: {', '.join(known)}")


def start_evaluation(method, config, device) -> tuple:
    """What the loop measures every eval.every steps (None: too few pictures are held out), and whether more of
    checkpoints.keep_best is better."""
    from engine.progress import say
    from metrics.measure import MetricError
    from metrics.references import read_references
    from metrics.watch import Watch
    from models.trainee import translate_by

    metric = config.checkpoints.keep_best
    try:
        references = read_references(config.data, config.data.size, config.eval.pictures, most_known=0)
        translate = translate_by(method, config, device, len(references.photographs))
        watch = Watch(references, translate, device)
    except MetricError as error:  # a recipe's eval.every shall not keep those from training who have few pictures
        say(f"warning: eval.every = {config.eval.every}: {error}; nothing is measured in training")
        return None, False
    return watch.measure, bool(metric) and METRICS[metric].better == "higher"


if __name__ == "__main__":
    run_script(main)
