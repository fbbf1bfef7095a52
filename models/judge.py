"""A classifier of paintings as the judge of translations: does it take them for the target class?

The deception rate of Sanakoyeu et al. 2018 (ECCV, Sec. 4) with a network that `vgg_finetune` has trained. It brings a
checkpoint to evaluate.py, as `models/translator.py` does.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from data import SOURCES
from data.images import normalise
from engine.checkpoint import CheckpointError, fingerprint, newest_checkpoint
from engine.config import config_from_dict
from engine.exits import UserError
from engine.run_folder import read_run_config
from models import METHODS, build_method


class Judge(nn.Module):
    """uint8 [N, 3, H, W] -> [N, 1]: 1 where the likeliest class is one of the wanted ones, else 0."""

    def __init__(self, classifier: nn.Module, wanted: Sequence[int]):
        super().__init__()
        self.classifier = classifier
        self.register_buffer("wanted", torch.tensor(wanted))

    def forward(self, pictures: Tensor) -> Tensor:
        found = self.classifier(normalise(pictures)).argmax(dim=1)
        return torch.isin(found, self.wanted).float().unsqueeze(1)


def open_judge(run: Path, wanted: Sequence[str], labels: Mapping[str, Sequence[str]]) -> tuple[Judge, str]:
    """The judge, and what it is in the key of a cache.

    Args:
        run: of `vgg_finetune`.
        wanted: classes that count as the target; none: those that the held-out paintings bear.
        labels: of the held-out paintings, by kind.

    Raises:
        UserError: it is no classifier's run, or does not know a class.
    """
    config = config_from_dict(read_run_config(run), str(run / "config.yaml"), METHODS, SOURCES)
    if METHODS[config.method.name].translates:
        raise UserError(
            f"--classifier {run}: {config.method.name} tells nothing apart; a run of vgg_finetune is wanted"
        )
    state, _ = newest_checkpoint(run / "checkpoints")
    if state is None:
        raise CheckpointError(f"{run / 'checkpoints'}: no good checkpoint yet; train.py writes them")
    classifier = build_method(config.method)
    classifier.load_state_dict(state["method"])
    kind = config.method.label
    borne = [name for name in classifier.classes if name in set(labels.get(kind, ()))]
    chosen = list(wanted) or borne
    if unknown := [name for name in chosen if name not in classifier.classes]:
        raise UserError(f"--classes {unknown[0]}: {run} tells apart {', '.join(classifier.classes)}")
    if not chosen:
        raise UserError(f"--classifier {run}: the held-out paintings bear no {kind} that it knows; give --classes NAME")
    if len(chosen) == len(classifier.classes):
        raise UserError(
            f"--classifier {run}: all of its classes are the target, so that it cannot say no; --classes NAME"
        )
    judge = Judge(classifier, [classifier.classes.index(name) for name in chosen])
    return judge.eval(), f"{fingerprint(state['method'])} wants {', '.join(chosen)}"
