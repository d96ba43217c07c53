"""Models and processors that do not belong together are told in the constructor; others pass."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from transformers import WhisperFeatureExtractor

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech.models import adapt

FAMILIES = ("tiny_whisper", "tiny_speech2text", "tiny_canary")


def refused(model, processor, message):
    with pytest.raises(ArgumentTypeError, match=message):
        SpeechToTextAttribution(SPES(model), processor)


def parts(processor, **changes):
    kept = {"feature_extractor": processor.feature_extractor, "tokenizer": processor.tokenizer}
    return SimpleNamespace(**{**kept, **changes})


class TestClasses:
    @pytest.mark.parametrize(
        "kind", ["WhisperModel", "WhisperForAudioClassification", "WhisperForCausalLM"]
    )
    def test_of_whisper(self, tiny_whisper, kind):
        model, processor = tiny_whisper
        other = getattr(transformers, kind)(model.config)
        refused(other, processor, rf"a {kind}, which .*load .* WhisperForConditionalGeneration")

    @pytest.mark.parametrize(
        ("family", "kind"),
        [("tiny_speech2text", "Speech2TextModel"), ("tiny_canary", "CanaryModel")],
    )
    def test_of_others(self, request, family, kind):
        model, processor = request.getfixturevalue(family)
        refused(getattr(transformers, kind)(model.config), processor, f"a {kind}, which")

    def test_recognisers_without_a_decoder(self, tiny_whisper):
        """With a processor of another family."""
        config = transformers.Wav2Vec2Config(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            conv_dim=(8,), conv_stride=(5,), conv_kernel=(10,), num_feat_extract_layers=1,
            num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        )  # fmt: skip
        model = transformers.Wav2Vec2ForCTC(config)
        refused(model, tiny_whisper[1], "not belong to a Wav2Vec2ForCTC.* a Wav2Vec2Processor")

    def test_of_an_older_transformers(self, tiny_whisper):
        """The class is the right one, and does not have yet what is called."""
        model, processor = tiny_whisper

        class Older(transformers.WhisperForConditionalGeneration):
            @property
            def get_encoder(self):
                raise AttributeError("get_encoder")

        refused(Older(model.config), processor, r"has no get_encoder yet: .*-U transformers")

    def test_parts_of_a_model(self, tiny_whisper):
        model, processor = tiny_whisper
        refused(model.get_encoder(), processor, "a WhisperEncoder, which")
        refused(SimpleNamespace(config=model.config), processor, "function.* SimpleNamespace")
        for other in (torch.nn.Linear(1, 1), lambda x: x):
            refused(other, processor, "cannot explain a model of type")


class TestProcessors:
    @pytest.mark.parametrize("model", FAMILIES)
    @pytest.mark.parametrize("processor", FAMILIES)
    def test_only_the_familys_own(self, request, model, processor):
        network = request.getfixturevalue(model)[0]
        given = request.getfixturevalue(processor)[1]
        if model == processor:
            SpeechToTextAttribution(SPES(network), given)
        else:
            refused(network, given, f"does not belong to a {type(network).__name__}: give the")

    def test_parts_of_one(self, tiny_model):
        model, processor = tiny_model
        refused(model, processor.tokenizer, "processor has no feature_extractor")
        refused(model, processor.feature_extractor, "processor has no ")
        refused(model, None, "processor has no feature_extractor")
        refused(model, model, "processor has no feature_extractor")
        extractor = processor.feature_extractor
        refused(model, parts(processor, tokenizer=extractor), "does not belong")
        refused(model, parts(processor, tokenizer="tokenizer.json"), "str does not belong")

    def test_mel_bins(self, tiny_whisper):
        model, processor = tiny_whisper
        extractor = WhisperFeatureExtractor(feature_size=128, chunk_length=2)
        refused(
            model, parts(processor, feature_extractor=extractor), "features of 128 mel bins, .* 80"
        )

    def test_mel_bins_of_others(self, tiny_speech2text, tiny_canary):
        for model, processor in (tiny_speech2text, tiny_canary):
            extractor = copy.deepcopy(processor.feature_extractor)
            for name in ("num_mel_bins", "feature_size"):
                if hasattr(extractor, name):
                    setattr(extractor, name, 64)
            refused(model, parts(processor, feature_extractor=extractor), "64 mel bins, .* 80")

    def test_length_of_the_window(self, tiny_whisper):
        model, processor = tiny_whisper
        extractor = WhisperFeatureExtractor(chunk_length=30)
        refused(model, parts(processor, feature_extractor=extractor), "3000 frames, .* takes 200")

    def test_smaller_vocabulary(self, tiny_model):
        model, processor = tiny_model
        model.resize_token_embeddings(len(processor.tokenizer) - 1)
        refused(model, processor, "has ids up to .*resize_token_embeddings")

    def test_another_end_of_sentence(self, tiny_model):
        """As the tokenizer of Whisper for English alone with a multilingual model."""
        model, processor = tiny_model
        model.generation_config.eos_token_id = 5
        refused(model, processor, "ends a text with id .*, and the model with 5")

    def test_numbers_of_the_extractor(self, tiny_canary):
        model, processor = tiny_canary
        for value in (0, -1, "160", None, 1.5, True):
            extractor = copy.deepcopy(processor.feature_extractor)
            extractor.hop_length = value
            with pytest.raises(ArgumentError, match="hop_length must be an int of at least 1"):
                adapt(model, parts(processor, feature_extractor=extractor))


class TestThoseThatBelongTogether:
    def test_padded_vocabulary(self, tiny_model):
        model, processor = tiny_model
        model.resize_token_embeddings(len(processor.tokenizer), pad_to_multiple_of=64)
        SpeechToTextAttribution(SPES(model), processor)

    def test_several_ends(self, tiny_model):
        model, processor = tiny_model
        end = model.generation_config.eos_token_id
        model.generation_config.eos_token_id = [5, end]
        SpeechToTextAttribution(SPES(model), processor)

    @pytest.mark.filterwarnings("ignore")
    def test_quantised(self, tiny_speech2text):
        model, processor = tiny_speech2text
        quantised = torch.ao.quantization.quantize_dynamic(
            copy.deepcopy(model), {torch.nn.Linear}, dtype=torch.qint8
        )
        SpeechToTextAttribution(SPES(quantised), processor)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_compiled(self, tiny_model):
        model, processor = tiny_model
        SpeechToTextAttribution(SPES(torch.compile(model)), processor)

    def test_a_class_of_ones_own(self, tiny_whisper):
        class Own(transformers.WhisperForConditionalGeneration):
            pass

        model, processor = tiny_whisper
        SpeechToTextAttribution(SPES(Own(model.config)), processor)

    def test_bundled(self):
        model, processor, _ = load_demo()
        SpeechToTextAttribution(SPES(model), processor)

    def test_whisper(self, whisper):
        model, processor = whisper
        SpeechToTextAttribution(SPES(model), processor)

    def test_an_adapter_of_ones_own_is_not_checked(self, tiny_whisper, tiny_canary):
        own = adapt(*tiny_whisper)
        SpeechToTextAttribution(SPES(tiny_canary[0]), None, adapter=own)
        SpeechToTextAttribution(SPES(tiny_canary[0]), None, adapter=lambda model, processor: own)


class TestFeatures:
    """Features of a wrong shape are no recording with channels."""

    @pytest.mark.parametrize(
        "shape", [(1, 128, 200), (1, 80, 6000), (128, 200), (80, 100), (2, 80, 200), (1, 200, 80)]
    )
    def test_of_whisper(self, tiny_whisper, shape):
        with pytest.raises(ArgumentError, match=r"features must be \(1, 80, 200\)"):
            explain(tiny_whisper, np.random.default_rng(0).random(shape, dtype=np.float32))

    @pytest.mark.parametrize("family", ["tiny_speech2text", "tiny_canary"])
    @pytest.mark.parametrize("shape", [(1, 60, 128), (60, 128), (1, 80, 60), (80, 60), (2, 60, 80)])
    def test_of_others(self, request, family, shape):
        with pytest.raises(ArgumentError, match=r"features must be \(1, frames, 80\)"):
            explain(
                request.getfixturevalue(family),
                torch.rand(shape, generator=torch.Generator().manual_seed(0)),
            )

    def test_two_channels_are_no_features(self, tiny_model, audio):
        with pytest.raises(ArgumentError, match="channel"):
            explain(tiny_model, np.stack([audio, audio]))


def explain(pair, audio):
    model, processor = pair
    return SpeechToTextAttribution(SPES(model), processor).attribute(
        audio, target="the cat", n_samples=4, n_token_samples=0, patches_per_second=40
    )
