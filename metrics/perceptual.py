"""How far a translation is from its photograph in the eyes of a trained network."""

from collections.abc import Mapping

from torch import Tensor, nn
from torchmetrics.functional.image.lpips import _LPIPS

from metrics.imagenet import ImageNetScale
from metrics.vgg_style import vgg19


class Lpips(nn.Module):
    """Learned perceptual image patch similarity, v0.1, AlexNet (Zhang et al. 2018); the heads come with torchmetrics,
    which would download the trunk unchecked.

    Args:
        trunk: torchvision's AlexNet.
    """

    def __init__(self, trunk: Mapping[str, Tensor]):
        super().__init__()
        self.network = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
        names = {key: f"features.{key.split('.', 2)[2]}" for key in self.network.net.state_dict(prefix="net.")}
        self.network.net.load_state_dict({key.removeprefix("net."): trunk[name] for key, name in names.items()})

    def forward(self, pictures: Tensor, partners: Tensor) -> Tensor:
        """[N, 3, H, W] in [-1, 1], sides at least 32, twice -> [N]; 0 means identical."""
        return self.network(pictures, partners).flatten()


class VggContent(nn.Module):
    """Mean squared difference of features in relu4_1 of a VGG-19, in units of the photograph's variance there (the
    content loss of Gatys et al. 2016 without its unit).

    Args:
        state: torchvision's VGG-19.
    """

    def __init__(self, state: Mapping[str, Tensor]):
        super().__init__()
        self.convolutions, _ = vgg19(state)  # up to relu4_1
        self.scale = ImageNetScale()

    def forward(self, pictures: Tensor, photographs: Tensor) -> Tensor:
        """[N, 3, H, W] in [-1, 1], twice -> [N]; 0 means identical, about 2 nothing in common."""
        a, b = (self.convolutions(self.scale(x)) for x in (pictures, photographs))
        return (a - b).square().mean(dim=(1, 2, 3)) / b.var(dim=(1, 2, 3), correction=0).clamp_min(1e-12)
