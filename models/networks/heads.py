"""What makes features comparable: a small perceptron for each place of an encoder (CUT, Sec. 3)."""

from collections.abc import Sequence

from torch import Tensor, nn

from models.networks.initialise import xavier_


class ProjectionHeads(nn.Module):
    """A head for every feature map: linear, ReLU, linear, on the vector of each position.

    Args:
        widths: channels of each map, so that nothing is sized by the first batch.
        channels: that all of them get.
    """

    def __init__(self, widths: Sequence[int], channels: int = 256):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, channels), nn.ReLU(), nn.Linear(channels, channels)) for width in widths
        )
        self.apply(xavier_)

    def forward(self, features: tuple[Tensor, ...], positions: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Each [N, C, H, W], and P numbers of places, row by row -> each [N, P, channels]."""
        sampled = (x.flatten(2)[..., chosen].transpose(1, 2) for x, chosen in zip(features, positions, strict=True))
        return tuple(head(x) for head, x in zip(self.heads, sampled, strict=True))
