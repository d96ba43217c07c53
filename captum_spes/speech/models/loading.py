"""Loading a model and its processor: never their code, never half of their weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch

from captum_spes.errors import ArgumentError, ArgumentTypeError, optional_library
from captum_spes.speech.models.compatibility import check_extractor
from captum_spes.speech.models.formats import check_format
from captum_spes.speech.models.registry import FAMILIES

# A folder's own code never runs, and nobody is asked whether it may.
NO_CODE = {"trust_remote_code": False}
# Pickled weights could run code, too. Weights of another shape are told by name.
NO_PICKLE = {"use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}
# What Whisper's own program calls its models.
_SIZES = ("tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en")
SHORT_NAMES = {
    **{size: f"openai/whisper-{size}" for size in (*_SIZES, "large-v2", "large-v3")},
    "large-v1": "openai/whisper-large",
    "large": "openai/whisper-large-v3",
    "large-v3-turbo": "openai/whisper-large-v3-turbo",
    "turbo": "openai/whisper-large-v3-turbo",
}
_ADAPTER = "adapter_config.json"
_ADAPTER_WEIGHTS = "adapter_model.safetensors"
_EXTRACTOR_FILES = ("preprocessor_config.json", "processor_config.json")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model", "tekken.json")
# Weights for training only, which checkpoints of wav2vec 2.0 and its kin leave out.
_OF_TRAINING = ("masked_spec_embed",)
# How long the reason of another library may be.
_LONGEST = 300


def load_model(
    name_or_folder: str | PathLike[str],
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Any, Any]:
    r"""
    Load a speech-to-text model and its processor, or an audio classifier and its feature extractor,
    by hub name or from a folder.

    Code that a folder brings never runs, and pickled weights are not read. A folder with an adapter
    of PEFT's (LoRA, for example) is loaded with the model that it was trained on.

    Args:

        name_or_folder (str or Path): A hub name, a folder, or the short name of one of Whisper's
                    own models: "tiny.en" is "openai/whisper-tiny.en".
        device (str or torch.device, optional): Any that torch knows, such as "cpu", "cuda",
                    "cuda:1" or "mps".
                    Default: None, the CPU
        dtype (torch.dtype, optional): Precision of the weights.
                    Default: torch.float32

    Returns:
        *tuple* of the model, in evaluation mode, and its processor.

    Raises:
        ArgumentError: there is no such model, its family is not supported, its files are damaged
            or of another format, some of its weights are missing, or there is no such device.
        ArgumentTypeError: an argument is of another type.
        ImportError: transformers is not installed, or peft, which an adapter needs.

    Examples::

        >>> model, processor = load_model("openai/whisper-tiny.en")
    """
    transformers = optional_library("transformers", "a speech model", "transformers")
    name = model_name(name_or_folder)
    device = usable_device(device)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ArgumentTypeError(
            f"dtype must be a torch.dtype such as torch.float32, got {dtype!r}."
        )
    adapter = _adapter_config(name)
    base = name if adapter is None else _base_of(name, adapter)
    config = config_of(base)
    if is_classification(config):
        return load_classifier(base, device, dtype)
    family = config["model_type"]
    if family not in FAMILIES:
        raise ArgumentError(
            f"model {base} is of family {family!r}; supported: {', '.join(FAMILIES)}."
        )
    processor = _processor(transformers, name, base, family)
    _check_generation(base)
    with told(base, "its weights"):
        kind = _class(transformers, family, "model_class", "AutoModelForSpeechSeq2Seq")
        model, report = kind.from_pretrained(base, dtype=dtype, **NO_CODE, **NO_PICKLE)
    check_complete(base, _of_used_parts(report, family))
    if base != name:
        with told(name, "its adapter"):
            loaded = model.load_adapter(name)
        if loaded is None:
            raise ArgumentError(
                f"cannot load the adapter {name!r}: transformers {transformers.__version__} does "
                "not tell whether all its weights were there; take a later one (pip install -U "
                "transformers)."
            )
        check_complete(name, vars(loaded))
        model.name_or_path = name
    return on_device(model, device).eval(), processor


def is_classification(config: Mapping[str, Any]) -> bool:
    """Whether the configuration is that of a classifier; Whisper has some, too."""
    return any("Classification" in str(own) for own in config.get("architectures") or ())


def is_bare(config: Mapping[str, Any]) -> bool:
    """Whether the configuration is that of an encoder alone, which neither writes nor tells."""
    names = [str(own) for own in config.get("architectures") or ()]
    return any(own.endswith("Model") and "EncoderDecoder" not in own for own in names)


def load_classifier(
    name: str, device: torch.device | None, dtype: torch.dtype = torch.float32
) -> tuple[Any, Any]:
    """An audio classifier of any family, and its feature extractor."""
    transformers = optional_library("transformers", "a speech model", "transformers")
    family = config_of(name)["model_type"]
    if family not in transformers.CONFIG_MAPPING:
        raise ArgumentError(
            f"cannot load the model {name!r}: transformers knows no family {family!r}, and code "
            "that a model brings does not run."
        )
    with told(name, "its weights"):
        model, report = transformers.AutoModelForAudioClassification.from_pretrained(
            name, dtype=dtype, **NO_CODE, **NO_PICKLE
        )
    check_complete(name, report, "classifier")
    with told(name, "its feature extractor"):
        extractor = transformers.AutoFeatureExtractor.from_pretrained(name, **NO_CODE)
    return on_device(model, device).eval(), extractor


# Names -----------------------------------------------------------------------------------


def model_name(name_or_folder: object) -> str:
    """What ``from_pretrained`` takes: a folder that is there and holds a model of Hugging Face's,
    or the name of one on the hub."""
    if not isinstance(name_or_folder, str | PathLike):
        raise ArgumentTypeError(
            f"the model must be a hub name or a folder, got {type(name_or_folder).__name__}."
        )
    given = fspath(name_or_folder)
    path = Path(given).expanduser()
    try:
        exists = bool(given.strip()) and path.exists()
    except (ValueError, OSError) as error:  # a null character, or a name that is too long
        raise ArgumentError(f"no such model: {given[:80]!r} ({error})") from error
    if exists:
        check_format(path)
        return given if given == str(path) else str(path)
    if not given.strip() or _looks_like_folder(given):
        raise ArgumentError(f"cannot load the model {given!r}: no such model folder.")
    if given in SHORT_NAMES:
        return SHORT_NAMES[given]
    if "/" not in given:
        raise ArgumentError(
            f"cannot load the model {given!r}: there is no such folder. Give a folder, a hub name "
            "with its owner (openai/whisper-tiny.en), or one of Whisper's short names: "
            f"{', '.join(SHORT_NAMES)}."
        )
    return given


def _looks_like_folder(name: str) -> bool:
    """Whether a name cannot be a hub name, so that the hub need not be asked."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith("/")


