"""Make pictures ready: draws the demo's landscapes into folders.

    prepare.py synthetic drawn --scenes 64 --part held_out

writes drawn/photographs/ and drawn/paintings/, the same scenes under the same names, and drawn/scenes.json, which says
how. Pictures that exist are kept; a folder of other scenes is refused.
"""

import argparse
import json
from pathlib import Path

from engine.exits import DONE, UserError, run_script


def main() -> int:
    arguments = parse_arguments()
    return draw(arguments)


def parse_arguments() -> argparse.Namespace:
    title, _, rest = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=title, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    synthetic = commands.add_parser("synthetic", help="draw photographs and paintings of the same scenes")
    synthetic.add_argument("destination", type=Path, help="a folder, made if it is missing")
    synthetic.add_argument("--scenes", type=int, default=64)
    synthetic.add_argument("--size", type=int, default=64, help="px, square")
    synthetic.add_argument("--seed", type=int, default=0)
    synthetic.add_argument("--part", choices=("train", "held_out"), default="held_out")
    return parser.parse_args()


def draw(arguments: argparse.Namespace) -> int:
    from data.images import save_picture
    from data.options import SyntheticOptions
    from data.synthetic import open_synthetic
    from engine.progress import progress

    if arguments.scenes < 1 or arguments.size < 16:
        raise UserError("--scenes must be at least 1 and --size at least 16")
    options = SyntheticOptions(
        scenes=arguments.scenes, held_out=arguments.scenes, size=arguments.size, seed=arguments.seed
    )
    photographs = open_synthetic(options, "content", arguments.part)
    sources = {"photographs": photographs, "paintings": photographs.counterpart()}
    made_by = {"seed": arguments.seed, "size": arguments.size, "part": arguments.part}
    record = arguments.destination / "scenes.json"
    if record.exists() and record.read_text() != json.dumps(made_by):
        raise UserError(f"{arguments.destination}: holds other scenes, see {record}; choose another folder")
    try:
        for name in sources:
            (arguments.destination / name).mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(made_by))
    except OSError as error:
        raise UserError(f"{arguments.destination}: cannot be made ({error.strerror})") from error
    with progress(2 * arguments.scenes, "picture", "draw") as bar:
        for name, source in sources.items():
            for index in range(len(source)):
                path = arguments.destination / name / source.name(index)
                if not path.exists():
                    save_picture(source[index], path)
                bar.update()
    print(f"{arguments.scenes} scenes in {' and '.join(str(arguments.destination / name) for name in sources)}")
    return DONE


if __name__ == "__main__":
    run_script(main)
