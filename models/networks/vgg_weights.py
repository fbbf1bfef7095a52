"""Where a VGG's weights come from: ImageNet, a seed, a file, or a run of ours that has fine-tuned one.

The one file of models/networks/ that reaches outside: files of weights and checkpoints are read by engine.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.checkpoint import newest_checkpoint
from engine.weights import WeightsError, fetch, sha256
from engine.weights import read_weights as load_file
from models.networks.vgg import VGG, layer_names
from models.options import FeatureOptions

OPTION = "method.features.weights"


def load_vgg(options: FeatureOptions, deepest: str) -> VGG:
    """A frozen VGG up to `deepest`, with the weights that the options name; `described` says which they are.

    Raises:
        WeightsError: they are not there, cannot be downloaded, or are damaged. Others are never taken instead.
    """
    vgg = VGG(options.network, deepest, options.pooling, options.padding)
    fill(vgg, options)
    return vgg.eval()


def fill(vgg: VGG, options: FeatureOptions) -> None:
    """Give a VGG the weights that the options name; raises WeightsError."""
    vgg.fill(*read_weights(options, vgg.convolutions))


def read_weights(options: FeatureOptions, convolutions: tuple[str, ...]) -> tuple[dict[str, Tensor], str]:
    """Weights by layer, of these convolutions at least, and what they are."""
    network, wanted = options.network, options.weights
    if wanted == "random":
        return random_weights(network, options.seed, convolutions), f"{network}, random weights (seed {options.seed})"
    if wanted == "imagenet":
        path = fetch(network, f"{OPTION}=random")
        return _by_layer(load_file(path), network, path), f"{network}, ImageNet ({path.name})"
    if not wanted:
        raise WeightsError(f"{OPTION} is empty: imagenet, random, a file or a run")
    path = Path(wanted)
    if path.is_dir():
        return _of_run(path, network)
    if not path.is_file():
        raise WeightsError(f"{OPTION} = {wanted}: no such file or run; or one of: imagenet, random")
    return _by_layer(load_file(path), network, path), f"{network}, {path.name} (SHA-256 {sha256(path)[:8]})"


def random_weights(network: str, seed: int, convolutions: tuple[str, ...]) -> dict[str, Tensor]:
    """Kaiming-normal weights and no biases: every layer keeps the scale of what it gets. The first layers are the
    same however deep the network is cut."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, value in VGG(network, convolutions[-1]).named_buffers():
        if name.endswith("_weight"):
            weights[name] = nn.init.kaiming_normal_(torch.empty_like(value), nonlinearity="relu", generator=generator)
        elif name.endswith("_bias"):
            weights[name] = torch.zeros_like(value)
    return weights


def _of_run(run: Path, network: str) -> tuple[dict[str, Tensor], str]:
    state, _ = newest_checkpoint(run / "checkpoints")
    if state is None:
        raise WeightsError(f"{OPTION} = {run}: a folder without a good checkpoint; train.py writes them")
    weights = {key.removeprefix("network."): value for key, value in state["method"].items()}
    if "conv1_1_weight" not in weights:
        raise WeightsError(f"{OPTION} = {run}: this run has trained no VGG; configs/vgg_wikiart.yaml does")
    trained = state["config"]["method"]["features"]["network"]
    if trained != network:
        raise WeightsError(f"{OPTION} = {run}: is a {trained} and not a {network}")
    start = state.get("described", "").partition(";")[0]
    return weights, f"{network}, fine-tuned ({run}, step {state['step']}, from {start})"


def _by_layer(state: Mapping[str, Tensor], network: str, path: Path) -> dict[str, Tensor]:
    """torchvision numbers its modules, `features.0.weight`; ours are named."""
    numbers = {name: i for i, name in enumerate(layer_names(network))}
    wanted = {
        f"{name}_{kind}": f"features.{numbers[name]}.{kind}"
        for name in numbers
        if name.startswith("conv")
        for kind in ("weight", "bias")
    }
    found = {}
    for name, empty in VGG(network, layer_names(network)[-1], kept=True).state_dict().items():
        value = state.get(wanted[name]) if isinstance(state, Mapping) else None
        if not (torch.is_tensor(value) and value.is_floating_point() and value.shape == empty.shape):
            raise WeightsError(
                f"{OPTION} = {path}: holds no {network} in torchvision's layout ({wanted[name]}: no tensor of "
                f"{tuple(empty.shape)})"
            )
        if not value.isfinite().all():
            raise WeightsError(f"{OPTION} = {path}: is damaged ({wanted[name]} is not finite)")
        found[name] = value
    return found
