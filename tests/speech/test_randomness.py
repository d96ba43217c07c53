"""Random choices depend on the seed alone, and nobody else's are touched."""

# NumPy's global generator is what is looked at.
# ruff: noqa: NPY002

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from captum.attr import (
    GradientShap,
    KernelShap,
    Lime,
    NoiseTunnel,
    Saliency,
    ShapleyValueSampling,
)
from torch import Tensor
from torch.overrides import TorchFunctionMode

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.speech.randomness import seeded_draws, undisturbed, without_numpy_draws

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:.*sampling noise")

VALUES = torch.linspace(0.1, 0.9, 12).reshape(3, 4)
DRAWS: dict[str, Callable[[], Tensor]] = {
    "rand": lambda: torch.rand(5),
    "rand on a device": lambda: torch.rand(5, device="cpu"),
    "randn": lambda: torch.randn(3, 20),
    "randint": lambda: torch.randint(2, 9, (7,)),
    "randperm": lambda: torch.randperm(20),
    "bernoulli": lambda: torch.bernoulli(VALUES),
    "normal": lambda: torch.normal(0, VALUES),
    "normal of a size": lambda: torch.normal(0.0, 1.0, (6,)),
    "multinomial": lambda: torch.multinomial(VALUES, 2),
    "multinomial, a method": lambda: VALUES.multinomial(3, replacement=True),
    "poisson": lambda: torch.poisson(VALUES),
    "rand_like": lambda: torch.rand_like(VALUES),
    "randn_like, transposed": lambda: torch.randn_like(VALUES.T),
    "randn_like, another dtype": lambda: torch.randn_like(VALUES, dtype=torch.float64),
    "randint_like": lambda: torch.randint_like(VALUES, 9),
    "randint_like, from": lambda: torch.randint_like(VALUES, 3, 9),
    "randint_like, by name": lambda: torch.randint_like(VALUES, low=3, high=9),
    "normal_": lambda: torch.empty(5).normal_(1, 2),
    "uniform_": lambda: torch.empty(5).uniform_(-1, 2),
    "random_": lambda: torch.empty(5).random_(),
    "bernoulli_": lambda: torch.empty(5).bernoulli_(0.3),
    "exponential_": lambda: torch.empty(5).exponential_(),
    "cauchy_": lambda: torch.empty(5).cauchy_(),
    "geometric_": lambda: torch.empty(5).geometric_(0.3),
    "log_normal_": lambda: torch.empty(5).log_normal_(),
    "a layer": lambda: torch.nn.Linear(3, 4).weight.detach(),
    "initialisation": lambda: torch.nn.init.normal_(torch.empty(4, 4)),
    "a distribution": lambda: torch.distributions.Gamma(2.0, 1.0).sample((4,)),
}


@pytest.fixture(autouse=True)
def _global_generators_stay() -> Iterator[None]:
    """No test of this file may draw from, seed or rewind a global generator."""
    before = torch.get_rng_state(), np.random.get_state()
    yield
    assert torch.equal(torch.get_rng_state(), before[0])
    for now, then in zip(np.random.get_state(), before[1], strict=True):
        assert np.array_equal(now, then)


def with_global_seeds(seed: int, function: Callable[[], Tensor]) -> Tensor:
    """What a function returns where torch's and NumPy's global generators are seeded."""
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        return function()
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)


def drawn(seed: int, function: Callable[[], Tensor]) -> Tensor:
    with seeded_draws(seed):
        return function()


