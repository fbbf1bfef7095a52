"""Make a trained CycleGAN smaller: its run -> a run of narrower generators that have learnt from it.

    compress.py runs/demo runs/small --keep 0.5
    compress.py runs/monet runs/monet-small --keep 0.25 --steps 20000 --direction photo2painting train.batch_size=4

The new generators begin as slices of the full ones, the channels that are read most, and learn to give the same
output for the same pictures. What comes out is a run like any other, for translate.py, evaluate.py and load_translator;
the full one is needed until its training is over, and stays as it is. The same command again resumes one that was
stopped or killed. Settings, key=value, are those of train.py; the others are the full run's.
"""

import argparse
from pathlib import Path

from data import SOURCES
from engine.command_line import Parser
from engine.exits import UserError, run_script
from models import METHODS
from train import launch

DIRECTIONS = ("both", "photo2painting", "painting2photo")
FEWEST, SHARE = 1000, 10  # steps unless --steps says otherwise: a tenth of the full run's, and at least so many


def main() -> int:
    arguments = parse_arguments()
    if not 0 < arguments.keep < 1:
        raise UserError(f"--keep {arguments.keep}: must be more than 0 and less than 1")
    if arguments.steps is not None and arguments.steps < 1:
        raise UserError(f"--steps {arguments.steps}: must be at least 1")
    check_folders(arguments.run, arguments.out)
    return launch(configure(arguments), arguments.plan)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder of CycleGAN that train.py made")
    parser.add_argument("out", metavar="OUT_RUN", type=Path, help="the run folder to make, or to go on with")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings that differ from those of RUN")
    parser.add_argument("--keep", type=float, default=0.5, help="share of the parameters that may remain (0.5)")
    parser.add_argument(
        "--steps", type=int, help=f"to learn from the full one (a tenth of its own, at least {FEWEST:,})"
    )
    parser.add_argument("--direction", choices=DIRECTIONS, default="both", help="what the small one can do (both)")
    parser.add_argument("--plan", action="store_true", help="try 20 steps, say what all of them will take, and stop")
    arguments, rest = parser.parse_known_args()
    arguments.settings += rest  # settings after an option
    return arguments


def check_folders(run: Path, out: Path) -> None:
    """Whether the one can be made smaller, and the other be the place for it."""
    method = method_of(run)
    if method.get("name") != "cyclegan":
        raise UserError(f"{run}: is a run of {method.get('name')}; only those of cyclegan can be made smaller")
    if out.resolve() == run.resolve():
        raise UserError(f"{out}: is the run that is to be made smaller; choose another OUT_RUN")
    if not (out / "config.yaml").exists():
        return
    method = method_of(out)
    if method.get("name") != "distilled":
        raise UserError(f"{out}: is a run of {method.get('name')}; choose another OUT_RUN")
    if method.get("teacher") != str(run):
        raise UserError(f"{out}: was made of {method.get('teacher')} and not of {run}; choose another OUT_RUN")


def method_of(run: Path) -> dict:
    """The `method` section of a run's configuration."""
    from engine.run_folder import read_run_config

    method = read_run_config(run).get("method")
    return method if isinstance(method, dict) else {}


def configure(arguments: argparse.Namespace):
    """The configuration of the run to make: that of the full one, but for a narrower generator that learns from it."""
    from engine.config import load_config
    from engine.progress import say
    from models.networks.pruning import count_parameters, most_channels
    from models.teacher import read_teacher

    run, out = arguments.run, arguments.out
    begun_with = method_of(out).get("teacher_sha256", "") if (out / "config.yaml").exists() else ""
    full = read_teacher(str(run), begun_with)
    for problem in full.passed_over:
        say(f"passed over: {problem}")
    generator = full.options
    before, channels = count_parameters(generator, generator.channels), most_channels(generator, arguments.keep)
    if not channels:
        least = count_parameters(generator, 1) / before
        raise UserError(f"--keep {arguments.keep}: one channel is the least, with {least:.2g} of the parameters")
    words = [f"{key}={value}" for key, value in settings_for(arguments, full, channels).items()]
    config = load_config(run / "config.yaml", [*words, *arguments.settings], METHODS, SOURCES)
    after = count_parameters(generator, config.method.generator.channels)
    say(
        f"{out}: {config.method.generator.channels} of {generator.channels} channels, {after:,} of {before:,} "
        f"parameters a generator ({after / before:.1%})"
    )
    return config


def settings_for(arguments: argparse.Namespace, full, channels: int) -> dict[str, object]:
    """What differs from the full run's configuration."""
    return {
        "run": arguments.out,
        "method.name": "distilled",
        "method.teacher": arguments.run,
        "method.teacher_sha256": full.sha256,
        "method.direction": arguments.direction,
        "method.generator.channels": channels,
        "method.generator.blocks": full.options.blocks,
        "method.generator.upsample": full.options.upsample,
        "method.generator.downsample": full.options.downsample,
        "method.generator.skips": str(full.options.skips).lower(),
        "method.generator.norm": full.options.norm,
        "schedule.unit": "steps",
        "schedule.constant": 0,
        "schedule.warmup": 0,
        "data.jitter": "always",  # there are no constant rates, while which alone the full run may have had it
        "schedule.decay": arguments.steps or max(FEWEST, full.step // SHARE),
        "schedule.shape": "cosine",
    }


if __name__ == "__main__":
    run_script(main)
