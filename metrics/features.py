"""Feature networks by name, and features that are computed once."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from engine.cache import NO_CACHE, TensorCache
from engine.distributed import ALONE, Team
from engine.weights import fetch, read_weights
from metrics.sets import PictureSet

WITHOUT = "--without-pretrained"
BATCH = 16  # pictures in one forward pass
SUMMED_AT_ONCE = 128  # pictures whose features are summed before they are sent or kept
MOST_BYTES = 2**28  # of features that are kept in memory
MOST_THREADS = 16  # that each work at a batch of their own

Item = TypeVar("Item")
Kept = TypeVar("Kept")  # a tensor, or plain values


@dataclass(frozen=True)
class Network:
    """A row of NETWORKS: how to build it, and what it is in the label of a number and in the key of a cache.

    summed: of its features only the mean over a set is wanted, because those of each picture would fill the memory.
    """

    build: Callable[[], nn.Module]
    identity: str
    pretrained: bool = True
    summed: bool = False


def _random_moments() -> nn.Module:
    from metrics.vgg_style import VggMoments, random_vgg16

    return VggMoments(*random_vgg16(seed=0))


def _random_gram() -> nn.Module:
    from metrics.vgg_style import VggGram, random_vgg16

    return VggGram(*random_vgg16(seed=0))


def _vgg_moments() -> nn.Module:
    from metrics.vgg_style import VggMoments, vgg19

    return VggMoments(*vgg19(read_weights(fetch("vgg19", WITHOUT))))


def _vgg_gram() -> nn.Module:
    from metrics.vgg_style import VggGram, vgg19

    return VggGram(*vgg19(read_weights(fetch("vgg19", WITHOUT))))


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
    "random-moments": Network(_random_moments, "random VGG-16 (seed 0), moments", pretrained=False),
    "random-gram": Network(_random_gram, "random VGG-16 (seed 0), Gram", pretrained=False, summed=True),
    "vgg-moments": Network(_vgg_moments, "VGG-19 dcbb9e9d, moments"),
    "vgg-gram": Network(_vgg_gram, "VGG-19 dcbb9e9d, Gram", summed=True),
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
        cache: keeps features and comparisons by the content of the pictures and the network.
        pretrained: False leaves out what needs weights that others have trained.
        team: processes that share the work.
        networks: by name, as NETWORKS.
    """

    def __init__(
        self,
        device: torch.device,
        cache: TensorCache = NO_CACHE,
        pretrained: bool = True,
        team: Team = ALONE,
        networks: Mapping[str, Network] = NETWORKS,
    ):
        self.device = device
        self.cache = cache
        self.pretrained = pretrained
        self.team = team
        self.networks = networks
        self._built: dict[str, nn.Module | Exception] = {}
        self._features: dict[tuple[str, str], Tensor] = {}  # the last used last

    def network(self, name: str) -> nn.Module:
        """Raises WeightsError or LeftOutError, each time the same without trying again."""
        if name not in self._built:
            try:
                if self.networks[name].pretrained and not self.pretrained:
                    raise LeftOutError(f"left out by {WITHOUT}")
                build = self.networks[name].build
                self._built[name] = self.team.agree(lambda: build().to(self.device).eval().requires_grad_(False))
            except Exception as error:
                if not hasattr(error, "exit_code"):
                    raise
                self._built[name] = error
        found = self._built[name]
        if isinstance(found, Exception):
            raise found
        return found

    def features(self, name: str, pictures: PictureSet) -> Tensor:
        """float64 [N, D] on the CPU; [1, D], their mean, where the network's are `summed`."""
        key, network = (name, pictures.key), self.network(name)
        found = self._features.pop(key, None)
        if found is None:
            compute = self._mean_of if self.networks[name].summed else self._each_of
            found = self.kept(self.identity(name), (pictures,), lambda: compute(network, pictures))
        self._features[key] = found
        while sum(each.nbytes for each in self._features.values()) > MOST_BYTES and len(self._features) > 1:
            del self._features[next(iter(self._features))]
        return found.double()

    def forget(self, pictures: PictureSet) -> None:
        """What is kept in memory of a set that will not come again."""
        self._features = {key: kept for key, kept in self._features.items() if key[1] != pictures.key}

    def identity(self, name: str) -> str:
        """What a network is, in words; "" for none."""
        return self.networks[name].identity if name else ""

    def kept(self, what: str, sets: Sequence[PictureSet], compute: Callable[[], Kept]) -> Kept:
        """compute(), or what it gave for the same pictures before."""
        of = f"{what} {' '.join(each.key for each in sets)} {self.device.type}"
        found = self.team.once(lambda: self.cache.read("measured", of))
        if found is None:
            found = compute()
            if self.team.leads:
                self.cache.write("measured", of, found)
        return found

    def _each_of(self, network: nn.Module, pictures: PictureSet) -> Tensor:
        return torch.cat(self.map(lambda batch: network(batch.to(self.device)).cpu(), pictures.pixels.split(BATCH)))

    def _mean_of(self, network: nn.Module, pictures: PictureSet) -> Tensor:
        def work(some: Tensor) -> Tensor:
            return sum(network(batch.to(self.device)).double().sum(dim=0) for batch in some.split(BATCH)).cpu()

        return (sum(self.map(work, pictures.pixels.split(SUMMED_AT_ONCE))) / len(pictures)).unsqueeze(0)

    def map(self, work: Callable[[Item], Tensor], items: Sequence[Item]) -> list[Tensor]:
        """[work(item) for item in items] in inference mode, shared by the team. On a CPU batches are done side by side,
        each by one thread: faster than all threads at one batch, and the same to the bit however many there are."""
        if self.device.type != "cpu":
            return self.team.map(torch.inference_mode()(work), items)
        threads = torch.get_num_threads()

        def run(work: Callable[[Item], Tensor], own: Sequence[Item]) -> Sequence[Tensor]:
            count = max(1, min(threads, MOST_THREADS, len(own)))
            with ThreadPoolExecutor(count, initializer=lambda: torch.set_num_threads(1)) as pool:
                return list(pool.map(torch.inference_mode()(work), own))

        try:
            return self.team.map(work, items, run)
        finally:
            torch.set_num_threads(threads)