class TestSeededDraws:
    @pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
    @pytest.mark.parametrize("seed", [0, 2**63 - 1])
    def test_numbers_are_those_after_manual_seed(self, draw, seed):
        def twice() -> Tensor:
            return torch.stack([draw(), draw()])

        expected, found = with_global_seeds(seed, twice), drawn(seed, twice)
        assert torch.equal(found, expected)
        assert found.dtype == expected.dtype

    def test_other_seed_other_numbers(self):
        assert torch.equal(drawn(1, DRAWS["rand"]), drawn(1, DRAWS["rand"]))
        assert not torch.equal(drawn(1, DRAWS["rand"]), drawn(2, DRAWS["rand"]))

    def test_knows_whether_the_seed_matters(self):
        own = torch.Generator()
        for draw, expected in (
            (DRAWS["rand"], True),
            (DRAWS["rand_like"], True),
            (lambda: torch.rand(3, generator=own), False),
            (lambda: torch.ones(3).sum(), False),
        ):
            with seeded_draws(0) as draws:
                draw()
            assert draws.has_drawn is expected

    def test_a_generator_that_is_given_is_taken(self):
        expected = torch.rand(3, generator=torch.Generator().manual_seed(5))
        with seeded_draws(0):
            found = torch.rand(3, generator=torch.Generator().manual_seed(5))
            own = torch.rand_like(VALUES)
        assert torch.equal(found, expected)
        assert torch.equal(own, drawn(0, DRAWS["rand_like"]))

    def test_gradients_can_be_asked_for(self):
        assert drawn(0, lambda: torch.rand_like(VALUES, requires_grad=True)).requires_grad

    def test_tensors_without_numbers_need_no_generator(self):
        assert drawn(0, lambda: torch.rand(3, device="meta")).is_meta

    def test_the_default_device_is_heeded(self):
        with torch.device("meta"):
            assert drawn(0, lambda: torch.rand(3)).is_meta
            assert not drawn(0, lambda: torch.rand(3, device="cpu")).is_meta

    def test_inner_context_does_not_advance_the_outer(self):
        with seeded_draws(1):
            first = torch.rand(2)
            assert torch.equal(drawn(2, lambda: torch.rand(2)), drawn(2, lambda: torch.rand(2)))
            second = torch.rand(2)
        assert torch.equal(torch.cat([first, second]), drawn(1, lambda: torch.rand(4)))

    def test_ends_with_an_error(self):
        def fail() -> Tensor:
            torch.rand(1)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            drawn(0, fail)
        before = torch.get_rng_state()
        torch.rand(1)
        assert not torch.equal(torch.get_rng_state(), before)
        torch.set_rng_state(before)


class TestUndisturbed:
    def test_draws_inside_are_the_callers(self):
        forward = undisturbed(lambda x: x + torch.rand(2))
        with seeded_draws(0):
            first = torch.rand(2)
            found = with_global_seeds(7, lambda: forward(torch.zeros(2)))
            second = torch.rand(2)
        assert torch.equal(found, with_global_seeds(7, lambda: torch.rand(2)))
        assert torch.equal(torch.cat([first, second]), drawn(0, lambda: torch.rand(4)))

    def test_an_error_inside_leaves_the_context_in_force(self):
        def fail() -> None:
            raise ValueError("as planned")

        with seeded_draws(0):
            with pytest.raises(ValueError, match="as planned"):
                undisturbed(fail)()
            assert torch.equal(torch.rand(2), drawn(0, lambda: torch.rand(2)))

    def test_calls_within_calls_and_outside(self):
        inner = undisturbed(lambda: torch.rand(1))
        outer = undisturbed(lambda: inner())
        expected = with_global_seeds(3, lambda: torch.rand(1))
        assert torch.equal(with_global_seeds(3, outer), expected)
        with seeded_draws(0):
            assert torch.equal(with_global_seeds(3, outer), expected)

    def test_below_another_mode_nothing_is_left(self):
        seen = []

        class Recorder(TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                seen.append(func)
                return func(*args, **(kwargs or {}))

        with seeded_draws(0), Recorder():
            found = undisturbed(lambda: torch.rand(2))()
        assert torch.equal(found, drawn(0, lambda: torch.rand(2)))
        assert torch.rand in seen


class TestCaptumsMethods:
    """Of a small network, equal bit for bit to what global seeds gave."""

    @pytest.fixture
    def network(self):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = torch.nn.Linear(24, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
        return torch.nn.Sequential(torch.nn.Flatten(), *layers).eval()

    @pytest.fixture
    def inputs(self):
        return torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1))

    @pytest.mark.parametrize("is_left", [False, True], ids=["", "undisturbed"])
    @pytest.mark.parametrize(
        ("make", "arguments"),
        [
            (Lime, {"n_samples": 60}),
            (KernelShap, {"n_samples": 60}),
            (ShapleyValueSampling, {"n_samples": 6}),
            (lambda model: NoiseTunnel(Saliency(model)), {"nt_samples": 4}),
        ],
        ids=["Lime", "KernelShap", "ShapleyValueSampling", "NoiseTunnel"],
    )
    def test_of_perturbation(self, network, inputs, make, arguments, is_left):
        pytest.importorskip("sklearn")

        def explained(method) -> Tensor:
            return method.attribute(inputs[:1], target=1, **arguments)

        expected = with_global_seeds(3, lambda: explained(make(network)))
        method = without_numpy_draws(make(undisturbed(network) if is_left else network), 3)
        assert torch.equal(drawn(3, lambda: explained(method)), expected)

    @pytest.mark.parametrize("n_baselines", [1, 5])
    @pytest.mark.parametrize("multiplies", [False, True])
    @pytest.mark.parametrize("arguments", [{}, {"n_samples": 7, "stdevs": 0.3}])
    def test_gradient_shap(self, network, inputs, n_baselines, multiplies, arguments):
        baselines = torch.linspace(-1, 1, n_baselines * 24).reshape(n_baselines, 4, 6)
        method = GradientShap(network, multiplies)

        def explained(method) -> Tensor:
            return method.attribute(inputs, baselines=baselines, target=1, **arguments)

        expected = with_global_seeds(5, lambda: explained(method))
        seeded = without_numpy_draws(method, 5)
        assert torch.equal(explained(seeded), expected)
        assert seeded.get_name() == method.get_name()

    def test_linear_models_that_draw(self, network, inputs):
        models = pytest.importorskip("captum._utils.models.linear_model")
        pytest.importorskip("sklearn")
        model = models.SkLearnLasso(alpha=0.01, selection="random")

        def explained(method) -> Tensor:
            return method.attribute(inputs[:1], target=1, n_samples=60)

        expected = with_global_seeds(3, lambda: explained(Lime(network, copy.deepcopy(model))))
        method = without_numpy_draws(Lime(network, copy.deepcopy(model)), 3)
        assert torch.equal(drawn(3, lambda: explained(method)), expected)

    def test_other_methods_come_back_as_they_are(self, network):
        method = Saliency(network)
        assert without_numpy_draws(method, 0) is method


