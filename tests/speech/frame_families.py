"""Small random models of every family that writes frame by frame: one function for each."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from tests.speech.families import _pieces
from tests.speech.standins import with_torchaudio

# Wide weights: with the usual 0.02 a model is deaf, and no test could fail.
_STD = 0.3
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz'"
_SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def _characters(folder: Path) -> Any:
    names = ["<pad>", "<s>", "</s>", "<unk>", "|", *_CHARACTERS]
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    return hf.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))


def _of_samples(kind: str, folder: Path, norm: str = "group", **changes: Any) -> tuple[Any, Any]:
    """A model of wav2vec2's form, and its processor."""
    config = getattr(hf, f"{kind}Config")(
        **_SIZE, intermediate_size=32, vocab_size=32, conv_dim=(8, 8, 8), conv_kernel=(10, 8, 4),
        conv_stride=(5, 8, 8), num_feat_extract_layers=3, feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer", num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, layerdrop=0.0, initializer_range=_STD, pad_token_id=0,
        **changes,
    )  # fmt: skip
    extractor = hf.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer")
    return getattr(hf, f"{kind}ForCTC")(config), hf.Wav2Vec2Processor(
        extractor, _characters(folder)
    )


def wav2vec2(folder: Path) -> tuple[Any, Any]:
    return _of_samples("Wav2Vec2", folder)


def wav2vec2_layer_norm(folder: Path) -> tuple[Any, Any]:
    return _of_samples("Wav2Vec2", folder, "layer")


def hubert(folder: Path) -> tuple[Any, Any]:
    return _of_samples("Hubert", folder)


def wavlm(folder: Path) -> tuple[Any, Any]:
    return _of_samples("WavLM", folder)


def wav2vec2_conformer(folder: Path) -> tuple[Any, Any]:
    return _of_samples("Wav2Vec2Conformer", folder, conv_depthwise_kernel_size=3)


def data2vec_audio(folder: Path) -> tuple[Any, Any]:
    return _of_samples("Data2VecAudio", folder, conv_pos_kernel_size=3)


def wav2vec2_bert(folder: Path) -> tuple[Any, Any]:
    own = _characters(folder)
    config = hf.Wav2Vec2BertConfig(
        **_SIZE, intermediate_size=32, vocab_size=32, feature_projection_input_dim=160,
        conv_depthwise_kernel_size=3, layerdrop=0.0, initializer_range=_STD, pad_token_id=0,
    )  # fmt: skip
    processor = hf.Wav2Vec2BertProcessor(hf.SeamlessM4TFeatureExtractor(), own)
    return hf.Wav2Vec2BertForCTC(config), processor


def _parakeet_encoder() -> dict[str, Any]:
    return {
        "model_type": "parakeet_encoder", **_SIZE, "intermediate_size": 32, "num_mel_bins": 80,
        "subsampling_factor": 4, "subsampling_conv_channels": 8, "max_position_embeddings": 100,
        "layerdrop": 0.0, "initializer_range": _STD,
    }  # fmt: skip


def _subwords(*more: str) -> Any:
    made = _pieces()
    own = hf.ParakeetTokenizer(
        tokenizer_object=made.backend_tokenizer, unk_token=made.unk_token, pad_token=made.pad_token
    )
    own.add_special_tokens({"additional_special_tokens": list(more)})
    return own


def parakeet_ctc(folder: Path) -> tuple[Any, Any]:
    own = _subwords()
    config = hf.ParakeetCTCConfig(
        vocab_size=len(own), pad_token_id=own.pad_token_id, encoder_config=_parakeet_encoder()
    )
    extractor = hf.ParakeetFeatureExtractor(feature_size=80)
    return hf.ParakeetForCTC(config), hf.ParakeetProcessor(extractor, own, decoder_type="ctc")


def lasr_ctc(folder: Path) -> tuple[Any, Any]:
    own = _subwords()
    config = hf.LasrCTCConfig(
        vocab_size=len(own), pad_token_id=own.pad_token_id,
        encoder_config={
            "model_type": "lasr_encoder", **_SIZE, "intermediate_size": 32, "num_mel_bins": 80,
            "subsampling_conv_channels": 8, "conv_kernel_size": 3, "layerdrop": 0.0,
            "initializer_range": _STD,
        },
    )  # fmt: skip
    extractor = hf.LasrFeatureExtractor(feature_size=80)
    return hf.LasrForCTC(config), hf.LasrProcessor(extractor, own)


