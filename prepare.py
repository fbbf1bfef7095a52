"""Make pictures ready to train on: check, resize once and index a data set, fetch one, or draw the demo's landscapes.

    prepare.py coco COCO datasets/coco-286              MS-COCO as released
    prepare.py wikiart WIKIART datasets/monet-286 artists=[claude-monet]   WikiArt, ArtGAN's layout or parquet shards
    prepare.py folder PICTURES datasets/mine-286        any folder, list of paths (.txt) or pattern
    prepare.py download coco-val2017 COCO               fetch and unpack a data set; `download list` names them
    prepare.py synthetic drawn --scenes 64              drawn photographs and paintings of the same scenes

A prepared folder is trained on with data.content.source=prepared data.content.root=datasets/coco-286. Nothing of the
source is changed. What cannot be read is listed in bad_files.csv and costs only itself; stopped, the same command goes
on. Exit code 3: done, but some files were bad.
"""

import argparse
import dataclasses
import json
import os
from pathlib import Path

from engine.command_line import Parser
from engine.exits import DONE, SOME_FAILED, STOPPED, UserError, run_script

DATA_SETS = {
    "coco": "MS-COCO, with the settings of data.content: categories=[dog] exclude= licences= min_side=",
    "wikiart": "WikiArt, with the settings of data.style: styles=[Impressionism] artists= genres=",
    "folder": "a folder, a list of paths or a pattern, with the settings of a folder: side=A held_out_share=",
}


