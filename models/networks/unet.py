"""The U-Net generator of pix2pix (Isola, Zhu, Zhou, Efros, CVPR 2017, arXiv 1611.07004, Sec. 6.1.1, after Ronneberger
et al. 2015): an encoder down to a single place, a decoder back, and what the one finds at each size for the other.

Departures: instance norm without weights, as in the ResNet generator beside it, where the paper has batch norm.
"""

from itertools import islice

import torch
from torch import Tensor, nn

from models.networks.attention import SelfAttention
from models.networks.blur import BlurDown
from models.networks.generator import FEATURES, UPSAMPLE, Features, Give
from models.networks.initialise import INITIALISE, freeze_idle_biases
from models.networks.normalise import NORMS

DROPPED = 3  # ups with dropout, from the innermost on (Sec. 6.1.1)
ATTENTIVE = 4  # the down behind which attention stands: a sixteenth of the side; deeper there are too few places


class UnetGenerator(nn.Module):
    """Shape: [N, 3, H, W] in [-1, 1] -> the same; H and W multiples of 2 ** levels.

    Args:
        channels: width of the first level (64 in the paper), doubled by every level up to eight times.
        levels: how often the size is halved. 8 for 256 px, where the innermost is one place: 54,409,603 parameters.
        upsample: "transposed" (the paper: 4 x 4, stride 2), "resize" or "blur" (3 x 3, see UPSAMPLE).
        dropout: probability in the innermost three ups (0.5 in the paper).
        downsample: "strided" (the paper: 4 x 4, stride 2) or "blur" (3 x 3, stride 1, then BlurDown).
        initialise: a key of INITIALISE.
        attention: SelfAttention behind the fourth down, or the last where there are fewer.
        norm: a key of NORMS.

    feature_channels: of what `features` gives, place by place.
    size_multiple, smallest_side: of the sides that it takes.
    """

    def __init__(
        self,
        channels: int = 64,
        levels: int = 8,
        upsample: str = "transposed",
        dropout: float = 0.0,
        downsample: str = "strided",
        initialise: str = "normal",
        attention: bool = False,
        norm: str = "instance",
    ):
        super().__init__()
        self.size_multiple = self.smallest_side = 2**levels
        self.sized_by = f"method.generator.levels = {levels}"
        widths = [3, *(channels * min(2**i, 8) for i in range(levels))]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level in range(levels):
            outer, inner, innermost = widths[level], widths[level + 1], level == levels - 1
            down = [] if level == 0 else [nn.LeakyReLU(0.2)]  # not in place: what comes in is handed across, too
            down += _down(outer, inner, downsample, norm if 0 < level < levels - 1 else "none")
            down += [SelfAttention(inner)] if attention and level == min(ATTENTIVE, levels) - 1 else []
            self.down.append(nn.Sequential(*down))
            up = [nn.ReLU(inplace=not innermost), _up(inner if innermost else 2 * inner, outer, upsample)]
            up += [NORMS[norm](outer)] if level else [nn.Tanh()]
            up += [nn.Dropout(dropout)] if dropout and level >= max(1, levels - DROPPED) else []
            self.up.insert(0, nn.Sequential(*up))
        known = widths[:FEATURES]
        self.feature_channels = (*known, *known[-1:] * (FEATURES - len(known)))
        self.apply(INITIALISE[initialise])
        freeze_idle_biases(self)

    @property
    def compared(self) -> tuple[nn.Module, ...]:
        """The layers whose raw outputs are the features, behind the picture."""
        convolutions = (layer for down in self.down for layer in down if isinstance(layer, nn.Conv2d))
        return tuple(islice(convolutions, FEATURES - 1))

    def forward(self, x: Tensor, give: Give = "picture") -> Tensor | Features | tuple[Tensor, Features]:
        """The picture, or what CUT compares, or both.

        Features: the picture, and the raw outputs of the first four downs' convolutions (of fewer the last again); each
        [N, C, h, w]. For them alone, nothing deeper is passed.
        """
        features, passed = [x], []
        for down in self.down:
            for layer in down:
                x = layer(x)
                if isinstance(layer, nn.Conv2d) and len(features) < FEATURES:
                    features.append(x)
            passed.append(x)
            if give == "features" and len(features) == FEATURES:
                break
        given = (*features, *features[-1:] * (FEATURES - len(features)))
        if give == "features":
            return given
        x = self.up[0](passed.pop())
        for up in self.up[1:]:
            x = up(torch.cat([passed.pop(), x], 1))
        return (x, given) if give == "both" else x


def _down(channels_in: int, channels_out: int, downsample: str, norm: str) -> list[nn.Module]:
    normed = [NORMS[norm](channels_out)] if norm != "none" else []
    if downsample == "blur":
        return [nn.Conv2d(channels_in, channels_out, 3, padding=1), *normed, BlurDown()]
    return [nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1), *normed]


def _up(channels_in: int, channels_out: int, upsample: str) -> nn.Module:
    if upsample == "transposed":
        return nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1)
    return UPSAMPLE[upsample](channels_in, channels_out)