def granite_speech5_ctc(folder: Path) -> tuple[Any, Any]:
    own = _subwords()
    config = hf.GraniteSpeech5CTCConfig(
        vocab_size=len(own), pad_token_id=own.pad_token_id,
        encoder_config={
            "model_type": "granite_speech5_encoder", **_SIZE, "intermediate_size": 32,
            "vocab_size": len(own), "num_mel_bins": 80, "context_size": 20,
            "max_position_embeddings": 40, "conv_kernel_size": 3, "subsample_layers": [0],
            "initializer_range": _STD,
        },
    )  # fmt: skip
    module = with_torchaudio(
        importlib.import_module(
            "transformers.models.granite_speech5.feature_extraction_granite_speech5"
        )
    )
    processor = hf.GraniteSpeech5Processor(module.GraniteSpeech5FeatureExtractor(), own)
    return hf.GraniteSpeech5ForCTC(config), processor


def _transducer(kind: str, **changes: Any) -> tuple[Any, Any]:
    own = _subwords("<blank>")
    blank = own.convert_tokens_to_ids("<blank>")
    config = getattr(hf, f"Parakeet{kind}Config")(
        vocab_size=len(own), pad_token_id=own.pad_token_id, blank_token_id=blank,
        decoder_start_token_id=blank, decoder_hidden_size=16, num_decoder_layers=2,
        max_symbols_per_step=3, encoder_config=_parakeet_encoder(), **changes,
    )  # fmt: skip
    extractor = hf.ParakeetFeatureExtractor(feature_size=80)
    processor = hf.ParakeetProcessor(extractor, own, decoder_type=kind.lower())
    return getattr(hf, f"ParakeetFor{kind}")(config), processor


def parakeet_rnnt(folder: Path) -> tuple[Any, Any]:
    return _transducer("RNNT")


def parakeet_tdt(folder: Path) -> tuple[Any, Any]:
    return _transducer("TDT", durations=[0, 1, 2, 3])


def _listed(*makers: Callable[[Path], tuple[Any, Any]]) -> dict[str, Any]:
    return {make.__name__: make for make in makers}


OF_SAMPLES = _listed(
    wav2vec2, wav2vec2_layer_norm, hubert, wavlm, wav2vec2_conformer, data2vec_audio
)
CTC_FAMILIES = {
    **OF_SAMPLES,
    **_listed(wav2vec2_bert, parakeet_ctc, lasr_ctc, granite_speech5_ctc),
}
TRANSDUCERS = _listed(parakeet_rnnt, parakeet_tdt)


def make_frame_family(name: str, folder: Path) -> tuple[Any, Any]:
    """A model of a family, in evaluation mode, and its processor."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, processor = {**CTC_FAMILIES, **TRANSDUCERS}[name](folder)
        # Without biases a normalised encoder is deaf to loudness.
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                torch.nn.init.normal_(parameter, std=_STD)
    return model.eval(), processor


# Classifiers -----------------------------------------------------------------------------

_CLASSES = {0: "yes", 1: "no", 2: "Maybe", 3: "maybe"}


def _labelled(config: Any) -> Any:
    config.id2label = dict(_CLASSES)
    config.label2id = {name: number for number, name in _CLASSES.items()}
    return config


def hubert_classifier() -> tuple[Any, Any]:
    config = _labelled(
        hf.HubertConfig(
            **_SIZE, intermediate_size=32, conv_dim=(8, 8, 8), conv_kernel=(10, 8, 4),
            conv_stride=(5, 8, 8), num_feat_extract_layers=3, num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2, layerdrop=0.0, initializer_range=_STD,
            classifier_proj_size=16,
        )
    )  # fmt: skip
    return hf.HubertForSequenceClassification(config), hf.Wav2Vec2FeatureExtractor()


def wav2vec2_bert_classifier() -> tuple[Any, Any]:
    config = _labelled(
        hf.Wav2Vec2BertConfig(
            **_SIZE, intermediate_size=32, feature_projection_input_dim=160, layerdrop=0.0,
            conv_depthwise_kernel_size=3, initializer_range=_STD, classifier_proj_size=16,
        )
    )  # fmt: skip
    return hf.Wav2Vec2BertForSequenceClassification(config), hf.SeamlessM4TFeatureExtractor()


def ast_classifier() -> tuple[Any, Any]:
    config = _labelled(
        hf.ASTConfig(
            **_SIZE, intermediate_size=32, max_length=100, num_mel_bins=32, patch_size=16,
            initializer_range=_STD,
        )
    )  # fmt: skip
    extractor = hf.ASTFeatureExtractor(num_mel_bins=32, max_length=100)
    return hf.ASTForAudioClassification(config), extractor


CLASSIFIERS = {
    make.__name__: make for make in (hubert_classifier, wav2vec2_bert_classifier, ast_classifier)
}


def make_classifier(name: str) -> tuple[Any, Any]:
    """A classifier, in evaluation mode, and its feature extractor."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, extractor = CLASSIFIERS[name]()
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                torch.nn.init.normal_(parameter, std=_STD)
    return model.eval(), extractor
