"""The models without a decoder are trained, go on where they were stopped, and are bundled."""

import ctypes.util
import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor, ParakeetForCTC, ParakeetForTDT, Wav2Vec2ForCTC

from captum_spes.demo import load_demo
from captum_spes.speech.models import load_model
from recipes.bundled.synthesize import make_corpus, read_manifest
from recipes.heads import bundle as heads_bundle
from recipes.heads import train as heads
from recipes.heads.model import transducer_loss
from recipes.heads.vocabulary import only_tokens_of
from recipes.trainer import Trainer
from recipes.waveform_ctc import bundle as waveform_bundle
from recipes.waveform_ctc import train as waveform
from recipes.waveform_ctc.model import spelled

pytestmark = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None,
    reason="the eSpeak NG library is not installed (apt-get install espeak-ng)",
)
STEPS = 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A few recordings of each part."""
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder, {"train": 6, "validation": 3}, 0, 1)
    return folder


def train(kind, corpus, folder):
    if kind == "samples":
        waveform.train(corpus, folder, STEPS, 2, 0, None)
    else:
        heads.train(kind, corpus, folder, STEPS, 0)


@pytest.fixture(scope="module", params=["ctc", "transducer", "samples"])
def trained(request, corpus, tmp_path_factory):
    """The kind of model, and the folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp(request.param) / "model"
    with pytest.MonkeyPatch.context() as patch:
        save_often(patch)
        train(request.param, corpus, folder)
    return request.param, folder


def save_often(patch):
    patch.setattr(heads, "_SAVED_EVERY", 1)
    patch.setattr(waveform, "_SAVED_EVERY", 1)


def test_the_folder_loads(trained):
    kind, folder = trained
    classes = {"ctc": ParakeetForCTC, "transducer": ParakeetForTDT, "samples": Wav2Vec2ForCTC}
    model, _ = load_model(folder)
    assert isinstance(model, classes[kind])
    records = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3]
    if kind != "samples":
        for name, weights in load_demo().model.model.encoder.state_dict().items():
            assert torch.equal(model.encoder.state_dict()[name], weights), name


def test_a_run_that_was_stopped_goes_on(trained, corpus, tmp_path, monkeypatch):
    kind, folder = trained
    save_often(monkeypatch)
    learn = Trainer.learn

    def stopped(self, *arguments):
        if self.step == 2:
            raise KeyboardInterrupt
        return learn(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "learn", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(kind, corpus, tmp_path / "model")
    train(kind, corpus, tmp_path / "model")
    whole, again = (load_file(own / "model.safetensors") for own in (folder, tmp_path / "model"))
    differences = [float((whole[name] - again[name]).abs().max()) for name in whole]
    # Of samples noise and dropout are drawn on, which a run that goes on draws anew.
    assert max(differences) < (0.05 if kind == "samples" else 0.02)


def test_bundling(trained, tmp_path):
    kind, folder = trained
    out, log = tmp_path / "bundled", tmp_path / "log.jsonl"
    bundle = waveform_bundle.bundle if kind == "samples" else heads_bundle.bundle
    bundle(folder, out, log)
    own = load_file(out / "model.safetensors")
    assert own
    assert not any(name.startswith("encoder.") for name in own)
    assert {value.dtype for value in own.values() if value.is_floating_point()} == {torch.float16}
    assert log.exists()
    assert AutoProcessor.from_pretrained(out).tokenizer is not None


def test_a_part_of_a_vocabulary_spells_as_the_whole(corpus):
    tokenizer = load_demo().processor.tokenizer
    texts = [line["text"] for line in read_manifest(corpus / "train")]
    part = only_tokens_of(texts, tokenizer, ["<unk>", "<pad>"])
    assert part.get_vocab_size() < len(tokenizer) / 2
    for text in texts:
        expected = tokenizer.convert_ids_to_tokens(tokenizer.encode(text, add_special_tokens=False))
        assert part.encode(text, add_special_tokens=False).tokens == expected


def test_the_transducers_loss_is_that_of_the_whole_model(trained):
    """Of states of the encoder as of features."""
    kind, folder = trained
    if kind != "transducer":
        pytest.skip("another kind")
    model, processor = load_model(folder)
    features = torch.randn(1, 80, 80)
    labels = torch.tensor([processor.tokenizer.encode("a", add_special_tokens=False)])
    with torch.no_grad():
        states = model.encoder(features).last_hidden_state

    class Batch:
        pass

    batch = Batch()
    batch.states, batch.labels = states, labels
    batch.n_states = torch.tensor([states.shape[1]])
    batch.n_labels = torch.tensor([labels.shape[1]])
    with torch.no_grad():
        found = transducer_loss(model, batch)
        start = torch.full((1, 1), model.config.blank_token_id)
        mask = torch.ones(1, 80, dtype=torch.bool)
        own = model(
            input_features=features, attention_mask=mask, labels=labels,
            decoder_input_ids=torch.cat([start, labels], 1),
        ).loss  # fmt: skip
    assert found.item() == pytest.approx(own.item(), rel=1e-4)


def test_spelled():
    assert spelled("It's five o'clock, isn't it?") == "IT'S FIVE O'CLOCK ISN'T IT"
