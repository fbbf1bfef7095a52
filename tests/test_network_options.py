"""Every option of the GAN networks: shapes, parameters, gradients, against what its paper says."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.networks.attention import SelfAttention
from models.networks.build import GENERATORS, build_discriminator, build_generator
from models.networks.discriminator import MultiScaleDiscriminator, PatchDiscriminator
from models.networks.generator import FEATURES, ResnetGenerator
from models.networks.normalise import NORMS, InstanceNorm2d, PixelNorm
from models.networks.spectral import baked, with_spectral_norm
from models.networks.unet import UnetGenerator
from models.options import DiscriminatorOptions, GeneratorOptions

BLUR = {"downsample": "blur", "upsample": "blur"}
GENERATOR = {
    "resnet": {},
    "resnet, blur": BLUR,
    "resnet, blur, skips": BLUR | {"skips": True},
    "resnet, attention": {"attention": True},
    "resnet, spectral norm": {"spectral_norm": True},
    "resnet, pixel norm": {"norm": "pixel", "skips": True},
    "unet": {"network": "unet"},
    "unet, blur": BLUR | {"network": "unet", "attention": True},
    "unet, resize, spectral norm": {"network": "unet", "upsample": "resize", "dropout": 0.5, "spectral_norm": True},
    "unet, pixel norm": {"network": "unet", "norm": "pixel"},
}
DISCRIMINATOR = {
    "patches": {},
    "blur": {"downsample": "blur"},
    "spectral norm": {"spectral_norm": True},
    "scales": {"scales": 2},
    "no norm": {"norm": "none", "spectral_norm": True},
    "all": {"scales": 2, "spectral_norm": True, "downsample": "blur"},
}


def generator(name: str) -> nn.Module:
    return build_generator(replace(GeneratorOptions(channels=4, blocks=2, levels=4), **GENERATOR[name]))


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def without_gradient(network: nn.Module, loss: Tensor) -> list[str]:
    """Names of the weights that should move and have no gradient."""
    loss.backward()
    weights = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
    return [name for name, weight in weights if weight.grad is None or not weight.grad.abs().sum() > 0]


def wake(network: nn.Module) -> nn.Module:
    """Attention adds nothing at the start, so that only its gamma has a gradient."""
    for module in network.modules():
        if isinstance(module, SelfAttention):
            nn.init.constant_(module.gamma, 0.5)
    return network


# -- every option ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATOR)
def test_a_generator_keeps_the_shape_and_every_weight_learns(name: str) -> None:
    torch.manual_seed(0)
    network = wake(generator(name)).double()
    made = network(torch.rand(2, 3, 32, 48, dtype=torch.float64) * 2 - 1)
    assert made.shape == (2, 3, 32, 48)
    assert made.abs().max() <= 1
    assert without_gradient(network, (made * torch.randn_like(made)).sum()) == []


@pytest.mark.parametrize("name", DISCRIMINATOR)
def test_every_weight_of_a_discriminator_learns(name: str) -> None:
    torch.manual_seed(0)
    network = build_discriminator(replace(DiscriminatorOptions(channels=4, layers=2), **DISCRIMINATOR[name])).double()
    made = network(torch.randn(2, 3, 32, 32, dtype=torch.float64))
    made = made if isinstance(made, tuple) else (made,)
    assert [tuple(each.shape) for each in made] == [(2, 1, 6, 6), (2, 1, 2, 2)][: len(made)]
    assert without_gradient(network, sum((each * torch.randn_like(each)).sum() for each in made)) == []


def test_parameters() -> None:
    """Those of the papers' sizes; what has no weights changes no number."""
    with torch.device("meta"):
        full = count(build_generator(GeneratorOptions()))
        assert full == count(build_generator(GeneratorOptions(**BLUR))) == 11_378_179
        assert count(build_generator(GeneratorOptions(network="unet"))) == 54_409_603  # pix2pix's: 54.41 million
        inner = 256 // 8
        attention = 3 * (256 * inner + inner) + (inner * 256 + 256) + 1
        assert count(build_generator(GeneratorOptions(attention=True))) == full + attention
        assert count(build_generator(GeneratorOptions(spectral_norm=True))) == full
        assert count(build_generator(GeneratorOptions(norm="pixel"))) == full
        one = count(build_discriminator(DiscriminatorOptions()))
        assert one == count(build_discriminator(DiscriminatorOptions(downsample="blur"))) == 2_764_737
        assert count(build_discriminator(DiscriminatorOptions(norm="none"))) == one
        assert count(build_discriminator(DiscriminatorOptions(scales=3, spectral_norm=True))) == 3 * one


