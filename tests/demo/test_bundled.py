"""The bundled model: small, safe to load, and it listens."""

import ctypes.util
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import MANIFEST, MODEL_FOLDER, load_demo, load_examples
from captum_spes.metrics import corpus_score
from recipes.bundled.evaluate import evaluate
from recipes.bundled.synthesize import FEMALE, MALE, make_corpus, plans

TASKS = {
    "en": lambda e: e.text,
    "de": lambda e: e.translations["de"],
    "es": lambda e: e.translations["es"],
}


@pytest.fixture(scope="module")
def demo():
    return load_demo()


@pytest.fixture(scope="module")
def explainer(demo):
    return SpeechToTextAttribution(SPES(demo.model), demo.processor)


@pytest.fixture(scope="module")
def result(explainer, demo):
    return explainer.attribute(
        demo.examples[0].path,
        n_samples=400,
        n_token_samples=100,
        patches_per_second=(60, 120),
        perturbations_per_eval=16,
        seed=0,
    )


def written(explainer, audio, language):
    adapter = explainer.adapter
    with adapter.evaluation_mode():
        sequence = adapter.generate(adapter.from_audio(audio), {"target_language": language})
    return adapter.text(sequence.explained_ids)


def test_size(demo):
    assert sum(parameter.numel() for parameter in demo.model.parameters()) <= 6_000_000
    # The other models have limits of their own.
    folders = (MODEL_FOLDER, MANIFEST.parent)
    files = [file for folder in folders for file in Path(folder).iterdir()]
    assert sum(file.stat().st_size for file in files) < 7_500_000


def test_it_computes_in_single_precision(demo):
    """However the weights are stored."""
    numbers = [*demo.model.parameters(), *demo.model.buffers()]
    assert {n.dtype for n in numbers if n.is_floating_point()} == {torch.float32}
    spectrogram = torch.zeros(1, 40, 80)
    logits = demo.model(spectrogram, decoder_input_ids=torch.tensor([[3]])).logits
    assert logits.dtype == torch.float32


def test_only_data_is_loaded():
    """Weights as safetensors; nothing that could hold code or a pickle."""
    assert {file.suffix for file in MODEL_FOLDER.iterdir()} <= {".json", ".safetensors", ".jinja"}
    for file in MODEL_FOLDER.glob("*.json"):
        assert "auto_map" not in json.loads(file.read_text(encoding="utf-8"))


def test_recordings_know_their_words_and_phones():
    examples = load_examples()
    assert len(examples) >= 4
    assert {example.gender for example in examples} == {"female", "male"}
    assert len({example.name for example in examples}) == len(examples)
    # What other tests count on: the first one is short, and all that is written is spoken.
    assert examples[0].seconds < 4
    assert not set(examples[0].text) & set('()"')
    for example in examples:
        assert len(example.audio) == pytest.approx(example.seconds * 16_000, abs=16)
        assert np.abs(example.audio).max() <= 1
        spoken = [word.label for word in example.words]
        assert spoken == [w.strip('.,?!()"') for w in example.text.split()]
        for intervals in (example.words, example.phones):
            assert all(0 <= i.start < i.end <= example.seconds for i in intervals)
            assert all(a.end <= b.start + 1e-6 for a, b in pairwise(intervals))


def test_recordings_were_not_heard_in_training():
    trained_on = {plan.sentence.english for plan in plans("train", 24_000, 0)}
    for example in load_examples():
        assert example.text not in trained_on
        assert example.voice.split("+")[1] in MALE["test"] + FEMALE["test"]


@pytest.mark.parametrize("language", TASKS)
def test_writes_the_references_of_the_recordings(explainer, demo, language):
    texts = [written(explainer, example.audio, language) for example in demo.examples]
    references = [TASKS[language](example) for example in demo.examples]
    if language == "en":
        assert corpus_score(references, texts) <= 5
    else:
        assert corpus_score(references, texts, "bleu") >= 60


def test_it_listens(explainer, demo):
    """With noise of the same length nothing of the text is left, in any language."""
    rng = np.random.default_rng(0)
    for language, reference in TASKS.items():
        texts = [
            written(explainer, 0.1 * rng.standard_normal(len(e.audio)).astype(np.float32), language)
            for e in demo.examples
        ]
        assert corpus_score([reference(e) for e in demo.examples], texts) > 70


def test_maps_lie_where_the_words_are(result, demo):
    """Higher inside a word's time than outside, for nearly every word."""
    example = demo.examples[0]
    written_words = [word for word in result.words if word.word.strip(".,?!")]
    assert [word.word.strip(".,?!") for word in written_words] == [w.label for w in example.words]
    inside_is_higher = []
    for word, spoken in zip(written_words, example.words, strict=True):
        profile = result.spectrogram_attr[list(word.token_indices)].mean(0).amax(1)
        inside = (result.frame_times >= spoken.start) & (result.frame_times < spoken.end)
        inside_is_higher.append(bool(profile[inside].mean() > profile[~inside].mean()))
    assert np.mean(inside_is_higher) > 0.8


def test_result_names_the_prompt_and_the_model(result):
    assert result.previous_tokens[:3] == ["<|startoftranscript|>", "<|en|>", "<|en|>"]
    assert result.output_tokens[-1] == "<|endoftext|>"
    assert result.text == load_examples()[0].text


@pytest.mark.filterwarnings("ignore:.*sampling noise")  # so few samples are for speed
def test_explains_a_translation(explainer, demo):
    example = demo.examples[0]
    result = explainer.attribute(
        example.path,
        gen_args={"target_language": "de"},
        n_samples=100,
        n_token_samples=100,
        patches_per_second=60,
        seed=0,
    )
    assert result.previous_tokens[2] == "<|de|>"
    assert result.spectrogram_attr.shape == (len(result.output_tokens), *result.spectrogram.shape)
    given = explainer.attribute(
        example.path,
        target=result.text,
        gen_args={"target_language": "de"},
        n_samples=100,
        n_token_samples=100,
        patches_per_second=60,
        seed=0,
    )
    assert torch.equal(given.spectrogram_attr, result.spectrogram_attr)
    assert torch.equal(given.token_attr.nan_to_num(), result.token_attr.nan_to_num())


@pytest.mark.slow
@pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None,
    reason="the eSpeak NG library is not installed (apt-get install espeak-ng)",
)
def test_figures_on_held_out_sentences_by_held_out_voices(demo, tmp_path):
    make_corpus(tmp_path, {"test": 40}, 0)
    heard, noise, other = evaluate(
        tmp_path / "test",
        demo.model,
        demo.processor,
        ["the recording", "white noise", "another recording"],
    )
    assert heard["utterances"] == 40
    assert heard["en wer"] <= 5
    assert heard["de bleu"] >= 60
    assert heard["es bleu"] >= 60
    for language in ("en", "de", "es"):
        assert heard[f"{language} tokens"] > 90
        assert noise[f"{language} tokens"] < 50
        assert other[f"{language} tokens"] < 50
    assert min(noise["en wer"], other["en wer"]) > 70
    assert max(row[key] for row in (noise, other) for key in ("de bleu", "es bleu")) < 20
