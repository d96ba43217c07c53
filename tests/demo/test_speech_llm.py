"""The small speech LLM: it listens, and it reads what it is asked."""

import numpy as np
import pytest
import torch

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import SPEECH_LLM_FOLDER, load_demo, load_speech_llm
from captum_spes.demo.speech_llm import INSTRUCTIONS
from captum_spes.metrics import corpus_score
from captum_spes.speech.models import adapt

GERMAN = {"instruction": INSTRUCTIONS["de"][0]}


@pytest.fixture(scope="module")
def demo():
    return load_speech_llm()


@pytest.fixture(scope="module")
def adapter(demo):
    return adapt(demo.model, demo.processor)


def written(adapter, recordings, gen_args):
    texts = []
    with adapter.evaluation_mode():
        for samples in recordings:
            speech = adapter.from_audio(samples)
            texts.append(adapter.text(adapter.generate(speech, gen_args).explained_ids))
    return texts


def test_it_is_small_and_shares_its_encoder(demo):
    assert (SPEECH_LLM_FOLDER / "model.safetensors").stat().st_size < 5_000_000
    bundled = load_demo().model.model.encoder.state_dict()
    for name, own in demo.model.encoder.state_dict().items():
        assert torch.equal(own, bundled[name]), name


def test_it_writes_what_is_said(demo, adapter):
    texts = written(adapter, [example.audio for example in demo.examples], {})
    assert corpus_score([example.text for example in demo.examples], texts, metric="wer") < 10


def test_it_translates_when_it_is_asked_to(demo, adapter):
    audio = [example.audio for example in demo.examples]
    german = [example.translations["de"] for example in demo.examples]
    assert corpus_score(german, written(adapter, audio, GERMAN), metric="bleu") > 60
    assert corpus_score(german, written(adapter, audio, {}), metric="bleu") < 10


def test_it_does_not_know_the_sentences_without_the_recordings(demo, adapter):
    others = [example.audio for example in [*demo.examples[1:], demo.examples[0]]]
    texts = written(adapter, others, {})
    assert corpus_score([example.text for example in demo.examples], texts, metric="wer") > 60


def test_maps_point_to_the_words(demo):
    explainer = SpeechToTextAttribution(SPES(demo.model), demo.processor)
    example = demo.examples[0]
    result = explainer.attribute(
        example.path, target=example.text, scheme="efficient", n_samples=100, n_token_samples=50,
        patches_per_second=60, seed=0,
    )  # fmt: skip
    rows = [row for row, own in enumerate(result.words) if any(map(str.isalnum, own.word))]
    assert len(rows) == len(example.words)
    maps = result.word_attr().spectrogram_attr[rows].amax(2)
    peaks = result.frame_times[maps.argmax(1)]
    hits = [
        spoken.start - 0.1 <= peak <= spoken.end + 0.1
        for spoken, peak in zip(example.words, peaks.tolist(), strict=True)
    ]
    assert np.mean(hits) > 0.6


def test_of_what_it_is_asked_the_language_matters_most(demo):
    """Which language is written is decided by one word of the instruction."""
    explainer = SpeechToTextAttribution(SPES(demo.model), demo.processor)
    result = explainer.attribute(
        demo.examples[0].path, gen_args=GERMAN, n_samples=60, n_token_samples=200,
        patches_per_second=60, seed=0,
    )  # fmt: skip
    asked = "".join(result.instruction_tokens).strip()
    assert asked == GERMAN["instruction"]
    means = result.instruction_attr.mean(0)
    names = [token.strip() for token in result.instruction_tokens]
    german = [place for place, name in enumerate(names) if name in ("G", "erm", "an")]
    assert len(german) == 3
    others = [place for place in range(len(names)) if place not in german]
    assert means[german].mean() > 1.3 * means[others].mean()
    assert means.argmax() in german
    shares = result.side_shares()
    assert shares[0, 1] == 0  # nothing was written before the first token
    assert shares[0, 0] > 0.9
