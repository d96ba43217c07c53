"""Arguments of the wrong type or out of range, over the whole package: an error of ours that names
the argument, never one of Python's own."""

import numpy as np
import pytest
import torch

from captum_spes import (
    SPES,
    KLDivergenceForward,
    Settings,
    SpeechToTextAttribution,
    grid_feature_mask,
    slic_feature_mask,
)
from captum_spes.attr import BubbleNoise, GaussianProcess, MaskedMean
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.metrics import corpus_score, deletion_masks, inter_seed_agreement

OURS = (ArgumentError, ArgumentTypeError)
NAN, INF = float("nan"), float("inf")
NO_COUNT = (None, "5", True, 1.5, NAN, INF, -1, [5], torch.tensor([1, 2]), {}, b"5")
NO_SHARE = (None, "x", True, NAN, INF, -0.1, 0, 1, 2, [0.5], {}, b"0")
NO_NUMBER = ("40", True, NAN, INF, -1, 0, {}, object())


def linear():
    torch.manual_seed(0)
    return torch.nn.Linear(6, 3).eval(), torch.randn(1, 6)


def with_spes(**arguments):
    model, inputs = linear()
    return SPES(model).attribute(inputs, **{"target": 1, "n_samples": 4, **arguments})


def with_bubbles(**arguments):
    def forward(x):
        return x.sum((1, 2))[:, None]

    return BubbleNoise(forward).attribute(
        torch.randn(1, 20, 8), **{"target": 0, "n_samples": 4, "frame_rate": 100.0, **arguments}
    )


SPECTROGRAM = torch.rand(30, 20)
ROWS = [
    *((with_spes, "n_samples", value) for value in (*NO_COUNT, 0)),
    *((with_spes, "perturbations_per_eval", value) for value in (*NO_COUNT, 0)),
    *((with_spes, "perturb_prob", value) for value in NO_SHARE),
    *((with_spes, "seed", value) for value in ("1", True, 1.5, NAN, [1], {}, 2**70, -(2**70))),
    *((with_spes, "design", value) for value in (5, "slic", object(), [])),
    *((with_spes, "feature_mask", value) for value in ("slic", 5, {}, [], [5], torch.zeros(1, 9))),
    *((with_bubbles, "n_samples", value) for value in (*NO_COUNT, 0)),
    *((with_bubbles, "seed", value) for value in ("1", True, 1.5, 2**70)),
    *((with_bubbles, "perturbations_per_eval", value) for value in (0, "x", True, 1.5)),
    *((Settings, name, value) for name in ("n_samples", "n_token_samples") for value in NO_COUNT),
    *((Settings, name, value) for name in ("perturb_prob", "token_perturb_prob")
      for value in NO_SHARE),
    *((Settings, "patches_per_second", value) for value in (*NO_NUMBER, None, [], ["a"])),
    *((Settings, "max_seconds", value) for value in (*NO_NUMBER, [])),
    *((Settings, "n_patches", value) for value in (*NO_NUMBER, 1.5, [], ["a"])),
    *((Settings, "tolerance", value) for value in ("x", True, NAN, 0, 1, [], {})),
    *((Settings, "perturbations_per_eval", value) for value in (0, "fast", True, None, 1.5)),
    *((Settings, "score", value) for value in (5, "bleu", [], {})),
    *((Settings, "estimator", value) for value in (None, 5, "mean", MaskedMean)),
    *((Settings, "design", value) for value in (5, "slic", [])),
    *((Settings, "gen_args", value) for value in (5, "x", [1], {1: 2})),
    *((Settings, "method_args", value) for value in (5, "x", [1], {1: 2}, {"tokens": 5})),
    *((Settings, "dtype", value) for value in ("float16", torch.int8, 16, float)),
    *((Settings, "perturb_jointly", value) for value in (None, "yes", 1, [])),
    *((Settings, "baselines", value) for value in ([], {}, NAN, True, object())),
    *((Settings, "feature_mask", value) for value in ("none", 5, {}, object())),
    *((lambda **a: GaussianProcess(**a), "change_exponent", v) for v in ("x", None, NAN, -1, True)),
    *((lambda **a: GaussianProcess(**a), "least_impact", v) for v in ("x", None, NAN, -1, True)),
    *((lambda **a: slic_feature_mask(SPECTROGRAM, **a), name, value)
      for name in ("patches_per_second", "frame_rate", "n_patches", "compactness")
      for value in ("40", True, NAN, -1, {})),
    *((lambda **a: grid_feature_mask(SPECTROGRAM, **a), name, value)
      for name in ("patches_per_second", "frame_rate", "n_patches")
      for value in ("40", True, NAN, -1, {})),
    # Numbers in boxes, and bytes, which are iterables of numbers.
    *((call, name, value)
      for call in (Settings, lambda **a: slic_feature_mask(SPECTROGRAM, **a),
                   lambda **a: grid_feature_mask(SPECTROGRAM, **a))
      for name in ("patches_per_second", "n_patches", "max_seconds")
      for value in (torch.tensor(40), np.array(40), b"40", bytearray(b"4"))),
    *((Settings, name, value)
      for name in ("n_samples", "n_token_samples", "perturb_prob", "token_perturb_prob",
                   "tolerance", "perturbations_per_eval", "perturb_jointly")
      for value in (torch.tensor(1), np.array(1), b"1", [1])),
    *((with_spes, name, value)
      for name in ("n_samples", "perturb_prob", "seed", "perturbations_per_eval")
      for value in (torch.tensor(1), np.array(1), b"1", [1])),
]  # fmt: skip


