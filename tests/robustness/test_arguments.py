"""Arguments of the wrong type or out of range, over the whole package: an error of ours that names
the argument, never one of Python's own."""

import re

import numpy as np
import pytest
import torch

from captum_spes import (
    SPES,
    KLDivergenceForward,
    Settings,
    SpeechToTextAttribution,
    TokenProbabilityForward,
    describe_levels,
    grid_feature_mask,
    slic_feature_mask,
    span_feature_mask,
    window_feature_mask,
)
from captum_spes.alignment import (
    Alignment,
    Interval,
    align_result,
    force_align,
    match_words,
    read_alignments,
    spoken_forms,
    write_alignments,
)
from captum_spes.attr import (
    BernoulliDesign,
    BubbleNoise,
    GaussianProcess,
    MaskedMean,
    split_half_reliability,
)
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import KL, ScoreForward, as_score
from captum_spes.maps import (
    Maps,
    band_mean,
    frames_within,
    frequency_bands,
    group_words,
    is_constant,
    paired_min_max,
    sentence_mean,
    span_mean,
    split_unspaced,
    standardize,
    strongest_span,
    time_mean,
)
from captum_spes.metrics import (
    agreement_ceiling,
    auc,
    corpus_score,
    deletion_curve,
    deletion_masks,
    inter_seed_agreement,
    plot_curves,
    size_curve,
    variance_shares,
)
from captum_spes.plotting import (
    plot_hallucination_check,
    plot_positions,
    plot_time,
    plot_token_evidence,
)
from tests.analysis.planted import planted_result

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
    *((Settings, "patches_per_second", value) for value in (*NO_NUMBER, None, ["a"])),
    *((Settings, "max_seconds", value) for value in (*NO_NUMBER, [])),
    *((Settings, "n_patches", value) for value in (*NO_NUMBER, 1.5, ["a"])),
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


# Rows of further modules: the call, its argument, unusable values, words of the message where the
# argument's own name is not among them.
def bands(**a):
    return frequency_bands(**a)


def band_means(**a):
    given = {"maps": torch.rand(2, 3), "mel_frequencies": torch.tensor([1.0, 2.0, 3.0])}
    return band_mean(**{**given, "bands": frequency_bands([0, 5]), **a})


def frames(**a):
    return frames_within(**{"frame_times": TIMES, "start": 0.0, "end": 0.02, **a})


def times(**a):
    return time_mean(**{"maps": MAPS, "frame_times": TIMES, "spans": [(0, 0.02)], **a})


def spans(**a):
    return span_mean(**{"spectrogram_attr": MAPS, "token_attr": None, "spans": [[0]], **a})


def strongest(**a):
    return strongest_span(**{"profile": [0, 1, 0], "coordinates": [0, 1, 2], **a})


def windows(**a):
    return window_feature_mask(**{"inputs": SPECTROGRAM, **a})


def cut(**a):
    return span_feature_mask(**{"inputs": SPECTROGRAM, "spans": [(0, 0.1)], **a})


def slic(**a):
    return slic_feature_mask(**{"spectrogram": SPECTROGRAM, **a})


def grid(**a):
    return grid_feature_mask(**{"spectrogram": SPECTROGRAM, **a})


def kl(**a):
    model, inputs = linear()
    return KLDivergenceForward(**{"logits_func": model, "inputs": inputs, **a})


def probability(**a):
    model, inputs = linear()
    return TokenProbabilityForward(**{"logits_func": model, "tokens": 1, **a})(inputs)


def scored(**a):
    model, inputs = linear()
    given = {"score": KL(), "logits_func": lambda x: model(x)[:, None], "inputs": inputs}
    return ScoreForward(**{**given, "token_ids": torch.tensor([1]), **a})


def halves(**a):
    rows = torch.rand(2, 5)
    return split_half_reliability(**{"first": rows, "second": rows, **a})


def sizes(**a):
    return size_curve(**{"results": Maps(MAPS, None), **a})


