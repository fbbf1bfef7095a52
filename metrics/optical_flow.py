"""Optical flow between two frames (the door to OpenCV, which comes with albumentations).

DIS: Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016, OpenCV's preset MEDIUM,
on the luma. The same pictures give the same flow, however many threads there are.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from metrics.luma import luma

SMALLEST = 16  # px; below, OpenCV refuses


def optical_flow(first: Tensor, second: Tensor) -> Tensor:
    """[N, 3, H, W] in [-1, 1], twice -> [N, 2, H, W], px: what is at (x, y) of `first` is at (x + flow[0], y + flow[1])
    of `second`."""
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [_grey(x) for x in (first, second)]
    height, width = first.shape[-2:]
    found = [estimator.calc(a, b, None)[:height, :width] for a, b in zip(*grey, strict=True)]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).to(first.device)


def _grey(x: Tensor) -> list[np.ndarray]:
    values = luma(x).add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).squeeze(1).cpu().numpy()
    missing = [(0, max(0, SMALLEST - side)) for side in x.shape[-2:]]
    return [np.pad(each, missing, mode="edge") for each in values]
