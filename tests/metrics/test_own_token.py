"""Each token by its own map, by those of others, and by that of the sentence."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import Saliency

from captum_spes import EnergyMap, SpeechToTextAttribution
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.metrics import (
    Curve,
    OwnTokenDeletion,
    deletion_curve,
    own_token_deletion,
)
from captum_spes.metrics.curves import mean_counts, mean_score
from captum_spes.metrics.perturbation import Hearing, perturbed
from captum_spes.speech.models import adapt
from tests.speech.explaining import QUICK, explain


@pytest.mark.parametrize("metric", ["kl", "token_accuracy"])
def test_the_definition(tiny_whisper, audio, metric):
    """Token by token and map by map, each by itself."""
    adapter, result = adapt(*tiny_whisper), explain(tiny_whisper, audio)
    given = [(audio, None, result)]
    found = own_token_deletion(adapter, given, 0.25, metric=metric, removal="silence")
    speech = adapter.from_audio(audio)
    sequence = adapter.force(speech, result.output_ids, {})
    silence = adapter.removed_value(speech, "silence")
    effect = np.stack([
        Hearing(adapter, speech, perturbed(speech, own, silence, found.own.x)).graded(sequence)[
            metric
        ]
        for own in result.spectrogram_attr
    ])  # fmt: skip
    count = len(result.output_tokens)
    own = np.mean([effect[k, :, k] for k in range(count)], 0)
    others = np.mean([effect[j, :, k] for k in range(count) for j in range(count) if j != k], 0)
    assert found.own.y == pytest.approx(own, abs=1e-5)
    assert found.others.y == pytest.approx(others, abs=1e-5)
    options = {"metric": metric, "removal": "silence"}
    per_token = deletion_curve(adapter, given, 0.25, per_token=True, **options)
    assert found.own.y == pytest.approx(per_token.y, abs=1e-5)
    sentence = deletion_curve(adapter, given, 0.25, **options)
    assert found.sentence.y == pytest.approx(sentence.y, abs=1e-5)
    sign = 1 if metric == "kl" else -1
    assert found.against_others.auc == pytest.approx(sign * (found.own.auc - found.others.auc))
    assert found.against_sentence.auc == pytest.approx(sign * (found.own.auc - found.sentence.auc))


def test_a_map_that_is_the_same_for_every_token_gains_nothing(tiny_whisper, audio):
    adapter, loud = adapt(*tiny_whisper), explain(tiny_whisper, audio, EnergyMap, **NO_SAMPLES)
    found = own_token_deletion(adapter, [(audio, None, loud)])
    assert found.against_others.auc == pytest.approx(0, abs=1e-6)
    assert found.own.auc > 0.01


def test_larger_is_better_whatever_the_metric():
    def curve(metric, level):
        counts = mean_counts(np.full((2, 3), level))
        return Curve("deletion", metric, (0, 50, 100), counts, mean_score)

    for metric, sign in (("kl", 1), ("token_accuracy", -1)):
        found = OwnTokenDeletion(*(curve(metric, level) for level in (3.0, 2.0, 1.0)))
        assert found.against_others.auc == sign
        assert found.against_sentence.auc == 2 * sign


NO_SAMPLES = {"n_samples": 1, "n_token_samples": 1, "patches_per_second": 40}


@pytest.fixture(scope="module")
def demo():
    """The bundled model by its gradients at two recordings."""
    model, processor, examples = load_demo()
    explainer = SpeechToTextAttribution(Saliency(model), processor)
    return explainer, [(e.path, None, explainer.attribute(e.path, seed=0)) for e in examples[:2]]


def test_maps_of_a_real_model_fit_their_own_tokens(demo):
    explainer, given = demo
    found = own_token_deletion(explainer, given, 0.25, batch_size=8)
    assert found.against_others.auc > 0.2
    assert found.against_others.interval().low > 0
    # Each token has the map of one that is far from it.
    changed = [
        (audio, None, replace(result, spectrogram_attr=result.spectrogram_attr.roll(5, 0)))
        for audio, _, result in given
    ]
    other = own_token_deletion(explainer, changed, 0.25, batch_size=8)
    assert other.against_others.auc < 0
    difference, interval = found.against_others.difference(other.against_others)
    assert difference > interval.low > 0


def test_explains_what_brings_no_attribution(tiny_whisper, audio):
    explainer = SpeechToTextAttribution(Saliency(tiny_whisper[0]), tiny_whisper[1])
    target = {k: v for k, v in QUICK.items() if k not in ("n_samples", "n_token_samples")}
    found = own_token_deletion(explainer, [(audio,)], 0.5, **target)
    given = own_token_deletion(
        explainer, [(audio, None, explain(tiny_whisper, audio, Saliency))], 0.5
    )
    assert found.own.y == given.own.y


def test_least_salient_first(tiny_whisper, audio):
    adapter, result = adapt(*tiny_whisper), explain(tiny_whisper, audio)
    reversed_maps = replace(result, spectrogram_attr=-result.spectrogram_attr)
    least = own_token_deletion(adapter, [(audio, None, result)], 0.25, order="least")
    most = own_token_deletion(adapter, [(audio, None, reversed_maps)], 0.25)
    assert least.own.y == most.own.y
    assert least.others.y == most.others.y


def test_says_what_is_wrong(tiny_whisper, audio):
    adapter, result = adapt(*tiny_whisper), explain(tiny_whisper, audio)
    one = explain(tiny_whisper, audio, target=[256])
    assert len(one.output_tokens) == 1

    def total(perturbed, reference, token_ids):
        return perturbed.sum((1, 2))[:, None]

    for given, options, error, message in (
        ([], {}, ArgumentError, "at least one example"),
        ([(audio, None, one)], {}, ArgumentError, "one explained token"),
        ([(audio, None, torch.ones(2, 2))], {}, ArgumentTypeError, "have a map per token"),
        ([(audio, "a", result)], {"metric": "wer"}, ArgumentError, "needs a metric of"),
        ([(audio, None, result)], {"per_token": True}, ArgumentTypeError, "takes no per_token"),
        ([(audio, None, result)], {"metric": total}, ArgumentError, "one unit per token"),
    ):
        with pytest.raises(error, match=message):
            own_token_deletion(adapter, given, 0.5, **options)
