"""What is loaded is whole and runs no code of its own; the rest is told in one line."""

import builtins
import json
import os
import sys
from contextlib import suppress

import pytest
import torch
from safetensors.torch import load_file

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.cli import main
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech.models import adapt, load_model
from captum_spes.speech.models.loading import SHORT_NAMES, on_device
from captum_spes.stability import load_explained_model
from tests.conftest import BEFORE_TRANSFORMERS_5
from tests.robustness.models import WEIGHTS, changed, pickled, saved, with_code, with_weights


@pytest.fixture
def folder(tiny_model, tmp_path):
    """Each family as a folder."""
    return saved(tmp_path / "model", *tiny_model)


@pytest.fixture
def whisper_files(tiny_whisper, tmp_path):
    return saved(tmp_path / "whisper", *tiny_whisper)


def refused(folder):
    """The message with which a folder is refused, here and on the command line."""
    with pytest.raises(ArgumentError) as error:
        SpeechToTextAttribution(SPES((pair := load_model(folder))[0]), pair[1])
    message = str(error.value)
    assert "\n" not in message
    return message


# Weights ---------------------------------------------------------------------------------


class TestWeights:
    def test_whole(self, folder, tiny_model):
        model, processor = load_model(folder)
        assert not model.training
        for name, value in tiny_model[0].state_dict().items():
            assert torch.equal(model.state_dict()[name], value)
        assert adapt(model, processor).model_id == str(folder)

    def test_each_missing_one_is_named(self, folder):
        # Without those that two layers share, of which the other one is named.
        names = [n for n in sorted(load_file(folder / WEIGHTS)) if "embed_tokens" not in n]
        for name in (names[0], names[len(names) // 2], names[-1]):
            whole = (folder / WEIGHTS).read_bytes()
            with_weights(folder, lambda weights, name=name: weights.pop(name))
            assert f"its weights lack {name}, which would be random" in refused(folder)
            (folder / WEIGHTS).write_bytes(whole)

    def test_all_missing(self, folder):
        def nothing(weights):
            weights.clear()
            weights["other"] = torch.zeros(1)

        with_weights(folder, nothing)
        assert "more, which would be random" in refused(folder)

    def test_those_of_another_model(self, folder):
        with_weights(folder, lambda weights: weights.update({"model.extra": torch.zeros(2)}))
        assert "has weights of another model: model.extra" in refused(folder)

    def test_another_shape(self, folder):
        name = sorted(load_file(folder / WEIGHTS))[0]
        with_weights(folder, lambda weights: weights.update({name: torch.zeros(3, 5)}))
        shape = "." if BEFORE_TRANSFORMERS_5 else " (3, 5)"
        assert f"weights of another shape than its config.json says: {name}{shape}" in refused(
            folder
        )

    @pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
    def test_cut_off(self, folder, kept):
        whole = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(whole[: int(kept * len(whole))])
        assert "model.safetensors is damaged or cut off" in refused(folder)

    def test_none(self, folder):
        (folder / WEIGHTS).unlink()
        assert "no file named model.safetensors" in refused(folder)

    def test_pickled_ones_are_not_read(self, folder):
        pickled(folder)
        message = refused(folder)
        assert "pytorch_model.bin is a pickle" in message
        assert "save_pretrained" in message

    def test_of_a_classifier(self, tmp_path):
        transformers = pytest.importorskip("transformers")
        config = transformers.Wav2Vec2Config(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            conv_dim=(8,), conv_stride=(5,), conv_kernel=(10,), num_feat_extract_layers=1,
            num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, classifier_proj_size=8,
        )  # fmt: skip
        transformers.Wav2Vec2ForSequenceClassification(config).save_pretrained(tmp_path)
        transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
        load_explained_model(tmp_path, "speaker")
        whole = (tmp_path / WEIGHTS).read_bytes()
        with_weights(tmp_path, lambda weights: weights.pop("classifier.bias"))
        with pytest.raises(ArgumentError, match=r"its weights lack classifier\.bias"):
            load_explained_model(tmp_path, "speaker")
        (tmp_path / WEIGHTS).write_bytes(whole)
        pickled(tmp_path)
        with pytest.raises(ArgumentError, match="is a pickle"):
            load_explained_model(tmp_path, "speaker")


# Code ------------------------------------------------------------------------------------


@pytest.fixture
def no_questions(monkeypatch):
    def ask(*args):
        raise AssertionError("asked on standard input")

    monkeypatch.setattr(builtins, "input", ask)


class TestCode:
    def test_of_a_known_family_is_left_alone(self, folder, tmp_path, no_questions):
        with_code(folder, tmp_path / "ran")
        adapt(*load_model(folder))
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("load", [load_model, load_explained_model])
    def test_of_an_unknown_family_is_refused(self, folder, tmp_path, no_questions, load):
        with_code(folder, tmp_path / "ran")
        changed(folder, "config.json", model_type="its-own")
        with pytest.raises(ArgumentError, match="its-own"):
            load(folder)
        assert not (tmp_path / "ran").exists()

    def test_of_a_tokenizer_without_a_class(self, folder, tmp_path, no_questions):
        """Whatever comes of it, its code does not run."""
        with_code(folder, tmp_path / "ran")
        for file in folder.glob("*config.json"):
            values = json.loads(file.read_text())
            for name in ("processor_class", "tokenizer_class", "feature_extractor_type"):
                values.pop(name, None)
            file.write_text(json.dumps(values))
        with suppress(ArgumentError):
            load_model(folder)
        assert not (tmp_path / "ran").exists()

    def test_of_attention_from_elsewhere(self, folder):
        changed(folder, "config.json", attn_implementation="someone/kernel")
        assert "someone/kernel" in refused(folder)


# Files that are damaged ------------------------------------------------------------------

BROKEN = {
    "nested": '{"a": ' * 100_000,
    "cut off": '{"a": "b',
    "no object": "[]",
    "no text": "\udcff\udcfe\x00",
}


def of_5(*values):
    skipped = pytest.mark.skipif(BEFORE_TRANSFORMERS_5, reason="transformers 4 says less")
    return pytest.param(*values, marks=skipped)


class TestFiles:
    @pytest.mark.parametrize("kind", BROKEN)
    def test_broken_json_is_named(self, folder, kind):
        names = {file.name for file in folder.glob("*.json")}
        names.discard("special_tokens_map.json")  # which transformers 4 wrote and does not read
        assert len(names) >= 4
        for name in sorted(names):
            whole = (folder / name).read_bytes()
            (folder / name).write_bytes(BROKEN[kind].encode("utf-8", "surrogateescape"))
            with pytest.raises(ArgumentError) as error:
                load_model(folder)
            assert "\n" not in str(error.value)
            assert name in str(error.value)
            (folder / name).write_bytes(whole)

    def test_missing_parts_of_the_processor(self, whisper_files):
        (whisper_files / "tokenizer.json").rename(whisper_files / "kept")
        assert "has no tokenizer" in refused(whisper_files)
        (whisper_files / "kept").rename(whisper_files / "tokenizer.json")
        (whisper_files / "preprocessor_config.json").unlink()
        assert "has no feature extractor" in refused(whisper_files)

    def test_missing_config(self, whisper_files):
        (whisper_files / "config.json").unlink()
        assert "config.json: there is none" in refused(whisper_files)

    @pytest.mark.parametrize(
        ("file", "values", "message"),
        [
            ("preprocessor_config.json", {"hop_length": 0}, "hop_length must be an int of at"),
            ("preprocessor_config.json", {"hop_length": None}, "hop_length must be an int"),
            ("preprocessor_config.json", {"sampling_rate": "16000"}, "sampling_rate must be an"),
            ("preprocessor_config.json", {"chunk_length": 2.5}, "chunk_length must be an int"),
            ("preprocessor_config.json", {"feature_size": True}, "feature_size must be an int"),
            ("generation_config.json", {"eos_token_id": None}, "eos_token_id must be the id"),
            ("generation_config.json", {"eos_token_id": "x"}, "eos_token_id must be the id"),
            ("generation_config.json", {"eos_token_id": 10**6}, "eos_token_id must be the id"),
            ("generation_config.json", {"eos_token_id": []}, "eos_token_id must be the id"),
            ("generation_config.json", {"decoder_start_token_id": None}, "decoder_start_token_id"),
            ("generation_config.json", {"no_timestamps_token_id": -1}, "no_timestamps_token_id"),
            of_5("config.json", {"d_model": "16"}, "d_model"),
            of_5("config.json", {"encoder_layers": None}, "encoder_layers"),
            of_5("config.json", {"num_mel_bins": 81}, "(16, 80, 3) for (16, 81, 3)"),
            ("config.json", {"num_mel_bins": 81}, "config.json says: model.encoder.conv1.weight"),
            ("config.json", {"model_type": None}, "no model_type"),
            ("config.json", {"model_type": 5}, "no model_type"),
        ],
    )
    def test_wrong_values_are_named(self, whisper_files, file, values, message):
        changed(whisper_files, file, **values)
        assert message in refused(whisper_files)

    def test_command_line(self, folder, audio, tmp_path, capsys):
        soundfile = pytest.importorskip("soundfile")
        soundfile.write(tmp_path / "a.wav", audio, 16_000)
        with_weights(folder, lambda weights: weights.pop(next(iter(weights))))
        status = main(["explain", str(tmp_path / "a.wav"), "--model", str(folder), "--quiet"])
        told = capsys.readouterr().err
        assert status == 2
        assert told.count("\n") == 1
        assert "which would be random" in told


# Other formats, names and devices --------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["model.bin", "config.json", "vocabulary.json"], r"CTranslate2 \(faster-whisper\)"),
        (["model.bin", "tokenizer.json"], r"CTranslate2"),
        (["encoder_model.onnx", "decoder_model.onnx", "config.json"], "for ONNX Runtime"),
        (["onnx/encoder_model.onnx", "config.json"], "for ONNX Runtime"),
        (["ggml-tiny.en.bin"], r"of whisper\.cpp \(ggml-tiny"),
        (["canary.nemo"], "of NeMo"),
        (["tiny.en.pt"], "openai/whisper's own"),
        (["openvino_encoder_model.xml", "config.json"], "for OpenVINO"),
        (["weights.npz", "config.json"], "for MLX"),
        (["tf_model.h5", "config.json"], "for TensorFlow"),
    ],
)
def test_folders_of_other_programs(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    with pytest.raises(ArgumentError, match=message) as error:
        load_model(tmp_path)
    assert "wanted is a folder of Hugging Face's format" in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tiny.en.pt", "openai/whisper's own"),
        ("ggml-base.bin", r"whisper\.cpp"),
        ("model.bin", "CTranslate2"),
        ("parakeet.nemo", "of NeMo"),
        ("whisper.onnx", "ONNX"),
        ("model.safetensors", "it is a file; wanted is a folder"),
    ],
)
def test_single_files(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"\x00")
    with pytest.raises(ArgumentError, match=message):
        load_model(tmp_path / name)


