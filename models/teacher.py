"""The teacher of a distillation: the generators of a finished CycleGAN run, read and never written.

A file that reaches outside of models/: checkpoints are read by engine.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from engine.checkpoint import fingerprint, newest_checkpoint
from models.networks.build import build_generator
from models.networks.generator import ResnetGenerator
from models.networks.spectral import baked
from models.options import GeneratorOptions

NETWORKS = ("G", "F")


class TeacherError(ValueError):
    """The teacher cannot be had, or is not the one that was meant; one line with the mend."""

    exit_code = 2


@dataclass(frozen=True)
class Teacher:
    """step: of its checkpoint. sha256: of its generators' weights, as they translate, whatever file they lie in.
    passed_over: what is wrong with newer checkpoints."""

    path: Path
    step: int
    options: GeneratorOptions
    weights: dict[str, Tensor]  # "G.model.1.weight" ...
    sha256: str
    passed_over: tuple[str, ...] = ()

    def generator(self, name: str) -> ResnetGenerator:
        """One of NETWORKS as it translates, on the CPU. Its weights are buffers that no checkpoint holds: nobody moves
        them, and they come from where they came from before."""
        o = self.options
        network = build_generator(o)
        prefix = f"{name}."
        network.load_state_dict({k.removeprefix(prefix): v for k, v in self.weights.items() if k.startswith(prefix)})
        baked(network)
        for module in network.modules():
            for key, weight in list(module.named_parameters(recurse=False)):
                delattr(module, key)
                module.register_buffer(key, weight.detach(), persistent=False)
        return network.eval()


def read_teacher(run: str, sha256: str = "") -> Teacher:
    """The newest good checkpoint of a CycleGAN run; by the running average of the weights, if it has one.

    Args:
        sha256: of the weights that are wanted; "": any.

    Raises:
        TeacherError: there is none, of another method, or with other weights.
    """
    path = Path(run)
    if not run or not path.is_dir():
        raise TeacherError(f"method.teacher = {run}: no such run; it is needed until this training is over")
    state, problems = newest_checkpoint(path / "checkpoints")
    if state is None:
        raise TeacherError(
            f"{path}: has no good checkpoint to learn from{''.join(f' ({p})' for p in problems.values())}"
        )
    method = state["config"]["method"]
    if method["name"] != "cyclegan":
        raise TeacherError(f"{path}: is a run of {method['name']}; only those of cyclegan can be made smaller")
    options = GeneratorOptions(**method["generator"])
    for key in ("network", "attention"):
        if (given := getattr(options, key)) != getattr(GeneratorOptions(), key):
            raise TeacherError(
                f"{path}: method.generator.{key} = {given}: only ResNet generators without attention can be made "
                "smaller"
            )
    weights = {
        key: value for key, value in (state["method"] | state["average"]).items() if key.split(".")[0] in NETWORKS
    }
    found = fingerprint(weights)
    if sha256 and found != sha256:
        raise TeacherError(
            f"{path}: has changed since this training began (its weights, of step {state['step']}, have SHA-256 "
            f"{found[:8]} and not {sha256[:8]}); bring the old ones back, or begin another run"
        )
    return Teacher(path, state["step"], options, weights, found, tuple(problems.values()))
