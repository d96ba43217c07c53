"""captum-spes evaluate: tables, figures and scores, and clear errors before any work."""

import csv
import json
import shutil
import sys

import pytest
import soundfile

from captum_spes.cli import main
from captum_spes.corpus.conditions import names
from captum_spes.demo import MANIFEST, load_examples
from captum_spes.metrics.text import METRICS

# Few samples are noise, and miss patches; the command line prints it.
pytestmark = [
    pytest.mark.filterwarnings("always:.*sampling noise"),
    pytest.mark.filterwarnings("always:.*perturbed by no sample"),
]

QUICK = [
    "--samples", "20", "--token-samples", "10", "--patches-per-second", "40", "--prior", "2",
    "--quiet",
]  # fmt: skip


def evaluate(capsys, *arguments):
    status = main(["evaluate", *(str(argument) for argument in arguments), *QUICK])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def manifest(tmp_path, audio):
    soundfile.write(tmp_path / "tone.flac", audio, 16_000)
    soundfile.write(tmp_path / "half.flac", audio[:7000], 16_000)
    lines = [
        {"id": "tone", "audio": "tone.flac", "text": "The cat!", "translations": {"de": "Katze"}},
        {"id": "half", "audio": "half.flac", "text": "a dog", "translations": {"de": "Hund"}},
    ]
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def test_bundled_recordings_with_the_bundled_model(capsys, tmp_path):
    out = tmp_path / "out"
    status, text, _ = evaluate(
        capsys, MANIFEST, "--out", out, "--methods", "spes,energy", "--limit", 2
    )
    assert status == 0
    assert "| spes |" in text
    assert text.index("| spes |") < text.index("| energy |")
    names = {path.name for path in out.iterdir()}
    assert names >= {"table.csv", "table.md", "scores.jsonl", "settings.json", "run.json"}
    assert {f"{n}.png" for n in ("deletion", "insertion", "size", "kl")} <= names
    with open(out / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["spes", "energy"]
    assert rows[0]["utterances"] == "2"
    # What the model writes of the intact recording is (nearly) what is said.
    scores = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    assert scores[0]["deletion"][0] == scores[0]["insertion"][-1] == load_examples()[0].text
    (run,) = json.loads((out / "run.json").read_text())
    assert run["command"].startswith("captum-spes evaluate ")
    assert {"torch", "captum", "python"} <= set(run["versions"])
    assert run["machine"]["cores"] >= 1
    assert "commit" in run


def test_a_translation_is_scored_by_bleu(capsys, tmp_path):
    status, text, _ = evaluate(
        capsys, MANIFEST, "--out", tmp_path / "out", "--methods", "energy", "--limit", 1,
        "--target-language", "de", "--reference", "de",
    )  # fmt: skip
    assert status == 0
    assert "by BLEU" in text
    record = json.loads((tmp_path / "out" / "scores.jsonl").read_text())
    assert record["reference"] == load_examples()[0].translations["de"]
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["metric"] == "bleu"


@pytest.mark.parametrize(
    ("text", "arguments", "metric"),
    [
        ("the cat", [], "wer_capped"),
        ("今天天气很好", [], "cer_capped"),
        ("今天天气很好", ["--metric", "wer"], "wer"),
        ("the cat", ["--metric", "cer"], "cer"),
        ("the cat", ["--metric", "bleu-char"], "bleu-char"),
    ],
)
def test_the_metric_fits_the_script(
    capsys, manifest, model_folder, tmp_path, text, arguments, metric
):
    line = {"id": "tone", "audio": "tone.flac", "text": text}
    manifest.write_text(json.dumps(line))
    status, printed, _ = evaluate(
        capsys, manifest, "--model", model_folder, "--out", tmp_path / "out",
        "--methods", "energy", *arguments,
    )  # fmt: skip
    assert status == 0
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["metric"] == metric
    kind = {"w": "word error rate", "c": "character error rate", "b": "BLEU"}[metric[0]]
    assert f"by {kind} ({metric})" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "ter"], "metric must be one of wer, wer_capped, cer, "),
        # The tokenizer for the language of the reference, whose dictionary is not there.
        (["--metric", "bleu", "--reference", "ja"], "pip install 'sacrebleu[ja]'"),
        (["--reference", "ja"], "pip install 'sacrebleu[ja]'"),
    ],
)
def test_a_metric_that_cannot_be_had_ends_it_before_the_model(
    capsys, manifest, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.setitem(sys.modules, "MeCab", None)
    line = {"id": "a", "audio": "tone.flac", "text": "so", "translations": {"ja": "猫"}}
    manifest.write_text(json.dumps(line))
    status, _, errors = evaluate(
        capsys, manifest, "--model", "missing", "--out", tmp_path / "out", *arguments
    )
    assert status == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_help_names_every_metric(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    printed = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    for name in METRICS:
        assert f" {name}" in printed


def test_goes_on(capsys, manifest, model_folder, tmp_path):
    arguments = [manifest, "--model", model_folder, "--out", tmp_path / "out"]
    assert evaluate(capsys, *arguments, "--methods", "energy")[0] == 0
    assert evaluate(capsys, *arguments, "--methods", "energy,random")[0] == 0
    assert len((tmp_path / "out" / "scores.jsonl").read_text().splitlines()) == 4
    status, _, error = evaluate(capsys, *arguments, "--methods", "energy", "--seed", "3")
    assert status == 2
    assert "other settings (seed;" in error
    assert len(json.loads((tmp_path / "out" / "run.json").read_text())) == 2


def test_text_is_normalised_on_request(capsys, manifest, model_folder, tmp_path):
    """The model writes what the manifest holds, but for case and punctuation."""
    out = tmp_path / "out"
    arguments = [
        manifest, "--model", model_folder, "--methods", "energy", "--limit", 1, "--out", out,
    ]  # fmt: skip
    evaluate(capsys, *arguments)
    record = json.loads((out / "scores.jsonl").read_text())
    texts = [*record["deletion"], *record["insertion"]]
    written = max(texts, key=lambda text: sum(letter.isalpha() for letter in text))
    assert sum(letter.isalpha() for letter in written) > 2
    line = {"id": "tone", "audio": "tone.flac", "text": f"{written.upper()} !"}
    manifest.write_text(json.dumps(line))
    found = {}
    for name, given in (("as written", ()), ("normalised", ("--normalize-text",))):
        shutil.rmtree(out)
        assert evaluate(capsys, *arguments, *given)[0] == 0
        with open(out / "table.csv", newline="") as file:
            (row,) = csv.DictReader(file)
        found[name] = float(row["deletion"]) + float(row["insertion"])
    # In capitals and with a word more it is nowhere right; without them somewhere it is.
    assert found["as written"] == pytest.approx(200)
    assert found["normalised"] < 200


def test_failures_are_told_and_left_out(capsys, manifest, model_folder, tmp_path, audio):
    soundfile.write(manifest.parent / "half.flac", audio[:800], 16_000)
    status, text, error = evaluate(
        capsys, manifest, "--model", model_folder, "--methods", "energy", "--out", tmp_path / "out"
    )
    assert status == 0
    assert "half, energy: ArgumentError" in error
    assert "1 utterances" in text
    soundfile.write(manifest.parent / "tone.flac", audio[:800], 16_000)
    status, _, error = evaluate(
        capsys, manifest, "--model", model_folder, "--methods", "energy", "--out", tmp_path / "o2"
    )
    assert status == 2
    assert "no utterance was measured" in error


def test_method_arguments(capsys, manifest, model_folder, tmp_path):
    arguments = [
        manifest,
        "--model",
        model_folder,
        "--methods",
        "integrated-gradients",
        "--limit",
        1,
    ]
    passes = []
    for steps in (2, 4):
        out = tmp_path / str(steps)
        given = json.dumps({"integrated-gradients": {"n_steps": steps}})
        assert evaluate(capsys, *arguments, "--out", out, "--method-args", given)[0] == 0
        record = json.loads((out / "scores.jsonl").read_text())
        passes.append(record["cost"]["encoder_passes"])
    assert passes[1] > passes[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "gradcam"], "unknown method 'gradcam'; known: spes, spes-efficient"),
        (["--methods", "spes,spes"], "every method once"),
        (["--reference", "fr"], "line 1: no translation into 'fr'; line 2"),
        (["--model", "./missing"], "no such model folder"),
        (["--reference", "de"], "writes 'en' and would be scored against the translation 'de'"),
        (["--target-language", "de"], "writes 'de' and would be scored against the text of"),
        (["--task", "translate"], "--task translate needs --reference"),
    ],
)
def test_errors_come_before_any_work(capsys, manifest, tmp_path, arguments, message):
    status, _, error = evaluate(capsys, manifest, "--out", tmp_path / "out", *arguments)
    assert status == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["nothing", "[1]", '{"spes": 1}'])
