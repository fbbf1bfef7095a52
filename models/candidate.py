"""What evaluate.py measures: a run, the recipe of an untrained method, official weights, or finished pictures.

With `models/translator.py` it brings checkpoints and pictures together.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import torch
from torch import Tensor

from data import SOURCES, open_source
from data.images import PictureError, find_pictures, normalise, open_picture, resize_and_crop, to_tensor
from data.loader import drawn_pictures
from data.source import some
from engine.cache import NO_CACHE, TensorCache
from engine.checkpoint import fingerprint
from engine.config import differences, load_config, to_dict, to_yaml
from engine.distributed import ALONE, Team
from engine.exits import UserError
from engine.progress import progress, say
from engine.run_folder import RunFolder, read_run_config
from engine.schema import Config, DataConfig
from models import METHODS
from models.exported import Exported
from models.method import Method, Style
from models.official import Official
from models.translator import Translator, as_saved, load


@dataclass(frozen=True)
class RunCandidate:
    """A method, trained or not, that translates the photographs; its report has a place of its own."""

    path: Path
    translator: Translator

    @property
    def report(self) -> Path | None:
        return self.path / "report"

    @property
    def data(self) -> DataConfig | None:
        return self.translator.config.data

    def facts(self) -> dict[str, object]:
        method = self.translator.method
        return {
            "run": str(self.path),
            "method": self.translator.config.method.name,
            **({"networks": method.described} if method.described else {}),
            **({"style": "a training painting for each photograph"} if method.needs_style else {}),
            "direction": self.translator.direction,
            "training steps": self.translator.step,
            "weights": f"SHA-256 {self.weights()[:16]}",
            "seed": self.translator.config.seed,
        }

    def configuration(self) -> str:
        """Every setting, as YAML."""
        return to_yaml(self.translator.config)

    def weights(self) -> str:
        """SHA-256 of all weights, frozen ones, too."""
        method = self.translator.method
        return fingerprint(dict([*method.named_parameters(), *method.named_buffers()]))

    def translate(
        self,
        photographs: Tensor,
        names: Sequence[str],
        batch_size: int,
        cache: TensorCache = NO_CACHE,
        team: Team = ALONE,
    ) -> Tensor:
        """uint8 [N, 3, H, W] -> the translations as they would be saved, uint8. A method that takes its style from
        pictures gets a painting of the training part for each photograph, drawn by the run's seed: those that are held
        out are what the translations are compared with.

        Args:
            cache: keeps each batch, so that an evaluation that was killed goes on where it was.
            team: processes that share the batches; the pictures are the same whatever their number.
        """
        config, method = self.translator.config, self.translator.method
        styles = training_styles(method, config, len(photographs))
        made_by = f"{self.weights()} {config.method} {self.translator.direction} {self.translator.device.type}"
        batches = [slice(first, first + batch_size) for first in range(0, len(photographs), batch_size)]
        with progress(len(batches[team.rank :: team.size]), "batch", f"translate {self.path.name}") as bar:

            def work(part: slice) -> Tensor:
                batch, style = photographs[part], None if styles is None else styles[part]
                of = f"{made_by} {fingerprint({'photographs': batch, 'styles': style})}"
                found = cache.read("translations", of)
                if found is None:
                    found = as_saved(
                        self.apply(normalise(batch), style).cpu(), f"{self.path}: from {names[part.start]} on "
                    )
                    cache.write("translations", of, found)
                bar.update()
                return found

            return torch.cat(team.map(work, batches))

    def apply(self, pictures: Tensor, styles: Tensor | None = None) -> Tensor:
        """[N, 3, H, W] in [-1, 1] and, as uint8, a style for each -> translations in [-1, 1]. A method that takes its
        style from pictures and gets none takes that of the negatives, which costs the same."""
        if not self.translator.method.needs_style:
            return self.translator.translate(pictures)
        given = -pictures if styles is None else normalise(styles.to(self.translator.device))
        return self.translator.translate(pictures, styles=[Style((given.to(self.translator.device),))])

    def keep(self) -> None:
        """Of a recipe: make the run folder."""
        if not self.path.exists():
            with RunFolder(self.translator.config) as made:
                made.start()
                made.finish(0)


class WeightsCandidate(RunCandidate):
    """Official weights, or an exported file: without data of its own, beside which nothing is written."""

    report = None
    data = None

    def facts(self) -> dict[str, object]:
        return {key: fact for key, fact in super().facts().items() if key in ("run", "method", "networks", "weights")}

    def configuration(self) -> str:
        return ""  # none is known


class CheckpointCandidate(RunCandidate):
    """One checkpoint of a run, for example its best.pt: it has the run's data, and no place for a report of its own."""

    report = None


