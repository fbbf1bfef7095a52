"""The best checkpoint of a run, which outlives the pruning of the others: best.pt, best.pt.sha256, best.json.

Every checkpoint records the best evaluation of the steps up to its own: a resumed run knows the best of the steps that
it stands on, and of no others. When a step is the best so far, its own checkpoint is saved first, and best.pt is a copy
of it. A process killed at any moment leaves the older best.pt or the new one, each whole; where the copy is still
missing, the checkpoint is there to be copied when the run goes on.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.atomic import write_atomically
from engine.checkpoint import (
    BEST,
    CheckpointError,
    SaveError,
    checkpoint_path,
    checksum_path,
    load_checkpoint,
    save_error,
    sha256,
)
from engine.progress import say
from engine.schema import EvalConfig


@dataclass(frozen=True)
class Best:
    """An evaluation. `pictures` is what `eval.pictures` was: values of other numbers of pictures do not compare."""

    metric: str
    value: float
    step: int
    pictures: int

    def __str__(self) -> str:
        return f"{self.metric} {self.value:.5g} at step {self.step}"


class BestKeeper:
    """Keeps the best checkpoint of a folder by `metric`; "" keeps none and hands on what is recorded.

    kept: what best.pt is, as far as this run goes.
    candidate: an evaluation that is better; it becomes `kept` once its step is saved.
    """

    def __init__(self, folder: Path, metric: str, higher_is_better: bool, pictures: int):
        self.path = folder / BEST
        self.metric = metric
        self.higher_is_better = higher_is_better
        self.pictures = pictures
        self.kept: Best | None = None
        self.candidate: Best | None = None

    def resume(self, recorded: Mapping | None) -> None:
        """Go on from what the resumed checkpoint records, and finish what a killed process left half done.

        Raises:
            CheckpointError: best.pt is to be copied, and there is no room.
        """
        if recorded is None:
            return
        best = Best(**recorded)
        anew = f"{self.path} will be replaced by the best from here on"
        try:
            is_there = self._mend(best)
        except SaveError as error:
            raise CheckpointError(f"{error}. Free some space, then give the same command again") from error
        if not is_there:
            say(f"the best so far, {best}, is not in {self.path.parent} any more; {anew}")
        elif self.metric and (self.metric, self.pictures) != (best.metric, best.pictures):
            now = f"{self.metric} (eval.pictures = {self.pictures})"
            say(f"checkpoints.keep_best was {best.metric} (eval.pictures = {best.pictures}), is {now}: {anew}")
        else:
            self.kept = best

    def consider(self, step: int, values: Mapping[str, float]) -> bool:
        """True if this is the best so far; of equals, the first is."""
        value = values.get(self.metric)
        if value is None:
            return False
        sign = -1 if self.higher_is_better else 1
        if self.kept is None or sign * value < sign * self.kept.value:
            self.candidate = Best(self.metric, value, step, self.pictures)
        return self.candidate is not None

    def worn_out(self, step: int, options: EvalConfig) -> str:
        """Why training ends after the evaluation of a step: too many in a row were no better; "" if it goes on.

        It follows from the two steps, so that a resumed run counts like one in one. What failed was no better.
        """
        if self.kept is None or not options.patience or step % options.every:
            return ""
        missed = step // options.every - self.kept.step // options.every
        counted = "1 evaluation" if missed == 1 else f"{missed} evaluations in a row"
        return f"{counted} without a better {self.metric}" if missed >= options.patience else ""

    def record(self) -> dict | None:
        """For the checkpoint's `best`."""
        best = self.candidate or self.kept
        return None if best is None else asdict(best)

    def keep(self) -> None:
        """Copy the checkpoint of the candidate's step, which has just been saved; nothing without a candidate.

        Raises:
            SaveError: the earlier best.pt is whole.
        """
        if self.candidate:
            self._publish(checkpoint_path(self.path.parent, self.candidate.step), self.candidate)
            self.kept, self.candidate = self.candidate, None

    def give_up(self) -> None:
        """The candidate could not be saved."""
        self.candidate = None

    def told(self) -> str:
        """For people, at the end of the run."""
        if self.kept is None:
            return f"checkpoints.keep_best = {self.metric}: never measured, no best is kept"
        return f"the best: {self.kept}, kept as {self.path}"

    def told_early(self, reason: str, step: int, total: int) -> str:
        """The same, of a run that ends before the plan's end, and whenever its command is given again."""
        again = "the same command with eval.patience=0 goes on"
        return f"it ended early, at step {step} of {total}, after {reason}; {self.told()}; {again}"

    def _mend(self, best: Best) -> bool:
        """Make the three files be of `best`, from best.pt itself or from the checkpoint of its step; False if neither
        is there any more."""
        for source in (self.path, checkpoint_path(self.path.parent, best.step)):
            try:
                recorded = load_checkpoint(source).get("best")
            except CheckpointError:
                continue
            if recorded == asdict(best):
                if source == self.path:
                    self._describe(sha256(source), best)
                else:
                    self._publish(source, best)
                return True
        return False

    def _publish(self, source: Path, best: Best) -> None:
        """Two files cannot be replaced at once: for as long as best.pt may be the old or the new one, its checksum file
        has a line for each."""
        checksums, content = checksum_path(self.path), b""
        try:
            content = source.read_bytes()
            new = checksum_path(source).read_text().split()[0]
            known = checksums.read_text() if checksums.exists() else ""
            write_atomically(checksums, self._line(new) + known)
            write_atomically(self.path, content)
        except OSError as error:
            raise save_error(self.path, len(content), error) from error
        self._describe(new, best)

    def _describe(self, checksum: str, best: Best) -> None:
        """The checksum of what best.pt is now, alone, and best.json for people; what is right already is not touched.
        best.pt itself says all of it, so that a failure is nothing but told; the next start tries again."""
        wanted = {checksum_path(self.path): self._line(checksum), self.path.with_suffix(".json"): _as_json(best)}
        for path, text in wanted.items():
            try:
                if not path.exists() or path.read_text() != text:
                    write_atomically(path, text)
            except OSError as error:
                say(f"{path}: could not be written ({error.strerror})")

    def _line(self, checksum: str) -> str:
        return f"{checksum}  {self.path.name}\n"


def _as_json(best: Best) -> str:
    return json.dumps(asdict(best), indent=1) + "\n"
