"""Train a method: one recipe -> one run folder.

    train.py configs/demo.yaml                        the recipe as it stands
    train.py configs/cyclegan.yaml run=runs/monet train.batch_size=4 data.style.root=paintings

The same command again resumes a run that was stopped or killed.
"""

import argparse

from data import SOURCES, open_source
from engine.exits import DONE, UserError, run_script
from models import METHODS, build_method


def main() -> int:
    arguments = parse_arguments()
    from engine.config import load_config, to_yaml
    from engine.run_folder import RunFolder

    config = load_config(arguments.recipe, arguments.settings, METHODS, SOURCES)
    if arguments.show:
        print(to_yaml(config), end="")
        return DONE
    if not METHODS[config.method.name].is_trained:
        raise UserError(
            f"{config.method.name} has nothing to train; translate with its recipe: "
            f"translate.py {arguments.recipe} PHOTOGRAPHS OUT --style PAINTING"
        )
    with RunFolder(config) as run:
        return train(run)


def parse_arguments() -> argparse.Namespace:
    title, _, rest = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=title, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="a YAML file, for example configs/demo.yaml")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings that differ from the recipe")
    parser.add_argument("--show", action="store_true", help="print every setting with its value, and stop")
    arguments, rest = parser.parse_known_args()
    arguments.settings += rest  # settings after an option; and "--seed=1", which load_config answers
    return arguments


def train(run) -> int:
    # Imported here: a mistake in the configuration is answered without waiting for torch.
    import torch

    from data.doubts import find_doubts
    from data.loader import batches, fixed_batch, open_training_data, spread_pictures, steps_per_epoch
    from engine.device import choose_device
    from engine.loop import Plan, fit
    from engine.progress import say

    config, data = run.config, run.config.data
    device = choose_device(config.train.device)
    dataset = open_training_data(data, config.seed)
    held_out = {domain: open_source(options, domain, "held_out") for domain, options in data.domains()}
    for doubt in find_doubts(dict(data.domains()), dataset.sources, held_out):
        say(f"warning: {doubt}")
    samples = fixed_batch(held_out["content"], held_out["style"], config.log.num_pictures, data.size).to(device)
    torch.manual_seed(config.seed)
    method = build_method(config.method).to(device)
    styles = (
        spread_pictures(dataset.sources["style"], method.num_styles, data.size) if method.num_styles else samples.style
    )
    method.begin(styles.to(device))
    method.to(device)
    if method.described:
        say(method.described)
    plan = Plan(config.schedule, steps_per_epoch(dataset, config.train.batch_size))

    def read(first: int, last: int):
        return batches(dataset, config.train.batch_size, first, last, data.workers, device)

    return fit(method, read, samples, plan, run)


if __name__ == "__main__":
    run_script(main)
