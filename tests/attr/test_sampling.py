"""The masks: seeded, lazy, exact in number, independent of how they are cut into batches."""

import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes import SPES
from captum_spes.attr import BernoulliDesign

X = torch.linspace(0.5, 2.0, 24).reshape(2, 12)


def net(x):
    return torch.stack([x.prod(1), (x * x).sum(1)], 1)


class Recorder:
    """A forward that keeps every perturbed input."""

    def __init__(self):
        self.calls = []

    def __call__(self, x):
        self.calls.append(x.clone())
        return net(x)

    def perturbed(self, batch):
        rows = torch.cat(self.calls[1:])
        return rows.reshape(-1, batch, rows.shape[-1])


def run(perturbations_per_eval=1, n_samples=50, seed=3, feature_mask=None, **kwargs):
    forward = Recorder()
    attr = SPES(forward).attribute(
        X,
        n_samples=n_samples,
        perturbations_per_eval=perturbations_per_eval,
        seed=seed,
        feature_mask=feature_mask,
        **kwargs,
    )
    return attr, forward.perturbed(len(X))


LEVELS = [torch.arange(12)[None], torch.arange(12)[None] // 3, torch.arange(12)[None] // 5]


@pytest.mark.parametrize("perturbations_per_eval", [2, 7, 50, 1000])
@pytest.mark.parametrize("feature_mask", [None, LEVELS], ids=["cells", "levels"])
def test_batching_changes_neither_masks_nor_result(perturbations_per_eval, feature_mask):
    attr, inputs = run(1, feature_mask=feature_mask)
    other, other_inputs = run(perturbations_per_eval, feature_mask=feature_mask)
    assert torch.equal(inputs, other_inputs)
    assert torch.allclose(attr, other, rtol=1e-5, atol=1e-6)


def test_seed_decides():
    assert torch.equal(run(seed=1)[1], run(seed=1)[1])
    assert not torch.equal(run(seed=1)[1], run(seed=2)[1])


def test_without_seed_the_global_generator_governs():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first = run(seed=None)[0]
        second = run(seed=None)[0]
        torch.manual_seed(5)
        assert torch.equal(run(seed=None)[0], first)
        assert not torch.equal(first, second)


def test_global_generator_is_untouched_by_a_seeded_run():
    before = torch.get_rng_state()
    run(seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
@pytest.mark.parametrize("n_samples", [1, 2, 50, 53])
def test_samples_are_spent_exactly_and_first_levels_take_the_rest(n_samples):
    counts = []

    class Counting:
        def sample(self, n, n_features, generator):
            counts.append((n_features, n))
            return BernoulliDesign(0.5).sample(n, n_features, generator)

    _, inputs = run(4, n_samples=n_samples, feature_mask=LEVELS, design=Counting())
    assert len(inputs) == n_samples
    spent = [sum(n for f, n in counts if f == features) for features in (12, 4, 3)]
    share, rest = divmod(n_samples, 3)
    assert spent == [share + (level < rest) for level in range(3)]


def test_perturbed_share_is_the_probability():
    for probability in (0.1, 0.4, 0.7):
        masks = BernoulliDesign(probability).sample(4000, 50, torch.Generator().manual_seed(0))
        share = masks.float().mean().item()
        assert abs(share - probability) < 5 * (probability * (1 - probability) / 200_000) ** 0.5


def test_seeds_agree_more_the_more_samples_they_have():
    def agreement(n):
        a, b = (run(64, n_samples=n, seed=seed)[0][:, 1].flatten() for seed in (1, 2))
        return torch.corrcoef(torch.stack([a, b]))[0, 1].item()

    assert agreement(4000) > 0.99 > agreement(20)


@settings(deadline=None, max_examples=25)
@given(
    n_features=st.integers(1, 6),
    n_samples=st.integers(1, 40),
    seed=st.integers(0, 2**40),
    perturbations_per_eval=st.integers(1, 41),
)
@pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
def test_scores_lie_between_the_smallest_and_the_largest_impact(
    n_features, n_samples, seed, perturbations_per_eval
):
    labels = torch.arange(12)[None] % n_features
    attr, inputs = run(perturbations_per_eval, n_samples, seed, labels)
    impacts = net(X)[None] - torch.stack([net(x) for x in inputs])
    low = impacts.amin(0).clamp(max=0)[..., None]
    high = impacts.amax(0).clamp(min=0)[..., None]
    assert ((attr >= low - 1e-5) & (attr <= high + 1e-5)).all()


@settings(deadline=None, max_examples=25)
@given(st.permutations(list(range(4))), st.integers(-3, 100))
def test_renaming_labels_in_order_changes_nothing(order, step):
    base = torch.tensor([[0, 1, 2, 3] * 3])
    spread = base * (abs(step) + 1) + 7
    assert torch.equal(run(feature_mask=base)[0], run(feature_mask=spread)[0])
    permuted = torch.tensor(order)[base]
    a, b = (
        run(feature_mask=mask, n_samples=3000, perturbations_per_eval=500)[0][:, 1]
        for mask in (base, permuted)
    )
    assert torch.allclose(a, b, rtol=0.15)


PEAK = """
import resource, sys, torch
from captum_spes import SPES
x, mask = torch.rand(1, 40_000), torch.arange(40_000)[None] // 20
for n_samples in (100, 2000):
    SPES(lambda x: x.sum(1)).attribute(
        x, feature_mask=mask, n_samples=n_samples, seed=0, perturbations_per_eval=8
    )
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_number_of_samples():
    """Peak resident memory in KiB, in a process of its own: a peak is never unlearnt, and what
    more samples take shows behind that of fewer."""
    command = [sys.executable, "-c", PEAK]
    shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    few, many = map(int, shown.split())
    # Kept perturbed inputs would take 300,000 KiB.
    assert many < few + 20_000


def test_one_explainer_serves_two_threads():
    spes = SPES(net)
    expected = [spes.attribute(X, n_samples=200, seed=seed) for seed in range(2)]
    found = [None, None]

    def work(index):
        found[index] = spes.attribute(X, n_samples=200, seed=index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_interruption_leaves_nothing_behind():
    calls = []

    def interrupted(x):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return net(x)

    before = torch.get_rng_state()
    grad_mode = torch.is_grad_enabled()
    with pytest.raises(KeyboardInterrupt):
        SPES(interrupted).attribute(X, n_samples=20, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled() == grad_mode
