"""Small random models of every family with a spectrogram: a new family is one function here.

Their weights are drawn wide: with the usual 0.02 the audio has no effect on the output, and no test
could fail.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as hf

from tests.speech.standins import with_torchaudio

_STD = 0.3
_AUDIO, _START, _END, _PAD = 259, 257, 258, 256
# Encoders that hear too little with weights of this width.
_DEAF = {
    "qwen3_asr": ("model.audio_tower", "model.multi_modal_projector"),
    "granite_speech": ("model.encoder",),
    "granite_speech_plus": ("model.encoder",),
    "fun_asr_nano": ("model.audio_tower", "model.adaptor", "model.multi_modal_projector"),
    "voxtral": ("model.audio_tower",),
}
# Bytes, and behind them what a chat needs; audio's own placeholder takes the place of <audio>.
_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<audio>", "<|audio_bos|>", "<|audio_eos|>",
    "<asr_text>", "<|image|>",
)  # fmt: skip
_MERGED = (" the", " cat", " speech", "user", "assistant")
_CHAT = """{% for message in messages %}<|im_start|>{{ message['role'] }}
{% for part in message['content'] %}{% if part['type'] == 'audio' %}<|audio_bos|><audio>\
<|audio_eos|>{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


# Takes texts alone.
_GRANITES_CHAT = """{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}
 assistant:{% endfor %}"""


def tokenizer(audio: str, names: dict[str, str] | None = None) -> Any:
    """Bytes, a few words, and the tokens of a chat."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = [audio if token == "<audio>" else token for token in _SPECIAL]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*alphabet, *special])}
    merges = []
    for word in _MERGED:
        first, *rest = word.replace(" ", "Ġ")
        for letter in rest:
            merges.append((first, letter))
            first += letter
            vocabulary.setdefault(first, len(vocabulary))
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=list(dict.fromkeys(merges))))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    others = {"extra_special_tokens": names} if names else {"additional_special_tokens": special}
    found = hf.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>", **others
    )
    found.add_tokens(special, special_tokens=True)
    return found


def chat(audio: str) -> str:
    return _CHAT.replace("<audio>", audio)


def decoder(kind: str, **changes: Any) -> dict[str, Any]:
    return {
        "model_type": kind, "vocab_size": 400, "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        "max_position_embeddings": 512, "initializer_range": _STD, "bos_token_id": _PAD,
        "eos_token_id": _END, "pad_token_id": _PAD, "tie_word_embeddings": False, **changes,
    }  # fmt: skip


def encoder(kind: str, **changes: Any) -> dict[str, Any]:
    """Of two seconds, one layer."""
    return {
        "model_type": kind, "num_mel_bins": 80, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "hidden_size": 16, "initializer_range": _STD,
        "max_source_positions": 100, **changes,
    }  # fmt: skip


# Speech LLMs ----------------------------------------------------------------------------


def qwen2_audio() -> tuple[Any, Any]:
    audio = {
        "model_type": "qwen2_audio_encoder", "num_mel_bins": 80, "encoder_layers": 1, "d_model": 16,
        "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "max_source_positions": 100,
        "initializer_range": _STD,
    }  # fmt: skip
    config = hf.Qwen2AudioConfig(
        audio_config=audio, text_config=decoder("qwen2"), audio_token_index=_AUDIO
    )
    processor = hf.Qwen2AudioProcessor(
        hf.WhisperFeatureExtractor(chunk_length=2), tokenizer("<|AUDIO|>"), chat("<|AUDIO|>")
    )
    return hf.Qwen2AudioForConditionalGeneration(config), processor


def qwen3_asr() -> tuple[Any, Any]:
    audio = {
        "model_type": "qwen3_asr_encoder", "num_mel_bins": 128, "encoder_layers": 1, "d_model": 16,
        "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "output_dim": 16,
        "downsample_hidden_size": 8, "initializer_range": _STD,
    }  # fmt: skip
    config = hf.Qwen3ASRConfig(
        audio_config=audio, text_config=decoder("qwen3"), audio_token_id=_AUDIO,
        eos_token_id=_END, pad_token_id=_PAD,
    )  # fmt: skip
    names = {
        "audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
    }  # fmt: skip
    processor = hf.Qwen3ASRProcessor(
        hf.Qwen3ASRFeatureExtractor(), tokenizer("<|audio_pad|>", names), chat("<|audio_pad|>")
    )
    return hf.Qwen3ASRForConditionalGeneration(config), processor


def audioflamingo3() -> tuple[Any, Any]:
    config = hf.AudioFlamingo3Config(
        audio_config=encoder("audioflamingo3_encoder"), text_config=decoder("qwen2"),
        audio_token_id=_AUDIO,
    )  # fmt: skip
    processor = hf.AudioFlamingo3Processor(
        hf.WhisperFeatureExtractor(chunk_length=2), tokenizer("<sound>"), chat("<sound>")
    )
    return hf.AudioFlamingo3ForConditionalGeneration(config), processor


def glmasr() -> tuple[Any, Any]:
    config = hf.GlmAsrConfig(
        audio_config=encoder("glmasr_encoder", intermediate_size=64, max_position_embeddings=100),
        text_config=decoder("llama"), audio_token_id=_AUDIO,
    )  # fmt: skip
    processor = hf.GlmAsrProcessor(
        hf.WhisperFeatureExtractor(chunk_length=2), tokenizer("<|pad|>"), chat("<|pad|>")
    )
    return hf.GlmAsrForConditionalGeneration(config), processor


def granite_speech(variant: str = "GraniteSpeech") -> tuple[Any, Any]:
    kind = "granite_speech_plus" if variant.endswith("Plus") else "granite_speech"
    config = getattr(hf, f"{variant}Config")(
        encoder_config={
            "model_type": f"{kind}_encoder", "input_dim": 160, "num_layers": 2, "hidden_dim": 16,
            "num_heads": 2, "dim_head": 8, "output_dim": 10, "context_size": 20, "max_pos_emb": 40,
        },
        projector_config={
            "model_type": "blip_2_qformer", "hidden_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 32, "encoder_hidden_size": 16,
            "initializer_range": _STD,
        },
        text_config=decoder("granite"), audio_token_index=_AUDIO, has_lora_adapter=False,
        initializer_range=_STD,
    )  # fmt: skip
    module = with_torchaudio(
        importlib.import_module(
            "transformers.models.granite_speech.feature_extraction_granite_speech"
        )
    )
    own = tokenizer("<|audio|>")
    own.chat_template = _GRANITES_CHAT
    processor = hf.GraniteSpeechProcessor(module.GraniteSpeechFeatureExtractor(), own)
    return getattr(hf, f"{variant}ForConditionalGeneration")(config), processor


def granite_speech_plus() -> tuple[Any, Any]:
    return granite_speech("GraniteSpeechPlus")


def fun_asr_nano() -> tuple[Any, Any]:
    config = hf.FunAsrNanoConfig(
        adaptor_config={
            "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 4,
            "num_hidden_layers": 1, "projector_hidden_size": 32,
        },
        audio_config=encoder(
            "fun_asr_nano_encoder", num_hidden_layers=2, num_timestamp_prediction_layers=1
        ),
        text_config=decoder("qwen3"), audio_token_id=_AUDIO,
    )  # fmt: skip
    module = with_torchaudio(
        importlib.import_module("transformers.models.fun_asr_nano.feature_extraction_fun_asr_nano")
    )
    token = "<|object_ref_start|>"
    processor = hf.FunAsrNanoProcessor(
        module.FunAsrNanoFeatureExtractor(), tokenizer(token), chat(token)
    )
    return hf.FunAsrNanoForConditionalGeneration(config), processor


def phi4_multimodal() -> tuple[Any, Any]:
    size = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    others = decoder("phi4_multimodal", original_max_position_embeddings=512, sliding_window=None)
    others.pop("head_dim")
    config = hf.Phi4MultimodalConfig(
        **others,
        vision_config={**size, "num_hidden_layers": 2, "image_size": 28, "crop_size": 28},
        audio_config={
            **size, "num_blocks": 1, "nemo_conv_channels": 16, "ext_pw_out_channel": 16,
            "depthwise_separable_out_channel": 16, "initializer_range": _STD,
            "audio_token_id": _AUDIO,
        },
    )  # fmt: skip
    names = {"audio_token": "<|audio|>", "image_token": "<|image|>"}
    module = importlib.import_module(
        "transformers.models.phi4_multimodal.processing_phi4_multimodal"
    )
    # Its image processor needs torchvision, and images are not looked at.
    processor = module.Phi4MultimodalProcessor.__new__(module.Phi4MultimodalProcessor)
    processor.tokenizer, processor.image_processor = tokenizer("<|audio|>", names), None
    processor.audio_processor = hf.Phi4MultimodalFeatureExtractor()
    processor.chat_template = chat("<|audio|>")
    for name in ("audio_token", "image_token"):
        setattr(processor, name, getattr(processor.tokenizer, name))
        setattr(processor, f"{name}_id", getattr(processor.tokenizer, f"{name}_id"))
    return hf.Phi4MultimodalForCausalLM(config), processor


def voxtral(folder: Path | None = None) -> tuple[Any, Any]:
    mistral = pytest.importorskip(
        "mistral_common", reason="Voxtral's tokenizer needs mistral-common (pip install it)"
    )
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    saved = json.loads((Path(mistral.__file__).parent / "data" / "tekken_240911.json").read_text())
    names = [str(token["token_str"]) for token in Tekkenizer.DEPRECATED_SPECIAL_TOKENS]
    names = (names + [f"<SPECIAL_{i}>" for i in range(1000)])[:1000]
    names[24], names[25], names[34] = "[AUDIO]", "[BEGIN_AUDIO]", "[TRANSCRIBE]"
    saved["special_tokens"] = [
        {"rank": i, "token_str": name, "is_control": True} for i, name in enumerate(names)
    ]
    saved["vocab"] = saved["vocab"][:2000]
    saved["config"].update(version="v7", default_vocab_size=3000, num_vocab_tokens=2000)
    saved.pop("image", None)
    saved["audio"] = {
        "sampling_rate": 16000, "frame_rate": 12.5, "chunk_length_s": 30.0,
        "audio_encoding_config": {"num_mel_bins": 128, "hop_length": 160, "window_size": 400},
    }  # fmt: skip
    assert folder is not None
    (folder / "tekken.json").write_text(json.dumps(saved))
    config = hf.VoxtralConfig(
        audio_config=encoder(
            "voxtral_encoder", num_mel_bins=128, intermediate_size=64, max_source_positions=1500
        ),
        text_config=decoder(
            "llama", vocab_size=3000, max_position_embeddings=1024, bos_token_id=1,
            eos_token_id=2, pad_token_id=11,
        ),
        audio_token_id=24,
    )  # fmt: skip
    processor = hf.VoxtralProcessor(
        hf.WhisperFeatureExtractor(feature_size=128),
        hf.MistralCommonBackend(str(folder / "tekken.json")),
    )
    return hf.VoxtralForConditionalGeneration(config), processor


# Encoder-decoders -----------------------------------------------------------------------


def _pieces(*tokens: str) -> Any:
    from recipes.bundled.model import train_tokenizer

    made = train_tokenizer(["the cat sat on the mat and slept", "a dog came home again"], 40)
    made.add_special_tokens({"additional_special_tokens": list(tokens)})
    return made


def _ids(own: Any) -> dict[str, int]:
    return {f"{name}_token_id": getattr(own, f"{name}_token_id") for name in ("pad", "eos", "bos")}


def cohere_asr() -> tuple[Any, Any]:
    own = _pieces(
        "<|startofcontext|>", "<|startoftranscript|>", "<|emo:undefined|>", "<|en|>", "<|de|>",
        "<|pnc|>", "<|nopnc|>", "<|noitn|>", "<|notimestamp|>", "<|nodiarize|>",
    )  # fmt: skip
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config = hf.CohereAsrConfig(
        encoder_config={
            "model_type": "parakeet_encoder", **size, "num_attention_heads": 2,
            "subsampling_factor": 4, "subsampling_conv_channels": 8, "num_mel_bins": 80,
            "max_position_embeddings": 50, "layerdrop": 0.0, "initializer_range": _STD,
        },
        **size, **_ids(own), vocab_size=len(own), num_attention_heads=2, num_key_value_heads=2,
        head_dim=8, max_position_embeddings=40, initializer_range=_STD,
        decoder_start_token_id=own.convert_tokens_to_ids("▁"),
    )  # fmt: skip
    processor = hf.CohereAsrProcessor(hf.CohereAsrFeatureExtractor(feature_size=80), own)
    return hf.CohereAsrForConditionalGeneration(config), processor


def seamless_m4t(variant: str = "SeamlessM4T") -> tuple[Any, Any]:
    own = _pieces("__eng__", "__deu__")
    config = getattr(hf, f"{variant}Config")(
        **_ids(own), vocab_size=len(own), hidden_size=16, initializer_range=_STD,
        max_position_embeddings=40, encoder_layers=1, encoder_ffn_dim=32, encoder_attention_heads=2,
        decoder_layers=1, decoder_ffn_dim=32, decoder_attention_heads=2, speech_encoder_layers=1,
        speech_encoder_attention_heads=2, speech_encoder_intermediate_size=32,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, num_adapter_layers=1,
        conv_depthwise_kernel_size=3, decoder_start_token_id=own.eos_token_id,
        speech_encoder_layerdrop=0.0, decoder_layerdrop=0.0, encoder_layerdrop=0.0,
    )  # fmt: skip
    model = getattr(hf, f"{variant}ForSpeechToText")(config)
    model.generation_config.text_decoder_lang_to_code_id = {
        language: own.convert_tokens_to_ids(f"__{language}__") for language in ("eng", "deu")
    }
    extractor = hf.SeamlessM4TFeatureExtractor()
    return model, SimpleNamespace(feature_extractor=extractor, tokenizer=own)


def seamless_m4t_v2() -> tuple[Any, Any]:
    return seamless_m4t("SeamlessM4Tv2")


def _of_samples(own: Any, **arguments: Any) -> Any:
    extractor = hf.Wav2Vec2FeatureExtractor(**arguments)
    return SimpleNamespace(feature_extractor=extractor, tokenizer=own)


def moonshine() -> tuple[Any, Any]:
    own = _pieces()
    config = hf.MoonshineConfig(
        **_ids(own), vocab_size=len(own), hidden_size=16, intermediate_size=32,
        encoder_num_hidden_layers=1, decoder_num_hidden_layers=1, encoder_num_attention_heads=2,
        decoder_num_attention_heads=2, max_position_embeddings=40, initializer_range=_STD,
        decoder_start_token_id=own.bos_token_id,
    )  # fmt: skip
    processor = _of_samples(own, do_normalize=False)
    return hf.MoonshineForConditionalGeneration(config), processor


def moonshine_streaming() -> tuple[Any, Any]:
    own = _pieces()
    config = hf.MoonshineStreamingConfig(
        encoder_config={
            "model_type": "moonshine_streaming_encoder", "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 32,
            "sliding_windows": [[4, 1], [4, 0]], "initializer_range": _STD, "head_dim": 8,
        },
        **_ids(own), vocab_size=len(own), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=100,
        initializer_range=_STD, decoder_start_token_id=own.bos_token_id,
    )  # fmt: skip
    processor = _of_samples(own, do_normalize=False, return_attention_mask=True)
    return hf.MoonshineStreamingForConditionalGeneration(config), processor


def speecht5() -> tuple[Any, Any]:
    own = _pieces()
    config = hf.SpeechT5Config(
        **_ids(own), vocab_size=len(own), hidden_size=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, conv_dim=(8, 8, 8), conv_kernel=(10, 8, 4), conv_stride=(5, 8, 8),
        num_feat_extract_layers=3, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        encoder_layerdrop=0.0, decoder_layerdrop=0.0, initializer_range=_STD,
        max_text_positions=40, decoder_start_token_id=own.eos_token_id,
    )  # fmt: skip
    extractor = hf.SpeechT5FeatureExtractor(do_normalize=False)
    return hf.SpeechT5ForSpeechToText(config), SimpleNamespace(
        feature_extractor=extractor, tokenizer=own
    )


def speech_encoder_decoder() -> tuple[Any, Any]:
    own = _pieces()
    hears = hf.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8, 8, 8), conv_kernel=(10, 8, 4), conv_stride=(5, 8, 8),
        num_feat_extract_layers=3, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        layerdrop=0.0, initializer_range=_STD,
    )  # fmt: skip
    writes = hf.MBartConfig(
        **_ids(own), vocab_size=len(own), d_model=24, decoder_layers=1, decoder_attention_heads=2,
        decoder_ffn_dim=32, max_position_embeddings=40, init_std=_STD, is_decoder=True,
        add_cross_attention=True,
    )  # fmt: skip
    config = hf.SpeechEncoderDecoderConfig.from_encoder_decoder_configs(hears, writes)
    model = hf.SpeechEncoderDecoderModel(config)
    for name, value in {**_ids(own), "decoder_start_token_id": own.bos_token_id}.items():
        setattr(model.config, name, value)
        setattr(model.generation_config, name, value)
    return model, _of_samples(own)


SPEECH_LLMS: dict[str, Callable[..., tuple[Any, Any]]] = {
    make.__name__: make
    for make in (
        qwen2_audio, qwen3_asr, audioflamingo3, glmasr, granite_speech, granite_speech_plus,
        fun_asr_nano, phi4_multimodal, voxtral,
    )
}  # fmt: skip
ENCODER_DECODERS: dict[str, Callable[..., tuple[Any, Any]]] = {
    make.__name__: make
    for make in (
        cohere_asr, seamless_m4t, seamless_m4t_v2, moonshine, moonshine_streaming, speecht5,
        speech_encoder_decoder,
    )
}  # fmt: skip


def make_family(name: str, folder: Path) -> tuple[Any, Any]:
    """A model of a family, in evaluation mode, and its processor."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name == "voxtral":
            model, processor = voxtral(folder)
        else:
            model, processor = {**SPEECH_LLMS, **ENCODER_DECODERS}[name]()
        # Without biases a normalised encoder is deaf to loudness, and jumps where all is 0.
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                torch.nn.init.normal_(parameter, std=_STD)
            elif parameter.dim() > 1 and key.startswith(_DEAF.get(name, ("none",))):
                parameter.data *= 10.0
    return model.eval(), processor
