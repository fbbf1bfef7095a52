"""FID's features per second: our path against torchmetrics' own, and a second evaluation of the same pictures.

    OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m benchmarks.feature_extraction

Both sides run the same Inception with the same random weights on the same pictures, in turns; medians are compared, and
the features are checked to be equal. The cache's side is a second FeatureStore that finds what the first has written.
"""

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import torch
from tabulate import tabulate
from torch import Tensor
from torchmetrics.image.fid import NoTrainInceptionV3

from engine.cache import TensorCache
from metrics.features import BATCH, NETWORKS, FeatureStore, Network
from metrics.inception import Inception, random_state
from metrics.sets import PictureSet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--side", type=int, default=256, help="px")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    state = random_state()
    ours = Inception(state)
    NETWORKS["inception"] = Network(lambda: ours, "benchmark, random weights")
    plain = plain_torchmetrics(state)
    shape = (arguments.pictures, 3, arguments.side, arguments.side)
    pictures = PictureSet(torch.randint(0, 256, shape, dtype=torch.uint8))
    times: dict[str, list[float]] = {"torchmetrics": [], "ours": [], "ours, again": []}
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            found = {
                "torchmetrics": timed(times["torchmetrics"], lambda: run_plain(plain, pictures.pixels)),
                "ours": timed(times["ours"], lambda: run_ours(Path(folder), pictures)),
                "ours, again": timed(times["ours, again"], lambda: run_ours(Path(folder), pictures)),
            }
        assert torch.allclose(found["ours"].float(), found["torchmetrics"], rtol=1e-3, atol=1e-4)
        assert torch.equal(found["ours"], found["ours, again"])
    medians = {name: statistics.median(values) for name, values in times.items()}
    rows = [
        (name, arguments.pictures / seconds, medians["torchmetrics"] / seconds) for name, seconds in medians.items()
    ]
    print(tabulate(rows, headers=["path", "pictures/s", "times torchmetrics"], floatfmt=".2f"))


def plain_torchmetrics(state: dict[str, Tensor]) -> NoTrainInceptionV3:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return NoTrainInceptionV3("inception-v3-compat", ["2048"], file, antialias=False)  # whose default is another resize


def run_plain(network: NoTrainInceptionV3, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(batch) for batch in pixels.split(BATCH)])


def run_ours(cache: Path, pictures: PictureSet) -> Tensor:
    """As an evaluation that starts anew; the network is built before, as the other side's is."""
    return FeatureStore(torch.device("cpu"), TensorCache(cache)).features("inception", pictures)


def timed(times: list[float], action: object) -> Tensor:
    start = time.perf_counter()
    found = action()
    times.append(time.perf_counter() - start)
    return found


if __name__ == "__main__":
    main()