def config_of(name: str) -> dict[str, Any]:
    """The configuration of a model as it is written, with a family; no code of the model runs."""
    transformers = optional_library("transformers", "a speech model", "transformers")
    with told(name, "config.json"):
        # Before transformers 5 it was written in another way.
        is_new = hasattr(transformers, "PreTrainedConfig")
        kind = transformers.PreTrainedConfig if is_new else transformers.PretrainedConfig
        config, _ = kind.get_config_dict(name)
        if Path(name).is_dir() and not (Path(name) / "config.json").exists():
            raise ValueError("there is none")
        family = config.get("model_type")
        if not isinstance(family, str):
            raise ValueError(
                "it has no model_type, so that this is no model of Hugging Face's (those of "
                "faster-whisper, for example, are not)"
            )
    kernel = config.get("attn_implementation", "")
    if "/" in str(kernel):  # it would be fetched, and run
        raise ArgumentError(
            f"cannot load the model {name!r}: its config.json asks for code from elsewhere "
            f"(attn_implementation {kernel!r}), which does not run."
        )
    found: dict[str, Any] = config
    return found


# Adapters --------------------------------------------------------------------------------


def _adapter_config(name: str) -> dict[str, Any] | None:
    """How an adapter of PEFT's was made; None for a whole model."""
    with told(name):
        file = _file(name, _ADAPTER)
        if file is None:
            return None
        config = json.loads(file.read_text(encoding="utf-8"))
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(base, str) or not base:
        raise ArgumentError(
            f"cannot load the model {name!r}: its {_ADAPTER} does not say which model the adapter "
            "is for (base_model_name_or_path)."
        )
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"the model {name!r} is an adapter and needs peft: pip install peft"
        ) from error
    if _file(name, _ADAPTER_WEIGHTS) is None:
        raise ArgumentError(
            f"cannot load the model {name!r}: it has no {_ADAPTER_WEIGHTS}. Pickled weights can "
            "run code of their maker and are not read: save the adapter anew with "
            "model.save_pretrained(folder)."
        )
    found: dict[str, Any] = config
    return found


