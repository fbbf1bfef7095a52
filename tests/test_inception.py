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


def pictures(first_seed: int, count: int = 3) -> Tensor:
    """uint8 [count, 3, 40, 48]."""
    drawn = [picture(12, 10, seed=first_seed + i).resize((48, 40), Image.Resampling.BICUBIC) for i in range(count)]
    return torch.stack([to_tensor(each) for each in drawn])


@torch.inference_mode()
def test_features_and_their_distance_are_torch_fidelitys(state: dict, tmp_path: Path) -> None:
    """Its own path from the same weights and pictures, but for its reading of files; and its formula, for which it
    takes ten seconds at 2048 numbers, at their first 64."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    torch.save(state, tmp_path / "weights.pth")
    network = Inception(state)
    reference = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(tmp_path / "weights.pth")).eval()
    sets = [pictures(0), pictures(100)]
    ours, theirs = [network(each) for each in sets], [reference(each)[0] for each in sets]
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() < 1e-4 * b.norm()
        assert b.std(dim=0).norm() > 0.01 * b.norm()  # other pictures, other features
    statistics = [fid_features_to_statistics(each[:, :64].double()) for each in theirs]
    wanted = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert frechet_distance(*(each[:, :64] for each in ours)) == pytest.approx(wanted, rel=1e-4)


def test_features_are_2048_numbers_a_picture_whatever_the_batch(state: dict) -> None:
    network = Inception(state)
    noise = torch.randint(0, 256, (3, 3, 40, 56), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = network(noise)
        alone = torch.cat([network(each) for each in noise.split(1)])
    assert together.shape == (3, 2048)
    assert torch.allclose(together, alone, atol=1e-4)