def main() -> int:
    arguments = parse_arguments()
    return {"synthetic": draw, "download": download}.get(arguments.command, prepare)(arguments)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, text in DATA_SETS.items():
        command = commands.add_parser(name, help=f"check, resize and index {text.partition(',')[0]}", description=text)
        command.add_argument("source")
        command.add_argument("destination", type=Path, help="a folder, made if it is missing")
        command.add_argument("settings", nargs="*", metavar="key=value", help="which of its pictures")
        command.add_argument("--size", type=int, default=286, help="px of the shorter side; never enlarged (286)")
        command.add_argument("--min-side", type=int, default=0, help="px; smaller pictures are left out and listed")
        command.add_argument(
            "--format",
            choices=("jpeg", "png", "bmp"),
            default="jpeg",
            help="jpeg: quality 95; png: lossless, thrice the space, slower to read; bmp: lossless, six times the "
            "space, more than twice as fast to read",
        )
        command.add_argument(
            "--stretch",
            action="store_true",
            help="bring training pictures to SIZE x SIZE, the recipe's first step: read a third faster",
        )
        command.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    fetch = commands.add_parser("download", help="fetch and unpack a data set")
    fetch.add_argument("name", help="coco-val2017, for example; `list` names them all")
    fetch.add_argument("destination", type=Path, nargs="?", help="a folder, made if it is missing")
    fetch.add_argument("--keep", action="store_true", help="keep the archive after it is unpacked")
    synthetic = commands.add_parser("synthetic", help="draw photographs and paintings of the same scenes")
    synthetic.add_argument("destination", type=Path, help="a folder, made if it is missing")
    synthetic.add_argument("--scenes", type=int, default=64)
    synthetic.add_argument("--size", type=int, default=64, help="px, square")
    synthetic.add_argument("--seed", type=int, default=0)
    synthetic.add_argument("--part", choices=("train", "held_out"), default="held_out")
    arguments, rest = parser.parse_known_args()
    if rest and not hasattr(arguments, "settings"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.settings += rest  # settings after an option; and "--wrong=1", which their reader answers
    return arguments


def prepare(arguments: argparse.Namespace) -> int:
    from data import SOURCES
    from data.prepared import VERSION, claimed
    from data.preparing import Task, list_entries
    from engine.config import options_from_words
    from engine.progress import say

    check_arguments(arguments)
    options = options_from_words(
        SOURCES[arguments.command].options, arguments.settings, {"root": os.path.abspath(arguments.source)}
    )
    found = list_entries(options)
    refuse_own_output(arguments.destination, found)
    for problem in found.problems:
        say(f"warning: {problem}")
    ways = {key: getattr(arguments, key) for key in ("size", "min_side", "format", "stretch")}
    record = {"version": VERSION, "options": dataclasses.asdict(options), **ways}
    pictures = arguments.destination / "pictures"
    task = Task(found.files, pictures, arguments.size, arguments.min_side, arguments.format)
    with claimed(arguments.destination, record):
        try:
            return carry_out(arguments, task, found, record)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{arguments.destination}: cannot be written ({reason}); mend it, then go on") from error


def check_arguments(arguments: argparse.Namespace) -> None:
    if not 16 <= arguments.size <= 8192 or arguments.workers < 1 or arguments.min_side < 0:
        raise UserError("--size must be 16 to 8192, --workers at least 1 and --min-side at least 0")
    source, destination = Path(arguments.source), arguments.destination
    if destination.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{destination}: lies in the source {source}; choose a folder outside of it")
    sided = arguments.command == "folder" and (source / "trainA").is_dir()
    if sided and not any(word.startswith("side=") for word in arguments.settings):
        raise UserError(f"{source}: holds trainA/ and trainB/; say side=A or side=B behind the destination")


def refuse_own_output(destination: Path, found) -> None:
    """A pattern or a list can match what an earlier preparation wrote."""
    inside, root = str(destination.resolve()) + os.sep, str(Path(found.files.root).resolve())
    for path in found.entries if inside.startswith(root) else ():
        if os.path.join(root, path).startswith(inside):
            raise UserError(
                f"{destination}: holds {path}, which is also a picture of the source; choose another folder"
            )


def carry_out(arguments: argparse.Namespace, task, found, record: dict) -> int:
    from data.prepared import finish, summary
    from data.preparing import Journal, index_rows, prepare_rest, remove_leftovers, still_good
    from engine.exits import printable
    from engine.progress import progress, say
    from engine.signals import StopRequest

    destination, entries = arguments.destination, found.entries
    remove_leftovers(task.pictures)
    journal = Journal(destination / "journal.jsonl")
    outcomes = still_good(task, journal.read(), entries)
    if outcomes:
        say(f"going on: {len(outcomes)} of {len(entries)} files are done")
    rest = prepare_rest(task, entries, dict(outcomes), arguments.workers, arguments.stretch)
    title = f"prepare {destination.name}"
    with progress(len(entries), "picture", title, done=len(outcomes)) as bar, StopRequest() as stop:
        for outcome in journal.append(rest):
            outcomes[outcome.path] = outcome
            bar.update()
            if stop.signal:
                done = f"{len(outcomes)} of {len(entries)} files are done"
                say(f"stopped by {stop.signal}: {done}; the same command goes on")
                return STOPPED
    rows, bad, duplicates = index_rows(task, entries, outcomes)
    finish(destination, rows, bad, duplicates, found.stamps, record)
    print("\n".join(map(printable, summary(rows, len(bad), len(duplicates), destination).splitlines())))
    return SOME_FAILED if bad else DONE


def download(arguments: argparse.Namespace) -> int:
    from data.download import ARCHIVES, fetch, unpack
    from engine.progress import progress, say

    if arguments.name not in ARCHIVES:
        known = "\n".join(
            f"  {name:24} {archive.size / 1e9:6.2f} GB  {archive.url}" for name, archive in ARCHIVES.items()
        )
        if arguments.name == "list":
            print(known)
            return DONE
        raise UserError(f"{arguments.name}: no such data set; prepare.py download list names them")
    if arguments.destination is None:
        raise UserError(f"prepare.py download {arguments.name} FOLDER: the folder is missing")
    archive, destination = ARCHIVES[arguments.name], arguments.destination
    done = destination / f".{arguments.name}.unpacked"
    if done.exists():
        print(f"{arguments.name} is in {destination} already; delete {done} to fetch it again")
        return DONE
    with progress(archive.size, "B", f"download {arguments.name}") as bar:
        path = fetch(archive, destination, bar.update)
    say(f"{path}: whole; unpacking")
    print(f"{unpack(path, destination)} files of {arguments.name} in {destination}")
    done.touch()
    if not arguments.keep:
        path.unlink()
    return DONE


def draw(arguments: argparse.Namespace) -> int:
    from data.images import save_picture
    from data.options import SyntheticOptions
    from data.synthetic import open_synthetic
    from engine.progress import progress

    if arguments.scenes < 1 or not 16 <= arguments.size <= 8192 or arguments.seed < 0:
        raise UserError("--scenes must be at least 1, --size 16 to 8192 and --seed at least 0")
    options = SyntheticOptions(
        scenes=arguments.scenes, held_out=arguments.scenes, size=arguments.size, seed=arguments.seed
    )
    photographs = open_synthetic(options, "content", arguments.part)
    sources = {"photographs": photographs, "paintings": photographs.counterpart()}
    made_by = {"seed": arguments.seed, "size": arguments.size, "part": arguments.part}
    record = arguments.destination / "scenes.json"
    try:
        if record.exists() and record.read_text(errors="replace") != json.dumps(made_by):
            raise UserError(f"{arguments.destination}: holds other scenes, see {record}; choose another folder")
        for name in sources:
            (arguments.destination / name).mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(made_by))
        with progress(2 * arguments.scenes, "picture", "draw") as bar:
            for name, source in sources.items():
                for index in range(len(source)):
                    path = arguments.destination / name / source.name(index)
                    if not path.exists():
                        save_picture(source[index], path)
                    bar.update()
    except OSError as error:
        raise UserError(f"{arguments.destination}: cannot be written ({error.strerror})") from error
    print(f"{arguments.scenes} scenes in {' and '.join(str(arguments.destination / name) for name in sources)}")
    return DONE


if __name__ == "__main__":
    run_script(main)
