"""wav2vec 2.0 and its kin: CTC on samples."""

from __future__ import annotations

from captum_spes.speech.models.compatibility import Parts
from captum_spes.speech.models.ctc import CTCModel
from captum_spes.speech.models.waveform import WaveformFeatures


def parts_of(model_class: str) -> Parts:
    """Of a model of this kind; all have the same processor."""
    return Parts(
        model_class=model_class,
        processor_class="Wav2Vec2Processor",
        extractor_names=("do_normalize", "padding_value"),
        generation_ids=(),
        mel_bins=None,
        called=("lm_head", "base_model"),
        loader="AutoModelForCTC",
    )


class Wav2Vec2Model(WaveformFeatures, CTCModel):
    """Adapter of wav2vec 2.0."""

    parts = parts_of("Wav2Vec2ForCTC")
    checkpoint = "facebook/wav2vec2-base-960h"
    encoder_name = "base_model"
    input_name = "input_values"
    head_name = "lm_head"


class HubertModel(Wav2Vec2Model):
    """Adapter of HuBERT."""

    parts = parts_of("HubertForCTC")
    checkpoint = "facebook/hubert-large-ls960-ft"


class WavLMModel(Wav2Vec2Model):
    """Adapter of WavLM."""

    parts = parts_of("WavLMForCTC")
    checkpoint = "patrickvonplaten/wavlm-libri-clean-100h-base-plus"


class Wav2Vec2ConformerModel(Wav2Vec2Model):
    """Adapter of wav2vec 2.0 with a Conformer."""

    parts = parts_of("Wav2Vec2ConformerForCTC")
    checkpoint = "facebook/wav2vec2-conformer-rope-large-960h-ft"


class Data2VecAudioModel(Wav2Vec2Model):
    """Adapter of data2vec on audio."""

    parts = parts_of("Data2VecAudioForCTC")
    checkpoint = "facebook/data2vec-audio-base-960h"
