"""PatchNCE between pictures: each place of a translation is found again among the places of what it was made of.

Park, Efros, Zhang, Zhu, ECCV 2020, Sec. 3 and Eq. 4; between two generators: Han et al., CVPRW 2021, arXiv 2104.07689.
"""

import torch
from torch import Tensor, nn

from data.batch import Places
from models.losses import patch_nce
from models.networks.generator import Features
from models.options import ContrastOptions


def patch_contrast(
    queries: tuple[nn.Module, Features],
    keys: tuple[nn.Module, Features],
    places: Places,
    options: ContrastOptions,
    name: str = "positions",
) -> Tensor:
    """[N]: PatchNCE of N translations against what they were made of, mean over the feature maps.

    Args:
        queries, keys: heads (see ProjectionHeads), and the feature maps of translations and of their origins, each
            [N, C, H, W]. Keys carry no gradient, neither to the features nor to their heads.
        name: of the draw; the same positions are taken from queries and keys, of all pictures of a whole batch.
    """
    (ask, asked), (know, known) = queries, keys
    positions = tuple(
        places.choose(f"{name} {number}", features[0, 0].numel(), options.num_patches).to(
            features.device, non_blocking=True
        )
        for number, features in enumerate(asked)
    )
    found = ask(asked, positions)
    with torch.no_grad():
        targets = know(tuple(features.detach() for features in known), positions)
    parts = [patch_nce(q, k, options.temperature) for q, k in zip(found, targets, strict=True)]
    return torch.stack(parts).mean(dim=0)
