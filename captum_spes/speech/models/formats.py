"""Telling what a file or folder holds that is no model of Hugging Face's."""

from __future__ import annotations

from pathlib import Path

from captum_spes.errors import ArgumentError

_WANTED = (
    "wanted is a folder of Hugging Face's format (config.json and model.safetensors), or a hub "
    "name such as openai/whisper-tiny.en"
)
# Pattern of a file's name, and what it is. Those that are more telling come first.
_FILES = (
    ("*.nemo", "a model of NeMo"),
    ("ggml*.bin", "a model of whisper.cpp"),
    ("*.gguf", "a model of whisper.cpp or llama.cpp"),
    ("*.onnx", "a model for ONNX Runtime"),
    ("openvino*.xml", "a model for OpenVINO"),
    ("*.mlmodelc", "a model for Core ML"),
    ("*.mlpackage", "a model for Core ML"),
    ("*.tflite", "a model for TensorFlow Lite"),
    ("tf_model.h5", "weights for TensorFlow"),
    ("flax_model.msgpack", "weights for Flax"),
    ("weights.npz", "a model for MLX"),
    ("*.pt", "a checkpoint of PyTorch's, such as openai/whisper's own"),
    ("*.pth", "a checkpoint of PyTorch's"),
    ("*.ckpt", "a checkpoint of PyTorch's"),
)
# Programs write these beside a config.json of Hugging Face's or of their own.
_CTRANSLATE2 = ("model.bin", "a model of CTranslate2 (faster-whisper)")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def check_format(path: Path) -> None:
    """Raise where a file, or a folder without weights that can be read, is known to be another
    program's."""
    if path.is_file():
        found = next((about for pattern, about in _FILES if path.match(pattern)), "a file")
        if path.name == _CTRANSLATE2[0]:
            found = _CTRANSLATE2[1]
        raise ArgumentError(f"cannot load the model {str(path)!r}: it is {found}; {_WANTED}.")
    if any(path.glob("*.safetensors")):
        return
    for pattern, about in (_CTRANSLATE2, *_FILES):
        match = next((file for at in (".", "*") for file in path.glob(f"{at}/{pattern}")), None)
        if match is not None:
            raise ArgumentError(
                f"cannot load the model {str(path)!r}: it holds {about} "
                f"({match.relative_to(path)}); {_WANTED}."
            )
    pickled = next((name for name in _PICKLED if (path / name).exists()), None)
    if pickled:
        raise ArgumentError(
            f"cannot load the model {str(path)!r}: {pickled} is a pickle, which can run code of "
            "its maker and is not read. Where you trust it, convert it: "
            "AutoModelForSpeechSeq2Seq.from_pretrained(folder, use_safetensors=False)"
            ".save_pretrained(folder)."
        )