@pytest.mark.parametrize(("call", "name", "value"), ROWS)
def test_one_wrong_argument(call, name, value):
    with pytest.raises(OURS):
        call(**{name: value})


OTHERS = [
    lambda: slic_feature_mask("speech"),
    lambda: slic_feature_mask(None),
    lambda: slic_feature_mask(torch.rand(3)),
    lambda: slic_feature_mask(torch.rand(0, 4)),
    lambda: slic_feature_mask(torch.full((4, 4), NAN)),
    lambda: grid_feature_mask(torch.rand(2, 2, 2, 2)),
    lambda: deletion_masks("map"),
    lambda: deletion_masks(torch.rand(3)),
    lambda: deletion_masks(torch.rand(3, 3), percentages=["a"]),
    lambda: deletion_masks(torch.rand(3, 3), percentages=[-1]),
    lambda: deletion_masks(torch.rand(3, 3), percentages=[101]),
    lambda: corpus_score("a", ["a"]),
    lambda: corpus_score(["a"], "a"),
    lambda: corpus_score(["a"], ["a", "b"]),
    lambda: corpus_score([], []),
    lambda: corpus_score(["a"], [None]),
    lambda: corpus_score([1], ["a"]),
    lambda: corpus_score(["a"], ["a"], metric="nothing"),
    lambda: corpus_score(["a"], ["a"], metric=None),
    lambda: inter_seed_agreement([torch.rand(3, 3)]),
    lambda: inter_seed_agreement([torch.rand(3, 3), torch.rand(4, 3)]),
    lambda: inter_seed_agreement([torch.rand(3, 3)] * 2, top=0),
    lambda: inter_seed_agreement([torch.rand(3, 3)] * 2, top="x"),
    lambda: inter_seed_agreement([torch.rand(3, 3)] * 2, top=True),
    lambda: inter_seed_agreement("maps"),
    lambda: KLDivergenceForward(None, torch.rand(1, 3)),
]


@pytest.mark.parametrize("number", range(len(OTHERS)))
def test_other_calls(number):
    with pytest.raises(OURS):
        OTHERS[number]()


class TestExplainer:
    @pytest.fixture
    def explainer(self, tiny_speech2text):
        network, processor = tiny_speech2text
        return SpeechToTextAttribution(SPES(network), processor)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"sampling_rate": "16000"}, {"sampling_rate": None}, {"sampling_rate": True},
            {"target": 5.5}, {"target": 3 + 4j}, {"target": {}}, {"target": [1.5]},
            {"target": [True]}, {"target": ["a"]}, {"target": [[1, 2], [3, 4]]}, {"target": b"a"},
            {"target": [-1]}, {"target": [10**9]}, {"target": torch.tensor([0.5])},
            {"seed": "1"}, {"seed": True}, {"seed": 2**70}, {"seed": NAN}, {"seed": [1]},
            {"settings": {}}, {"settings": "paper"}, {"scheme": "fast"}, {"scheme": 5},
            {"gen_args": 5}, {"gen_args": {"num_beams": 0}}, {"gen_args": {"nonsense": 1}},
            {"gen_args": {"num_return_sequences": 2}}, {"method_args": {"nonsense": 1}},
            {"method_args": {"return_partial": True}}, {"audio": None}, {"audio": 3 + 4j},
            {"audio": {}}, {"audio": "missing\0.wav"},
        ],
        ids=str,
    )  # fmt: skip
    def test_attribute(self, explainer, audio, arguments):
        given = {"n_samples": 4, "n_token_samples": 2, "patches_per_second": 40, **arguments}
        with pytest.raises((*OURS, FileNotFoundError)):
            explainer.attribute(given.pop("audio", audio), **given)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"words": 5}, {"words": [5]}, {"words": [None]}, {"words": ""}, {"words": [""]},
            {"at": "12"}, {"at": NAN}, {"at": (2, 1)}, {"at": -1}, {"at": [None]}, {"at": {}},
            {"at": True}, {"seed": "x"}, {"settings": 5}, {"scheme": "x"}, {"nonsense": 1},
            {"transcript": "text"},
        ],
        ids=str,
    )  # fmt: skip
    def test_attribute_parts(self, explainer, audio, arguments):
        with pytest.raises(OURS):
            explainer.attribute_parts(audio, **arguments)

    @pytest.mark.parametrize(
        "arguments",
        [{"gen_args": 5}, {"gen_args": "x"}, {"gen_args": [1]}, {"chunk_seconds": "x"},
         {"chunk_seconds": NAN}, {"chunk_seconds": 0}, {"seed": "x"}, {"seed": True},
         {"sampling_rate": "x"}],
        ids=str,
    )  # fmt: skip
    def test_transcribe(self, explainer, audio, arguments):
        with pytest.raises(OURS):
            explainer.transcribe(audio, **arguments)

    def test_constructor(self, tiny_speech2text):
        network, processor = tiny_speech2text
        for method, given in ((None, processor), (network, processor), (SPES(network), None),
                              (SPES(network), processor.tokenizer), (5, processor)):  # fmt: skip
            with pytest.raises(OURS):
                SpeechToTextAttribution(method, given)


def test_numbers_of_numpy_and_torch_are_numbers():
    made = Settings(
        n_samples=np.int64(5), perturb_prob=np.float32(0.5), n_token_samples=np.uint8(3)
    )
    assert (made.n_samples, made.n_token_samples) == (5, 3)
    assert type(made.n_samples) is int
    assert type(made.perturb_prob) is float