def size_interval(**a):
    return size_curve([Maps(MAPS, None)] * 3).interval(**a)


def size_difference(**a):
    return size_curve([Maps(MAPS, None)] * 3).difference(**a)


def agreement(**a):
    return inter_seed_agreement(**{"attributions": [torch.rand(9)] * 2, **a})


def agreement_interval(**a):
    rows = np.random.default_rng(0).random((4, 3, 20))
    return inter_seed_agreement([list(seed) for seed in rows]).interval(method="bootstrap", **a)


def area(**a):
    return auc(**{"x": [0, 1], "y": [0, 1], **a})


def curve(**a):
    return deletion_curve(**{"explainer_or_model": None, "examples": [], **a})


def deleted(**a):
    return deletion_masks(**{"saliency_map": torch.rand(3, 3), **a})


def corpus(**a):
    return corpus_score(**{"references": ["a"], "hypotheses": ["a"], **a})


def alignment(**a):
    return Alignment(**{"words": (Interval("a", 0, 1),), **a})


def matched(**a):
    return match_words(**{"written": ["a"], "spoken": ["a"], **a})


def aligned(**a):
    return align_result(**{"result": planted_result([" a"]), "alignment": alignment(), **a})


def forced(**a):
    return force_align(**{"audio": np.full(16_000, 0.01, np.float32), "text": "a", **a})


def written(**a):
    return write_alignments(**{"alignments": {"a": alignment()}, "path": "unused", **a})


def drawn(**a):
    return planted_result([" a", " b"]).plot_spectrogram_attr(**a)


def sheet(**a):
    return planted_result([" a", " b"]).plot_spectrogram_attrs(**a)


def saved(**a):
    return planted_result([" a"]).save(**a)


