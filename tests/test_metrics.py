"""Metrics against closed forms and hand-made cases."""

from pathlib import Path

import pytest
import torch

from benchmarks.degradation import random_pretrained
from engine.cache import TensorCache
from metrics import METRICS
from metrics.deception import taken_for_paintings
from metrics.features import BATCH, NETWORKS, FeatureStore
from metrics.frechet import frechet_distance, gaussian_frechet_distance
from metrics.gradient import edge_f1, gradient_correlation
from metrics.imagenet import ImageNetScale
from metrics.kid import kernel_distance, kernel_distances, standard_error
from metrics.manifold import coverage, density, precision, recall
from metrics.measure import Evaluator, Missing, Score, TooFewError, bootstrap_interval
from metrics.psnr import psnr
from metrics.sets import PictureSet, References, to_unit
from metrics.ssim import ms_ssim, ssim
from metrics.swd import laplacian_pyramid, sliced_distance, sliced_wasserstein
from metrics.vgg_style import (
    VggGram,
    VggMoments,
    gram_distance,
    moment_distance,
    moment_error,
    projected_frechet_distance,
    random_vgg16,
)

CPU = torch.device("cpu")


def noise(n: int, size: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def drawn(pictures: torch.Tensor) -> PictureSet:
    """[N, 3, H, W] in [-1, 1] as they would be saved."""
    return PictureSet(((pictures + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))


def test_psnr_of_a_known_error() -> None:
    a = torch.zeros(2, 3, 16, 16)
    b = a + torch.tensor([0.2, 0.02]).view(2, 1, 1, 1)
    torch.testing.assert_close(psnr(a, b), torch.tensor([20.0, 40.0]))


def test_ssim_is_one_for_equals_and_falls_with_noise() -> None:
    a = noise(3)
    torch.testing.assert_close(ssim(a, a), torch.ones(3))
    weak, strong = (ssim(a, a + amount * noise(3, seed=1)) for amount in (0.1, 0.5))
    assert (strong < weak).all()
    assert (weak < 1).all()


def test_ssim_of_constant_pictures_is_the_formula() -> None:
    """Without structure only the term of the means is left: (2ab + C1) / (a^2 + b^2 + C1), C1 = 0.01^2."""
    for a, b in ((0.8, 0.6), (0.51, 0.49)):  # grey levels of 1; the second pair straddles the middle
        expected = (2 * a * b + 0.0001) / (a * a + b * b + 0.0001)
        found = ssim(torch.full((1, 3, 32, 32), 2 * a - 1), torch.full((1, 3, 32, 32), 2 * b - 1))
        assert found.item() == pytest.approx(expected, rel=2e-3)


def test_gradient_correlation_sees_edges_and_not_colours() -> None:
    a = noise(2)
    torch.testing.assert_close(gradient_correlation(a, a), torch.ones(2))
    torch.testing.assert_close(gradient_correlation(-0.5 * a, a), torch.ones(2))  # inverted, weaker: same edges
    assert gradient_correlation(noise(2, seed=5), a).abs().max() < 0.2
    assert gradient_correlation(torch.zeros(2, 3, 32, 32), a).tolist() == [0, 0]


def test_frechet_distance_of_two_known_gaussians() -> None:
    mean_a, mean_b = torch.tensor([0.0, 1.0]).double(), torch.tensor([3.0, 1.0]).double()
    cov_a, cov_b = torch.diag(torch.tensor([4.0, 9.0])).double(), torch.diag(torch.tensor([1.0, 16.0])).double()
    expected = 9 + (2 - 1) ** 2 + (3 - 4) ** 2  # of commuting covariances: the difference of their roots
    assert gaussian_frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, abs=1e-6)


def test_frechet_distance_of_samples() -> None:
    x = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)).double()
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(x + 2, x) == pytest.approx(4 * 8, abs=1e-6)
    # Closed form for a general pair: the eigenvalues of C_a C_b, here of a scaled copy.
    assert frechet_distance(3 * x, x) == pytest.approx(
        float(4 * x.mean(0).square().sum() + 4 * x.T.cov().trace()), rel=1e-9
    )


