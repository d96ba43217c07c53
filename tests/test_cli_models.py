"""The command that lists the families, and the instruction on the command line."""

import pytest

from captum_spes.cli import main
from captum_spes.speech.models import FAMILIES
from tests.speech.families import SPEECH_LLMS, make_family


def test_every_family_is_listed(capsys):
    assert main(["models"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "family"
    listed = {row.split()[0]: row.split()[1:] for row in rows}
    assert set(listed) == {name for name, own in FAMILIES.items() if own.checkpoint}
    for family, (checkpoint, *marks) in listed.items():
        assert "/" in checkpoint
        assert marks[:2] == ["yes", "yes"]
        assert marks[2] == ("yes" if family in SPEECH_LLMS else "-")


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
