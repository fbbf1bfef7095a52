"""Networks as options describe them."""

from models.networks.discriminator import PatchDiscriminator
from models.networks.generator import ResnetGenerator
from models.options import DiscriminatorOptions, GeneratorOptions


def build_generator(o: GeneratorOptions) -> ResnetGenerator:
    return ResnetGenerator(o.channels, o.blocks, o.upsample, o.dropout, o.skips, o.downsample, o.initialise)


def build_discriminator(o: DiscriminatorOptions) -> PatchDiscriminator:
    return PatchDiscriminator(o.channels, o.layers, o.downsample, o.initialise)