MAPS, TIMES = torch.rand(2, 4, 3), torch.tensor([0.0, 0.01, 0.02, 0.03])
NONE_OF_ALL = ("1", True, NAN, torch.tensor(1.0), np.array(1.0), {}, [1])
NO_TENSOR = (None, "x", 5, [1], np.zeros((2, 3, 3)))
NO_DIMENSION = ("x", None, 1.5, 7, True)
NO_SEED = ("1", True, NAN, -1, 1.5, {}, torch.tensor(1))
NO_PATH = (None, 5, [])
MORE = [
    *((lambda **a: Settings(**a), name, ([],), "segmentation level")
      for name in ("patches_per_second", "n_patches")),
    (with_spes, "tolerance", ("x", True, NAN, 0, 2, torch.tensor(0.1), [])),
    (with_spes, "estimator", (5, "mean", MaskedMean)),
    (with_spes, "baselines", ("x", {}, [1, 2])),
    (with_spes, "target", ("a", 1.5, {}, 99, NAN, True)),
    *((with_bubbles, name, (*NONE_OF_ALL, None, 0, -1))
      for name in ("bubbles_per_second", "width", "height", "frame_rate")),
    (with_bubbles, "time_dim", NO_DIMENSION),
    (with_bubbles, "tolerance", ("x", True, NAN)),
    (lambda **a: SPES(**a), "forward_func", (5, None, "x")),
    (lambda **a: BernoulliDesign(**a), "perturb_prob", (*NONE_OF_ALL, None)),
    (halves, "odds_exponent", (*NONE_OF_ALL, None)),
    (halves, "first", (None, "x", 5, torch.rand(3))),
    *((call, "time_dim", NO_DIMENSION) for call in (slic, grid, windows, cut)),
    *((call, "seconds", NONE_OF_ALL) for call in (slic, grid)),
    (slic, "sigma", (*NONE_OF_ALL, None, -1)),
    (windows, "width", (*NONE_OF_ALL, None, 0)),
    *((call, "frame_rate", (*NONE_OF_ALL, None, 0)) for call in (windows, cut)),
    *((call, "inputs", NO_TENSOR) for call in (windows, cut)),
    (cut, "spans", (None, 5, "ab", [1], [("a", "b")], [(0, None)], [(NAN, 1)], [(True, 2)],
                    [(0, 1, 2)])),
    (lambda **a: describe_levels(**a), "feature_masks", (None, 5, "x", ["a"], [np.ones(3)])),
    (probability, "tokens", ("a", None, 1.5, True, [], ["a"], {}, NAN, 2**70, [[1], [2, 3]])),
    (probability, "logits_func", (None, 5, "x")),
    (probability, "output_layer", (5, "x")),
    (kl, "inputs", NO_TENSOR),
    (kl, "logits_func", (None, 5, "x")),
    (kl, "output_layer", (5, "x")),
    (scored, "score", (None, 5, "kl")),
    (scored, "token_ids", NO_TENSOR[:-1]),
    (scored, "inputs", NO_TENSOR),
    (scored, "logits_func", (None, 5)),
    (lambda **a: as_score(**a), "score", (None, 5, "x", KL, [], {})),
    *((lambda call=call, **a: call(**{"spectrogram_attr": MAPS, **a}), name, values)
      for call in (standardize, paired_min_max, sentence_mean)
      for name, values in (("spectrogram_attr", (*NO_TENSOR, torch.rand(3))),
                           ("token_attr", ("x", 5, [1], torch.rand(3), torch.rand(5, 2))))),
    (spans, "spans", (None, 5, "x", [5], ["a"])),
    (spans, "spans", ([[None]], [[1.5]], [[True]], [[9]], [[]]), "token indices"),
    (bands, "scale", (None, 5, [1], ["a", "b"], [0, NAN], {"a": 5}, {"a": (1, "b")},
                      {"a": (1, 2, 3)}, [2, 1], [True, 2], b"ab", [0, INF]), "edge"),
    (bands, "scale", ("x",)),
    *((bands, name, ("1", True, None, torch.tensor(1.0), {}, [1])) for name in ("low", "high")),
    (bands, "high", (NAN, INF), "edges"),
    (band_means, "maps", NO_TENSOR),
    (band_means, "mel_frequencies", (*NO_TENSOR, torch.rand(2))),
    (band_means, "bands", (None, 5, "x", [1], [])),
    (band_means, "dim", NO_DIMENSION),
    (lambda **a: is_constant(**{"maps": [[1.0, 2.0]], **a}), "axis", NO_DIMENSION),
    (strongest, "profile", (None, "x", [], ["a"], [[1, 2]], 5, [NAN, 1, 2])),
    (strongest, "coordinates", (None, "x", [], ["a"], [1])),
    (strongest, "smoothing", (*NONE_OF_ALL, None, 0, 1.5)),
    *((frames, name, (*NONE_OF_ALL[:2], None, {}, [1], 10**400)) for name in ("start", "end")),
    (frames, "frame_times", NO_TENSOR),
    (times, "spans", (None, 5, "x", [1], [("a", "b")], [(1,)], [(0, None)])),
    (times, "maps", (None, "x", torch.rand(3))),
    (lambda **a: group_words(**a), "tokens", (None, 5, [1], [None], "ab")),
    (lambda **a: split_unspaced(**a), "word", (None, 5)),
    (deleted, "percentages", (None, 5, "x", [NAN], [True], [None], [2**70], [1 + 2j])),
    (sizes, "step", (*NONE_OF_ALL, None, 0, 0.3)),
    (sizes, "side", (None, 5, [], "x", {})),
    (sizes, "results", (None, 5, "x", [1], {})),
    *((call, name, values)
      for call in (size_interval, agreement_interval)
      for name, values in (("confidence", (*NONE_OF_ALL, None, 0, 2)), ("seed", NO_SEED),
                           ("n_resamples", (*NONE_OF_ALL, None, 0, 1.5)))),
    (size_difference, "other", (None, 5, "x")),
    (agreement, "attributions", (None, 5, [None, "a"], ["a", "b"], {"a": "b", "c": "d"})),
    (agreement, "measure", (None, 5, [], {}, "x")),
    (agreement, "top", (*NONE_OF_ALL, None, 0, 1)),
    *((lambda call=call, **a: call(**a), "attributions", (None, 5, "ab", [1, 2], ["ab", "cd"]))
      for call in (agreement_ceiling, variance_shares)),
    (area, "x", (None, 5, "ab", ["a", "b"], [1, 0], [None, 1])),
    (area, "y", (5, "ab", ["a", "b"], [None, 1])),
    (corpus, "references", (None, 5, [None], b"a", {"a": 1}, [True])),
    (corpus, "hypotheses", (None, 5, [5])),
    (corpus, "metric", (5, [], {}, "x")),
    (curve, "step", (*NONE_OF_ALL[:1], NAN, None, 0, 0.3)),
    (curve, "metric", ("x",)),
    (curve, "metric", (None, 5, []), "score"),
    (curve, "examples", (None, 5, "x")),
    (curve, "text_normalizer", (5, "x")),
    (curve, "batch_size", ("x", True, 0)),
    (curve, "gen_args", (5, "x", [1])),
    (curve, "normalized", ("x", None, 5)),
    (curve, "per_token", ("x", None, 5)),
    (curve, "baselines", ([], {}, NAN, True)),
    (alignment, "words", (None, 5, "ab", [1], [("a", "b", "c")], [("a", 0)], [("a", None, 1)],
                          [(5, 0, 1)], [("a", True, 2)], [("a", 10**400, 10**401)])),
    (matched, "written", (None, 5, [1], [None], "ab", b"a")),
    (matched, "spoken", (None, 5, [1], "ab")),
    (matched, "language", (None, 5, "", "x y", [])),
    (lambda **a: spoken_forms(**a), "word", (None, 5, b"a", [])),
    (aligned, "result", (None, 5, "x")),
    (aligned, "alignment", (None, 5, "x")),
    (forced, "text", (None, 5, b"a", [])),
    (forced, "pronunciations", (5, "x", [1], {1: 2}, {"a": 5})),
    (forced, "sampling_rate", ("16000", None, True, NAN)),
    (lambda **a: read_alignments(**a), "path", (*NO_PATH, b"x")),
    (written, "path", NO_PATH),
    (written, "alignments", (None, 5, "x", [1], {1: alignment()}, {"a": 5})),
    (lambda **a: plot_curves(**a), "curves", (None, 5, "x", {"a": 5}, [1])),
    (drawn, "token", ("a", 1.5, True, 99, NAN, [1], {}, torch.tensor(0), np.array(0))),
    (drawn, "title", (5, [], {})),
    (drawn, "normalized", ("x", None, 5)),
    (drawn, "over_spectrogram", ("x", None, 5)),
    (sheet, "columns", (*NONE_OF_ALL, None, 0)),
    (sheet, "sheet", (*NONE_OF_ALL, None, -1, 9)),
    (saved, "path", NO_PATH),
    *((lambda call=call, **a: call(*a.values()), "findings", (None, 5, "x"))
      for call in (plot_time, plot_token_evidence, plot_hallucination_check, plot_positions)),
]  # fmt: skip
ROWS += [(call, name, value, *words) for call, name, values, *words in MORE for value in values]


