"""Make pictures ready to train on: check, resize once and index a data set, or draw the demo's landscapes.

    prepare.py coco COCO datasets/coco-286              MS-COCO as released
    prepare.py wikiart WIKIART datasets/wikiart-286     WikiArt in ArtGAN's layout
    prepare.py folder PICTURES datasets/mine-286        any folder
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
from typing import TYPE_CHECKING

from engine.exits import DONE, SOME_FAILED, UserError, run_script

if TYPE_CHECKING:
    from data.preparing import Task

VERSION = 1  # of the prepared folder's layout


def main() -> int:
    arguments = parse_arguments()
    return draw(arguments) if arguments.command == "synthetic" else prepare(arguments)


def parse_arguments() -> argparse.Namespace:
    title, _, rest = __doc__.partition("\n")
    parser = argparse.ArgumentParser(
        description=title, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, text in (("coco", "MS-COCO"), ("wikiart", "WikiArt in ArtGAN's layout"), ("folder", "any folder")):
        command = commands.add_parser(name, help=f"check, resize and index {text}")
        command.add_argument("source", type=Path)
        command.add_argument("destination", type=Path, help="a folder, made if it is missing")
        command.add_argument("--size", type=int, default=286, help="px of the shorter side; never enlarged (286)")
        command.add_argument("--min-side", type=int, default=0, help="px; smaller pictures are left out and listed")
        command.add_argument("--lossless", action="store_true", help="PNG instead of JPEG at quality 95")
        command.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    synthetic = commands.add_parser("synthetic", help="draw photographs and paintings of the same scenes")
    synthetic.add_argument("destination", type=Path, help="a folder, made if it is missing")
    synthetic.add_argument("--scenes", type=int, default=64)
    synthetic.add_argument("--size", type=int, default=64, help="px, square")
    synthetic.add_argument("--seed", type=int, default=0)
    synthetic.add_argument("--part", choices=("train", "held_out"), default="held_out")
    return parser.parse_args()


def prepare(arguments: argparse.Namespace) -> int:
    from data.preparing import Journal, Task, fingerprint, is_done, prepare_pictures
    from engine.progress import progress, say

    if arguments.size < 16 or arguments.workers < 1 or arguments.min_side < 0:
        raise UserError("--size must be at least 16, --workers at least 1 and --min-side at least 0")
    source, destination = arguments.source, arguments.destination
    if destination.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{destination}: lies in the source {source}; choose a folder outside of it")
    entries = list_entries(arguments.command, source)
    task = Task(source, destination / "pictures", arguments.size, arguments.min_side, arguments.lossless)
    made_by = {
        "version": VERSION,
        "kind": arguments.command,
        "size": arguments.size,
        "min_side": arguments.min_side,
        "lossless": arguments.lossless,
        "source": str(source.resolve()),
    }
    claim(destination, made_by)
    remove_leftovers(destination)
    journal = Journal(destination / "journal.jsonl")
    outcomes = {path: o for path, o in journal.read().items() if path in entries and is_done(task, o)}
    if outcomes:
        say(f"going on: {len(outcomes)} of {len(entries)} files are done")
    todo = [path for path in entries if path not in outcomes]
    with progress(len(entries), "picture", f"prepare {destination.name}", done=len(outcomes)) as bar:
        try:
            for outcome in journal.append(prepare_pictures(task, todo, arguments.workers)):
                outcomes[outcome.path] = outcome
                bar.update()
        except OSError as error:
            raise UserError(f"{destination}: cannot be written ({error.strerror}); mend it, then go on") from error
    made_by["fingerprint"] = fingerprint(source, entries)
    return finish(task, destination, entries, outcomes, made_by)


def list_entries(kind: str, root: Path) -> dict[str, dict[str, str]]:
    """Every picture of a data set by its path, held-out ones first: {"part": ..., and its labels}."""
    from data import SOURCES, open_source
    from data.source import DataError

    options = SOURCES[kind].options(root=str(root))
    entries, problems = {}, []
    for part in ("held_out", "train"):
        try:
            pictures = open_source(options, "content", part)
        except DataError as error:
            problems.append(error)
            continue
        below = pictures.root.relative_to(root)
        for index, name in enumerate(pictures.names):
            labels = {kind: values[index] for kind, values in pictures.labels.items()}
            entries[str(below / name)] = {"part": part} | labels
    if not entries:
        raise problems[0]
    return entries


def claim(destination: Path, made_by: dict) -> None:
    """One folder, one preparation: another source or other options are refused."""
    record = destination / "prepared.json"
    if record.exists():
        before = json.loads(record.read_text())
        changed = [key for key, value in made_by.items() if before.get(key) != value]
        if changed:
            was = ", ".join(f"{key} = {before.get(key)}" for key in changed)
            raise UserError(f"{destination}: was prepared otherwise ({was}); choose another folder")
    elif destination.is_dir() and any(destination.iterdir()):
        raise UserError(f"{destination}: holds other files; choose an empty folder")
    try:
        (destination / "pictures").mkdir(parents=True, exist_ok=True)
        if not record.exists():
            record.write_text(json.dumps(made_by, indent=1))
    except OSError as error:
        raise UserError(f"{destination}: cannot be made ({error.strerror})") from error


def remove_leftovers(destination: Path) -> None:
    """Half-written pictures of a preparation that was killed."""
    for path in (destination / "pictures").rglob(".*.tmp.*"):
        path.unlink()


def finish(task: "Task", destination: Path, entries: dict, outcomes: dict, made_by: dict) -> int:
    """Write the tables and say what there is."""
    from data.prepared import OWN_COLUMNS
    from data.preparing import find_duplicates, write_table
    from engine.atomic import write_atomically

    read = [outcomes[path] for path in entries if not outcomes[path].reason]
    bad = [outcomes[path] for path in entries if outcomes[path].reason]
    duplicates = find_duplicates(read)
    for path in duplicates:
        (task.pictures / task.output(path)).unlink(missing_ok=True)
    kept = sorted((o for o in read if o.path not in duplicates), key=lambda o: o.path)
    rows = [
        {"path": task.output(o.path), "original": o.path}
        | {key: value for key, value in dataclasses.asdict(o).items() if key in OWN_COLUMNS and key != "path"}
        | entries[o.path]
        for o in kept
    ]
    labels = sorted({key for entry in entries.values() for key in entry} - {"part"})
    write_table(destination / "bad_files.csv", [{"path": o.path, "reason": o.reason} for o in bad], ["path", "reason"])
    write_table(
        destination / "duplicates.csv",
        [{"path": path, "same_as": same} for path, same in sorted(duplicates.items())],
        ["path", "same_as"],
    )
    write_table(destination / "index.csv", rows, [*OWN_COLUMNS, *labels])
    write_atomically(destination / "prepared.json", json.dumps(made_by, indent=1))
    summarise(destination, rows, labels, bad, duplicates)
    return SOME_FAILED if bad else DONE


def summarise(destination: Path, rows: list[dict], labels: list[str], bad: list, duplicates: dict) -> None:
    from collections import Counter

    parts = Counter(row["part"] for row in rows)
    print(f"{destination}: {parts['train']} pictures to train on, {parts['held_out']} held out")
    for label in labels:
        counts = Counter(name for row in rows for name in row[label].split(";") if name)
        if counts:
            more = f", and {len(counts) - 8} more" if len(counts) > 8 else ""
            print(f"  {label}: {', '.join(f'{name} {n}' for name, n in counts.most_common(8))}{more}")
    if rows:
        sides = sorted(min(row["original_width"], row["original_height"]) for row in rows)
        print(f"  shorter side before: {sides[0]} to {sides[-1]} px, median {sides[len(sides) // 2]}")
    if duplicates:
        print(f"  {len(duplicates)} duplicates left out: {destination / 'duplicates.csv'}")
    if bad:
        print(f"  {len(bad)} bad files left out: {destination / 'bad_files.csv'}")


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
