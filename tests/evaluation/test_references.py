"""What a model is asked for and what it is scored against must be one text."""

import json

import pytest
import soundfile

from captum_spes import Settings
from captum_spes.cli import main
from captum_spes.corpus import Utterance
from captum_spes.errors import ArgumentError
from captum_spes.evaluation import EvaluationSettings, compare_methods
from captum_spes.speech import named_methods
from tests.speech.families import make_family

ASKED = "Translate the speech into German."
SETTINGS = Settings.efficient(n_samples=4, n_token_samples=4, patches_per_second=40)


@pytest.fixture
def utterances(tmp_path, audio):
    file = tmp_path / "tone.flac"
    soundfile.write(file, audio, 16_000)
    return [Utterance("tone", file, "the cat", {"de": "die Katze", "en": "the cat"})]


@pytest.fixture
def compared(request, tmp_path, utterances):
    """Scores of one recording by the model of the test, and the reference they were made with."""

    def compared(kind, gen_args, reference):
        if kind in ("whisper", "canary"):
            model, processor = request.getfixturevalue(f"tiny_{kind}")
        else:
            model, processor = make_family(kind, tmp_path)
        given = SETTINGS.replace(gen_args={"max_new_tokens": 3, **gen_args})
        settings = EvaluationSettings("tiny", given, language=reference)
        methods = named_methods(["energy"])
        comparison = compare_methods(
            model, processor, utterances, methods, settings, tmp_path / "out"
        )
        assert not comparison.failures
        return comparison.records["energy"]["tone"]["reference"]

    return compared


@pytest.mark.parametrize(
    ("kind", "gen_args", "reference", "scored"),
    [
        ("qwen2_audio", {}, None, "the cat"),
        ("qwen2_audio", {"instruction": ASKED}, "de", "die Katze"),
        ("qwen2_audio", {"instruction": "Write it down."}, "text", "the cat"),
        # In the model's own words, as if nothing had been asked.
        ("granite_speech", {"instruction": "own"}, None, "the cat"),
        ("granite_speech", {"instruction": "own"}, "de", "die Katze"),
        ("seamless_m4t", {}, None, "the cat"),
        ("seamless_m4t", {}, "en", "the cat"),
        ("seamless_m4t", {"tgt_lang": "deu"}, "de", "die Katze"),
        ("seamless_m4t", {"target_language": "deu"}, "de", "die Katze"),
        # The text is what the user says it is: German, for example.
        ("seamless_m4t", {"tgt_lang": "deu"}, "text", "the cat"),
        ("canary", {"target_language": "German"}, "de", "die Katze"),
        ("canary", {"target_language": "de"}, "text", "the cat"),
        ("canary", {"language": "de"}, None, "the cat"),
    ],
)
def test_what_is_scored_against(compared, kind, gen_args, reference, scored):
    if gen_args.get("instruction") == "own":
        from captum_spes.speech.models.granite import GraniteSpeechModel

        gen_args = {"instruction": f" {GraniteSpeechModel.instruction}\n"}
    assert compared(kind, gen_args, reference) == scored


@pytest.mark.parametrize(
    ("kind", "gen_args", "reference", "message"),
    [
        ("qwen2_audio", {"instruction": ASKED}, None, f"asked '{ASKED}', and nothing says which"),
        ("qwen2_audio", {}, "de", "asked for a transcript and would be scored against the trans"),
        ("seamless_m4t", {}, "de", "writes 'eng' and would be scored against the translation 'de'"),
        ("seamless_m4t", {"tgt_lang": "deu"}, None, "writes 'deu' and would be scored against the"),
        ("seamless_m4t", {"target_language": "deu"}, "en", "the translation 'en'"),
        ("canary", {"target_language": "de"}, None, "writes 'de' and would be scored against the "),
        ("canary", {}, "de", "writes 'en' and would be scored against the translation 'de'"),
        ("whisper", {"task": "translate"}, None, "writes 'en' and would be scored against the"),
        ("whisper", {"task": "translate"}, "de", "the translation 'de'"),
    ],
)
def test_another_text_than_was_asked_for(compared, tmp_path, kind, gen_args, reference, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        compared(kind, gen_args, reference)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_text_said_and_not_said_are_one_run(compared, tmp_path):
    compared("qwen2_audio", {}, None)
    compared("qwen2_audio", {}, "text")
    assert len((tmp_path / "out" / "scores.jsonl").read_text().splitlines()) == 1


def test_on_the_command_line(tmp_path, utterances, capsys):
    model, processor = make_family("qwen2_audio", tmp_path)
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    (one,) = utterances
    manifest = tmp_path / "manifest.jsonl"
    line = {"audio": str(one.audio), "text": one.text, "translations": one.translations}
    manifest.write_text(json.dumps(line))
    arguments = [
        "evaluate", manifest, "--model", tmp_path / "model", "--out", tmp_path / "out", "--quiet",
        "--methods", "energy", "--max-new-tokens", 3, "--instruction", ASKED,
    ]  # fmt: skip
    capsys.readouterr()  # a progress bar of saving
    assert main([str(argument) for argument in arguments]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert "nothing says which text of the manifest" in error
    assert not (tmp_path / "out").exists()
    for reference, scored in (("de", "die Katze"), ("text", "the cat")):
        given = [*arguments, "--reference", reference]
        given[given.index("--out") + 1] = tmp_path / reference
        assert main([str(argument) for argument in given]) == 0, capsys.readouterr().err
        record = json.loads((tmp_path / reference / "scores.jsonl").read_text())
        assert record["reference"] == scored
        made = json.loads((tmp_path / reference / "settings.json").read_text())
        assert made["metric"] == ("bleu" if reference == "de" else "wer_capped")
