"""Distillation: narrow generators that learn from the full ones of a CycleGAN, for the same pictures the same output.

Hinton, Vinyals, Dean 2015, arXiv 1503.02531; for CycleGAN: Li et al., "GAN compression", CVPR 2020, arXiv 2003.08936.

G, F the students; T_G, T_F their teachers, frozen. Each student begins as a slice of its teacher
(models/networks/pruning.py). Departures from GAN compression: its reconstruction term for unpaired data alone (Eq. 1);
the adversarial term and that of the features were tried on the demo and left out (docs/compress.md says what they did);
one share of the channels in all layers, and no search for more.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as functional
from torch import Tensor

from data.batch import Batch
from models.method import Method, Style, Turn
from models.networks.build import build_generator
from models.networks.generator import ResnetGenerator
from models.networks.pruning import choose_channels, copy_slice
from models.options import DistilledOptions, GeneratorOptions
from models.teacher import Teacher, TeacherError, read_teacher

l1 = functional.l1_loss

DIRECTIONS = {
    "both": ("photo2painting", "painting2photo"),
    "photo2painting": ("photo2painting",),
    "painting2photo": ("painting2photo",),
}


class Distilled(Method):
    """The students, and in training their teachers; the network of a direction that is not wanted is None."""

    size_multiple = 4
    smallest_side = 16

    def __init__(self, options: DistilledOptions):
        super().__init__()
        self.options = options
        self.directions = DIRECTIONS[options.direction]
        self.G = _student(options.generator) if "photo2painting" in self.directions else None
        self.F = _student(options.generator) if "painting2photo" in self.directions else None
        self.T_G = self.T_F = None
        self.averaged = tuple(name for name, network in (("G", self.G), ("F", self.F)) if network is not None)
        weights = [weight for network in (self.G, self.F) if network is not None for weight in network.parameters()]
        betas = (options.beta1, options.beta2)
        self.optimizers = {"students": torch.optim.Adam(weights, lr=options.learning_rate, betas=betas)}

    def begin(self, styles: Tensor) -> None:
        """Read the teacher, and cut the students out of it."""
        teacher = read_teacher(self.options.teacher, self.options.teacher_sha256)
        _check(self.options.generator, teacher)
        if self.G is not None:
            self.T_G = _taught(self.G, teacher.generator("G"), self.options).to(styles.device)
        if self.F is not None:
            self.T_F = _taught(self.F, teacher.generator("F"), self.options).to(styles.device)
        self.described = (
            f"{self.options.generator.channels} of {teacher.options.channels} channels of {teacher.path} (step "
            f"{teacher.step}, weights' SHA-256 {teacher.sha256[:8]}), which it learns from"
        )

    def turns(self, batch: Batch) -> Iterator[Turn]:
        report = {}
        if self.G is not None:
            report["G"] = l1(self.G(batch.content), _wanted(self.T_G, batch.content))  # GAN compression, Eq. 1
        if self.F is not None:
            report["F"] = l1(self.F(batch.style), _wanted(self.T_F, batch.style))
        yield Turn("students", sum(report.values()), report)

    def translate(self, content: Tensor, style: Style | None = None, direction: str = "") -> Tensor:
        return (self.F if (direction or self.directions[0]) == "painting2photo" else self.G)(content)

    def samples(self, batch: Batch) -> dict[str, Tensor]:
        """Beside what the teachers make."""
        x, y = batch.content, batch.style
        columns = {"photograph": x}
        if self.G is not None:
            columns |= {"full": self.T_G(x), "translation": self.G(x)}
        columns["painting"] = y
        if self.F is not None:
            columns |= {"full painting to photograph": self.T_F(y), "painting to photograph": self.F(y)}
        return columns


def _student(g: GeneratorOptions) -> ResnetGenerator:
    return build_generator(g)


def _taught(student: ResnetGenerator, teacher: ResnetGenerator, options: DistilledOptions) -> ResnetGenerator:
    """The teacher, after the student has become a slice of it."""
    copy_slice(teacher, student, choose_channels(teacher, options.generator.channels))
    return teacher


def _wanted(teacher: ResnetGenerator, pictures: Tensor) -> Tensor:
    with torch.no_grad():
        return teacher(pictures)


def _check(own: GeneratorOptions, teacher: Teacher) -> None:
    """A slice has all of the teacher but its channels (and what has no weights); its weights as they translate."""
    full = teacher.options
    if own.spectral_norm:
        raise TeacherError(
            "method.generator.spectral_norm = True: a slice has the weights that its teacher translates with, "
            "and learns without it"
        )
    for key in ("network", "blocks", "upsample", "downsample", "skips", "attention", "norm"):
        given, wanted = getattr(own, key), getattr(full, key)
        if given != wanted:
            raise TeacherError(
                f"method.generator.{key} = {given}: {teacher.path} has {wanted}, and a slice of it as well"
            )
    if own.channels > full.channels:
        raise TeacherError(f"method.generator.channels = {own.channels}: {teacher.path} has only {full.channels}")