def _base_of(name: str, adapter: Mapping[str, Any]) -> str:
    """The model that an adapter is for; the folder itself where it holds both."""
    if _file(name, "config.json") is not None:
        return name
    given: str = adapter["base_model_name_or_path"]
    beside = Path(name) / given
    if not Path(given).exists() and beside.is_dir():
        return model_name(beside)
    try:
        found = model_name(given)
        config_of(found)
    except ArgumentError as error:
        raise ArgumentError(
            f"cannot load the model {name!r}, an adapter for {given!r} (base_model_name_or_path in "
            f"{_ADAPTER}): {error}"
        ) from error
    return found


# Parts -----------------------------------------------------------------------------------


def _processor(transformers: Any, name: str, base: str, family: str) -> Any:
    """The processor; an adapter may bring one, or a part of one, of its own."""
    kind = _class(transformers, family, "processor_class", "AutoProcessor")
    has_extractor, has_tokenizer = _has(name, _EXTRACTOR_FILES), _has(name, _TOKENIZER_FILES)
    place = name if has_extractor and has_tokenizer else base
    _check_processor_files(place)
    with told(place, "its processor (feature extractor or tokenizer)"):
        processor = kind.from_pretrained(place, **NO_CODE)
    if place == name:
        return processor
    with told(name, "its processor"):
        if has_extractor:
            processor.feature_extractor = type(processor.feature_extractor).from_pretrained(name)
        if has_tokenizer:
            processor.tokenizer = type(processor.tokenizer).from_pretrained(name)
    return processor


def _check_processor_files(place: str) -> None:
    """Of a folder: without its files a processor would be made of defaults."""
    if not Path(place).is_dir():
        return
    for files, about in ((_EXTRACTOR_FILES, "feature extractor"), (_TOKENIZER_FILES, "tokenizer")):
        if not _has(place, files):
            raise ArgumentError(
                f"cannot load the model {place!r}: it has no {about} ({' or '.join(files)}); save "
                "the processor into the same folder, processor.save_pretrained(folder)."
            )
    for file in (Path(place) / name for name in _EXTRACTOR_FILES):
        if file.exists():
            with told(place, file.name):
                values = json.loads(file.read_text(encoding="utf-8"))
                check_extractor(values.get("feature_extractor", values), f"{file}: ")


def _check_generation(name: str) -> None:
    """Of a folder: a file that cannot be read would be left out without a word."""
    file = Path(name) / "generation_config.json"
    if file.exists():
        with told(name, file.name):
            json.loads(file.read_text(encoding="utf-8"))


def _class(transformers: Any, family: str, attribute: str, otherwise: str) -> Any:
    """The family's own class, by name; a family that was added may not name one."""
    parts = getattr(FAMILIES[family], "parts", None)
    name = getattr(parts, attribute, otherwise)
    if not hasattr(transformers, name):
        raise ArgumentError(
            f"transformers {transformers.__version__} has no {name}: take a later one (pip install "
            "-U transformers), or load the model yourself, and give it with its processor."
        )
    return getattr(transformers, name)


def _of_used_parts(report: Mapping[str, Any], family: str) -> dict[str, Any]:
    """A report without the weights of parts that a family's checkpoints hold for other tasks."""
    parts = getattr(FAMILIES[family], "parts", None)
    others = tuple(getattr(parts, "other_parts", ()))
    unexpected = [key for key in report["unexpected_keys"] if not key.startswith(others)]
    return {**report, "unexpected_keys": unexpected}


