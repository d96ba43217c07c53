"""What the caller has set in torch changes no explanation, and is as it was afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, GradientShap, IntegratedGradients, Lime, Saliency
from packaging.version import Version
from torch import Tensor

from captum_spes import (
    SPES,
    BubbleNoise,
    CrossAttention,
    KLDivergenceForward,
    SpeechToTextAttribution,
    TokenProbabilityForward,
    grid_feature_mask,
    slic_feature_mask,
)
from captum_spes.attr import GaussianProcess
from captum_spes.errors import ArgumentError
from captum_spes.masks import describe_levels, span_feature_mask, window_feature_mask
from captum_spes.speech.ambient import check_differentiable, ordinary_torch
from captum_spes.speech.randomness import seeded_draws

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:.*sampling noise")

CPU = torch.device("cpu")


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
    finally:
        # torch 2.5 fails at get_default_device() after None.
        is_early = Version(torch.__version__) < Version("2.6")
        torch.set_default_device("cpu" if is_early else None)


# "meta" stands for any device but the CPU: what lands there by mistake cannot be used.
STATES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "device": lambda: default_device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
}
a_state = pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())

# With integers that no half precision holds.
WHOLE = torch.arange(16_777_210, 16_777_225)
FEW = torch.arange(1, 40)
FLAGS = torch.tensor([True, False, True])
FLOATS = torch.linspace(0, 1, 3)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _seeded() -> Tensor:
    with seeded_draws(3):
        return torch.rand(4)


COMPUTATIONS: dict[str, Callable[[], Tensor]] = {
    "zeros": lambda: torch.zeros(3),
    "empty, dtype None": lambda: torch.empty(3, dtype=None).fill_(0.1),
    "full": lambda: torch.full((2,), 0.1),
    "full, beyond half precision": lambda: torch.full((2,), torch.finfo(torch.float32).min),
    "full of integers": lambda: torch.full((2,), 3),
    "arange": lambda: torch.arange(5),
    "arange of floats": lambda: torch.arange(0, 3, 0.1),
    "linspace": lambda: torch.linspace(0, 1, 100),
    "hann_window": lambda: torch.hann_window(400),
    "rfftfreq": lambda: torch.fft.rfftfreq(40),
    "a number": lambda: torch.tensor(0.1),
    "numbers": lambda: torch.tensor([[1, 0.2], [3, 4]]),
    "no numbers": lambda: torch.tensor([]),
    "integers": lambda: torch.tensor([[1, 2]]),
    "numbers of NumPy": lambda: torch.tensor([np.float64(0.1)]),
    "an array": lambda: torch.as_tensor(np.ones(2)),
    "tensors": lambda: torch.tensor([FLOATS[1].double(), FLOATS[2].double()]),
    "rand": lambda: torch.rand(5, generator=_generator()),
    "normal": lambda: torch.normal(0.0, 1.0, (5,), generator=_generator()),
    "seeded": _seeded,
    "integers divided": lambda: FEW / 3,
    "divided by integers": lambda: 1.0 / FEW,
    "integers times a float": lambda: 0.1 * FEW,
    "a root": lambda: FEW**0.5,
    "a root by name": lambda: FEW.sqrt(),
    "flags times a float": lambda: FLAGS * 0.1,
    "where, numbers": lambda: torch.where(FLAGS, 0.1, 0.2),
    "where, integers": lambda: torch.where(FLAGS, FEW[:3], 0.2),
    "where, a method": lambda: FEW[:3].where(FLAGS, 0.1),
    "where, floats": lambda: torch.where(FLAGS, FLOATS, 0.2),
    "less": lambda: WHOLE < 16_777_216.5,
    "equal": lambda: WHOLE == 16_777_217.0,
    "clamp": lambda: FEW.clamp(min=3.3),
    "as float64": lambda: FEW.to(torch.float64) / 3,
    "as double": lambda: WHOLE.double(),
    "as float16": lambda: FEW.half(),
    "as bfloat16": lambda: torch.zeros_like(FEW, dtype=torch.bfloat16),
    "a product": lambda: torch.full((30, 30), 0.1) @ torch.full((30, 30), 0.3),
}


class TestOrdinaryTorch:
    @a_state
    def test_computations_are_those_of_a_fresh_process(self, state):
        expected = {name: compute() for name, compute in COMPUTATIONS.items()}
        with state(), ordinary_torch(CPU):
            found = {name: compute() for name, compute in COMPUTATIONS.items()}
        for name, value in found.items():
            assert value.dtype == expected[name].dtype, name
            assert value.device == expected[name].device, name
            assert torch.equal(value, expected[name]), name
            assert not value.is_inference(), name

    @a_state
    def test_all_is_as_it_was_afterwards_also_after_an_error(self, state):
        def seen() -> tuple[Any, ...]:
            ones = torch.ones(2, 2)
            product = (ones @ ones).dtype
            return ones.dtype, ones.device, product, ones.is_inference(), torch.is_grad_enabled()

        with state():
            before = seen()
            with ordinary_torch(CPU):
                pass
            assert seen() == before
            with pytest.raises(KeyboardInterrupt), ordinary_torch(CPU):
                raise KeyboardInterrupt
            assert seen() == before

    def test_other_threads_keep_the_default_dtype(self):
        seen: list[torch.dtype] = []
        thread = threading.Thread(target=lambda: seen.append((torch.arange(2) / 2).dtype))
        with default_dtype(torch.float64), ordinary_torch(CPU):
            assert torch.get_default_dtype() == torch.float64
            thread.start()
            thread.join()
        assert seen == [torch.float64]

    def test_data_stay_on_their_device(self):
        data = torch.empty(2, device="meta")
        with default_device("meta"), ordinary_torch(CPU):
            assert torch.as_tensor(data).is_meta
            assert not torch.ones(1).is_meta

    def test_contexts_can_be_nested(self):
        with default_dtype(torch.float64), ordinary_torch(CPU), ordinary_torch(CPU):
            assert torch.ones(1).dtype == torch.float32

    def test_an_autocast_within_counts(self):
        with STATES["autocast"](), ordinary_torch(CPU), torch.autocast("cpu", torch.float16):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float16


METHODS: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "spes": (SPES, {"n_patches": (6, 12)}),
    "efficient": (SPES, {"n_patches": (6, 12), "scheme": "efficient"}),
    "saliency": (Saliency, {}),
    "integrated-gradients": (IntegratedGradients, {"method_args": {"n_steps": 2}}),
    "gradient-shap": (GradientShap, {}),
    "feature-ablation": (FeatureAblation, {}),
    "lime": (Lime, {}),
    "bubble-noise": (BubbleNoise, {}),
    "cross-attention": (CrossAttention, {}),
}


def explained(model: Any, processor: Any, audio: Any, method: str, **changes: Any) -> Any:
    make, settings = METHODS[method]
    arguments = {"n_patches": 6, "n_samples": 16, "n_token_samples": 24, "seed": 1}
    # A few tokens are enough to see a difference.
    arguments |= {"gen_args": {"max_length": 6}} | settings | changes
    return SpeechToTextAttribution(make(model), processor).attribute(audio, **arguments)


def assert_same(found: Any, expected: Any) -> None:
    assert found.output_ids == expected.output_ids
    names = ("spectrogram", "removed", "feature_masks", "spectrogram_attr", "token_attr")
    for name in (*names, "frame_times", "mel_frequencies"):
        value, other = getattr(found, name), getattr(expected, name)
        assert (value is None) == (other is None), name
        if other is None:
            continue
        assert value.dtype == other.dtype, name
        assert value.device == other.device, name
        assert torch.equal(value.nan_to_num(), other.nan_to_num()), name


class TestExplanations:
    @pytest.mark.parametrize("method", METHODS)
    def test_whatever_the_method(self, tiny_whisper, audio, method):
        if method == "lime":
            pytest.importorskip("sklearn")
        expected = explained(*tiny_whisper, audio, method)
        for name, state in STATES.items():
            with state():
                found = explained(*tiny_whisper, audio, method)
            try:
                assert_same(found, expected)
            except AssertionError as error:
                raise AssertionError(f"under {name}") from error

    @a_state
    @pytest.mark.parametrize("method", ["spes", "saliency"])
    def test_whatever_the_family(self, tiny_model, audio, method, state):
        expected = explained(*tiny_model, audio, method)
        with state():
            found = explained(*tiny_model, audio, method)
        assert_same(found, expected)

    def test_a_precision_that_was_asked_for(self, tiny_whisper, audio):
        plain = explained(*tiny_whisper, audio, "spes")
        expected = explained(*tiny_whisper, audio, "spes", dtype=torch.bfloat16)
        assert not torch.equal(plain.spectrogram_attr, expected.spectrogram_attr)
        with STATES["autocast"]():
            found = explained(*tiny_whisper, audio, "spes", dtype=torch.bfloat16)
        assert_same(found, expected)

    def test_seeds_are_drawn_where_another_device_is_the_default(self, tiny_whisper, audio):
        with STATES["device"]():
            found = explained(*tiny_whisper, audio, "cross-attention", seed=None)
        assert found.seed >= 0

    def test_audio_made_in_inference_mode(self, tiny_whisper, audio):
        with torch.inference_mode():
            samples = torch.tensor(audio)
        expected = explained(*tiny_whisper, audio, "saliency")
        assert_same(explained(*tiny_whisper, samples, "saliency"), expected)

    def test_weights_made_in_inference_mode(self, tiny_whisper, audio):
        model, processor = tiny_whisper
        expected = explained(model, processor, audio, "spes")
        with torch.inference_mode():
            made = type(model)(model.config).eval()
            made.load_state_dict(model.state_dict())
            made.generation_config = model.generation_config
        with pytest.raises(ArgumentError, match="load the model outside"):
            explained(made, processor, audio, "saliency")
        assert_same(explained(made, processor, audio, "spes"), expected)

    def test_other_weights_can_be_differentiated(self, tiny_whisper):
        check_differentiable(tiny_whisper[0], "Saliency")


class TestWithoutTheWrapper:
    """Captum's methods of this package run where ``FeatureAblation`` does."""

    @pytest.fixture
    def network(self):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = torch.nn.Linear(48, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
        return torch.nn.Sequential(torch.nn.Flatten(), *layers).eval()

    @pytest.mark.parametrize("name", ["float64", "bfloat16", "device", "inference mode"])
    def test_attributions_and_masks(self, network, name):
        inputs = torch.rand(2, 8, 6, generator=_generator()) + 1
        coarse = torch.arange(48).reshape(1, 8, 6) // 8
        levels = [coarse, coarse // 2]
        regression = GaussianProcess(log_impacts=False)
        by_token = TokenProbabilityForward(lambda x: network(x)[:, None], [1], log=True)
        sampled = {"n_samples": 40, "seed": 0}

        def attributed() -> dict[str, Tensor]:
            slic = slic_feature_mask(inputs, n_patches=(2, 6))
            return {
                "cells": SPES(network).attribute(inputs, target=1, **sampled),
                "levels": SPES(network).attribute(inputs, feature_mask=levels, **sampled),
                "tolerance": SPES(network).attribute(
                    inputs, target=1, feature_mask=levels, tolerance=0.9, **sampled
                ),
                "regression": SPES(network, estimator=regression).attribute(
                    inputs, feature_mask=levels, **sampled
                ),
                "divergence": SPES(KLDivergenceForward(network, inputs)).attribute(
                    inputs, feature_mask=levels, **sampled
                ),
                "by token": SPES(by_token).attribute(inputs, feature_mask=coarse, **sampled),
                "bubbles": BubbleNoise(network).attribute(inputs, target=1, **sampled),
                "slic": torch.cat(slic),
                "grid": torch.cat(grid_feature_mask(inputs, n_patches=(2, 6))),
                "windows": window_feature_mask(inputs, 0.02),
                "spans": span_feature_mask(inputs, [(0.0, 0.02), (0.03, 0.05)]),
                "patches": torch.tensor(describe_levels(slic).n_patches, device="cpu"),
            }

        expected = attributed()
        with STATES[name]():
            found = attributed()
        for key, value in found.items():
            assert value.dtype == expected[key].dtype, key
            assert torch.equal(value, expected[key]), key