SETTINGS = {"n_patches": 8, "n_samples": 24, "n_token_samples": 16, "seed": 1}


class TestExplanations:
    @pytest.mark.parametrize("make", [SPES, Lime, ShapleyValueSampling, GradientShap])
    def test_another_thread_draws_what_it_would_draw(self, tiny_whisper, audio, make):
        model, processor = tiny_whisper
        explainer = SpeechToTextAttribution(make(model), processor)
        drawn_there: list[tuple[float, float]] = []
        is_running, is_done = threading.Event(), threading.Event()

        def draw() -> None:
            while len(drawn_there) < 200_000 and not is_done.is_set():
                drawn_there.append((float(torch.rand(())), np.random.random()))
                is_running.set()

        def expected() -> Tensor:
            pairs = [(float(torch.rand(())), np.random.random()) for _ in drawn_there]
            return torch.tensor(pairs, dtype=torch.float64)

        def explained() -> Tensor:
            thread = threading.Thread(target=draw)
            thread.start()
            is_running.wait()
            try:
                explainer.attribute(audio, **SETTINGS)
            finally:
                is_done.set()
                thread.join()
            return torch.tensor(drawn_there, dtype=torch.float64)

        found = with_global_seeds(7, explained)
        assert len(found) > 10
        assert torch.equal(found, with_global_seeds(7, expected))

    @pytest.mark.parametrize(
        "make", [Lime, KernelShap, ShapleyValueSampling, GradientShap, SPES, Saliency]
    )
    def test_repeat_themselves_and_touch_nothing(self, tiny_whisper, audio, make):
        model, processor = tiny_whisper
        explainer = SpeechToTextAttribution(make(model), processor)
        first, second = (explainer.attribute(audio, **SETTINGS) for _ in range(2))
        assert torch.equal(first.spectrogram_attr, second.spectrogram_attr)

    def test_sampled_generation_is_the_seeds(self, tiny_whisper, audio):
        model, processor = tiny_whisper
        explainer = SpeechToTextAttribution(SPES(model), processor)
        gen_args = {"do_sample": True, "temperature": 1.5}
        small = {"n_patches": 8, "n_samples": 4, "n_token_samples": 0, "gen_args": gen_args}

        def written(seed: int) -> list[int]:
            return explainer.attribute(audio, seed=seed, **small).output_ids

        def generated() -> Tensor:
            features = processor.feature_extractor(
                audio, sampling_rate=16_000, return_tensors="pt"
            ).input_features
            form = {"force_unique_generate_call": True, "return_dict_in_generate": True}
            return model.generate(features, **gen_args, **form)["sequences"][0]

        assert written(3) == written(3)
        assert written(3) != written(4)
        expected = with_global_seeds(3, generated).tolist()
        # Prompt and timestamps are not explained.
        assert written(3) == [token for token in expected if token <= model.config.eos_token_id]
