"""What each method can be told: one dataclass a method, its defaults the paper's recipe.

The dataclasses are the schema of the YAML's `method:` section. They stand apart from the methods so that a
wrong key is answered before torch is imported (seconds); nothing here may import torch.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

Positive = Annotated[int, Ge(1)]
Weight = Annotated[float, Ge(0), Le(1e9)]
Rate = Annotated[float, Gt(0), Le(1e3)]

PRESERVED_COLOURS = ("luminance", "moments")  # how a translation can keep its photograph's colours


class OptionsError(ValueError):
    """Options that do not fit together; the message names them and what would."""

    exit_code = 2


@dataclass(frozen=True)
class GeneratorOptions:
    """The ResNet generator of Johnson et al. 2016 as CycleGAN uses it (paper, Sec. 7.2), or pix2pix's U-Net."""

    network: Literal["resnet", "unet"] = "resnet"
    channels: Positive = 64  # ngf, the width of the first layer
    blocks: Positive = 9  # residual blocks (resnet): 9 at 256 px, 6 at 128 px
    levels: Annotated[int, Ge(2), Le(10)] = 8  # how often a unet halves the size: 8 at 256 px, 7 at 128 px
    upsample: Literal["transposed", "resize", "blur"] = "transposed"  # the others leave no checkerboard
    downsample: Literal["strided", "blur"] = "strided"  # blur: without aliases, as CUT's; these layers cost four times
    initialise: Literal["normal", "xavier"] = "normal"  # xavier: as CUT's
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0  # inside the residual blocks, or a unet's three innermost ups
    skips: bool = False  # resnet: from encoder to decoder: detail stays sharp, and is repainted less; a unet has them
    attention: bool = False  # between all places where the picture is small (SAGAN); not for pictures in parts
    norm: Literal["instance", "pixel"] = "instance"  # pixel: every place by itself; no blobs, colours stay nearer
    spectral_norm: bool = False  # convolutions that make nothing larger (Miyato et al. 2018)


@dataclass(frozen=True)
class DiscriminatorOptions:
    """The PatchGAN discriminator of Isola et al. 2017; three layers see 70 x 70 px."""

    channels: Positive = 64  # ndf
    layers: Positive = 3  # convolutions that halve the size
    downsample: Literal["strided", "blur"] = "strided"  # blur: without aliases, as CUT's; these layers cost four times
    initialise: Literal["normal", "xavier"] = "normal"  # xavier: as CUT's
    scales: Annotated[int, Ge(1), Le(8)] = 1  # judges, each at half the size of the one before (pix2pixHD)
    norm: Literal["instance", "none"] = "instance"  # none: sees how bright a picture is; with spectral_norm or R1
    spectral_norm: bool = False  # convolutions that make nothing larger (Miyato et al. 2018)


@dataclass(frozen=True)
class FeatureOptions:
    """The VGG whose features a Gram loss compares."""

    network: Literal["vgg16", "vgg19"] = "vgg19"
    weights: str = "imagenet"  # or "random", a file in torchvision's layout, or a run that has fine-tuned one
    seed: Annotated[int, Ge(0)] = 0  # of random weights
    pooling: Literal["max", "average"] = "max"  # max as trained
    padding: Literal["zeros", "reflect", "replicate"] = "zeros"  # zeros as trained; the others leave no frame


