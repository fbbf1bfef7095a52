"""Transfer learning of the feature network: a VGG learns to tell paintings apart by style, artist or genre.

What the later blocks learn of paintings then serves the Gram losses (`method.features.weights=RUN`), and the classifier
the deception rate of Sanakoyeu et al., ECCV 2018. Departure from Simonyan and Zisserman's classifier: what tells
paintings apart is how they are painted more than what they show, so the means and deviations of features at every depth
(AdaIN's statistics of style) go into one linear layer; pictures may be of any size, and few are enough.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from data.batch import LabelledBatch
from models.losses import channel_statistics
from models.method import Examination, Learner, Table, Turn
from models.networks.vgg import CHANNELS, VGG, layer_names
from models.networks.vgg_weights import fill
from models.options import VggFinetuneOptions

SEEN_AT_ONCE = 32  # pictures
SHOWN = 8  # pictures of a sample sheet


class VggFinetune(Learner):
    """A classifier; `classes` are the names that it tells apart. Training shows every class equally often."""

    def __init__(self, options: VggFinetuneOptions):
        super().__init__()
        self.options = options
        features = options.features
        deepest = [name for name in layer_names(features.network) if name.startswith("relu")][-1]
        self.layers = [*(f"relu{block}_1" for block in range(1, len(CHANNELS) + 1)), deepest]
        self.width = 2 * sum(CHANNELS[int(layer[4]) - 1] for layer in self.layers)
        self.network = VGG(
            features.network, deepest, features.pooling, features.padding, options.frozen_blocks, kept=True
        )
        # Statistics of deep layers differ little from picture to picture beside what all share: it is taken out, and
        # what is left brought to one scale, so that one head rate suits ImageNet's weights and random ones.
        self.neck = nn.Sequential(nn.BatchNorm1d(self.width, affine=False), nn.Dropout(options.dropout))
        self.classes: tuple[str, ...] = ()  # until the pictures, or a checkpoint, name them
        self.optimizers = {}

    def name_classes(self, classes: Sequence[str], shares: Sequence[float]) -> None:
        """What to tell apart, and each class's share of the training pictures; makes the last layer."""
        self.classes = tuple(classes)
        self.head = nn.Linear(self.width, len(classes))
        self.register_buffer("shares", torch.tensor(shares, dtype=torch.float32))
        groups = [{"name": "head", "params": list(self.head.parameters()), "lr": self.options.head_rate}]
        if blocks := list(self.network.parameters()):
            groups.append({"name": "blocks", "params": blocks, "lr": self.options.learning_rate})
        self.optimizers = {"classifier": torch.optim.Adam(groups)}

    def begin(self, classes: Sequence[str], shares: Sequence[float]) -> None:
        """What training starts from; called before a checkpoint is loaded, too."""
        self.name_classes(classes, shares)
        fill(self.network, self.options.features)
        frozen = f"{self.options.frozen_blocks} blocks frozen"
        self.described = f"{self.network.described}, {frozen}; tells apart {len(classes)}: {', '.join(classes)}"

    def forward(self, pictures: Tensor) -> Tensor:
        """[N, 3, H, W] in [-1, 1] -> logits [N, K], as if all classes were equally frequent."""
        features = self.network(pictures, self.layers)
        statistics = [each.flatten(1) for layer in self.layers for each in channel_statistics(features[layer])]
        return self.head(self.neck(torch.cat(statistics, dim=1)))

    def turns(self, batch: LabelledBatch) -> Iterator[Turn]:
        logits = self(batch.pictures)
        loss = functional.cross_entropy(logits, batch.classes)
        accuracy = (logits.argmax(dim=1) == batch.classes).float().mean()
        yield Turn("classifier", loss, {"cross_entropy": loss, "accuracy": accuracy})

    def examine(self, held_out: LabelledBatch) -> Examination:
        """Accuracy with the training part's shares as prior (what is right most often); class-balanced accuracy
        without (the mean over classes of the share that is found); that of naming the commonest class always."""
        logits = torch.cat([self(some) for some in held_out.pictures.split(SEEN_AT_ONCE)])
        truth = held_out.classes
        confusion = count_confusion(truth, logits.argmax(dim=1), len(self.classes))
        likely = (logits + self.shares.log()).argmax(dim=1)
        shown = held_out.pictures[:: max(1, len(truth) // SHOWN)][:SHOWN]
        scores = {
            "accuracy": float((likely == truth).float().mean()),
            "balanced_accuracy": balanced_accuracy(confusion),
            "majority": float((truth == self.shares.argmax()).float().mean()),
        }
        rows = [[name, *row] for name, row in zip(self.classes, confusion.tolist(), strict=True)]
        table = Table(("true \\ found", *self.classes), rows)
        return Examination({"held out": shown}, scores, {"confusion": table})

    def get_extra_state(self) -> dict:
        return {"classes": list(self.classes), "shares": self.shares.tolist()}

    def set_extra_state(self, state: dict) -> None:
        """The names are read by load_state_dict, before the sizes of the weights are compared."""

    def load_state_dict(self, state_dict: dict, strict: bool = True, assign: bool = False):
        given = state_dict["_extra_state"]
        if not self.classes:
            self.name_classes(given["classes"], given["shares"])
        return super().load_state_dict(state_dict, strict, assign)


def count_confusion(truth: Tensor, found: Tensor, num_classes: int) -> Tensor:
    """int64 [K, K]: how many pictures of the row's class were taken for the column's."""
    return torch.bincount(truth * num_classes + found, minlength=num_classes**2).view(num_classes, num_classes)


def balanced_accuracy(confusion: Tensor) -> float:
    """The mean, over the classes that there are, of the share of their pictures that was found."""
    counts = confusion.sum(dim=1)
    return float((confusion.diagonal() / counts)[counts > 0].mean())
