"""Bubble Noise: where its noise is, and that what matters stands out."""

import pytest
import torch
from captum.attr import PerturbationAttribution
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes import BubbleNoise, KLDivergenceForward
from captum_spes.errors import ArgumentError, ArgumentTypeError

ROWS, COLUMNS = 100, 80


@pytest.fixture
def spectrogram():
    return torch.randn(1, ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))


class Recorded:
    """A forward function that keeps what it saw."""

    def __init__(self):
        self.seen = []

    def __call__(self, x):
        self.seen.append(x.clone())
        return x.flatten(1).sum(1)


def noisy_inputs(spectrogram, **arguments):
    forward = Recorded()
    BubbleNoise(forward).attribute(spectrogram, seed=0, **arguments)
    return torch.cat(forward.seen[1:])


def test_is_a_perturbation_attribution():
    assert issubclass(BubbleNoise, PerturbationAttribution)


def test_share_of_noise_with_the_settings_of_the_paper():
    # Where the input is 0, noise between 0 and 1 shows its attenuation.
    flat = torch.zeros(1, ROWS, COLUMNS)
    flat[0, 0, 0] = 1.0
    weight = noisy_inputs(flat, n_samples=400)[:, 1:].mean() / 0.5  # mean of uniform noise
    assert weight == pytest.approx(0.6, abs=0.06)
    # Plain noise covers what no ellipse does: exp(-bubbles * area), and more at the edges.
    ones = torch.ones(1, ROWS, COLUMNS)
    ones[0, 0, 0] = 0.0
    share = (noisy_inputs(ones, n_samples=400)[:, 1:] < 1).float().mean()
    assert share == pytest.approx(0.35, abs=0.06)


def test_noise_keeps_to_the_range_of_the_input_outside_bubbles():
    inputs = torch.tensor([-3.0, 5.0]).repeat(1, 50, 40).reshape(1, 50, 80)
    noisy = noisy_inputs(inputs, n_samples=20, bubbles_per_second=0.01, width=0.02, height=2)
    # One bubble of two by two cells in each: all others are plain noise.
    outside = noisy.flatten().sort().values[4 * 20 : -4 * 20]
    assert outside.min() >= -3
    assert outside.max() <= 5
    assert outside.mean() == pytest.approx(1.0, abs=0.1)


def test_bubble_is_an_ellipse_of_the_size_asked_for():
    # Noise replaces 1 by a number below 1; inside a bubble noise is added to 1.
    flat = torch.ones(1, 200, 200)
    flat[0, 0, 0] = 0.0
    noisy = noisy_inputs(flat, n_samples=100, bubbles_per_second=0.5, width=0.4, height=20)
    inside = noisy >= 1
    extents = [(inside.any(3 - dim).sum(1)).max() for dim in (1, 2)]
    assert [int(extent) for extent in extents] == pytest.approx([40, 20], abs=1)
    assert int(inside.flatten(1).sum(1).max()) == pytest.approx(torch.pi / 4 * 40 * 20, rel=0.02)
    whole = noisy[inside.flatten(1).sum(1).argmax()]
    rows, columns = torch.nonzero(whole >= 1).float().mean(0).round().int().tolist()
    assert whole[rows, columns] < 1.02  # hardly any noise in the centre


def test_what_the_model_listens_to_stands_out(spectrogram):
    region = (slice(None), slice(40, 60), slice(30, 50))

    def forward(x):
        return -(x - spectrogram)[region].square().mean((1, 2))

    attribution = BubbleNoise(forward).attribute(
        spectrogram, n_samples=500, perturbations_per_eval=16, seed=0
    )
    frame, bin_ = divmod(int(attribution.argmax()), COLUMNS)
    assert 40 <= frame < 60
    assert 30 <= bin_ < 50
    assert attribution[region].mean() > attribution.mean() + 2 * attribution.std()


def test_score_is_the_average_of_impacts_weighted_by_noise():
    # With a constant impact every cell gets that impact, however the noise falls.
    calls = []

    def forward(x):
        calls.append(len(x))
        return torch.full((len(x),), 3.0 if len(calls) == 1 else 1.0)

    attribution = BubbleNoise(forward).attribute(torch.rand(1, 20, 10), n_samples=30, seed=0)
    assert torch.allclose(attribution, torch.full_like(attribution, 2.0))


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 9), st.integers(1, 20))
def test_batches_do_not_matter(per_eval, n_samples):
    x = torch.randn(1, 30, 20, generator=torch.Generator().manual_seed(1))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(600, 3)).eval()
    forward = KLDivergenceForward(model, x)
    one = BubbleNoise(forward).attribute(x, n_samples=n_samples, seed=5)
    several = BubbleNoise(forward).attribute(
        x, n_samples=n_samples, perturbations_per_eval=per_eval, seed=5
    )
    assert torch.allclose(one, several, atol=1e-6)


