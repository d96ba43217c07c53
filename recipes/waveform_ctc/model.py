"""A small model of wav2vec2's form: samples in, characters out, nothing in between but frames."""

from __future__ import annotations

import json
import re
from pathlib import Path

from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

# As the published models of this form: the blank is the padding, a bar stands between words.
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "|")
_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ'"
_CHANNELS, _WIDTH, _LAYERS = 128, 192, 5


def spelled(text: str) -> str:
    """A text in the characters that the model writes: capitals, apostrophes, single spaces."""
    return " ".join(re.sub(rf"[^{_CHARACTERS}]", " ", text.upper()).split())


def make_processor(folder: Path) -> Wav2Vec2Processor:
    """Characters and the normalisation of the samples, written into ``folder``."""
    vocabulary = {name: index for index, name in enumerate((*_SPECIAL, *_CHARACTERS))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    processor = Wav2Vec2Processor(
        Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True),
        Wav2Vec2CTCTokenizer(str(folder / "vocab.json")),
    )
    processor.save_pretrained(folder)
    return processor


def make_model() -> Wav2Vec2ForCTC:
    """2.3 million weights that have learned nothing yet; draws from torch's generator."""
    return Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(_SPECIAL) + len(_CHARACTERS),
            conv_dim=(_CHANNELS,) * 7, conv_bias=True, feat_extract_norm="layer",
            do_stable_layer_norm=True, hidden_size=_WIDTH, intermediate_size=3 * _WIDTH,
            num_hidden_layers=_LAYERS, num_attention_heads=4, num_conv_pos_embeddings=64,
            num_conv_pos_embedding_groups=16, hidden_dropout=0.05, attention_dropout=0.05,
            activation_dropout=0.05, feat_proj_dropout=0.05, final_dropout=0.05, layerdrop=0.0,
            mask_time_prob=0.05, mask_time_length=5, mask_feature_prob=0.0,
            pad_token_id=0, bos_token_id=1, eos_token_id=2,
            ctc_loss_reduction="mean", ctc_zero_infinity=True,
        )
    )  # fmt: skip