@dataclass(frozen=True)
class GatysOptions:
    """Neural style transfer by optimising the picture (Gatys, Ecker, Bethge, CVPR 2016). Nothing is trained.

    Losses have no unit: a style layer's is divided by its value at the photograph, the content's by the variance of
    the photograph's own features; so weights mean the same for every network.
    """

    name: Literal["gatys"] = "gatys"
    features: FeatureOptions = field(default_factory=FeatureOptions)
    style_layers: list[str] = field(default_factory=lambda: ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"])
    layer_weights: list[Weight] = field(default_factory=list)  # one a style layer; [] weighs them alike
    content_layer: str = "relu4_2"
    statistics: Literal["gram", "moments"] = "gram"  # moments: mean and covariance, by Wasserstein-2
    style_weight: Weight = 30.0
    content_weight: Weight = 1.0
    tv_weight: Weight = 0.0  # of the total variation, pictures in [-1, 1]
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    iterations: Positive = 300  # of each scale
    learning_rate: Rate = 1.0  # 1 for lbfgs, about 0.02 for adam
    average: Annotated[float, Ge(0), Lt(1)] = 0.0  # decay of the running mean of adam's iterates that is returned
    coarsest: Annotated[int, Ge(0)] = (
        0  # px, shorter side of the first scale, on to the end by factors of sqrt 2; 0: one
    )
    start: Literal["content", "noise", "style"] = "content"  # style: the photograph with the style's mean and deviation
    style_scale: Annotated[float, Gt(0)] = 1.0  # of the style pictures, relative to the photograph's shorter side
    seed: Annotated[int, Ge(0)] = 0  # of the noise


@dataclass(frozen=True)
class JohnsonOptions:
    """A feed-forward network for one style (Johnson, Alahi, Fei-Fei, ECCV 2016), with the paper's network and layers.

    Losses have no unit, as those of GatysOptions: a style layer's is divided by the mean square of its target (that of
    moments by the target's variance), the content's by the variance of each photograph's features.
    """

    name: Literal["johnson"] = "johnson"
    features: FeatureOptions = field(default_factory=lambda: FeatureOptions(network="vgg16"))
    channels: Positive = 32  # of the first layer
    blocks: Positive = 5  # residual blocks
    skips: bool = False  # from encoder to decoder: detail stays sharp, and is repainted less
    style_layers: list[str] = field(default_factory=lambda: ["relu1_2", "relu2_2", "relu3_3", "relu4_3"])
    content_layer: str = "relu2_2"
    statistics: Literal["gram", "moments"] = "gram"  # moments: mean and covariance, by Wasserstein-2
    style_weight: Weight = 5.0
    content_weight: Weight = 1.0
    tv_weight: Weight = 0.0
    num_styles: Positive = 256  # paintings whose mean Gram matrix is the target; one makes it that of a picture
    learning_rate: Rate = 1e-3


@dataclass(frozen=True)
class AdaINOptions:
    """Any style at run time (Huang and Belongie, ICCV 2017): a fixed encoder, AdaIN, a trained decoder."""

    name: Literal["adain"] = "adain"
    features: FeatureOptions = field(default_factory=lambda: FeatureOptions(padding="reflect"))  # the encoder
    layer: Literal["relu2_1", "relu3_1", "relu4_1"] = "relu4_1"  # where the encoder ends; shallower keeps more detail
    style_weight: Weight = 10.0
    identity_weight: Weight = 0.0  # of the mean squared error of pictures that are encoded and decoded, both domains
    learning_rate: Rate = 1e-4


@dataclass(frozen=True)
class VggFinetuneOptions:
    """Transfer learning: a VGG whose later blocks learn to tell the paintings' labels."""

    name: Literal["vgg_finetune"] = "vgg_finetune"
    features: FeatureOptions = field(default_factory=FeatureOptions)  # what it starts from
    label: str = "style"  # "style", "artist", "genre" of WikiArt; "folder": the first folder of a picture's path
    frozen_blocks: Annotated[int, Ge(0), Le(5)] = 3  # blocks that keep their weights
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.5  # before the last, linear layer
    learning_rate: Rate = 1e-4  # of the blocks
    head_rate: Rate = 1e-3  # of the last layer, which starts from nothing


@dataclass(frozen=True)
class GANOptions:
    """What the methods that play against discriminators have in common; defaults as in the papers' reference code."""

    generator: GeneratorOptions = field(default_factory=GeneratorOptions)
    discriminator: DiscriminatorOptions = field(default_factory=DiscriminatorOptions)
    adversarial: Literal["lsgan", "nonsaturating", "hinge", "wgan-gp"] = "lsgan"
    gradient_penalty_weight: Weight = 10.0  # wgan-gp only
    r1_weight: Weight = 0.0  # of the slope at real pictures (gamma); not with wgan-gp, which has its own
    r1_every: Positive = 16  # steps, by which its weight grows (StyleGAN2's lazy regularisation)
    diffaugment: list[Literal["color", "translation", "cutout"]] = field(default_factory=list)  # see diffaugment.py
    learning_rate: Rate = 2e-4
    discriminator_rate: Annotated[float, Ge(0), Le(1e3)] = 0.0  # of the discriminators; 0: learning_rate
    beta1: Annotated[float, Ge(0), Lt(1)] = 0.5
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.999

    def __post_init__(self) -> None:
        if self.r1_weight and self.adversarial == "wgan-gp":
            raise OptionsError(
                "method.r1_weight: method.adversarial=wgan-gp has a penalty of its own; give one of them"
            )


@dataclass(frozen=True)
class ContrastOptions(GANOptions):
    """What the methods that compare patches have in common; defaults as in CUT's code."""

    nce_weight: Weight = 1.0  # of PatchNCE; 10 in FastCUT
    temperature: Annotated[float, Ge(1e-3)] = 0.07
    num_patches: Annotated[int, Ge(2)] = 256  # compared in each of five feature maps
    head_channels: Positive = 256  # of the heads that make features comparable


@dataclass(frozen=True)
class CycleGANOptions(ContrastOptions):
    """CycleGAN (Zhu, Park, Isola, Efros, ICCV 2017), with the values of the paper's reference code."""

    FORMER_NAMES: ClassVar = {"centred_identity": "identity_free_tint"}  # in runs of earlier versions, all or nothing:
    FORMER_VALUES: ClassVar = {"centred_identity": {False: 0.0, True: 1.0}}

    name: Literal["cyclegan"] = "cyclegan"
    cycle_weight: Weight = 10.0
    nce_weight: Weight = 0.0  # of PatchNCE both ways, as DCLGAN has it (Han et al. 2021); CycleGAN has none
    identity_weight: Weight = 5.0  # half of cycle_weight in the reference code; 0 leaves the term out
    identity_free_tint: Annotated[float, Ge(0), Le(1)] = 0.0  # share of a shift of mean colours that it lets pass
    identity_free_from: Literal["start", "decay"] = "start"  # decay: none of it passes before the rates decay
    pool_size: Annotated[int, Ge(0)] = 50  # generated pictures remembered per domain
    first: Literal["generators", "discriminators"] = "generators"  # who moves first in a step


@dataclass(frozen=True)
class CUTOptions(ContrastOptions):
    """CUT (Park, Efros, Zhang, Zhu, ECCV 2020), with the values of the authors' code; FastCUT is a recipe of it."""

    FORMER_NAMES: ClassVar = {"positions": "num_patches", "identity": "nce_identity"}  # in runs of earlier versions

    name: Literal["cut"] = "cut"
    generator: GeneratorOptions = field(
        default_factory=lambda: GeneratorOptions(upsample="blur", downsample="blur", initialise="xavier")
    )
    discriminator: DiscriminatorOptions = field(
        default_factory=lambda: DiscriminatorOptions(downsample="blur", initialise="xavier")
    )
    nce_identity: bool = True  # also of paintings and what is made of them; PatchNCE is the mean of both then
    identity_weight: Weight = 0.0  # of paintings' L1 distance to what is made of them, as in CycleGAN
    flip_equivariance: bool = False  # by a coin for each batch: translated mirrored, and compared as it was

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.identity_weight and not self.nce_identity:
            raise OptionsError("method.identity_weight: paintings are translated only with method.nce_identity=true")


@dataclass(frozen=True)
class DistilledOptions:
    """A narrower CycleGAN that starts as a slice of a full one and learns from it; `compress.py` fills this in."""

    name: Literal["distilled"] = "distilled"
    teacher: str = ""  # run of the full one; needed for training, never for translating
    teacher_sha256: str = ""  # of its networks' weights, so that nobody else's are taken; "": any
    direction: Literal["both", "photo2painting", "painting2photo"] = "both"
    generator: GeneratorOptions = field(default_factory=GeneratorOptions)  # the teacher's, with fewer channels
    learning_rate: Rate = 1e-3
    beta1: Annotated[float, Ge(0), Lt(1)] = 0.5
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.999
