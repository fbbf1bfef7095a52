"""Pictures of a plan, read, translated and written, by this process among others; nothing lost, nothing twice."""

import errno
import os
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_ISREG

from PIL import Image

from data.images import MAX_PIXELS, PictureError, picture_size, save_picture
from data.photograph import Photograph, lay_alpha, open_photograph
from engine.signals import StopRequest
from translation.claims import Claim, Leftovers, claim
from translation.finish import SizeRule
from translation.painter import Painter
from translation.pipeline import WriteBehind, alike, read_ahead
from translation.plan import Job

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
LARGE = 25_000_000  # px, from which on a picture is in memory by itself


@dataclass(frozen=True)
class HowToSave:
    """batch_size: pictures of one size that are translated together; threads: that read, and as many that write;
    quality: see save_picture; replace_older: seconds since the epoch: an output that is not older is there already.
    None: whatever its age."""

    batch_size: int = 1
    threads: int = 4
    quality: int = 0
    replace_older: float | None = None
    size: SizeRule = field(default_factory=SizeRule)

    def is_there(self, target: Path) -> bool:
        try:
            found = target.stat()
        except OSError:  # no such file, or no such name
            return False
        return S_ISREG(found.st_mode) and (self.replace_older is None or found.st_mtime >= self.replace_older)


@dataclass
class Read:
    """A job with what came of reading it; without a claim it is another process's. A large one is read when its turn
    comes."""

    job: Job
    claim: Claim | None = None
    photograph: Photograph | None = None
    problem: str = ""
    is_large: bool = False
    translation: Image.Image | None = None

    @property
    def kind(self) -> object:
        """What is translated together."""
        return self.job if self.is_large else self.photograph.picture.size


@dataclass
class Tally:
    """What came of the jobs, by name: translated by this process, there or made by others since it began, failed and
    why; busy: others are making them."""

    translated: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    disk_full: bool = False