def _has(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a folder holds one of some files; of the hub, which would have to be asked for each,
    all is expected in one place."""
    folder = Path(name)
    return folder.is_dir() and any(any(folder.glob(pattern)) for pattern in patterns)


def _file(name: str, file: str) -> Path | None:
    """A file of a folder or of the hub, where there is one."""
    from transformers.utils import cached_file

    silent = ("gated_repo", "missing_entries", "connection_errors")
    found = cached_file(name, file, **{f"_raise_exceptions_for_{what}": False for what in silent})
    return None if found is None else Path(found)


def check_complete(name: str, report: Mapping[str, Any], kind: str = "whole model") -> None:
    """Raise where weights are missing, which would be random, are of another shape or belong to
    another model; what a class shares between layers or leaves out is in no report."""
    missing = [key for key in report["missing_keys"] if not key.endswith(_OF_TRAINING)]
    faults = {
        f"is no {kind}, its weights lack {{}}, which would be random": missing,
        "has weights of another shape than its config.json says: {}": [
            _told(mismatch) for mismatch in report["mismatched_keys"]
        ],
        "has weights of another model: {}": report["unexpected_keys"],
    }
    for fault, keys in faults.items():
        if keys:
            first, *others = sorted(keys)
            more = f" and {len(others)} more" if others else ""
            raise ArgumentError(f"cannot load the model {name!r}: it {fault.format(first + more)}.")


def _told(mismatch: str | tuple[str, Sequence[int], Sequence[int]]) -> str:
    """Before transformers 5, a name alone."""
    if isinstance(mismatch, str):
        return mismatch
    name, saved, wanted = mismatch
    return f"{name} {tuple(saved)} for {tuple(wanted)}"


# Errors ----------------------------------------------------------------------------------


@contextmanager
def told(name: str, part: str | None = None) -> Iterator[None]:
    """Turn whatever a parser raises at damaged files into one line."""
    try:
        yield
    except (ArgumentError, ArgumentTypeError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {reason}" if len(reason.split()) < 3 else reason
        where = _damaged(Path(name)) or (f"{part}: {reason}" if part else reason)
        raise ArgumentError(f"cannot load the model {name!r}: {where[:_LONGEST]}") from error


def _damaged(folder: Path) -> str | None:
    """The first file of a folder that cannot be read, and why."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.json")):
        try:
            if not isinstance(json.loads(file.read_text(encoding="utf-8")), dict):
                return f"{file.name} holds no object of names and values"
        except (ValueError, RecursionError, OSError) as error:
            return f"{file.name} holds no JSON that can be read ({' '.join(str(error).split())})"
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, "pt"):
                pass
        except Exception as error:
            return f"{file.name} is damaged or cut off ({error})"
    return None


# Devices ---------------------------------------------------------------------------------


def usable_device(device: object) -> torch.device | None:
    """The device by that name, if there is one."""
    if device is None:
        return None
    if not isinstance(device, str | torch.device):
        raise ArgumentTypeError(
            f"device must be a name such as 'cpu' or 'cuda:1', got {type(device).__name__}."
        )
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
        reason = "it holds no numbers" if found.type == "meta" else None
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())
        if "device string" in reason:
            reason = "torch knows none of that name"
    if reason:
        raise ArgumentError(
            f"device {str(device)!r} cannot be used ({reason}); there is: {', '.join(_devices())}."
        )
    return found


def _devices() -> list[str]:
    found = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    return [*found, "mps"] if torch.backends.mps.is_available() else found


def on_device(model: Any, device: object) -> Any:
    """Move a model, or raise where there is no such device."""
    place = usable_device(device)
    if place is None:
        return model
    try:
        return model.to(place)
    except (RuntimeError, AssertionError) as error:  # out of memory, for example
        reason = " ".join(str(error).split())
        raise ArgumentError(f"device {str(device)!r} cannot be used: {reason}") from error
