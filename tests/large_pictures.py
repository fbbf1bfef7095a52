"""Pictures and untrained networks for the tests of what is translated in parts."""

import numpy as np
import torch

from data.images import denormalise, normalise, to_tensor
from engine.schema import Config
from models import build_method
from models.options import CycleGANOptions, DiscriminatorOptions, GeneratorOptions, JohnsonOptions
from models.translator import Translator
from translation.graph import read_graph
from translation.statistics import thumbnail

CPU = torch.device("cpu")
NETWORKS = {
    "transposed": GeneratorOptions(channels=4, blocks=1),
    "resize": GeneratorOptions(channels=4, blocks=2, upsample="resize"),
    "transposed, skips": GeneratorOptions(channels=4, blocks=1, skips=True, dropout=0.5),
    "resize, skips": GeneratorOptions(channels=4, blocks=1, upsample="resize", skips=True),
    "resize, skips, pixel norm": GeneratorOptions(channels=4, blocks=1, upsample="resize", skips=True, norm="pixel"),
    "blur": GeneratorOptions(channels=4, blocks=1, downsample="blur", upsample="blur"),
    "unet": GeneratorOptions(network="unet", channels=4, levels=2),
    "unet, blur": GeneratorOptions(network="unet", channels=4, levels=2, downsample="blur", upsample="blur"),
    "johnson": JohnsonOptions(channels=4, blocks=1, num_styles=1),
    "johnson, skips": JohnsonOptions(channels=4, blocks=1, num_styles=1, skips=True),
}


def translator(name: str = "resize, skips") -> Translator:
    """Untrained, but with numbers that matter in every weight."""
    options = NETWORKS[name]
    if isinstance(options, GeneratorOptions):
        options = CycleGANOptions(generator=options, discriminator=DiscriminatorOptions(channels=4))
    torch.manual_seed(0)
    method = build_method(options)
    with torch.no_grad():
        for weight in method.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return Translator(method, "photo2painting", Config(method=options), 0, CPU)


def picture(height: int, width: int) -> np.ndarray:
    """uint8 [H, W, 3], brighter and rougher to the right, so that no part is like the whole."""
    rng = np.random.default_rng([height, width])
    across = np.linspace(0, 1, width)[None, :, None]
    smooth = 60 + 120 * across + 20 * np.sin(np.arange(height) / 5)[:, None, None]
    return np.clip(smooth + rng.normal(0, 1, (height, width, 3)) * (5 + 40 * across), 0, 255).astype(np.uint8)


def at_once(painter: Translator, pixels: np.ndarray) -> np.ndarray:
    return denormalise(painter.translate(normalise(to_tensor(pixels)[None])))[0].permute(1, 2, 0).numpy()


def apart(ours: np.ndarray, theirs: np.ndarray) -> int:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == np.uint8
    return int(np.abs(ours.astype(int) - theirs).max())


def exact_statistics(painter: Translator, pixels: np.ndarray) -> dict:
    return thumbnail(painter, read_graph(painter), pixels, pixels.size)
