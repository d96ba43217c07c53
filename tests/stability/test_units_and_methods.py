"""Units and methods by name, and what is cut and averaged."""

import pytest
import torch
from captum.attr import Lime
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes.alignment import Alignment, Interval
from captum_spes.errors import ArgumentError
from captum_spes.speech import METHODS, Method, register
from captum_spes.stability import View, parse_method, parse_units
from captum_spes.stability.methods import method_names
from captum_spes.stability.units import (
    is_possible,
    perturbed_masks,
    reported_labels,
    unit_means,
)

WORDS = Alignment(
    words=(Interval("a", 0.02, 0.05), Interval("b", 0.05, 0.05), Interval("c", 0.06, 0.1)),
    phones=(Interval("x", 0.0, 0.03),),
)


def view(frames=12, bins=4):
    values = torch.rand(frames, bins, generator=torch.Generator().manual_seed(0))
    return View("spectrogram", values, torch.zeros_like(values), 100.0, values)


def test_names_of_units_are_read():
    assert parse_units("word") == ("word", "word")
    assert parse_units(" 20ms:word ") == ("20ms", "word")
    assert str(parse_units("20ms:word")) == "20ms:word"
    assert str(parse_units("patch")) == "patch"


@pytest.mark.parametrize("text", ["", "0ms", "ms", "frame", "word:", "a:b", "20ms:word:cell"])
def test_other_names_are_refused(text):
    with pytest.raises(ArgumentError, match="is no unit"):
        parse_units(text)


def test_units_cannot_become_finer():
    for text in ("patch:cell", "word:20ms", "100ms:20ms", "word:phone", "phone:patch"):
        with pytest.raises(ArgumentError, match="finer units"):
            parse_units(text)
    for text in ("20ms:100ms", "20ms:phone", "phone:word", "cell:patch", "patch:20ms"):
        assert parse_units(text).is_aggregated


def test_windows_are_whole_frames():
    encoder = View("encoder", torch.zeros(9, 3), torch.zeros(9, 3), frame_rate=49.9)
    assert [unit for unit in ("10ms", "20ms", "30ms", "40ms") if is_possible(unit, encoder)] == [
        "20ms",
        "40ms",
    ]


def test_an_entry_belongs_to_the_span_that_its_middle_lies_in():
    words = Alignment((Interval("a", 0.018, 0.042), Interval("b", 0.058, 0.5)))
    centred = View("spectrogram", torch.zeros(12, 1), torch.zeros(12, 1), 100.0, start=0.0)
    # Middles at 0, 10, 20 ms and so on.
    assert reported_labels("word", centred, words)[:, 0].tolist() == [-1, -1, 0, 0, 0, -1, *[1] * 6]
    late = View("spectrogram", torch.zeros(12, 1), torch.zeros(12, 1), 100.0, start=0.011)
    # Middles at 11, 21, 31, 41 ms.
    assert reported_labels("word", late, words)[:, 0].tolist() == [-1, 0, 0, 0, -1, *[1] * 7]


def test_names_of_methods_are_read():
    assert str(parse_method("lime")) == "lime@25"
    assert parse_method("spes@100").n_samples == 100
    assert not parse_method("saliency").is_random


def test_methods_are_those_of_the_one_list():
    """Whatever the wrapper runs on spectrograms, and under the same name."""
    for name, method in METHODS.items():
        if method.runner is None:
            with pytest.raises(ArgumentError, match=f"unknown method '{name}'"):
                parse_method(name)
        else:
            parsed = parse_method(name)
            assert parsed.entry is method
            assert parsed.is_random == method.is_sampling
    assert set(method_names()) - set(METHODS) == {"feature-ablation-kl"}


def test_a_method_of_ones_own_is_known_once_it_is_registered():
    lime = METHODS["lime"]
    own = Method("own-lime", Lime, "mine", lime.runner, lime.passes, lime.settings)
    with pytest.raises(ArgumentError, match="unknown method 'own-lime'"):
        parse_method("own-lime")
    register(own)
    try:
        assert parse_method("own-lime@30").entry is own
        assert isinstance(parse_method("own-lime").make(torch.nn.Linear(2, 1)), Lime)
    finally:
        del METHODS["own-lime"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("shap", "unknown method"), ("saliency@5", "takes no number"), ("lime@0", "positive whole")],
)
def test_other_methods_are_refused(text, message):
    with pytest.raises(ArgumentError, match=message):
        parse_method(text)


def test_pauses_are_perturbed_but_not_reported():
    labels = reported_labels("word", view(), WORDS)[:, 0]
    assert labels.tolist() == [-1, -1, 0, 0, 0, -1, 2, 2, 2, 2, -1, -1]
    [mask] = perturbed_masks("word", view(), WORDS)
    # Two words that have a frame and three pauses: no number is missing.
    assert mask[:, 0].unique().tolist() == [0, 1, 2, 3, 4]
    assert len(mask[:2, 0].unique()) == 1
    assert mask[0, 0] != mask[2, 0]


def test_every_cell_is_perturbed_and_has_one_label_per_level():
    for unit in ("cell", "patch", "20ms", "phone", "word"):
        for mask in perturbed_masks(unit, view(), WORDS):
            assert mask.shape == (12, 4)
            assert mask.unique().tolist() == list(range(int(mask.max()) + 1))


def test_patches_follow_the_spectrogram_into_further_dimensions():
    flat = view()
    complex_view = View("spectrogram", flat.values[..., None].expand(12, 4, 2), flat.baseline,
                        100.0, flat.spectrogram)  # fmt: skip
    labels = reported_labels("patch", complex_view, None)
    assert labels.shape == (12, 4, 2)
    assert (labels[..., 0] == reported_labels("patch", flat, None)).all()
    assert (labels[..., 0] == labels[..., 1]).all()


@pytest.mark.parametrize(
    ("unit", "given", "message"),
    [
        ("patch", View("waveform", torch.zeros(9), torch.zeros(9), 100.0), "no frequencies"),
        ("word", view(), "needs the times of the words"),
    ],
)
def test_impossible_units_are_told(unit, given, message):
    with pytest.raises(ArgumentError, match=message):
        reported_labels(unit, given, None)


@settings(deadline=None)
@given(st.lists(st.integers(-1, 4), min_size=1, max_size=30), st.integers(0, 2**31))
def test_means_are_those_of_each_unit(labels, seed):
    numbers = torch.tensor(labels)
    maps = torch.randn(2, len(labels), generator=torch.Generator().manual_seed(seed))
    found = unit_means(maps, numbers)
    wanted = [maps[:, numbers == n].mean(1) for n in sorted(set(labels) - {-1})]
    assert found.shape == (2, len(wanted))
    if wanted:
        torch.testing.assert_close(found, torch.stack(wanted, 1))
