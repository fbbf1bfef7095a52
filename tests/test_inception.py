"""FID's features: torch-fidelity's numbers from the same weights, by a path that runs no code of a weights file."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from data.images import to_tensor
from metrics.frechet import frechet_distance
from metrics.inception import Inception, random_state
from tests.broken_files import picture


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights in the published layout."""
    torch.manual_seed(0)
    return random_state()


def folder(path: Path, first_seed: int, count: int = 4) -> Path:
    path.mkdir()
    for i in range(count):
        picture(12, 10, seed=first_seed + i).resize((48, 40), Image.Resampling.BICUBIC).save(path / f"{i:02d}.png")
    return path


def features(network: Inception, path: Path) -> Tensor:
    pixels = torch.stack([to_tensor(Image.open(file)) for file in sorted(path.iterdir())])
    with torch.inference_mode():
        return network(pixels)


def test_fid_equals_torch_fidelitys_on_the_same_pictures_and_weights(state: dict, tmp_path: Path) -> None:
    from torch_fidelity import calculate_metrics

    torch.save(state, tmp_path / "weights.pth")
    a, b = folder(tmp_path / "a", 0), folder(tmp_path / "b", 100)
    theirs = calculate_metrics(
        input1=str(a), input2=str(b), fid=True, cuda=False, cache=False, verbose=False, batch_size=8,
        feature_extractor_weights_path=str(tmp_path / "weights.pth"),
    )["frechet_inception_distance"]  # fmt: skip
    network = Inception(state)
    ours = frechet_distance(features(network, a), features(network, b))
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert ours > 0


def test_features_are_2048_numbers_a_picture_whatever_the_batch(state: dict) -> None:
    network = Inception(state)
    pictures = torch.randint(0, 256, (3, 3, 40, 56), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = network(pictures)
        alone = torch.cat([network(each) for each in pictures.split(1)])
    assert together.shape == (3, 2048)
    assert torch.allclose(together, alone, atol=1e-4)