def test_method_arguments_must_be_json(capsys, manifest, tmp_path, text):
    with pytest.raises(SystemExit, match="2"):
        evaluate(capsys, manifest, "--out", tmp_path, "--method-args", text)
    assert "--method-args" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(capsys, manifest, model_folder, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, error = evaluate(
        capsys, manifest, "--model", model_folder, "--out", tmp_path / "file" / "out"
    )
    assert status == 2
    assert "captum-spes: error:" in error


def test_recordings_in_another_condition(capsys, tmp_path):
    """They are what is measured; another condition in the same folder is measured anew."""
    out, measured = tmp_path / "out", []
    for condition in ("noise:-10", "clean"):
        status, _, _ = evaluate(
            capsys, MANIFEST, "--out", out, "--methods", "energy", "--limit", 1,
            "--condition", condition,
        )  # fmt: skip
        assert status == 0
        lines = (out / "scores.jsonl").read_text().splitlines()
        measured.append([json.loads(line) for line in lines])
    noisy, clean = measured
    text = load_examples()[0].text
    assert noisy[0]["deletion"][0] != text == clean[-1]["deletion"][0]
    assert [path.name for path in (out / "recordings").glob("*.flac")] == [
        f"{load_examples()[0].name}.flac"
    ]


def test_the_help_names_every_condition(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert [name for name in names() if name != "clean" and name not in told] == []


def test_a_condition_that_is_none(capsys, tmp_path):
    status, _, told = evaluate(capsys, MANIFEST, "--out", tmp_path, "--condition", "rain")
    assert status == 2
    assert "there is no condition 'rain'; there are clean, noise:DB" in told
