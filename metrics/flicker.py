"""Does a translated video flicker? The warping error of Lai, Huang, Wang, Shechtman, Yumer, Yang, "Learning Blind Video
Temporal Consistency", ECCV 2018, Sec. 4.2.

A frame V_t is compared with the next one, brought back along the optical flow w of the INPUT video:

    E_warp(V_t, V_t+1) = 1 / sum_i M_i * sum_i M_i ||V_t(i) - V_t+1(i + w(i))||^2

where M is 1 for pixels that both frames show. A pixel is hidden (Ruder, Dosovitskiy, Brox, GCPR 2016, after Sundaram,
Brox, Keutzer, ECCV 2010) where the flow there, w, and the flow back, w', do not cancel:

    |w + w'|^2 > 0.01 (|w|^2 + |w'|^2) + 0.5

or at a border of motion, |grad w_x|^2 + |grad w_y|^2 > 0.01 |w|^2 + 0.002, or where it leaves the picture. Pixels are
in [0, 1]. Departures: the square is the mean of the three channels; the flow is DIS and not FlowNet 2. The value of
the input video itself, which noise, light and the flow's mistakes keep above 0, stands beside it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def warping_error(first: Tensor, second: Tensor, flow: Tensor, visible: Tensor) -> Tensor:
    """E_warp of each pair; NaN where nothing is visible.

    Args:
        first, second: [N, 3, H, W] in [-1, 1], frames that follow one another.
        flow: [N, 2, H, W] in px, from `first` to `second`.
        visible: bool [N, H, W], M.

    Returns:
        [N], 0 for what follows the flow exactly.
    """
    squared = (first - warp(second, flow)).div(2).square().mean(dim=1)  # of [0, 1]
    mask = visible.to(squared.dtype)
    return (squared * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2))


def visible_pixels(forward: Tensor, backward: Tensor) -> Tensor:
    """Where both frames show the same point: [N, 2, H, W] in px, the flow there and the flow back -> bool [N, H, W]."""
    back = warp(backward, forward)
    length = forward.square().sum(dim=1)
    hidden = (forward + back).square().sum(dim=1) > 0.01 * (length + back.square().sum(dim=1)) + 0.5
    border = _gradient(forward) > 0.01 * length + 0.002
    return ~hidden & ~border & _inside(forward)


def warp(pictures: Tensor, flow: Tensor) -> Tensor:
    """[N, C, H, W] read at (x, y) + flow, bilinear; outside the picture its border is repeated."""
    places = _places(flow)
    size = torch.tensor(flow.shape[:1:-1], device=flow.device, dtype=flow.dtype)  # W, H
    grid = (2 * places + 1) / size.view(1, 2, 1, 1) - 1  # centres of pixels, as align_corners=False counts
    return F.grid_sample(pictures, grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def _places(flow: Tensor) -> Tensor:
    height, width = flow.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y]).to(flow) + flow


def _inside(flow: Tensor) -> Tensor:
    places, (height, width) = _places(flow), flow.shape[-2:]
    x, y = places.unbind(dim=1)
    return (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)


def _gradient(flow: Tensor) -> Tensor:
    """[N]: the squared length of both gradients, by central differences."""
    padded = F.pad(flow, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return (across.square() + down.square()).sum(dim=1)
