"""How good the demo's translation is: beside an upper bound, and on things that only context tells apart.

    .venv/bin/python -m benchmarks.demo_bound runs/demo

1. A network of the same size trained on true pairs with an L1 loss, for as many steps on as many pictures: what these
   weights and this time could reach if the pairs were known. (CycleGAN never sees a pair.)
2. Look-alikes: materials that share a colour as photographs and differ as paintings. For every pair the mean colours,
   and the share of pixels whose translation is nearer to the true mean colour of its own material than to that of its
   look-alike; one half would be chance.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from tabulate import tabulate
from torch import Tensor

from data import open_source
from data.drawing.scene import LOOK_ALIKES, MATERIALS
from data.images import denormalise, normalise
from data.loader import read_pictures
from data.synthetic import SyntheticSource
from engine.progress import progress
from engine.schedule import Plan
from engine.step import seed_step
from metrics.psnr import psnr
from metrics.ssim import ssim
from models import load_translator
from models.networks.build import build_generator
from models.networks.generator import ResnetGenerator
from models.translator import Translator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a finished run of configs/demo.yaml")
    translator = load_translator(parser.parse_args().run, device="cpu")
    content = open_source(translator.config.data.content, "content", "held_out")
    photographs, truths, other = (pixels(s) for s in (content, content.counterpart(), content.counterpart(1)))
    translations = in_batches(translator.translate, photographs)
    supervised = in_batches(train_supervised(translator), photographs)
    rows = [
        ("untouched photograph", photographs),
        ("translation (unpaired)", translations),
        ("supervised, same network and steps", supervised),
        ("another true painting (the ceiling)", other),
    ]
    scores = [(name, psnr(x, truths).mean().item(), ssim(x, truths).mean().item()) for name, x in rows]
    print(tabulate(scores, headers=["", "PSNR to the truth, dB", "SSIM"], floatfmt=".3f"), "\n")
    print(look_alike_table(content, photographs, translations, truths))


def train_supervised(translator: Translator) -> ResnetGenerator:
    """The generator of the run's options, trained on true pairs at the run's batch, steps and schedule."""
    config = translator.config
    source = open_source(config.data.content, "content", "train")
    photographs, truths = pixels(source), pixels(source.counterpart())
    torch.manual_seed(config.seed)
    network = build_generator(config.method.generator)
    rate = config.method.learning_rate
    adam = torch.optim.Adam(network.parameters(), lr=rate, betas=(config.method.beta1, config.method.beta2))
    plan = Plan(config.schedule, len(source), config.train.batch_size)
    with progress(translator.step, "step", "train with pairs") as bar:
        for step in range(translator.step):
            seed_step(config.seed, step)
            for group in adam.param_groups:
                group["lr"] = rate * plan.factor(step)
            chosen = torch.randint(len(photographs), (config.train.batch_size,))
            mirrored = (slice(None),) * 3 + (torch.arange(config.data.size).flip(0) if torch.rand(()) < 0.5 else ...,)
            x, y = photographs[chosen], truths[chosen]
            x, y = (z[mirrored] if mirrored[-1] is not ... else z for z in (x, y))
            adam.zero_grad()
            F.l1_loss(network(x), y).backward()
            adam.step()
            bar.update()
    return network.eval()


def look_alike_table(source: SyntheticSource, photographs: Tensor, translations: Tensor, truths: Tensor) -> str:
    materials = torch.from_numpy(np.stack([source.materials(i) for i in range(len(source))])).long()
    rows = []
    for names in LOOK_ALIKES:
        masks = [materials == MATERIALS.index(name) for name in names]
        wanted = [colours(truths, mask).mean(0) for mask in masks]
        for name, mask, own, other in zip(names, masks, wanted, wanted[::-1], strict=True):
            found = colours(translations, mask)
            right = (found - own).norm(dim=1) < (found - other).norm(dim=1)
            means = (colours(photographs, mask).mean(0), found.mean(0), own)
            rows.append(
                [name, *("{:.0f} {:.0f} {:.0f}".format(*mean.tolist()) for mean in means), right.float().mean()]
            )
    headers = ["material", "photograph", "translation", "truth", "nearer to its own colour"]
    return tabulate(rows, headers=headers, floatfmt=".3f")


def colours(pictures: Tensor, mask: Tensor) -> Tensor:
    """[N, 3, H, W] in [-1, 1] and bool [N, H, W] -> the chosen pixels, [P, 3] in [0, 255]."""
    return (pictures.permute(0, 2, 3, 1)[mask] + 1) * 127.5


def pixels(source: SyntheticSource) -> Tensor:
    return normalise(read_pictures(source, len(source), source.size)[0])


@torch.no_grad()
def in_batches(translate, photographs: Tensor) -> Tensor:
    """Translations as they would be saved: rounded to 8 bits."""
    return torch.cat([normalise(denormalise(translate(batch))) for batch in photographs.split(16)])


if __name__ == "__main__":
    main()