@pytest.mark.parametrize("numbers", [(3, 4), (6, 40), (40, 6), (30, 30)])
def test_frechet_distance_of_few_samples_is_that_of_their_covariances(numbers: tuple[int, int]) -> None:
    a, b = (gaussian(n, 32, seed=n + i, mean=i) * (1 + i) for i, n in enumerate(numbers))
    covariances = gaussian_frechet_distance(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())
    assert frechet_distance(a, b) == pytest.approx(covariances, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_sliced_distance_of_a_shifted_set_is_the_mean_projection_of_the_shift() -> None:
    generator = torch.Generator().manual_seed(0)
    points, shift = torch.randn(100, 2, generator=generator), torch.tensor([3.0, 4.0])
    found = sliced_distance(points + shift, points, 20_000, generator)
    assert found == pytest.approx(5 * 2 / torch.pi, rel=0.02)  # E|cos| over the circle


def test_sliced_wasserstein_sees_a_wrong_palette_a_blur_and_noise() -> None:
    real, other = noise(24, seed=1), noise(24, seed=2)
    floor = sliced_wasserstein(other, real)
    assert sliced_wasserstein(other, real) == floor
    for changed in (other * 0.5 + 0.4, torch.nn.functional.avg_pool2d(other, 3, 1, 1)):
        assert sum(sliced_wasserstein(changed, real).values()) > 3 * sum(floor.values())
    assert set(sliced_wasserstein(noise(2, 64), noise(2, 64))) == {"64 px", "32 px", "16 px"}


def test_the_bands_of_a_ramp_are_empty() -> None:
    """A Laplacian pyramid takes linear gradients out of every level but the last; edges reflect, so not there."""
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    fine, middle, _ = laplacian_pyramid(ramp)
    assert max(level[..., 8:-8, 8:-8].abs().max() for level in (fine, middle)) < 1e-6


def test_random_features_are_a_function_of_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first = VggMoments(*random_vgg16(0))
    pictures = drawn(noise(3)).pixels
    with torch.no_grad():
        found = first(pictures)
        assert found.shape == (3, 2 * 1472)
        assert first(drawn(noise(3, size=16)).pixels).isfinite().all()  # one pixel is left at the deepest layer
        assert not torch.equal(VggMoments(*random_vgg16(1))(pictures), found)
    assert projected_frechet_distance(found, found) == pytest.approx(0, abs=1e-3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_moments_and_gram_matrices_are_those_of_the_features() -> None:
    convolutions, layers = random_vgg16(0)
    pictures = drawn(noise(2)).pixels
    with torch.no_grad():
        moments, gram = VggMoments(convolutions, layers)(pictures), VggGram(convolutions, layers)(pictures)
        first = convolutions[:2](ImageNetScale()(to_unit(pictures)))
    torch.testing.assert_close(moments[:, :64], first.mean(dim=(2, 3)))
    torch.testing.assert_close(moments[:, 64:128], first.var(dim=(2, 3), correction=0).sqrt())
    by_hand = torch.einsum("nchw,ndhw->ncd", first, first) / first[0, 0].numel()
    torch.testing.assert_close(gram[:, : 64 * 64].view(2, 64, 64), by_hand)


def test_moment_and_gram_distances_by_hand() -> None:
    a, b = (torch.rand(5, 2 * 1472, generator=torch.Generator().manual_seed(i)).double() + 1 + i for i in range(2))
    sizes = [128, 256, 512, 1024, 1024]
    layers = zip(*(x.split(sizes, dim=1) for x in (a, b)), strict=True)
    expected = 0.0
    for x, y in layers:
        gap = (x.mean(0) - y.mean(0)).square().sum() - (x.var(0) + y.var(0)).sum() / 5
        expected += float(gap / y.mean(0).square().sum()) / 5
    assert moment_distance(a, b) == pytest.approx(expected, rel=1e-9)
    g, h = torch.full((1, 64 * 64), 2.0), torch.full((1, 64 * 64), 1.0)
    assert gram_distance(g, h) == pytest.approx(1)
    assert gram_distance(h, g) == pytest.approx(0.25)


def test_the_moment_distance_has_no_bias_by_the_number_of_pictures_and_says_its_error() -> None:
    def moments(n: int, seed: int, mean: float) -> torch.Tensor:
        return gaussian(n, 128, seed, mean) + 5

    for n in (5, 80):
        same = torch.tensor([moment_distance(moments(n, i, 0.0), moments(40, 99 - i, 0.0)) for i in range(20)])
        assert abs(same.mean()) < 4 * same.std() / 20**0.5
    found = torch.tensor([moment_distance(moments(30, i, 0.5), moments(20, 99 - i, 0.0)) for i in range(40)])
    errors = torch.tensor([moment_error(moments(30, i, 0.5), moments(20, 99 - i, 0.0)) for i in range(40)])
    assert 0.7 < errors.mean() / found.std() < 1.4


def test_the_mean_of_a_summed_network_is_that_of_all_pictures() -> None:
    pictures = drawn(noise(2 * BATCH + 3))
    store = FeatureStore(CPU)
    mean = store.features("random-gram", pictures)
    assert mean.shape == (1, 64**2 + 128**2 + 256**2 + 2 * 512**2)
    with torch.no_grad():
        alone = store.network("random-gram")(pictures.pixels).double().mean(dim=0, keepdim=True)
    torch.testing.assert_close(mean, alone, rtol=1e-5, atol=1e-5)


def test_a_judge_tells_domains_apart_that_differ_and_guesses_where_they_do_not() -> None:
    photographs, paintings, more = gaussian(60, 8), gaussian(50, 8, mean=2.0, seed=1), gaussian(60, 8, mean=2.0, seed=2)
    assert taken_for_paintings(more, photographs, paintings).mean() > 0.95
    assert taken_for_paintings(photographs, photographs, paintings).mean() < 0.05
    assert taken_for_paintings(paintings, photographs, paintings).mean() > 0.95
    # What is all but constant must not decide.
    dull = [torch.cat([x, torch.zeros(len(x), 1)], dim=1).double() for x in (photographs, paintings, more)]
    dull[0][0, -1], dull[2][:, -1] = 1e-4, -0.1
    assert taken_for_paintings(dull[2], *dull[:2]).mean() > 0.95
    # A judge who had seen what he judges would know each of the alike by heart: 300 numbers, 60 pictures.
    alike = [gaussian(60, 300, seed=seed) for seed in (3, 4)]
    assert 0.25 < taken_for_paintings(alike[1], alike[0], alike[1]).mean() < 0.75
    assert 0.25 < taken_for_paintings(alike[0], *alike).mean() < 0.75


def test_edges_are_found_again_within_a_pixel() -> None:
    square = torch.full((1, 3, 40, 40), -1.0)
    square[..., 10:30, 10:30] = 1.0
    assert edge_f1(square, square) == 1
    assert edge_f1(-square, square) == 1  # where, not which way
    assert edge_f1(square.roll(1, dims=-1), square) > 0.95
    assert edge_f1(square.roll(3, dims=-1), square) < 0.9
    assert edge_f1(square.roll(8, dims=-1), square) < 0.6
    assert edge_f1(torch.zeros_like(square), square) == 0


def test_similarity_of_flat_pictures_is_that_of_their_means() -> None:
    a, b = (torch.full((1, 3, 176, 176), value) for value in (-0.2, 0.6))  # brightness 0.4 and 0.8
    by_hand = (2 * 0.4 * 0.8 + 0.01**2) / (0.4**2 + 0.8**2 + 0.01**2)
    assert ssim(a, b) == pytest.approx(by_hand, rel=1e-3)
    assert ms_ssim(a, b) == pytest.approx(by_hand**0.1333, rel=1e-3)  # the means count at the coarsest scale alone


def test_ms_ssim_of_equal_pictures_is_1_and_falls_with_noise() -> None:
    pictures = noise(2, size=176)
    assert ms_ssim(pictures, pictures) == pytest.approx(1)
    disturbed = [ms_ssim((pictures + s * noise(2, size=176, seed=3)).clamp(-1, 1), pictures).mean() for s in (0.1, 0.4)]
    assert 1 > disturbed[0] > disturbed[1] > 0


def test_features_are_computed_once_and_found_again_by_content(tmp_path: Path) -> None:
    pictures = drawn(noise(5))
    store = FeatureStore(CPU, TensorCache(tmp_path))
    found = store.features("random-moments", pictures)
    with torch.no_grad():
        torch.testing.assert_close(found, VggMoments(*random_vgg16(0))(pictures.pixels).double())
    again = FeatureStore(CPU, TensorCache(tmp_path))
    again._built["random-moments"] = torch.nn.Identity()  # not asked
    assert torch.equal(again.features("random-moments", PictureSet(pictures.pixels.clone())), found)
    (file,) = tmp_path.rglob("*.pt")
    content = file.read_bytes()
    middle = len(content) // 2
    for damage in (b"damaged", content[:middle] + bytes(64) + content[middle + 64 :]):
        file.write_bytes(damage)
        assert torch.equal(FeatureStore(CPU, TensorCache(tmp_path)).features("random-moments", pictures), found)
    assert torch.equal(FeatureStore(CPU, TensorCache(tmp_path)).features("random-moments", pictures), found)
    FeatureStore(CPU, TensorCache(tmp_path)).features("random-moments", drawn(noise(5, seed=1)))
    assert len(list(tmp_path.rglob("*.pt"))) == 2
    assert torch.equal(FeatureStore(CPU, TensorCache(Path("/proc/none"))).features("random-moments", pictures), found)


def test_bootstrap_interval_has_the_width_of_the_standard_error() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0))
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std().item() / 20, rel=0.15)
    assert bootstrap_interval(values) == (low, high)