@dataclass(frozen=True)
class FolderCandidate:
    """Finished pictures, of whatever program, under the photographs' names; nothing is written into their folder."""

    path: Path

    report: Path | None = None
    data: DataConfig | None = None
    apply = None

    def facts(self) -> dict[str, object]:
        return {"run": str(self.path), "method": "finished pictures"}

    def configuration(self) -> str:
        return ""

    def translate(
        self,
        photographs: Tensor,
        names: Sequence[str],
        batch_size: int = 0,
        cache: TensorCache = NO_CACHE,
        team: Team = ALONE,
    ) -> Tensor:
        """The finished pictures of these photographs, brought to their size.

        Raises:
            UserError: some are missing or cannot be read; the first five are named.
        """
        finished, missing = find_finished(self.path, names), []
        if shared := [file for i, file in enumerate(finished) if file and file in finished[:i]]:
            pair = [name for name, file in zip(names, finished, strict=True) if file == shared[0]]
            raise UserError(f"{self.path}: {shared[0]} would be the finished picture of {some(pair)}; rename one")
        if surplus := sorted(set(find_pictures(self.path)) - set(finished)):
            say(f"{self.path}: {len(surplus)} pictures belong to none of the photographs: {some(surplus)}")
        pictures = []
        for name, file in zip(names, finished, strict=True):
            try:
                if file is None:
                    raise PictureError(name, "has no finished picture")
                pictures.append(to_tensor(resize_and_crop(open_picture(self.path / file), photographs.shape[-1])))
            except PictureError as error:
                missing.append(str(error))
        if missing:
            raise UserError(
                f"{self.path}: {len(missing)} of the {len(names)} photographs have no picture that can be read there: "
                f"{some(missing)}"
            )
        return torch.stack(pictures)

    def keep(self) -> None:
        """Nothing is to be made."""


def training_styles(method: Method, config: Config, count: int) -> Tensor | None:
    """For a method that takes its style from pictures, a painting of the training part for each of `count` photographs,
    drawn by the run's seed, uint8 [count, 3, size, size]."""
    if not method.needs_style:
        return None
    return drawn_pictures(open_source(config.data.style, "style", "train"), count, config.data.size, config.seed)


def find_finished(folder: Path, names: Sequence[str]) -> list[str | None]:
    """For each photograph the finished picture of its name: the same path, else of another format, else with one added
    (photo.jpg.png), else the same file name in another folder, where only one bears it; None if there is none.

    Raises:
        UserError: there are several of other formats.
    """
    files = find_pictures(folder)
    present = set(files)
    by_stem, by_name = {}, {}
    for file in files:
        by_stem.setdefault(str(PurePath(file).with_suffix("")), []).append(file)
        by_name.setdefault(PurePath(file).stem, []).append(file)

    def find(name: str) -> str | None:
        if name in present:
            return name
        for found in (by_stem.get(str(PurePath(name).with_suffix(""))), by_stem.get(name)):
            if found and len(found) > 1:
                raise UserError(f"{folder}: {name} has several finished pictures: {some(found)}; keep one")
            if found:
                return found[0]
        elsewhere = by_name.get(PurePath(name).stem, [])
        return elsewhere[0] if len(elsewhere) == 1 else None

    return [find(name) for name in names]


def open_candidate(target: str, settings: Sequence[str], device: str) -> RunCandidate | FolderCandidate:
    """Raises UserError for what can be neither translated with nor compared."""
    path = Path(target)
    if path.suffix == ".yaml":
        return RunCandidate(
            _folder_of_recipe(path, settings), load(target, device=device, style=None, settings=settings)
        )
    if path.is_dir() and not (path / "config.yaml").exists():
        if not find_pictures(path):
            raise UserError(f"{path}: is neither a run (no config.yaml) nor a folder of pictures")
        return FolderCandidate(path)
    if path.is_file():
        translator = load(target, device=device, style=None)
        kind = WeightsCandidate if isinstance(translator.method, Official | Exported) else CheckpointCandidate
        return kind(path, translator)
    read_run_config(path)
    if not os.access(path, os.W_OK):
        raise UserError(f"{path}: cannot be written to; its report has no place")
    return RunCandidate(path, load(target, device=device, style=None))


def _folder_of_recipe(recipe: Path, settings: Sequence[str]) -> Path:
    """Where the run of an untrained method's recipe is, or will be; raises UserError if another's is there."""
    config = load_config(recipe, settings, METHODS, SOURCES)
    if METHODS[config.method.name].is_trained:
        way = f"train.py {recipe}; then evaluate its run"
        raise UserError(f"{recipe}: {config.method.name} has to be trained: {way}")
    run = Path(config.run)
    changed = differences(read_run_config(run), to_dict(config)) if (run / "config.yaml").exists() else {}
    changed = [key for key in changed if not key.startswith(("run", "log.", "eval.", "checkpoints."))]
    if changed or (run.exists() and not (run / "config.yaml").exists()):
        raise UserError(
            f"run = {run}: is there and is not of this recipe and these settings ({', '.join(changed[:3])}); give "
            f"--set run=ANOTHER, or evaluate.py {run}"
        )
    return run