def test_examples_of_a_batch_are_explained_as_if_alone():
    x = torch.randn(2, 30, 20, generator=torch.Generator().manual_seed(1))
    weights = torch.randn(30, 20, 4, generator=torch.Generator().manual_seed(2))

    def forward(x):
        return torch.einsum("btf,tfk->bk", x, weights)

    both = BubbleNoise(forward).attribute(x, n_samples=20, perturbations_per_eval=3, seed=0)
    assert both.shape == (2, 4, 30, 20)
    for row in range(2):
        alone = BubbleNoise(forward).attribute(x[row : row + 1], n_samples=20, seed=0)
        assert torch.allclose(both[row], alone[0], rtol=1e-4, atol=1e-4)


def test_layouts_and_targets():
    x = torch.randn(1, 2, 20, 30, generator=torch.Generator().manual_seed(1))

    def forward(x):
        return x.flatten(2).sum(2)

    attribution = BubbleNoise(forward).attribute(x, target=1, time_dim=-1, n_samples=4, seed=0)
    assert attribution.shape == x.shape
    assert torch.equal(attribution[:, 0], attribution[:, 1])  # channels share their bubbles


def test_a_scalar_for_the_whole_batch():
    attribution = BubbleNoise(lambda x: x.sum()).attribute(torch.rand(2, 9, 9), n_samples=3, seed=0)
    assert attribution.shape == (1, 9, 9)


def test_seed_alone_decides_and_the_global_generator_is_not_touched():
    x = torch.rand(1, 9, 9)
    state = torch.get_rng_state()
    first = BubbleNoise(lambda x: x.flatten(1).sum(1)).attribute(x, n_samples=3, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(
        first, BubbleNoise(lambda x: x.flatten(1).sum(1)).attribute(x, n_samples=3, seed=7)
    )
    torch.manual_seed(3)
    drawn = [BubbleNoise(lambda x: x.flatten(1).sum(1)).attribute(x, n_samples=3) for _ in range(2)]
    assert not torch.equal(*drawn)


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        (torch.zeros(4, 4), {}, ArgumentError, "time, freq"),
        (torch.zeros(1, 4, 4, dtype=torch.int64), {}, ArgumentTypeError, "floating point"),
        ((torch.zeros(1, 4, 4),), {}, ArgumentTypeError, "one floating point Tensor"),
        (torch.full((1, 4, 4), -torch.inf), {}, ArgumentError, "NaN or infinity"),
        (torch.zeros(1, 4, 4), {"width": 0}, ArgumentError, "width"),
        (torch.zeros(1, 4, 4), {"height": -1}, ArgumentError, "height"),
        (torch.zeros(1, 4, 4), {"bubbles_per_second": 0}, ArgumentError, "bubbles_per_second"),
        (torch.zeros(1, 4, 4), {"frame_rate": float("nan")}, ArgumentError, "frame_rate"),
        (torch.zeros(1, 4, 4), {"time_dim": 1}, ArgumentError, "time_dim"),
        (torch.zeros(1, 4, 4), {"n_samples": 0}, ArgumentError, "n_samples"),
        (torch.zeros(1, 4, 4), {"perturbations_per_eval": 0}, ArgumentError, "perturbations"),
        (torch.zeros(1, 4, 4), {"seed": 1.5}, ArgumentTypeError, "seed"),
    ],
)
def test_bad_input(inputs, options, error, message):
    with pytest.raises(error, match=message):
        BubbleNoise(lambda x: x.flatten(1).sum(1)).attribute(inputs, **{"n_samples": 2, **options})


def test_a_forward_that_returns_nan_is_named():
    with pytest.raises(ArgumentError, match="NaN or infinity"):
        BubbleNoise(lambda x: x.flatten(1).sum(1) * torch.nan).attribute(
            torch.zeros(1, 4, 4), n_samples=2, seed=0
        )