def test_every_score_lies_between_its_anchors() -> None:
    truths, photographs = noise(20, seed=1) * 0.5 + 0.3, noise(20, seed=2) * 0.5 - 0.3
    translations = truths + 0.1 * noise(20, seed=3)
    parts = (photographs, noise(20, seed=4) * 0.5 + 0.3, truths, truths + 0.01)
    evaluator = Evaluator(References(*map(drawn, parts)), FeatureStore(CPU, pretrained=False))
    found = list(evaluator.measure(drawn(translations)))
    scores = {each.key: each for each in found if isinstance(each, Score)}
    missing = [each for each in found if isinstance(each, Missing)]
    assert {each.key for each in missing} | set(scores) | {"artfid", "deception_classifier"} == set(METRICS)
    assert not any(each.wanted for each in missing)
    for score in scores.values():
        assert score.n == (10 if score.metric.equal else 20)
        better = score.metric.better == "higher"
        if score.metric.against != "photographs":
            assert (score.value > score.untouched) == better
    assert scores["psnr_truth"].real == pytest.approx(46.02, abs=0.5)  # rounded to 8 bits
    assert scores["ssim_content"].untouched == pytest.approx(1)
    assert [s.value for s in evaluator.measure(drawn(translations)) if isinstance(s, Score)] == [
        score.value for score in scores.values()
    ]


