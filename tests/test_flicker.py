"""The warping error of videos whose motion is known."""

import numpy as np
import pytest
import torch
from torch import Tensor

from metrics.flicker import visible_pixels, warp, warping_error
from metrics.optical_flow import optical_flow


def pan(frames: int, step: int = 2, side: int = 64) -> Tensor:
    """[T, 3, side, side] in [-1, 1]: a smooth scene that a camera pans over, `step` px a frame to the right."""
    rng = np.random.default_rng(3)
    coarse = torch.from_numpy(rng.uniform(-1, 1, (1, 3, side // 8, (side + frames * step) // 8 + 1))).float()
    scene = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic").clamp(-1, 1)[0]
    return torch.stack([scene[:, :side, i * step : i * step + side] for i in range(frames)])


def flicker(video: Tensor, of: Tensor) -> float:
    """Mean E_warp of `video` along the motion of `of`."""
    forward, backward = optical_flow(of[:-1], of[1:]), optical_flow(of[1:], of[:-1])
    return float(warping_error(video[:-1], video[1:], forward, visible_pixels(forward, backward)).mean())


def test_a_still_has_none_whatever_function_of_the_colours_it_goes_through() -> None:
    still = pan(1).expand(4, -1, -1, -1)
    for translated in (still, -still, (still * 3).sin(), still.square()):
        assert flicker(translated, still) < 1e-10


def test_noise_flickers_as_much_as_it_varies() -> None:
    still = pan(1).expand(9, -1, -1, -1)
    noise = 0.2 * torch.randn(still.shape, generator=torch.Generator().manual_seed(0))
    # Of pixels in [0, 1] the noise has deviation 0.1, and the difference of two frames twice its variance.
    assert flicker(still + noise, still) == pytest.approx(2 * 0.1**2, rel=0.05)


def test_a_moving_scene_has_little_and_a_translation_that_does_not_move_with_it_more() -> None:
    video = pan(8)
    assert flicker(video, video) < 2e-4
    assert flicker(-video, video) == pytest.approx(flicker(video, video))
    fixed = video * 0.8 + 0.2 * pan(1)  # a texture that sticks to the screen
    generator = torch.Generator().manual_seed(0)
    noisy = video + 0.1 * torch.randn(video.shape, generator=generator)
    blinking = video + 0.1 * torch.tensor([1.0, -1] * 4).view(-1, 1, 1, 1)
    for worse in (fixed, noisy, blinking):
        assert flicker(worse, video) > 5 * flicker(video, video)
    assert flicker(blinking, video) == pytest.approx(0.1**2, rel=0.1)


def test_the_flow_says_where_things_go() -> None:
    forward = optical_flow(pan(2, step=3)[:1], pan(2, step=3)[1:])
    assert forward.shape == (1, 2, 64, 64)
    assert forward[0, 0, 8:-8, 8:-8].median() == pytest.approx(-3, abs=0.1)
    assert forward[0, 1, 8:-8, 8:-8].median() == pytest.approx(0, abs=0.1)


def test_warp_reads_at_the_place_that_the_flow_says() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4)
    flow = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    assert warp(x, flow)[0, 0].numpy() == pytest.approx(np.array([[1, 2, 3, 3], [1, 2, 3, 3], [5, 6, 7, 7]]), abs=1e-5)
    assert torch.allclose(warp(x, torch.full((1, 2, 3, 4), 0.5))[0, 0, 0], torch.tensor([2.5, 3.5, 4.5, 5.0]))


def test_hidden_pixels_do_not_count() -> None:
    flow = torch.zeros(1, 2, 16, 16)
    there, back = flow.clone(), flow.clone()
    back[:, 0, 4:12, 4:12] = 5  # the way back does not lead home
    visible = visible_pixels(there, back)
    assert not visible[0, 4:12, 4:12].any()
    assert int(visible.sum()) == 16 * 16 - 64
    there[:, 0] = -2
    assert not visible_pixels(there, -there)[0, :, :2].any()  # left the picture
    first, second = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    second[..., 4:12, 4:12] = 1
    assert warping_error(first, second, flow, visible).tolist() == [0]
    everything = torch.ones(1, 16, 16, dtype=torch.bool)
    assert warping_error(first, second, flow, everything).item() == pytest.approx(0.25 * 64 / 256)
    assert warping_error(first, second, flow, ~everything).isnan().all()


def test_a_border_of_motion_does_not_count() -> None:
    flow = torch.zeros(1, 2, 16, 16)
    flow[:, 0, :, 8:] = 3
    visible = visible_pixels(flow, -flow)[0]
    assert not visible[:, 7:9].any()
    assert visible[:, 1:7].all()


@pytest.mark.parametrize("side", [1, 3, 15])
def test_tiny_frames_have_a_flow(side: int) -> None:
    x = torch.rand(2, 3, side, side + 1) * 2 - 1
    assert optical_flow(x, x).shape == (2, 2, side, side + 1)
