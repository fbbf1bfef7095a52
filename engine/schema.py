"""What can be set: the schema of a recipe, and the home of every default that is no method's and no source's."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Lt

from data.options import AugmentOptions

Count = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
MAX_SIDE = 8192  # px


@dataclass(frozen=True)
class AugmentConfig:
    """What pictures undergo besides resize, crop and flip."""

    content: AugmentOptions = field(default_factory=AugmentOptions)
    style: AugmentOptions = field(default_factory=AugmentOptions)


@dataclass(frozen=True)
class DataConfig:
    """Which pictures, and how they become batches."""

    root: str = ""  # of both domains, where they do not name their own
    content: Any = None  # options of one of SOURCES: the photographs
    style: Any = None  # options of one of SOURCES: the paintings
    size: Annotated[int, Ge(16), Le(MAX_SIDE)] = 256  # px, side of a training picture
    load_size: Annotated[int, Ge(16), Le(MAX_SIDE)] = 286  # px, pictures are resized to this before the random crop
    keep_aspect: bool = False  # load_size is the shorter side; else pictures are stretched, as in the reference code
    flip: bool = True  # mirror half of the pictures
    jitter: Literal["always", "constant"] = "always"  # constant: in the decay load_size is size, which leaves no crop
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    workers: Count = 2  # loader processes; 0 loads in the training process

    def domains(self) -> tuple[tuple[str, Any], ...]:
        """("content", its source's options), ("style", its source's options); a method may want one of them only."""
        both = ("content", self.content), ("style", self.style)
        return tuple((domain, options) for domain, options in both if options is not None)


@dataclass(frozen=True)
class TrainConfig:
    """How the loop runs."""

    batch_size: Positive = 1  # pictures a domain that each process takes at once
    accumulate: Positive = 1  # batches whose gradients add up to one step
    device: str = "auto"
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"  # of the networks; losses and weights are fp32
    channels_last: bool = False  # memory format of the networks
    compile: bool = False  # each network by torch.compile
    recompute: bool = False  # residual blocks compute their activations again in the backward pass: less memory
    deterministic: bool = False  # the same bits in every repetition, on a GPU too; slower
    clip_norm: Annotated[float, Ge(0)] = 0.0  # of each player's gradient; 0: as it is
    ema: Annotated[float, Ge(0), Lt(1)] = 0.0  # decay of the average of weights that translates; 0: none
    rate_rule: Literal["none", "sqrt", "linear"] = "none"  # how learning rates grow with the whole batch
    rate_batch: Positive = 1  # the whole batch that the recipe's rates are for
    profile: bool = False  # write a profiler's trace of ten steps
    max_bad_steps: Positive = 20  # so many steps in a row without a finite loss end the run


@dataclass(frozen=True)
class ScheduleConfig:
    """The length of training: `constant` units at the full learning rate, then `decay` units down from it."""

    unit: Literal["epochs", "steps"] = "epochs"
    constant: Count = 100
    decay: Count = 100
    warmup: Count = 0  # the first of the constant units, in which the rates rise from nearly 0; 0: none
    shape: Literal["linear", "cosine", "inverse"] = "linear"  # of the decay: to 0, to 0, or to a ninth as 1 / (1 + 8 t)


@dataclass(frozen=True)
class LogConfig:
    every: Positive = 50  # steps between two rows of losses
    pictures_every: Positive = 1000  # steps between two sheets of held-out samples
    num_pictures: Positive = 4
    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "atelier"


@dataclass(frozen=True)
class CheckpointConfig:
    every: Positive = 1000  # steps
    keep_last: Positive = 3
    keep_every: Count = 0  # also keep each checkpoint at a multiple of so many steps; 0: none
    keep_best: str = ""  # of METRICS: also keep the checkpoint that does best in it, as best.pt; "": none


@dataclass(frozen=True)
class EvalConfig:
    """Metrics of held-out pictures while training goes on: those that need no pretrained weights."""

    every: Count = 0  # steps between two evaluations; 0: none
    pictures: Annotated[int, Ge(4)] = 64  # held-out ones a domain
    patience: Count = 0  # evaluations in a row without a better checkpoints.keep_best that end the run; 0: none do


@dataclass(frozen=True)
class Config:
    """Everything that makes a run; `to_dict` of it is what the checkpoint and config.yaml hold."""

    run: str = ""  # the run folder
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    method: Any = None  # options of one of METHODS
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    log: LogConfig = field(default_factory=LogConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
