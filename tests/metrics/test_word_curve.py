"""The log-probability of a word as its own cells are removed."""

import numpy as np
import pytest
import torch

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import load_ctc, load_demo, load_transducer
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import Contrast, word_probability
from captum_spes.forward.word_probability import RULES
from captum_spes.io.samples import read_samples
from captum_spes.metrics import WordExample, deletion_masks, word_deletion_curve
from captum_spes.speech.contrast import tokens_that_begin_words
from captum_spes.speech.models import adapt

SETTINGS = {"n_samples": 60, "n_token_samples": 0, "patches_per_second": 30, "seed": 0}
SAID = "Anna runs to the bakery at five o'clock to close her black drawer."


@pytest.fixture(scope="module")
def demo():
    model, processor, examples = load_demo()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    return explainer, examples[0].path, explainer.attribute(examples[0].path, **SETTINGS)


@pytest.mark.parametrize("rule", RULES)
def test_it_is_the_words_probability_in_what_is_left(demo, rule):
    """By one pass over the whole output, whose probabilities are put together by the rule."""
    explainer, path, _ = demo
    adapter = explainer.adapter
    result = explainer.attribute(path, target=SAID.replace("drawer", "motorway"), **SETTINGS)
    (index,) = (i for i, word in enumerate(result.words) if word.word == "motorway")
    curve = word_deletion_curve(adapter, [(path, result, index)], 0.5, rule=rule)
    speech = adapter.from_audio(samples(path))
    own = result.word_attr().spectrogram_attr[index]
    left = torch.where(deletion_masks(own, [0, 50, 100]), result.removed, speech.spectrogram)
    sequence = adapter.force(speech, result.output_ids, {})
    with torch.no_grad():
        states = adapter.encode(speech, left)
        probabilities = adapter.output_layer(adapter.decode(states, sequence)).softmax(-1)
    rows = result.words[index].token_indices
    assert len(rows) > 1
    place = (torch.tensor([row] * 3) for row in (rows[0], rows[-1]))
    begins = tokens_that_begin_words(adapter, probabilities.shape[2])
    ids = sequence.explained_ids.expand(3, -1)
    expected = word_probability(probabilities, ids, *place, rule, begins).log()
    assert curve.y == pytest.approx(expected.tolist(), abs=1e-3)
    assert max(curve.y) - min(curve.y) > 0.1


def samples(path):
    return read_samples(path, 16_000, 16_000)


def test_the_words_own_map_makes_it_improbable_sooner_than_that_of_another(demo):
    explainer, path, result = demo
    maps = result.word_attr().spectrogram_attr
    names = [word.word for word in result.words]
    own = word_deletion_curve(explainer, [(path, result, "five")], 0.1)
    other = word_deletion_curve(
        explainer, [WordExample(path, result, "five", saliency_map=maps[names.index("her")])], 0.1
    )
    assert own.auc < other.auc - 0.5
    given = word_deletion_curve(
        explainer, [WordExample(path, result, "five", 1, maps[names.index("five")])], 0.1
    )
    assert given.y == own.y


def test_words_are_averaged_and_found_by_occurrence(demo):
    explainer, path, result = demo
    rows = [i for i, word in enumerate(result.words) if word.word == "to"]
    assert len(rows) == 2
    by_number = [word_deletion_curve(explainer, [(path, result, i)], 0.5).y for i in rows]
    by_name = [word_deletion_curve(explainer, [(path, result, "to", n)], 0.5).y for n in (1, 2)]
    assert by_number == by_name
    assert by_name[0] != by_name[1]
    given = [{"audio": path, "attribution": result, "word": "TO", "occurrence": n} for n in (1, 2)]
    both = word_deletion_curve(explainer, given, 0.5)
    assert both.y == pytest.approx(np.mean(by_name, 0))


def test_order_and_removal(demo):
    explainer, path, result = demo
    given = [(path, result, "bakery")]
    most, least, silent = (
        word_deletion_curve(explainer, given, 0.25, **options)
        for options in ({}, {"order": "least"}, {"removal": "silence", "batch_size": 2})
    )
    assert most.auc < least.auc
    assert most.y[0] == pytest.approx(silent.y[0], abs=1e-4)
    assert most.y[-1] != pytest.approx(silent.y[-1], abs=1e-2)
    assert least.name == "deletion, least salient first"


@pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
def test_a_transducer_too_and_of_ctc_it_is_said_that_it_cannot(demo):
    model, processor, examples = load_transducer()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    result = explainer.attribute(examples[0].path, **SETTINGS)
    word = max((word.word for word in result.words), key=len)
    curve = word_deletion_curve(explainer, [(examples[0].path, result, word)], 0.5)
    assert 0.1 > curve.y[0] > curve.y[-1]
    model, processor, _ = load_ctc()
    with pytest.raises(ArgumentTypeError, match="log-probability of a word needs a model that"):
        word_deletion_curve(adapt(model, processor), [(demo[1], demo[2], "five")])


@pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
def test_says_what_is_wrong(demo):
    explainer, path, result = demo
    contrast = explainer.attribute(
        path, contrast=Contrast("five", "nine"), **{**SETTINGS, "n_samples": 2}
    )
    for given, options, error, message in (
        ([], {}, ArgumentError, "at least one example"),
        ([(path, result)], {}, ArgumentTypeError, "an example is"),
        ([(path, 3, "five")], {}, ArgumentTypeError, "must be an explanation"),
        ([(path, contrast, "five")], {}, ArgumentError, "a map for a choice"),
        ([(path, result, "nine")], {}, ArgumentError, "holds 'nine' not at all"),
        ([(path, result, "to", 3)], {}, ArgumentError, "holds 'to' 2 times"),
        ([(path, result, 99)], {}, ArgumentError, "the output has 14 words"),
        ([(path, result, -1)], {}, ArgumentError, "word must be an int"),
        ([(path, result, "five", 1, torch.ones(2, 2))], {}, ArgumentError, "another recording"),
        ([(path, result, "five")], {"rule": "sum"}, ArgumentError, "rule must be one of"),
        ([(path, result, "five")], {"per_token": True}, ArgumentTypeError, "unexpected arguments"),
    ):
        with pytest.raises(error, match=message):
            word_deletion_curve(explainer, given, 0.5, **options)