class TestNames:
    @pytest.mark.parametrize(
        ("short", "whole"),
        [
            ("tiny.en", "openai/whisper-tiny.en"),
            ("turbo", "openai/whisper-large-v3-turbo"),
            ("large", "openai/whisper-large-v3"),
            ("large-v1", "openai/whisper-large"),
        ],
    )
    def test_short_names_are_those_of_whisper(
        self, tiny_whisper, tmp_path, monkeypatch, short, whole
    ):
        monkeypatch.chdir(tmp_path)
        assert SHORT_NAMES[short] == whole
        with pytest.raises(ArgumentError, match=f"cannot load the model {whole!r}"):
            load_model(short)  # the hub is not asked here
        saved(tmp_path / short, *tiny_whisper)
        assert load_model(short)[0].name_or_path == short  # a folder of that name comes first

    @pytest.mark.parametrize("name", ["tiny.de", "whisper", "model", "demo"])
    def test_names_without_an_owner(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ArgumentError, match=r"no such folder.*openai/whisper-tiny\.en.*tiny"):
            load_model(name)

    @pytest.mark.parametrize("name", ["", " ", "./no", "/no/such", "~/no", "a/b/c", "a/"])
    def test_folders_that_are_not_there(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ArgumentError, match="no such model folder"):
            load_model(name)

    def test_strange_names(self):
        with pytest.raises(ArgumentError, match="there is no such folder"):
            load_model("a\0b")
        for name in (None, 5, b"tiny", ["tiny"]):
            with pytest.raises(ArgumentTypeError, match="must be a hub name or a folder"):
                load_model(name)

    def test_home(self, tiny_whisper, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        saved(tmp_path / "model", *tiny_whisper)
        load_model("~/model")


class TestDevices:
    @pytest.mark.parametrize("device", ["cpuu", "gpu", "auto", "", "meta", "cuda:99", "cpu:-1"])
    def test_those_that_are_not_there(self, whisper_files, device, capsys):
        with pytest.raises(ArgumentError, match=r"cannot be used.*; there is: cpu") as error:
            load_model(whisper_files, device)
        assert "\n" not in str(error.value)
        with pytest.raises(ArgumentError, match="cannot be used"):
            on_device(torch.nn.Linear(1, 1), device)

    def test_before_the_model_is_read(self, tmp_path, whisper_files):
        (whisper_files / WEIGHTS).write_bytes(b"")
        with pytest.raises(ArgumentError, match="device 'gpu' cannot be used"):
            load_model(whisper_files, "gpu")

    @pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu"), None])
    def test_those_that_are(self, whisper_files, device):
        assert load_model(whisper_files, device)[0].device.type == "cpu"

    @pytest.mark.parametrize("device", [1, ["cpu"], torch.float32])
    def test_other_types(self, whisper_files, device):
        with pytest.raises(ArgumentTypeError, match="device must be a name"):
            load_model(whisper_files, device)

    @pytest.mark.parametrize("dtype", ["float32", torch.int64, None])
    def test_precision(self, whisper_files, dtype):
        with pytest.raises(ArgumentTypeError, match=r"dtype must be a torch\.dtype"):
            load_model(whisper_files, dtype=dtype)


# Adapters --------------------------------------------------------------------------------


@pytest.fixture
def adapted(tiny_whisper, whisper_files, tmp_path, audio):
    """A Whisper with weights of LoRA, the folder of these alone, and its explanation."""
    peft = pytest.importorskip("peft", reason="an adapter needs peft: pip install peft")
    model, processor = load_model(whisper_files)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    torch.manual_seed(0)
    whole = peft.get_peft_model(model, config)
    whole.save_pretrained(tmp_path / "adapter")
    return whole, processor, tmp_path / "adapter"


def maps(model, processor, audio):
    return SpeechToTextAttribution(SPES(model), processor).attribute(
        audio, target="the cat", n_samples=20, n_token_samples=20, patches_per_second=40, seed=0
    )


@pytest.mark.filterwarnings("ignore")
class TestAdapters:
    def test_a_folder_with_nothing_else(self, adapted, audio):
        whole, processor, folder = adapted
        expected = maps(whole, processor, audio)
        found = maps(*load_model(folder), audio)
        assert torch.equal(found.spectrogram_attr, expected.spectrogram_attr)
        assert found.model_id == str(folder)
        with whole.disable_adapter():  # it does something
            plain = maps(whole, processor, audio)
        assert not torch.equal(plain.spectrogram_attr, expected.spectrogram_attr)

    def test_one_that_transformers_does_not_vouch_for(self, adapted, monkeypatch):
        """As version 4, which loads it and tells nothing of what was missing."""
        kind = "transformers.WhisperForConditionalGeneration.load_adapter"
        monkeypatch.setattr(kind, lambda model, name: None)
        assert "does not tell whether all its weights were there" in refused(adapted[2])

    def test_a_tokenizer_of_its_own(self, adapted):
        _, processor, folder = adapted
        processor.tokenizer.add_tokens(["<|laugh|>"], special_tokens=True)
        processor.tokenizer.save_pretrained(folder)
        assert "<|laugh|>" in load_model(folder)[1].tokenizer.get_vocab()

    def test_beside_the_whole_model(self, adapted, whisper_files, audio):
        whole, processor, folder = adapted
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (folder / name).rename(whisper_files / name)
        found = maps(*load_model(whisper_files), audio)
        expected = maps(whole, processor, audio)
        assert torch.equal(found.spectrogram_attr, expected.spectrogram_attr)

    def test_object_is_left_as_it_was(self, adapted, audio):
        whole, processor, _ = adapted
        whole.train()
        before = {name: value.clone() for name, value in whole.state_dict().items()}
        modes = [module.training for module in whole.modules()]
        hooks = [len(module._forward_hooks) for module in whole.modules()]
        maps(whole, processor, audio)
        assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())
        assert [module.training for module in whole.modules()] == modes
        assert [len(module._forward_hooks) for module in whole.modules()] == hooks
        assert whole.active_adapters == ["default"]

    def test_base_beside_the_adapter(self, adapted, tmp_path, monkeypatch):
        _, _, folder = adapted
        changed(folder, "adapter_config.json", base_model_name_or_path="../whisper")
        monkeypatch.chdir("/")
        load_model(folder)

    @pytest.mark.parametrize(
        "base", ["../not-here", "/not/here", "no-such/model", "tiny.pt", None, ""]
    )
    def test_base_that_is_not_there(self, adapted, base):
        _, _, folder = adapted
        changed(folder, "adapter_config.json", base_model_name_or_path=base)
        with pytest.raises(ArgumentError, match="base_model_name_or_path") as error:
            load_model(folder)
        assert "\n" not in str(error.value)

    def test_damage(self, adapted):
        _, _, folder = adapted
        weights = folder / "adapter_model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:500])
        with pytest.raises(ArgumentError, match=r"adapter_model\.safetensors is damaged"):
            load_model(folder)
        weights.rename(folder / "adapter_model.bin")
        with pytest.raises(ArgumentError, match=r"no adapter_model\.safetensors"):
            load_model(folder)
        (folder / "adapter_config.json").write_text("{")
        with pytest.raises(ArgumentError, match=r"adapter_config\.json holds no JSON"):
            load_model(folder)


def test_adapter_without_peft(whisper_files, tmp_path, monkeypatch, audio, capsys):
    """Also beside a whole model, which would be loaded without it and without a word."""
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.wav", audio, 16_000)
    monkeypatch.setitem(sys.modules, "peft", None)
    alone = tmp_path / "alone"
    alone.mkdir()
    for folder in (alone, whisper_files):
        changed(folder, "adapter_config.json", base_model_name_or_path=str(whisper_files))
        with pytest.raises(ImportError, match="is an adapter and needs peft: pip install peft"):
            load_model(folder)
    arguments = ["explain", str(tmp_path / "a.wav"), "--model", os.fspath(alone), "--quiet"]
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
