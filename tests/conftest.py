"""Models and data that tests share."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from packaging.version import Version

# No test needs a hub, and asking for one takes a minute a name where there is none. Before
# transformers is imported, which reads it once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

_IS_OLD = Version(version("transformers")) < Version("5.23")
_NO_MODEL = "the bundled model needs a later transformers"
_LACKING = re.compile(
    "module transformers has no attribute|cannot import name .* from 'transformers"
    f"|{_NO_MODEL}|needs a transformers that knows|transformers .*take a later one"
)

BEFORE_TRANSFORMERS_5 = Version(version("transformers")) < Version("5")

GOLDEN = Path(__file__).parent / "golden" / "data"


def pytest_collection_finish() -> None:
    """What thousands of tests and torch hold is no garbage, and not looked through again with each
    collection (statsmodels asks for one per test of significance)."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What is given no seed draws it from here: the same in every run, whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def bundled_model_or_skip() -> Iterator[None]:
    """What asks for the bundled model is left out where transformers lacks its family, also what
    asks for it by a command."""
    with pytest.MonkeyPatch.context() as patch:
        if _IS_OLD:
            name = "captum_spes.demo._check_transformers"
            patch.setattr(name, lambda: pytest.skip(_NO_MODEL))
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """The same of whatever else it lacks, and of workers, whose errors a command prints."""
    report = yield
    if call.excinfo:
        _skip_lacking(report, f"{call.excinfo.value}\n{report.capstderr}", item.path)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """The same of a file that imports it."""
    report = yield
    if report.failed:
        _skip_lacking(report, str(report.longrepr), collector.path)
    return report


def _skip_lacking(report: Any, told: str, path: Path) -> None:
    lacking = _LACKING.search(told)
    if _IS_OLD and lacking:
        report.outcome = "skipped"
        report.longrepr = (str(path), None, f"Skipped: {lacking[0]}")


def shared_folder() -> Path:
    default = Path(__file__).resolve().parents[2] / "shared"
    return Path(os.environ.get("CAPTUM_SPES_SHARED", default))


def need(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.name} is not here; set CAPTUM_SPES_SHARED to the shared data")
    return path