def _label(row):
    """Without addresses and random numbers: processes that share the tests must call them alike."""
    _, name, value, *_ = row
    shown = (
        f"{type(value).__name__}{tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
    )
    return f"{name}={re.sub(r' at 0x[0-9a-f]+|tensor[(].*', '', shown, flags=re.DOTALL):.30}"


@pytest.mark.parametrize("row", ROWS, ids=_label)
def test_one_wrong_argument(row):
    call, name, value, *words = row
    with pytest.raises(OURS) as raised:
        call(**{name: value})
    assert [*words, name][0] in str(raised.value)


OTHERS = [
    (lambda: slic_feature_mask("speech"), "spectrogram"),
    (lambda: slic_feature_mask(None), "spectrogram"),
    (lambda: slic_feature_mask(torch.rand(3)), "spectrogram"),
    (lambda: slic_feature_mask(torch.rand(0, 4)), "spectrogram"),
    (lambda: slic_feature_mask(torch.full((4, 4), NAN)), "spectrogram"),
    (lambda: grid_feature_mask(torch.rand(2, 2, 2, 2)), "spectrogram"),
    (lambda: deletion_masks("map"), "saliency_map"),
    (lambda: deletion_masks(torch.rand(3)), "saliency_map"),
    (lambda: deletion_masks(torch.rand(3, 3), percentages=["a"]), "percentages"),
    (lambda: deletion_masks(torch.rand(3, 3), percentages=[-1]), "percentages"),
    (lambda: deletion_masks(torch.rand(3, 3), percentages=[101]), "percentages"),
    (lambda: corpus_score("a", ["a"]), "references"),
    (lambda: corpus_score(["a"], "a"), "references"),
    (lambda: corpus_score(["a"], ["a", "b"]), "every reference"),
    (lambda: corpus_score([], []), "every reference"),
    (lambda: corpus_score(["a"], [None]), "hypotheses"),
    (lambda: corpus_score([1], ["a"]), "references"),
    (lambda: corpus_score(["a"], ["a"], metric="nothing"), "metric"),
    (lambda: corpus_score(["a"], ["a"], metric=None), "metric"),
    (lambda: inter_seed_agreement([torch.rand(3, 3)]), "two seeds"),
    (lambda: inter_seed_agreement([torch.rand(3, 3), torch.rand(4, 3)]), "one shape"),
    (lambda: inter_seed_agreement([torch.rand(3, 3)] * 2, top=0), "top"),
    (lambda: inter_seed_agreement([torch.rand(3, 3)] * 2, top="x"), "top"),
    (lambda: inter_seed_agreement([torch.rand(3, 3)] * 2, top=True), "top"),
    (lambda: inter_seed_agreement("maps"), "attributions"),
    (lambda: KLDivergenceForward(None, torch.rand(1, 3)), "logits_func"),
]