def test_the_options_are_the_table() -> None:
    (choices,) = (GeneratorOptions.__annotations__["network"].__args__,)
    assert set(GENERATORS) == set(choices)


# -- what CUT looks at -----------------------------------------------------------------------------------------


def test_features_of_the_resnet_are_what_its_layers_give() -> None:
    torch.manual_seed(0)
    network = ResnetGenerator(4, 6, "blur", downsample="blur").eval()
    x = torch.randn(2, 3, 16, 20)
    seen, looked_at = {}, (0, 4, 8, 12, 16)  # the padding, both downs' convolutions, blocks 1 and 5
    for place in looked_at:
        network.model[place].register_forward_hook(lambda m, i, out, place=place: seen.update({place: out.clone()}))
    plain = network(x)
    assert isinstance(network.model[4], nn.Conv2d)
    assert isinstance(network.model[8], nn.Conv2d)
    made, both = network(x, "both")
    alone = network(x, "features")
    torch.testing.assert_close(made, plain)
    torch.testing.assert_close(alone, both)
    torch.testing.assert_close(alone, tuple(seen[place] for place in looked_at))
    assert tuple(each.shape[1] for each in alone) == network.feature_channels == (3, 8, 16, 16, 16)


@pytest.mark.parametrize("blocks", [1, 5])
def test_fewer_blocks_give_their_last_one(blocks: int) -> None:
    network = ResnetGenerator(2, blocks).eval()
    features = network(torch.randn(1, 3, 16, 16), "features")
    assert len(features) == FEATURES
    assert torch.equal(features[3], features[4]) == (blocks == 1)