def module_of(file: Path) -> Any:
    """Import a script that is in no package."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Any]:
    """Load a golden file by name."""

    def load(name: str) -> Any:
        path = GOLDEN / name
        if path.suffix == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".h5":
            return h5py.File(path)
        with np.load(path) as arrays:
            return {key: _as_tensor(arrays[key]) for key in arrays.files}

    return load


def _as_tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array))


@pytest.fixture(scope="session")
def speech_clips() -> dict[str, dict[str, Any]]:
    manifest = need(shared_folder() / "speech" / "manifest.jsonl")
    clips = [json.loads(line) for line in manifest.read_text().splitlines()]
    return {clip["id"]: {**clip, "path": manifest.parent / clip["file"]} for clip in clips}


@pytest.fixture(scope="session")
def whisper_folder() -> Path:
    return need(shared_folder() / "models" / "whisper-tiny.en")


@pytest.fixture(scope="session")
def whisper(whisper_folder):
    """Whisper tiny.en: model and processor."""
    from captum_spes.speech.models import load_model

    return load_model(whisper_folder)


# Small models with random weights, 2 s of audio at most. Their weights are drawn wide: with
# the usual 0.02 the audio has no effect on the output, and no test could fail.


@pytest.fixture(scope="session")
def audio() -> np.ndarray:
    """0.6 s with a tone that starts half-way, at 16 kHz."""
    generator = np.random.default_rng(0)
    time = np.arange(9600) / 16_000
    tone = np.where(time > 0.3, np.sin(2 * np.pi * 1000 * time), 0.0)
    return (0.3 * tone + 0.01 * generator.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="session")
def _tiny_whisper_parts():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"]
    vocabulary = {token: i for i, token in enumerate([*alphabet, *special])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    return fast, WhisperFeatureExtractor(chunk_length=2)


@pytest.fixture
def tiny_whisper(make_tiny_whisper):
    """A random Whisper of one layer, 259 tokens (bytes), 2 s: model and processor."""
    return make_tiny_whisper()


@pytest.fixture(scope="session")
def make_tiny_whisper(_tiny_whisper_parts):
    """For what more than one test shares."""
    return lambda: _tiny_whisper(*_tiny_whisper_parts)


def _tiny_whisper(tokenizer, extractor):
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    end, start, no_timestamps = 256, 257, 258
    config = WhisperConfig(
        vocab_size=259 + 100,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=100,
        max_target_positions=24,
        init_std=0.4,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WhisperForConditionalGeneration(config).eval()
    generation = model.generation_config
    generation.no_timestamps_token_id = no_timestamps
    generation.is_multilingual = False
    generation.max_length = 20
    return model, SimpleNamespace(feature_extractor=extractor, tokenizer=tokenizer)


@pytest.fixture(scope="session")
def _tiny_speech2text_processor(tmp_path_factory):
    import sentencepiece
    from transformers import (
        Speech2TextFeatureExtractor,
        Speech2TextProcessor,
        Speech2TextTokenizer,
    )

    folder = tmp_path_factory.mktemp("sentencepiece")
    sentences = [
        "the cat sat on the mat",
        "a dog ran to the park and then came home",
        "we saw so many birds in the sky",
        "no one knows why it rained all day",
    ] * 4
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_prefix=str(folder / "pieces"),
        vocab_size=40,
        bos_id=0,
        pad_id=1,
        eos_id=2,
        unk_id=3,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "pieces.model"))
    vocabulary = {pieces.id_to_piece(i): i for i in range(len(pieces))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = Speech2TextTokenizer(str(folder / "vocab.json"), str(folder / "pieces.model"))
    return Speech2TextProcessor(Speech2TextFeatureExtractor(), tokenizer)


@pytest.fixture
def tiny_speech2text(_tiny_speech2text_processor):
    """A random Speech2Text of one layer with a real sentencepiece tokenizer."""
    return _tiny_speech2text(_tiny_speech2text_processor)


def _tiny_speech2text(processor):
    from transformers import Speech2TextConfig, Speech2TextForConditionalGeneration

    config = Speech2TextConfig(
        vocab_size=40,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=100,
        max_target_positions=24,
        conv_channels=32,
        init_std=0.4,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Speech2TextForConditionalGeneration(config).eval()
    model.generation_config.max_length = 12
    return model, processor


@pytest.fixture(scope="session")
def _tiny_canary_processor():
    from recipes.bundled.model import make_processor, train_tokenizer

    sentences = ["the cat sat on the mat and slept", "a dog came home again"]
    return make_processor(train_tokenizer(sentences, vocabulary=40))


@pytest.fixture
def tiny_canary(_tiny_canary_processor):
    """A random Canary of one layer with the prompt of the bundled model."""
    from transformers import CanaryConfig, CanaryForConditionalGeneration

    tokenizer = _tiny_canary_processor.tokenizer
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CanaryConfig(
        encoder_config={
            "model_type": "parakeet_encoder",
            **size,
            "num_attention_heads": 2,
            "subsampling_factor": 4,
            "subsampling_conv_channels": 8,
            "max_position_embeddings": 50,
            "layerdrop": 0.0,
            "initializer_range": 0.4,
        },
        decoder_config={
            **size,
            **ids,
            "vocab_size": len(tokenizer),
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 24,
            "initializer_range": 0.4,
        },
        vocab_size=len(tokenizer),
        decoder_start_token_id=tokenizer.bos_token_id,
        initializer_range=0.4,
        **ids,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CanaryForConditionalGeneration(config).eval()
        # Without biases the normalised encoder is deaf to loudness, and jumps where all is 0.
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.4)
    model.generation_config.max_length = 12
    return model, _tiny_canary_processor


@pytest.fixture(scope="session")
def _model_files(_tiny_speech2text_processor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech2text")
    for part in _tiny_speech2text(_tiny_speech2text_processor):
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def model_folder(_model_files, tmp_path):
    """A random Speech2Text as a folder, as users have models; each test's own to break."""
    return shutil.copytree(_model_files, tmp_path / "model")


@pytest.fixture(params=["tiny_whisper", "tiny_speech2text", "tiny_canary"])
def tiny_model(request):
    """Each family in turn: model and processor."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def adapter(tiny_model):
    """That of each family in turn."""
    from captum_spes.speech.models import adapt

    return adapt(*tiny_model)


@pytest.fixture
def speech(adapter, audio):
    return adapter.from_audio(audio)
