"""The small speech LLM is trained, goes on where it was stopped, is bundled, and is evaluated."""

import ctypes.util
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from captum_spes import demo
from captum_spes.demo.speech_llm import AUDIO_TOKEN, INSTRUCTIONS, SpeechLLM
from recipes.bundled.synthesize import make_corpus
from recipes.speech_llm import train as training
from recipes.speech_llm.bundle import bundle
from recipes.speech_llm.evaluate import evaluate
from recipes.speech_llm.train import train

pytestmark = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None,
    reason="the eSpeak NG library is not installed (apt-get install espeak-ng)",
)
STEPS = 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A few recordings of each part."""
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder, {"train": 6, "validation": 3, "test": 4}, 0, 1)
    return folder


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """The folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_SAVED_EVERY", 2)
        train(corpus, folder, STEPS, seed=0)
    return folder


def test_the_folder_loads_and_has_learned(trained):
    model = SpeechLLM.from_pretrained(trained)
    tokenizer = AutoTokenizer.from_pretrained(trained)
    assert model.config.audio_token_id == tokenizer.convert_tokens_to_ids(AUDIO_TOKEN)
    bundled = demo.load_demo()[0]
    for name, weights in bundled.model.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], weights), name
    records = [json.loads(line) for line in (trained / "training.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4]
    assert records[1]["loss"] < records[0]["loss"]
    assert all(0 <= record["validation_token_accuracy"] <= 100 for record in records)


def test_a_run_that_was_stopped_goes_on_as_if_nothing_had_been(
    corpus, trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "_SAVED_EVERY", 2)
    learn, steps = training.Trainer.learn, []

    def stopped_behind_the_first_save(self, *arguments):
        steps.append(self.step)
        if len(steps) == STEPS:
            raise KeyboardInterrupt
        return learn(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "learn", stopped_behind_the_first_save)
        with pytest.raises(KeyboardInterrupt):
            train(corpus, tmp_path, STEPS, seed=0)
    # The third step was made, and not saved: it is made again.
    assert steps == [0, 1, 2, 3]
    train(corpus, tmp_path, STEPS, seed=0)
    whole, stopped = (load_file(folder / "model.safetensors") for folder in (trained, tmp_path))
    assert list(whole) == list(stopped)
    for name, weights in whole.items():
        assert torch.equal(weights, stopped[name]), name


def test_another_seed_gives_another_model(corpus, trained, tmp_path):
    train(corpus, tmp_path, 1, seed=1)
    whole, other = (load_file(folder / "model.safetensors") for folder in (trained, tmp_path))
    assert not torch.equal(whole["projector.0.weight"], other["projector.0.weight"])


def test_it_gets_into_the_package_without_the_encoder(trained, tmp_path, monkeypatch):
    folder, log = tmp_path / "model", tmp_path / "training.jsonl"
    for _ in range(2):  # what is there already is replaced
        bundle(trained, folder, log)
    assert log.read_text() == (trained / "training.jsonl").read_text()
    assert not [n for n in load_file(folder / "model.safetensors") if n.startswith("encoder.")]
    monkeypatch.setattr(demo, "SPEECH_LLM_FOLDER", folder)
    model, processor, _ = demo.load_speech_llm()
    whole = SpeechLLM.from_pretrained(trained)
    for (name, own), other in zip(model.named_parameters(), whole.parameters(), strict=True):
        expected = other if name.startswith("encoder.") else other.half().float()
        assert torch.equal(own, expected), name
    samples = np.zeros(8000, dtype=np.float32)
    text = processor.apply_transcription_request([samples])
    with torch.no_grad():
        logits = model(**processor(text, [samples])).logits
    assert logits.isfinite().all()


def test_the_bundled_one_hears_and_reads_what_it_is_asked(corpus):
    found = evaluate(corpus, limit=2)
    assert found.pop("utterances") == 2
    assert sum(" (" not in name for name in found) == sum(map(len, INSTRUCTIONS.values()))
    for language, (first, *others) in INSTRUCTIONS.items():
        for asked in (first, *others):
            assert found[asked]["asked_for"] == language
            assert (found[asked]["word_error_rate"] < 20) == (language == "en")
            assert (found[asked]["bleu"] > 60) == (language == "de")
        for elsewhere in ("another recording", "silence"):
            scores = found[f"{first} ({elsewhere})"]
            assert scores["word_error_rate"] > 50
            assert scores["bleu"] < 60