class Folder:
    """Translates jobs; `tally` says what came of them, at any time.

    Args:
        stop: once it is set, what is under way is finished and nothing more is begun.
        told: is called with each job that is finished, by whomever, and what went wrong or "".
    """

    def __init__(self, painter: Painter, how: HowToSave, stop: StopRequest, told: Callable[[Job, str], None]):
        self.painter, self.how, self.stop, self.told = painter, how, stop, told
        self.tally = Tally()

    def translate(self, jobs: Sequence[Job]) -> None:
        """Those that are not there yet. What another process was making is looked at once more in the end: if that has
        ended without it, it is free. Ctrl-C again ends it at once."""
        self.leftovers = Leftovers({job.target.parent for job in jobs})
        try:
            self._translate(jobs)
            busy, self.tally.busy = self.tally.busy, set()
            self._translate([job for job in jobs if job.name in busy])
        except KeyboardInterrupt:
            self.stop.signal = "SIGINT"

    def _translate(self, jobs: Sequence[Job]) -> None:
        how, writer = self.how, WriteBehind(self._write, self.how.threads, 2 * self.how.threads)
        ahead = min(max(2 * how.threads, 2 * how.batch_size), resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        read = read_ahead(self._until_stop(jobs), self._read, how.threads, ahead)
        try:
            for batch in alike(self._sorted_out(read), lambda item: item.kind, how.batch_size, 4 * how.batch_size):
                if self._is_over():
                    self._drop(batch)
                    continue  # to the end of what has been read, whose claims are released
                for item in self._painted(batch):
                    self._note(writer.put(item))
                    if item.is_large:
                        self._note(writer.flush())
        finally:
            self._note(writer.close())

    def _is_over(self) -> bool:
        return bool(self.stop.signal) or self.tally.disk_full

    def _until_stop(self, jobs: Sequence[Job]) -> Iterator[Job]:
        for job in jobs:
            if self._is_over():
                return
            yield job

    def _read(self, job: Job) -> Read:
        """In a thread."""
        if self.how.is_there(job.target):
            return Read(job)
        try:
            claimed = claim(job.target)
        except OSError as error:
            return Read(job, problem=_could_not_save(error))
        if claimed is None:
            return Read(job)
        if self.how.is_there(job.target):  # since it was looked for
            claimed.release()
            return Read(job)
        self.leftovers.remove(job.target)
        item = Read(job, claimed)
        try:
            own = picture_size(job.source)
            width, height = self.how.size(own)
            if width * height > MAX_PIXELS:
                raise PictureError(job.source, f"would be {width} x {height} px, above {MAX_PIXELS} px")
            item.is_large = max(width * height, own[0] * own[1]) > LARGE
        except PictureError as error:
            item.problem = error.reason
        return item if item.is_large or item.problem else self._opened(item)

    def _opened(self, item: Read) -> Read:
        try:
            photograph = open_photograph(item.job.source)
            item.photograph = photograph.resized(self.how.size(photograph.picture.size))
        except PictureError as error:
            item.problem = error.reason
        return item

    def _sorted_out(self, read: Iterator[Read]) -> Iterator[Read]:
        """What is to be translated."""
        for item in read:
            if item.problem:
                self._failed(item, item.problem)
            elif item.claim is None:
                if self.how.is_there(item.job.target):
                    self.tally.made.add(item.job.name)
                    self.told(item.job, "")
                else:
                    self.tally.busy.add(item.job.name)
            else:
                yield item

    def _painted(self, batch: list[Read]) -> Iterator[Read]:
        batch = list(self._sorted_out(self._opened(item) if item.is_large else item for item in batch))
        if not batch:
            return
        pictures, names = [item.photograph.picture for item in batch], [item.job.name for item in batch]
        if batch[0].is_large and not self.painter.finish.side_by_side:
            batch[0].photograph = replace(batch[0].photograph, picture=None)  # the painter lets go of it, too
        for item, found in zip(batch, self.painter.paint(pictures, names), strict=True):
            if isinstance(found, str):
                self._failed(item, found)
            else:
                item.translation = found
                yield item

    def _write(self, item: Read) -> None:
        """In a thread."""
        photograph, target, finish = item.photograph, item.job.target, self.painter.finish
        picture = finish.arranged(photograph.picture, item.translation)
        alpha = photograph.alpha and finish.arranged(photograph.alpha, photograph.alpha)
        picture = lay_alpha(picture, alpha, target)
        save_picture(picture, target, self.how.quality)
        item.claim.release()

    def _note(self, written: list[tuple[Read, Exception | None]]) -> None:
        for item, error in written:
            if error is None:
                self.tally.translated.add(item.job.name)
                self.told(item.job, "")
            elif getattr(error, "errno", None) in NO_ROOM:
                self.tally.disk_full = True
                item.claim.release()
            elif isinstance(error, OSError | ValueError):  # ValueError: a size that the format does not have
                self._failed(item, _could_not_save(error))
            else:
                raise error

    def _failed(self, item: Read, reason: str) -> None:
        if item.claim:
            item.claim.release()
        self.tally.failed[item.job.name] = reason
        self.told(item.job, reason)

    def _drop(self, batch: list[Read]) -> None:
        for item in batch:
            item.claim.release()


def _could_not_save(error: OSError | ValueError) -> str:
    return f"could not be saved ({getattr(error, 'strerror', None) or error})"


def threads_for(cores: int | None = None) -> int:
    """That read, and that write: enough to hide both behind a network."""
    return max(2, min(8, cores or os.cpu_count() or 1))


def not_there(jobs: Sequence[Job]) -> list[Job]:
    """Those without an output."""
    return [job for job in jobs if not os.path.isfile(job.target)]


def clock_of(folder: Path) -> float:
    """Seconds since the epoch, by the clock of the file system that holds `folder`."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".tmp") as file:
        return os.fstat(file.fileno()).st_mtime
