"""The command that lists the families, and the instruction on the command line."""

import pytest

from captum_spes.cli import main
from captum_spes.speech.models import (
    FAMILIES,
    Attends,
    FollowsInstructions,
    Generates,
    HuggingFaceSpeechModel,
    ReadsPreviousTokens,
    adapt,
    can,
)
from tests.speech.families import ENCODER_DECODERS, SPEECH_LLMS, make_family
from tests.speech.frame_families import CTC_FAMILIES, TRANSDUCERS, make_frame_family

ASKED = (Generates, ReadsPreviousTokens, FollowsInstructions, Attends)


@pytest.fixture
def listed(capsys):
    def listed():
        assert main(["models"]) == 0
        head, *rows = capsys.readouterr().out.splitlines()
        assert head.split()[0] == "family"
        return {row.split()[0]: row.split(maxsplit=6)[1:] for row in rows}

    return listed


def test_every_family_is_listed(listed):
    found = listed()
    assert list(found) == list(FAMILIES)
    for family, (checkpoint, *_) in found.items():
        own = getattr(FAMILIES[family], "checkpoint", "")
        assert checkpoint == (own or "-")
        assert own == "" or "/" in own


@pytest.mark.parametrize(
    ("make", "family"),
    [(make_family, name) for name in (*SPEECH_LLMS, *ENCODER_DECODERS)]
    + [(make_frame_family, name) for name in (*CTC_FAMILIES, *TRANSDUCERS)],
)
def test_a_class_can_what_its_adapters_can(make, family, listed, tmp_path):
    adapter = adapt(*make(family, tmp_path))
    _, *marks, tried_on = listed()[adapter.model.config.model_type]
    assert marks == ["yes" if can(adapter, capability) else "-" for capability in ASKED]
    assert tried_on == "random weights"


class Outside(HuggingFaceSpeechModel):
    """A family from outside the package, whose attention cannot be read."""

    attention = None


def outside(model, processor):
    """A function that makes adapters."""


class Nothing:
    """A class that derives from none of ours, and writes text."""

    def generate(self, speech, gen_args): ...


@pytest.mark.parametrize(
    ("adapter", "row"),
    [
        (Outside, ["-", "yes", "yes", "-", "-", "-"]),
        (outside, ["-", "?", "?", "?", "?", "-"]),
        (Nothing, ["-", "yes", "-", "-", "-", "-"]),
    ],
)
def test_families_from_outside_are_listed(listed, monkeypatch, adapter, row):
    monkeypatch.setitem(FAMILIES, "outside", adapter)
    assert listed()["outside"] == row


@pytest.fixture
def qwen_folder(tmp_path):
    model, processor = make_family("qwen2_audio", tmp_path)
    model.generation_config.max_new_tokens = 4
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_an_instruction(qwen_folder, audio, tmp_path, capsys):
    import soundfile

    from captum_spes import SpeechToTextAttributionResult

    soundfile.write(tmp_path / "speech.wav", audio, 16_000)
    status = main(
        ["explain", str(tmp_path / "speech.wav"), "--model", str(qwen_folder), "--samples", "30",
         "--patches-per-second", "40", "--target", "the cat", "--instruction", "user speech",
         "--out", str(tmp_path / "out"), "--quiet"]
    )  # fmt: skip
    assert status == 0, capsys.readouterr().err
    (saved,) = (tmp_path / "out").rglob("explanation.npz")
    result = SpeechToTextAttributionResult.load(saved)
    assert "".join(result.instruction_tokens).strip() == "user speech"
    assert result.instruction_attr.shape == (5, len(result.instruction_tokens))


def test_an_instruction_for_a_model_that_reads_none(capsys, tmp_path):
    assert main(["explain", "--instruction", "Hello.", "--out", str(tmp_path), "--quiet"]) == 2
    assert "instruction" in capsys.readouterr().err
