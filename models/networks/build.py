"""Networks as options describe them."""

from models.networks.discriminator import MultiScaleDiscriminator, PatchDiscriminator
from models.networks.generator import ResnetGenerator
from models.networks.spectral import with_spectral_norm
from models.networks.unet import UnetGenerator
from models.options import DiscriminatorOptions, GeneratorOptions


def _resnet(o: GeneratorOptions) -> ResnetGenerator:
    return ResnetGenerator(
        o.channels, o.blocks, o.upsample, o.dropout, o.skips, o.downsample, o.initialise, o.attention, o.norm
    )


def _unet(o: GeneratorOptions) -> UnetGenerator:
    return UnetGenerator(o.channels, o.levels, o.upsample, o.dropout, o.downsample, o.initialise, o.attention, o.norm)


GENERATORS = {"resnet": _resnet, "unet": _unet}


def build_generator(o: GeneratorOptions) -> ResnetGenerator | UnetGenerator:
    network = GENERATORS[o.network](o)
    return with_spectral_norm(network) if o.spectral_norm else network


def build_discriminator(o: DiscriminatorOptions) -> PatchDiscriminator | MultiScaleDiscriminator:
    """A map of scores, or with more than one scale a tuple of them."""
    patches = [PatchDiscriminator(o.channels, o.layers, o.downsample, o.initialise, o.norm) for _ in range(o.scales)]
    network = patches[0] if o.scales == 1 else MultiScaleDiscriminator(patches)
    return with_spectral_norm(network) if o.spectral_norm else network
