"""The small models without a decoder: each listens, and its maps lie where words are spoken."""

import numpy as np
import pytest
import torch

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import load_ctc, load_demo, load_transducer, load_waveform_ctc
from captum_spes.demo.frame_by_frame import CTC_FOLDER, TRANSDUCER_FOLDER, WAVEFORM_FOLDER
from captum_spes.maps import group_words
from captum_spes.metrics import corpus_score
from captum_spes.speech import GradientPrior
from captum_spes.speech.models import adapt
from captum_spes.speech.timing import token_times
from recipes.waveform_ctc.model import spelled

LOADERS = {"ctc": load_ctc, "transducer": load_transducer, "samples": load_waveform_ctc}


@pytest.fixture(scope="module", params=LOADERS)
def demo(request):
    return request.param, LOADERS[request.param]()


def transcripts(demo, recordings):
    name, (model, processor, _) = demo
    adapter, texts = adapt(model, processor), []
    for samples in recordings:
        speech = adapter.from_audio(samples)
        with torch.no_grad(), adapter.evaluation_mode():
            states = adapter.encode(speech, speech.spectrogram[None])
        texts += adapter.transcribe(speech, states, {})
    return [text if name == "samples" else spelled(text) for text in texts]


def test_it_writes_what_is_said(demo):
    examples = demo[1].examples
    said = [spelled(example.text) for example in examples]
    recordings = [example.audio for example in examples]
    assert corpus_score(said, transcripts(demo, recordings), metric="wer") < 12
    others = [*recordings[1:], recordings[0]]
    assert corpus_score(said, transcripts(demo, others), metric="wer") > 60


def test_it_is_small():
    for folder in (CTC_FOLDER, TRANSDUCER_FOLDER, WAVEFORM_FOLDER):
        assert (folder / "model.safetensors").stat().st_size < 5_000_000


@pytest.mark.parametrize("name", ["ctc", "transducer"])
def test_the_encoder_is_the_bundled_models(name):
    bundled = load_demo().model.model.encoder.state_dict()
    for key, own in LOADERS[name]().model.encoder.state_dict().items():
        assert torch.equal(own, bundled[key]), key


def test_maps_point_to_the_words(demo):
    _, (model, processor, examples) = demo
    example = examples[0]
    explainer = SpeechToTextAttribution(SPES(model), processor)
    result = explainer.attribute(
        example.path, target=example.text if demo[0] != "samples" else spelled(example.text),
        scheme="efficient", n_samples=60, n_token_samples=50, patches_per_second=60, seed=0,
        prior=GradientPrior(n_masks=4),
    )  # fmt: skip
    rows = [row for row, own in enumerate(result.words) if any(map(str.isalnum, own.word))]
    assert len(rows) == len(example.words)
    maps = result.word_attr().spectrogram_attr[rows].amax(2)
    peaks = result.frame_times[maps.argmax(1)].tolist()
    hits = [
        spoken.start - 0.1 <= peak <= spoken.end + 0.1
        for spoken, peak in zip(example.words, peaks, strict=True)
    ]
    assert np.mean(hits) > 0.6


def test_words_are_written_while_they_are_spoken(demo):
    """Their first token, within half a second or so: CTC on an encoder that was trained for a
    decoder waits longest."""
    name, (model, processor, examples) = demo
    adapter, example = adapt(model, processor), examples[0]
    speech = adapter.from_audio(example.audio)
    text = spelled(example.text) if name == "samples" else example.text
    target = adapter.force(speech, text, {})
    seconds = speech.seconds / adapter.states_of(speech)
    words = group_words([piece for piece, _ in adapter.spelled(target.explained_ids)])
    rows = [rows for _, rows in adapter.spelled(target.explained_ids)]
    firsts = [rows[pieces[0]] for word, pieces in words if any(map(str.isalnum, word))]
    # A space stands before a word's letters.
    letters = adapter.token_strings(target.explained_ids)
    starts = [own[0] + (letters[own[0]] == " ") for own in firsts]
    times = [target.frames[row][0] * seconds for row in starts]
    assert len(times) == len(example.words)
    distances = [
        max(word.start - time, time - word.end, 0.0)
        for word, time in zip(example.words, times, strict=True)
    ]
    assert max(distances) < 0.55
    assert np.mean(distances) < 0.2


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
def test_the_transducers_own_generation():
    """Writes the same, at the same times; durations are no tokens."""
    model, processor, examples = load_transducer()
    adapter = adapt(model, processor)
    for example in examples[:3]:
        speech = adapter.from_audio(example.audio)
        target = adapter.generate(speech, {})
        own = model.generate(input_features=speech.features)
        spent = own.durations[0]
        frames = (spent.cumsum(0) - spent).tolist()
        none = (adapter.blank, model.config.pad_token_id)
        written = [
            (int(token), (frame,))
            for token, frame in zip(own.sequences[0], frames, strict=True)
            if int(token) not in none
        ]
        found = list(zip(target.explained_ids.tolist(), target.frames, strict=True))
        assert found == written


def test_check_tells_when_words_are_spoken(demo):
    """From the frames they are written in."""
    name, (model, processor, examples) = demo
    explainer = SpeechToTextAttribution(SPES(model), processor)
    example = examples[0]
    text = spelled(example.text) if name == "samples" else example.text
    with pytest.warns(UserWarning, match="was not calibrated for this check"):
        report = explainer.check(example.path, target=text, passes=4)
    words = [word for word in report.words if any(map(str.isalnum, word.word))]
    middles = [(word.start + word.end) / 2 for word in words]
    true = [(word.start + word.end) / 2 for word in example.words]
    assert np.median(np.abs(np.subtract(middles, true))) < 0.15
    adapter = adapt(model, processor)
    speech = adapter.from_audio(example.audio)
    target = adapter.force(speech, text, {})
    times = token_times(adapter.alignment(speech, target), speech.seconds)
    starts = set(times[:, 0].round(4).tolist())
    assert {round(word.start, 4) for word in words} <= starts
    assert middles == sorted(middles)
