"""The versions of the libraries that numbers depend on."""

import importlib.metadata

LIBRARIES = ("torch", "torchvision", "torchmetrics", "torch-fidelity", "numpy", "pillow")


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in LIBRARIES}