@pytest.mark.parametrize(("call", "words"), OTHERS)
def test_other_calls(call, words):
    with pytest.raises(OURS, match=words):
        call()


def assert_named(arguments, error):
    """The message names the argument; of what ``generate`` refuses, and of no word, it says so."""
    name = next(iter(arguments))
    words = {"gen_args": ("gen_args", "cannot generate"), "words": ("words", "no word to find")}
    assert any(word in str(error) for word in words.get(name, (name,)))


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
            {"audio": {}},
        ],
        ids=str,
    )  # fmt: skip
    def test_attribute(self, explainer, audio, arguments):
        given = {"n_samples": 4, "n_token_samples": 2, "patches_per_second": 40, **arguments}
        with pytest.raises(OURS) as raised:
            explainer.attribute(given.pop("audio", audio), **given)
        assert_named(arguments, raised.value)

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
        with pytest.raises(OURS) as raised:
            explainer.attribute_parts(audio, **arguments)
        assert_named(arguments, raised.value)

    @pytest.mark.parametrize(
        "arguments",
        [{"gen_args": 5}, {"gen_args": "x"}, {"gen_args": [1]}, {"chunk_seconds": "x"},
         {"chunk_seconds": NAN}, {"chunk_seconds": 0}, {"seed": "x"}, {"seed": True},
         {"sampling_rate": "x"}],
        ids=str,
    )  # fmt: skip
    def test_transcribe(self, explainer, audio, arguments):
        with pytest.raises(OURS) as raised:
            explainer.transcribe(audio, **arguments)
        assert_named(arguments, raised.value)

    def test_a_file_that_cannot_be(self, explainer):
        with pytest.raises(FileNotFoundError, match="no such audio file"):
            explainer.attribute("missing\0.wav", n_samples=4, n_token_samples=2)

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