def test_the_floor_is_one_half_of_the_paintings_against_the_other() -> None:
    paintings = noise(13, seed=3)
    references = References(drawn(noise(8, seed=2)), drawn(paintings))
    store = FeatureStore(CPU, pretrained=False)
    found = {each.key: each for each in Evaluator(references, store).measure(drawn(noise(8, seed=1)))}
    first, second = drawn(paintings[:6]), drawn(paintings[6:12])
    moments = [store.features("random-moments", each) for each in (second, first)]
    assert found["moments_random"].real == pytest.approx(moment_distance(*moments), rel=1e-6)
    levels = sliced_wasserstein(second.pixels, first.pixels)
    assert found["swd"].real == pytest.approx(sum(levels.values()) / len(levels), rel=1e-6)
    assert (found["swd"].n, found["swd"].m) == (6, 6)
    assert (found["moments_random"].n, found["moments_random"].m) == (8, 13)
    value = found["moments_random"]
    moved = [store.features("random-moments", each) for each in (drawn(noise(8, seed=1)), drawn(paintings))]
    assert value.interval[1] - value.value == pytest.approx(1.96 * moment_error(*moved), rel=1e-6)


@pytest.mark.parametrize("size", [175, 176])
def test_ms_ssim_is_left_out_where_pictures_are_too_small_for_five_scales(size: int) -> None:
    references = References(drawn(noise(4, size=size)), drawn(noise(4, size=size, seed=1)))
    evaluator = Evaluator(references, FeatureStore(CPU, pretrained=False))
    metric = METRICS["ms_ssim_content"]
    if size < 176:
        with pytest.raises(TooFewError, match="at least 176 px"):
            evaluator._score("ms_ssim_content", metric, references.photographs, {})
    else:
        assert evaluator._score("ms_ssim_content", metric, references.photographs, {}).value == pytest.approx(1)


def test_the_truth_is_left_out_where_none_is_known() -> None:
    references = References(*map(drawn, (noise(8, seed=2), noise(6, seed=3))))
    found = Evaluator(references, FeatureStore(CPU, pretrained=False)).measure(drawn(noise(8, seed=1)))
    scores = {score.key: score for score in found if isinstance(score, Score)}
    assert "psnr_truth" not in scores
    assert scores["swd"].n == 3
    assert scores["swd"].truth is None


