"""The bundled model before training: its size, its subwords, its prompt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# What the decoder is told first: language of the speech, then language of the output.
LANGUAGES = ("en", "de", "es")
_START = "<|startoftranscript|>"
_PAD, _END, _UNKNOWN = "<pad>", "<|endoftext|>", "<unk>"
_CHAT_TEMPLATE = (
    "{%- for part in messages[0]['content'] if part['type'] == 'text' -%}"
    + _START
    + "<|{{ part['source_language'] }}|><|{{ part['target_language'] }}|>"
    "{%- endfor -%}"
)
# Subwords do not reach across punctuation; opening marks carry the space before them.
_PUNCTUATION = r'▁?["(„«¿]|[.,?!:)“»]'

VOCABULARY = 2000
MAX_TOKENS = 128
WIDTH = 144
ENCODER_LAYERS = 4
DECODER_LAYERS = 3
HEADS = 4


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Any:
    """Learn subwords by byte-pair encoding, shared by the three languages."""
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    special = [_PAD, _END, _UNKNOWN, _START, *(f"<|{language}|>" for language in LANGUAGES)]
    tokenizer = Tokenizer(models.BPE(unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(),
            pre_tokenizers.Split(Regex(_PUNCTUATION), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_PAD,
        eos_token=_END,
        unk_token=_UNKNOWN,
        bos_token=_START,
        additional_special_tokens=special[3:],
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_TOKENS,
    )


def make_processor(tokenizer: Any) -> Any:
    """Put tokenizer, prompt and spectrograms together: 80 mel bins, 25 ms every 10 ms."""
    from transformers import CanaryProcessor, ParakeetFeatureExtractor

    extractor = ParakeetFeatureExtractor(
        feature_size=80, sampling_rate=16_000, hop_length=160, win_length=400, n_fft=512
    )
    return CanaryProcessor(extractor, tokenizer, chat_template=_CHAT_TEMPLATE)


def make_model(tokenizer: Any) -> Any:
    """The untrained model: Conformer encoder, Transformer decoder, subsampling by 4."""
    from transformers import CanaryConfig, CanaryForConditionalGeneration

    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    encoder = {
        "model_type": "parakeet_encoder",
        "hidden_size": WIDTH,
        "num_hidden_layers": ENCODER_LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 4 * WIDTH,
        "num_mel_bins": 80,
        "subsampling_factor": 4,
        "subsampling_conv_channels": 32,
        "scale_input": False,
        "layerdrop": 0.0,
        # SpecAugment is regularisation enough, and dropout's random numbers cost a third.
        "activation_dropout": 0.0,
        "attention_dropout": 0.0,
        "max_position_embeddings": 1000,
    }
    decoder = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": DECODER_LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": WIDTH // HEADS,
        "max_position_embeddings": MAX_TOKENS,
        **ids,
    }
    model = CanaryForConditionalGeneration(
        CanaryConfig(
            encoder_config=encoder,
            decoder_config=decoder,
            vocab_size=len(tokenizer),
            decoder_start_token_id=tokenizer.bos_token_id,
            **ids,
        )
    )
    model.generation_config.max_length = MAX_TOKENS
    return model
