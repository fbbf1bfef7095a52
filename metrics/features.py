"""Feature networks by name, and features that are computed once."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.weights import fetch, read_weights
from metrics.sets import PictureSet, to_unit

WITHOUT = "--without-pretrained"
BATCH = 32  # pictures in one forward pass


@dataclass(frozen=True)
class Network:
    """A row of NETWORKS: how to build it, and what it is in the label of a number and in the key of a cache."""

    build: Callable[[], nn.Module]
    identity: str
    pretrained: bool = True


def _random_vgg16() -> nn.Module:
    from metrics.random_vgg import RandomVGG16

    return RandomVGG16(seed=0)


def _inception() -> nn.Module:
    from metrics.inception import Inception

    return Inception(read_weights(fetch("inception", WITHOUT)))


def _lpips() -> nn.Module:
    from metrics.perceptual import Lpips

    return Lpips(read_weights(fetch("alexnet", WITHOUT)))


def _vgg_content() -> nn.Module:
    from metrics.perceptual import VggContent

    return VggContent(read_weights(fetch("vgg19", WITHOUT)))


NETWORKS = {
    "random-vgg16": Network(_random_vgg16, "random VGG-16 (seed 0), 64-d", pretrained=False),
    "inception": Network(_inception, "TF-2015 Inception 6726825d, pool3, TF bilinear 299 px"),
    "lpips": Network(_lpips, "LPIPS v0.1, AlexNet 7be5be79"),
    "vgg-content": Network(_vgg_content, "VGG-19 dcbb9e9d, relu4_1"),
}


class LeftOutError(Exception):
    """Pretrained networks are not wanted."""

    exit_code = 0


class FeatureStore:
    """Networks, built when they are first asked for, and what they see in sets of pictures.

    Args:
        cache: a folder for features, by the content of the set and the network; None keeps them in memory only.
        pretrained: False leaves out what needs weights that others have trained.
    """

    def __init__(self, device: torch.device, cache: Path | None = None, pretrained: bool = True):
        self.device = device
        self.cache = cache
        self.pretrained = pretrained
        self._networks: dict[str, nn.Module | Exception] = {}
        self._features: dict[tuple[str, str], Tensor] = {}

    def network(self, name: str) -> nn.Module:
        """Raises WeightsError or LeftOutError, each time the same without trying again."""
        if name not in self._networks:
            try:
                if NETWORKS[name].pretrained and not self.pretrained:
                    raise LeftOutError(f"left out by {WITHOUT}")
                self._networks[name] = NETWORKS[name].build().to(self.device).eval().requires_grad_(False)
            except Exception as error:
                if not hasattr(error, "exit_code"):
                    raise
                self._networks[name] = error
        found = self._networks[name]
        if isinstance(found, Exception):
            raise found
        return found

    def features(self, name: str, pictures: PictureSet) -> Tensor:
        """float64 [N, D] on the CPU."""
        key = (name, pictures.key)
        if key not in self._features:
            network = self.network(name)
            file = self._file(name, pictures)
            found = _read(file)
            if found is None:
                with torch.inference_mode():
                    batches = pictures.batches(BATCH, self.device)
                    found = torch.cat([network(batch).cpu() for batch in batches])
                _write(file, found)
            self._features[key] = found
        return self._features[key].double()

    def _file(self, name: str, pictures: PictureSet) -> Path | None:
        if self.cache is None:
            return None
        text = f"{NETWORKS[name].identity} {pictures.key} {torch.__version__} {self.device.type}"
        return self.cache / f"{hashlib.sha256(text.encode()).hexdigest()}.pt"


def default_cache() -> Path:
    """ATELIER_CACHE, or the user's folder of caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ATELIER_CACHE") or Path(base) / "atelier") / "features"


def pixels(pictures: PictureSet, device: torch.device) -> Tensor:
    """All of them, float32 [N, 3, H, W] in [-1, 1]."""
    return to_unit(pictures.pixels.to(device))


def _read(file: Path | None) -> Tensor | None:
    """None also for a damaged file: what it held is computed again."""
    try:
        return torch.load(file, weights_only=True) if file and file.is_file() else None
    except Exception:  # whatever foreign bytes make the reader raise
        return None


def _write(file: Path | None, features: Tensor) -> None:
    """Whole or not at all; a cache that cannot be written costs time and nothing else."""
    if file is None:
        return
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(features, temporary)
        os.replace(temporary, file)
    except (OSError, RuntimeError):
        temporary.unlink(missing_ok=True)