def test_pretrained_metrics_on_random_weights_in_the_published_layouts(monkeypatch, tmp_path: Path) -> None:
    """Not FID, not LPIPS: the weights are random; their places in the evaluation are what is tried."""
    monkeypatch.setattr("metrics.inception.SIDE", 75)  # px, the fewest: a sixteenth of the time
    photographs = noise(6, size=48, seed=2)
    references = References(drawn(photographs), drawn(noise(12, size=48, seed=3)))
    networks = NETWORKS | random_pretrained()
    evaluator = Evaluator(references, FeatureStore(CPU, TensorCache(tmp_path), networks=networks))
    found = evaluator.measure(drawn(photographs + 0.2 * noise(6, size=48, seed=5)))
    scores = {each.key: each for each in found if isinstance(each, Score)}
    not_here = {"deception", "deception_random", "deception_classifier", "ms_ssim_content"}
    assert set(scores) == {key for key, metric in METRICS.items() if metric.against != "truth"} - not_here
    for key in ("lpips", "vgg_content"):
        assert scores[key].untouched == pytest.approx(0, abs=1e-5)
        assert 0 < scores[key].value < scores[key].real
    fid, kid = scores["fid"], scores["kid"]
    assert fid.n == 6
    assert kid.interval[0] < kid.value < kid.interval[1]
    assert scores["artfid"].value == pytest.approx((1 + scores["lpips"].value) * (1 + fid.value))
    assert all(0 <= scores[key].value <= 1 for key in ("precision", "recall", "coverage"))


def gaussian(n: int, dimensions: int = 8, seed: int = 0, mean: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dimensions, generator=generator, dtype=torch.float64) + mean


def test_kernel_distance_of_one_distribution_is_near_zero_and_of_two_is_the_formula() -> None:
    pairs = [(gaussian(200, seed=2 * i), gaussian(200, seed=2 * i + 1)) for i in range(12)]
    values = torch.tensor([kernel_distance(*pair) for pair in pairs])
    errors = torch.tensor([standard_error(*pair) for pair in pairs])
    assert (values.abs() < 4 * errors).all()
    assert 0.5 < errors.mean() / values.std() < 2  # the error that is said is the one that is made
    same = kernel_distances(gaussian(400), gaussian(400, seed=1))
    # Points of one place each: k(a, a) + k(b, b) - 2 k(a, b) with k = (x y / D + 1)^3.
    a, b = torch.full((10, 4), 1.0), torch.full((10, 4), 2.0)
    assert kernel_distance(a, b) == pytest.approx((1 + 1) ** 3 + (4 + 1) ** 3 - 2 * (2 + 1) ** 3)
    assert torch.equal(kernel_distances(a, b), kernel_distances(a, b))
    far = kernel_distance(gaussian(400), gaussian(400, mean=1.0))
    assert far > 20 * abs(same.mean())


def test_kids_error_shrinks_with_the_sets_and_not_with_the_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    import metrics.kid

    pairs = [(gaussian(240, seed=2 * i), gaussian(240, seed=2 * i + 1, mean=0.5)) for i in range(16)]
    spread = torch.tensor([kernel_distance(*pair) for pair in pairs]).std()
    monkeypatch.setattr(metrics.kid, "SUBSET_SIZE", 40)  # a sixth; the error that is said stays that of all
    errors = torch.tensor([standard_error(*pair) for pair in pairs])
    assert 0.5 < errors.mean() / spread < 2


def test_precision_recall_density_and_coverage_of_a_toy_set() -> None:
    real = gaussian(300, 2)
    for metric in (precision, recall, coverage):
        assert metric(gaussian(300, 2, seed=1), real).mean() > 0.85
        assert metric(real + 100, real).mean() == 0
    assert density(gaussian(300, 2, seed=1), real).mean() == pytest.approx(1, abs=0.15)
    assert density(real + 100, real).mean() == 0
    one = real[:1] + 1e-3 * gaussian(300, 2, seed=2)  # all alike, and good
    assert precision(one, real).mean() == 1
    assert recall(one, real).mean() < 0.05
    assert coverage(one, real).mean() < 0.1
    # On a line with five neighbours: radii 5, 4, 3, 3, ..., 3, 4, 5.
    line = torch.arange(10.0).unsqueeze(1)
    assert precision(torch.tensor([[-4.9], [-5.1]]), line).mean() == 0.5
    assert coverage(torch.tensor([[0.0]]), line).mean() == pytest.approx(0.3)  # 0, 1 and 2 have 0 within their radii
