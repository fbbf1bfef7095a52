"""Official weights of CycleGAN as a safetensors file of ours, which says what it is and runs nothing when it is read.

    convert.py latest_net_G.pth photo2monet.safetensors
    convert.py latest_net_G_B.pth monet2photo.safetensors --direction painting2photo

Official weights are files of junyanz/pytorch-CycleGAN-and-pix2pix. They do not say in which direction they translate;
--direction writes it down. Whatever else export.py reads is converted as well. translate.py, evaluate.py and export.py
take the new file in the place of a run.
"""

import argparse
import dataclasses
from pathlib import Path

from engine.command_line import Parser
from engine.exits import DONE, UserError, run_script

DIRECTIONS = ("photo2painting", "painting2photo")


def main() -> int:
    arguments = parse_arguments()
    if arguments.output.suffix != ".safetensors":
        raise UserError(f"{arguments.output}: the new file's name must end in .safetensors")
    if arguments.output.exists():
        raise UserError(f"{arguments.output}: is there already; delete it or name another file")
    from models import load_translator
    from models.exported import Exported, network_of
    from models.official import Official
    from models.translator import Translator
    from translation.exporting import export, facts_of

    translator = load_translator(arguments.run, None, "cpu", style=None)
    if arguments.direction and isinstance(translator.method, Official):
        facts = dataclasses.replace(facts_of(translator), direction=arguments.direction)
        method = Exported(facts, network_of(translator.method, ""), translator.method.options)
        translator = Translator(method, arguments.direction, translator.config, 0, translator.device)
    elif arguments.direction:
        translator = load_translator(arguments.run, arguments.direction, "cpu", style=None)
    found = export(translator, "safetensors", arguments.output)
    print(f"{arguments.output}: {translator.direction}; differs from {arguments.run} by {found}")
    return DONE


def parse_arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("run", metavar="WEIGHTS", help="official weights (.pth)")
    parser.add_argument("output", metavar="OUT", type=Path, help="a file, .safetensors")
    parser.add_argument(
        "--direction", choices=DIRECTIONS, help="what the weights do; photo2painting if it is not given"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
