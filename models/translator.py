"""A trained run as a function of a picture: what users, translate.py and evaluate.py call.

The one file of models/ that reaches outside: it brings a checkpoint (engine) and pictures (data) together.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from data import SOURCES
from data.images import normalise, to_picture, to_rgb, to_tensor
from engine.checkpoint import CheckpointError, load_checkpoint, newest_checkpoint
from engine.config import Config, config_from_dict
from engine.device import choose_device
from engine.exits import UserError
from engine.progress import say
from engine.run_folder import read_run_config
from models import METHODS, build_method
from models.method import Method


class Translator:
    """Translates pictures of any size in one direction.

    >>> painter = load_translator("runs/demo")
    >>> painting = painter(Image.open("photograph.jpg"))

    step: training steps of the weights; config: of the run.
    """

    def __init__(self, method: Method, direction: str, config: Config, step: int, device: torch.device):
        self.method = method.to(device).eval()
        self.direction = direction
        self.config = config
        self.step = step
        self.device = device

    def __call__(self, picture: Image.Image) -> Image.Image:
        """A picture of any mode -> RGB of exactly the same size."""
        pixels = to_tensor(to_rgb(picture)).unsqueeze(0)
        return to_picture(self.translate(normalise(pixels))[0])

    @torch.inference_mode()
    def translate(self, pictures: Tensor) -> Tensor:
        """[N, 3, H, W] in [-1, 1], any H and W -> the same shape and range, on the translator's device."""
        height, width = pictures.shape[-2:]
        padded = _pad(pictures.to(self.device), self.method.size_multiple, self.method.smallest_side)
        return self.method.translate(padded, direction=self.direction)[..., :height, :width]


def load(run: str, direction: str | None = None, device: str = "auto") -> Translator:
    """The newest good checkpoint of a run folder, or one checkpoint file; see models.load_translator."""
    path = Path(run)
    if path.is_file():
        state = load_checkpoint(path)
    else:
        read_run_config(path)  # says what is wrong with a folder that is no run
        state, problems = newest_checkpoint(path / "checkpoints")
        for problem in problems.values():
            say(f"passed over: {problem}")
        if state is None:
            raise CheckpointError(f"{path / 'checkpoints'}: no good checkpoint yet; train.py writes them")
    config = config_from_dict(state["config"], str(path), METHODS, SOURCES)
    method = build_method(config.method)
    method.load_state_dict(state["method"])
    return Translator(method, _choose(direction, method), config, state["step"], choose_device(device))


def _choose(direction: str | None, method: Method) -> str:
    if direction is not None and direction not in method.directions:
        raise UserError(f"direction = {direction}: not one of: {', '.join(method.directions)}")
    return direction or method.directions[0]


def _pad(x: Tensor, multiple: int, smallest: int) -> Tensor:
    """Repeat the last row and column up to sides that the network takes; unlike reflection this works from
    one pixel on."""
    height, width = (-(-max(side, smallest) // multiple) * multiple for side in x.shape[-2:])
    return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), mode="replicate")