@pytest.mark.parametrize("levels", [2, 4, 5])
def test_features_of_the_unet(levels: int) -> None:
    torch.manual_seed(0)
    network = UnetGenerator(4, levels).eval()
    x = torch.randn(1, 3, 32, 32)
    made, both = network(x, "both")
    alone = network(x, "features")
    torch.testing.assert_close(made, network(x))
    torch.testing.assert_close(alone, both)
    assert tuple(each.shape[1] for each in alone) == network.feature_channels
    sides = [max(32 // 2**i, 32 // 2**levels) for i in range(FEATURES)]
    assert [each.shape[2] for each in alone] == sides
    assert torch.equal(alone[0], x)
    torch.testing.assert_close(alone[1], network.down[0][0](x))


# -- the U-Net -------------------------------------------------------------------------------------------------


def test_the_unet_is_pix2pixs() -> None:
    with torch.device("meta"):
        network = UnetGenerator(dropout=0.5)
    down = [layer for level in network.down for layer in level if isinstance(layer, nn.Conv2d)]
    up = [layer for level in network.up for layer in level if isinstance(layer, nn.ConvTranspose2d)]
    assert [layer.out_channels for layer in down] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert [layer.in_channels for layer in up] == [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    assert [layer.out_channels for layer in up] == [512, 512, 512, 512, 256, 128, 64, 3]
    assert {(layer.kernel_size, layer.stride, layer.padding) for layer in down + up} == {((4, 4), (2, 2), (1, 1))}

    def holding(levels: nn.ModuleList, kind: type) -> list[int]:
        return [i for i, level in enumerate(levels) if any(isinstance(layer, kind) for layer in level)]

    assert holding(network.down, InstanceNorm2d) == [1, 2, 3, 4, 5, 6]
    assert holding(network.up, InstanceNorm2d) == [0, 1, 2, 3, 4, 5, 6]
    assert holding(network.up, nn.Dropout) == [0, 1, 2]
    assert holding(network.up, nn.Tanh) == [7]


def test_a_unet_goes_down_to_one_place() -> None:
    network = UnetGenerator(2, 5)
    assert (network.size_multiple, network.smallest_side) == (32, 32)
    assert network(torch.randn(1, 3, 32, 32)).isfinite().all()
    assert network(torch.randn(2, 3, 64, 32), "features")[-1].shape == (2, 16, 4, 2)


# -- attention -------------------------------------------------------------------------------------------------


def test_attention_is_its_equations_and_nothing_at_the_start() -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention(16).double(), torch.randn(2, 16, 3, 5, dtype=torch.float64)
    assert torch.equal(layer(x), x)
    nn.init.constant_(layer.gamma, 0.7)
    f, g, h = (convolution(x).flatten(2) for convolution in (layer.keys, layer.queries, layer.values))
    beta = (f.transpose(1, 2) @ g).softmax(dim=1)  # Eq. 1: [N, i, j], how much place j takes from place i
    o = layer.last((h @ beta).unflatten(2, (3, 5)))
    torch.testing.assert_close(layer(x), x + 0.7 * o)


def test_attention_stands_at_the_bottleneck() -> None:
    network = ResnetGenerator(8, 2, attention=True)
    assert [type(layer).__name__ for layer in network.model[9:14]] == [
        *("ReLU", "ResidualBlock", "ResidualBlock", "SelfAttention", "ConvTranspose2d")
    ]
    for levels, place in ((2, 1), (4, 3), (6, 3)):
        downs = UnetGenerator(2, levels, attention=True).down
        assert [i for i, down in enumerate(downs) if isinstance(down[-1], SelfAttention)] == [place]


# -- spectral norm ---------------------------------------------------------------------------------------------


def convolutions(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]


def test_no_convolution_makes_anything_larger() -> None:
    torch.manual_seed(0)
    network, x = with_spectral_norm(ResnetGenerator(4, 1)), torch.randn(1, 3, 16, 16)
    for _ in range(30):
        network(x)
    network.eval()
    assert len(convolutions(network)) == 8
    for layer in convolutions(network):
        axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        largest = torch.linalg.matrix_norm(layer.weight.transpose(0, axis).flatten(1), 2)
        assert 0.99 < largest.item() < 1.01


def test_the_power_iteration_moves_in_training_only_and_is_in_the_state() -> None:
    torch.manual_seed(0)
    network, x = generator("resnet, spectral norm"), torch.randn(1, 3, 16, 16)
    before = copy.deepcopy(network.state_dict())
    network.eval()(x)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    network.train()(x)
    moved = [key for key, value in network.state_dict().items() if not torch.equal(value, before[key])]
    assert moved
    assert all(key.endswith(("._u", "._v")) for key in moved)
    again = copy.deepcopy(network).eval()
    assert torch.equal(again(x), network.eval()(x))


@pytest.mark.parametrize("name", ["resnet, spectral norm", "unet, resize, spectral norm"])
def test_baked_is_the_same_network_of_plain_layers(name: str) -> None:
    torch.manual_seed(0)
    network, x = generator(name), torch.randn(1, 3, 16, 16)
    network(x)
    wanted = network.eval()(x)
    network.train()
    assert torch.equal(baked(network)(x), wanted)
    plain = build_generator(
        replace(GeneratorOptions(channels=4, blocks=2, levels=4), **GENERATOR[name] | {"spectral_norm": False})
    )
    assert network.state_dict().keys() == plain.state_dict().keys()
    assert [type(module) for module in network.modules()] == [type(module) for module in plain.modules()]


# -- norms -----------------------------------------------------------------------------------------------------


def test_pixel_norm_is_its_equation() -> None:
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    made, norm = torch.empty_like(x), PixelNorm(5)
    for n in range(2):
        for row in range(3):
            for column in range(4):
                a = x[n, :, row, column]  # Karras et al. 2018, Sec. 4.2
                made[n, :, row, column] = a / (sum(value**2 for value in a) / 5 + norm.eps) ** 0.5
    torch.testing.assert_close(norm(x), made, rtol=0, atol=1e-12)
    x.requires_grad_()
    assert torch.autograd.gradcheck(norm, x)
    assert torch.autograd.gradgradcheck(norm, x)


def test_pixel_norm_counts_in_float32() -> None:
    """A mean of bfloat16 squares would round at three digits already, and those of a half are infinite from 256 on."""
    x = torch.randn(1, 64, 2, 2, generator=torch.Generator().manual_seed(0))
    for dtype, scale in ((torch.bfloat16, 1), (torch.float16, 100)):
        made = PixelNorm(64)((x * scale).to(dtype))
        assert made.dtype == dtype
        assert made.float().square().mean(dim=1).sub(1).abs().max() < 0.01
    x = x.to(memory_format=torch.channels_last)
    assert PixelNorm(64)(x).is_contiguous(memory_format=torch.channels_last)


def test_with_pixel_norm_a_part_is_what_it_is_in_the_whole() -> None:
    """And with instance norm it is not."""
    torch.manual_seed(0)
    x = torch.rand(1, 3, 128, 128) * 2 - 1
    changed = x.clone()
    changed[..., :16, :16] = 1
    for norm, alike in (("pixel", True), ("instance", False)):
        network = ResnetGenerator(4, 1, "resize", norm=norm).eval()
        far = (network(x) - network(changed))[..., 96:, 96:]
        assert (far.abs().max().item() < 1e-6) == alike


def test_a_discriminator_without_norms_keeps_the_names_of_its_weights() -> None:
    names = [
        build_discriminator(DiscriminatorOptions(2, norm=norm)).state_dict().keys() for norm in ("instance", "none")
    ]
    assert names[0] == names[1]


def test_the_norms_are_the_table() -> None:
    choices = [options.__annotations__["norm"].__args__ for options in (GeneratorOptions, DiscriminatorOptions)]
    assert {name for names in choices for name in names} == set(NORMS)


# -- several scales --------------------------------------------------------------------------------------------


def test_each_scale_is_judged_by_its_own_network_on_an_averaged_picture() -> None:
    torch.manual_seed(0)
    judges = [PatchDiscriminator(2, 1) for _ in range(3)]
    x = torch.randn(1, 3, 21, 24)
    found = MultiScaleDiscriminator(judges)(x)
    assert isinstance(found, tuple)
    small = torch.zeros(1, 3, 11, 12)
    for row in range(11):
        for column in range(12):
            window = x[..., max(0, 2 * row - 1) : 2 * row + 2, max(0, 2 * column - 1) : 2 * column + 2]
            small[..., row, column] = window.mean(dim=(2, 3))
    torch.testing.assert_close(found[0], judges[0](x))
    torch.testing.assert_close(found[1], judges[1](small))
    assert len(found) == 3
    assert isinstance(build_discriminator(DiscriminatorOptions(channels=2, layers=1))(x), Tensor)


@pytest.mark.parametrize("downsample", ["strided", "blur"])
@pytest.mark.parametrize(("layers", "scales"), [(1, 1), (3, 1), (2, 2), (1, 3)])
def test_the_smallest_picture_is_the_smallest(layers: int, scales: int, downsample: str) -> None:
    options = DiscriminatorOptions(channels=2, layers=layers, scales=scales, downsample=downsample)
    network = build_discriminator(options)
    side = network.smallest_side
    network(torch.randn(1, 3, side, side))
    with pytest.raises((ValueError, RuntimeError)):
        network(torch.randn(1, 3, side - 1, side - 1))
