"""Our norm and our padding are torch's to rounding, in every memory format, and can be differentiated as often."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.adain import decoder
from models.networks.discriminator import PatchDiscriminator
from models.networks.generator import ResizeConv2d, ResnetGenerator
from models.networks.normalise import InstanceNorm2d, _as_arithmetic, instance_norm
from models.networks.padding import ReflectConv2d, ReflectPad2d, fold_back, put_together, reflect_pad
from models.networks.transform import TransformNetwork
from models.networks.unet import UnetGenerator

FORMATS = [torch.contiguous_format, torch.channels_last]


def features(n: int, memory_format: torch.memory_format, dtype: torch.dtype = torch.float64) -> Tensor:
    drawn = torch.randn(n, 4, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (3 * drawn + 2).to(dtype).contiguous(memory_format=memory_format).requires_grad_()


def derivatives(function, x: Tensor, weights: list[Tensor]) -> list[Tensor]:
    """The value, its gradients, and those of a penalty on the gradient: what wgan-gp takes."""
    y = function(x)
    shape = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    inputs = [x, *weights]
    gradients = torch.autograd.grad((y.tanh() * shape).sum(), inputs, create_graph=True)
    penalty = (gradients[0].square().sum((1, 2, 3)).sqrt() - 1).square().mean()
    return [y, *gradients, *torch.autograd.grad(penalty, inputs, allow_unused=True)]


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("form", [instance_norm, _as_arithmetic])
def test_instance_norm_is_torchs(form, affine: bool, memory_format: torch.memory_format, n: int) -> None:
    x = features(n, memory_format)
    weight, bias = torch.rand(2, 4, dtype=torch.float64) if affine else (None, None)
    weights = [w.requires_grad_() for w in (weight, bias) if w is not None]
    ours = derivatives(lambda x: form(x, weight, bias, 1e-5), x, weights)
    theirs = derivatives(lambda x: F.instance_norm(x, weight=weight, bias=bias, eps=1e-5), x, weights)
    torch.testing.assert_close(ours, theirs)
    assert ours[0].is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_instance_norm_passes_a_numerical_check_of_both_derivatives(memory_format: torch.memory_format, n: int) -> None:
    x = features(n, memory_format)[:, :2, :3, :3].detach().contiguous(memory_format=memory_format).requires_grad_()
    assert torch.autograd.gradcheck(instance_norm, x)
    assert torch.autograd.gradgradcheck(instance_norm, x)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_statistics_of_bfloat16_are_float32s(memory_format: torch.memory_format) -> None:
    """A mean far from 0 that is rounded to bfloat16 would show in the whole plane."""
    x = (torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(0)) + 30).bfloat16()
    x = x.contiguous(memory_format=memory_format).requires_grad_()
    y = instance_norm(x)
    (gradient,) = torch.autograd.grad((y.float() * torch.linspace(-1, 1, 32)).sum(), x)
    assert (y.dtype, gradient.dtype) == (torch.bfloat16,) * 2
    wide = x.detach().double().requires_grad_()
    expected = F.instance_norm(wide)
    (exact,) = torch.autograd.grad((expected * torch.linspace(-1, 1, 32)).sum(), wide)
    torch.testing.assert_close(y.double(), expected, rtol=1 / 128, atol=1e-3)
    assert y.double().mean((2, 3)).abs().max() < 1e-3
    torch.testing.assert_close(gradient.double(), exact, rtol=1 / 64, atol=1 / 64)


def test_instance_norm_has_no_weights_unless_asked() -> None:
    assert InstanceNorm2d(3).state_dict() == {}
    assert set(InstanceNorm2d(3, affine=True).state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("form", [reflect_pad, fold_back])
def test_reflect_padding_is_torchs(form, memory_format: torch.memory_format, width: int) -> None:
    x = features(2, memory_format)
    ours = derivatives(lambda x: form(x, width), x, [])
    theirs = derivatives(lambda x: F.pad(x, (width,) * 4, mode="reflect"), x, [])
    torch.testing.assert_close(ours, theirs)
    y = form(x, width)
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert y.is_contiguous(memory_format=memory_format)
    assert gradient.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("side", [4, 5, 9])
def test_reflect_padding_passes_a_numerical_check_of_both_derivatives(side: int) -> None:
    """Also where the borders that are folded back overlap: the smallest side for a width of 3 is 4."""
    x = torch.randn(1, 2, side, side, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: fold_back(x, 3), x)
    assert torch.autograd.gradgradcheck(lambda x: fold_back(x, 3), x)


@pytest.mark.parametrize("kernel_stride", [(3, 1), (3, 2), (9, 1)])
def test_reflect_convolution_is_torchs(kernel_stride: tuple[int, int]) -> None:
    kernel, stride = kernel_stride
    ours = ReflectConv2d(2, 4, kernel, stride).double()
    theirs = nn.Conv2d(2, 4, kernel, stride, kernel // 2, padding_mode="reflect").double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 2, 12, 10, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))


def test_autocast_keeps_features_in_bfloat16_through_padding_and_norm() -> None:
    x = torch.randn(1, 4, 16, 16).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ReflectPad2d(1)(x).dtype == torch.bfloat16
        assert InstanceNorm2d(4)(x).dtype == torch.bfloat16


NETWORKS = {
    "generator": lambda: ResnetGenerator(4, 2),
    "generator, resize, skips": lambda: ResnetGenerator(4, 2, "resize", skips=True),
    "generator, blur, attention": lambda: ResnetGenerator(4, 2, "blur", downsample="blur", attention=True),
    "unet": lambda: UnetGenerator(4, 5, attention=True),
    "unet, blur, resize": lambda: UnetGenerator(4, 3, "resize", downsample="blur"),
    "discriminator, blur": lambda: PatchDiscriminator(4, 2, "blur"),
    "discriminator": lambda: PatchDiscriminator(4, 2),
    "transform": lambda: TransformNetwork(4, 2),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_the_same_in_channels_last_and_leave_it_nowhere(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().double()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    inputs = [x, *(weight for weight in network.parameters() if weight.requires_grad)]
    plain = network(x)
    expected = torch.autograd.grad(plain.square().sum(), inputs)
    left: list[str] = []

    def look(place: str):
        def hook(module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
            if not output.is_contiguous(memory_format=torch.channels_last):
                left.append(place)

        return hook

    network.to(memory_format=torch.channels_last)
    for place, module in network.named_modules():
        module.register_forward_hook(look(place))
    y = network(x.contiguous(memory_format=torch.channels_last))
    assert left == []
    torch.testing.assert_close(y, plain)
    torch.testing.assert_close(torch.autograd.grad(y.square().sum(), inputs), expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_biases_before_instance_norms_rest_and_are_kept(name: str) -> None:
    """What such a bias adds, the norm takes out."""
    torch.manual_seed(0)
    network = NETWORKS[name]().double()
    idle = [key for key, weight in network.named_parameters() if not weight.requires_grad]
    assert idle
    assert all(key.endswith("bias") for key in idle)
    assert set(idle) <= network.state_dict().keys()
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    before = network(x)
    for key in idle:
        network.get_parameter(key).data += 0.5
    torch.testing.assert_close(network(x), before)


def test_no_network_that_is_trained_pads_by_torch() -> None:
    networks = [*(make() for make in NETWORKS.values()), decoder("vgg16", "relu2_1"), ResizeConv2d(2, 2)]
    for module in (module for network in networks for module in network.modules()):
        assert not isinstance(module, nn.ReflectionPad2d)
        assert getattr(module, "padding_mode", "zeros") == "zeros"


def test_the_deterministic_padding_keeps_channels_last() -> None:
    x = torch.randn(2, 4, 6, 7).contiguous(memory_format=torch.channels_last).requires_grad_()
    for padded in (fold_back(x, 2), put_together(x, 2)):
        torch.testing.assert_close(padded, torch.nn.functional.pad(x, (2,) * 4, mode="reflect"))
        assert padded.is_contiguous(memory_format=torch.channels_last)
