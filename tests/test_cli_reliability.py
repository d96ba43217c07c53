"""The command ``reliability``: from models and a manifest to tables and pictures."""

import csv
import json
import shutil

import pytest
import torch

from captum_spes.cli import main
from captum_spes.report import plot_cost, plot_stability, write_stability
from captum_spes.stability import ClassifierConfig, SpeechClassifier, StabilityStudy
from captum_spes.stability.methods import method_names
from tests.stability.planted import RATE, write_corpus

CLASSES = {"speaker": ("soft", "loud")}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for seed in range(3):
        torch.manual_seed(seed)
        SpeechClassifier(ClassifierConfig(CLASSES, RATE)).save_pretrained(folder / f"seed-{seed}")
    return folder


@pytest.fixture
def manifest(tmp_path):
    return write_corpus(tmp_path / "corpus")


def run(models, manifest, out, *options):
    return main(
        ["reliability", "--models", *map(str, models), "--manifest", str(manifest),
         "--out", str(out), "--quiet", *options]
    )  # fmt: skip


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_from_the_command_line(models, manifest, tmp_path, capsys):
    out = tmp_path / "out"
    options = ("--methods", "spes@20,saliency,lime", "--units", "20ms,20ms:word,word,patch",
               "--inputs", "spectrogram,waveform", "--limit", "2")  # fmt: skip
    assert run([models], manifest, out, *options) == 0
    table = rows(out / "table.csv")
    # Two sampling methods with four units (three without patches), saliency with three (two).
    assert len(table) == (4 + 4 + 3) + (3 + 3 + 2)
    assert {row["models"] for row in table} == {"3"}
    for row in table:
        assert -0.01 <= float(row["agreement_low"]) <= float(row["agreement"])
        assert float(row["agreement"]) <= float(row["agreement_high"]) <= 1.01
        ceiling = float(row["ceiling"])
        assert ceiling == 1 if row["method"] == "saliency" else ceiling <= 1
    raw = rows(out / "agreements.csv")
    assert len(raw) == len(table) * 3 * 2  # pairs of models, utterances
    words = [r for r in raw if r["reported"] == "word" and r["method"] == "saliency"]
    assert {r["one"] + r["other"] for r in words} == {
        "seed-0seed-1", "seed-0seed-2", "seed-1seed-2"
    }  # fmt: skip
    summary = (out / "summary.md").read_text()
    assert "3 models, 2 utterances" in summary
    assert "## Is it the models or the samples?" in summary
    assert (out / "speaker.png").stat().st_size > 10_000
    assert json.loads((out / "run.json").read_text())[0]["command"].startswith("captum-spes rel")
    shown = capsys.readouterr().out
    assert "# Reliability across random seeds" in shown
    # Nothing is computed again, and the tables are the same.
    before = (out / "table.csv").read_text()
    files = sorted((out / "attributions").iterdir())
    times = [file.stat().st_mtime_ns for file in files]
    assert run([models], manifest, out, *options) == 0
    assert [file.stat().st_mtime_ns for file in files] == times
    assert (out / "table.csv").read_text() == before


def test_models_one_by_one_and_in_two_folders(models, manifest, tmp_path):
    options = ("--methods", "saliency", "--units", "20ms", "--limit", "1")
    pair = [models / "seed-0", models / "seed-2"]
    assert run(pair, manifest, tmp_path / "one", *options) == 0
    assert set(StabilityStudy.load(tmp_path / "one").models) == {"seed-0", "seed-2"}
    other = tmp_path / "other"
    SpeechClassifier.from_pretrained(models / "seed-1").save_pretrained(other / "seed-0")
    assert run([models / "seed-0", other / "seed-0"], manifest, tmp_path / "two", *options) == 0
    assert len(StabilityStudy.load(tmp_path / "two").models) == 2


def test_another_model_of_the_same_name_is_noticed(models, manifest, tmp_path, capsys):
    own = tmp_path / "models"
    for seed in (0, 1):
        SpeechClassifier.from_pretrained(models / f"seed-{seed}").save_pretrained(own / f"s{seed}")
    options = ("--methods", "saliency", "--units", "20ms", "--limit", "1")
    assert run([own], manifest, tmp_path / "out", *options) == 0
    SpeechClassifier.from_pretrained(models / "seed-2").save_pretrained(own / "s1")
    assert run([own], manifest, tmp_path / "out", *options) == 2
    assert "another model of the name 's1'" in capsys.readouterr().err


def test_the_share_of_the_highest_and_magnitudes_are_options(models, manifest, tmp_path):
    options = ("--methods", "saliency", "--units", "20ms", "--limit", "2")
    assert run([models], manifest, tmp_path / "out", *options, "--top", "0.5") == 0
    half = rows(tmp_path / "out" / "table.csv")[0]
    assert float(half["chance"]) == pytest.approx(0.5, abs=0.02)
    assert run([models], manifest, tmp_path / "out", *options, "--absolute") == 0
    assert rows(tmp_path / "out" / "table.csv")[0]["agreement"] != half["agreement"]
    assert "absolute scores" in (tmp_path / "out" / "summary.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--methods", "shap"), "unknown method 'shap'"),
        (("--methods", "lime,lime"), "give every name once"),
        (("--units", "frame"), "is no unit"),
        (("--top", "2"), "--top must lie between 0 and 1"),
        (("--inputs", "cepstrum"), "no input 'cepstrum'"),
        (("--tasks", "mood"), "no task 'mood'"),
    ],
)
def test_bad_options_end_in_one_line(models, manifest, tmp_path, capsys, options, message):
    assert run([models], manifest, tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_help_names_every_method(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "5000")
    with pytest.raises(SystemExit):
        main(["reliability", "--help"])
    assert f"of {', '.join(method_names())};" in capsys.readouterr().out


def test_one_model_is_too_few(models, manifest, tmp_path, capsys):
    assert run([models / "seed-0"], manifest, tmp_path / "out") == 2
    assert "two models" in capsys.readouterr().err
    assert run([models / "seed-0", models / "seed-9"], manifest, tmp_path / "out") == 2
    assert "no such model folder" in capsys.readouterr().err
    shutil.copytree(models / "seed-0", tmp_path / "same")
    assert run([models / "seed-0", tmp_path / "same"], manifest, tmp_path / "out") == 2
    assert "seed-0 and same are the same model" in capsys.readouterr().err


def test_units_without_times_are_told(models, manifest, tmp_path, capsys):
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    plain = [{k: v for k, v in line.items() if k not in ("words", "phones")} for line in lines]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in plain))
    assert run([models], manifest, tmp_path / "out", "--units", "word") == 2
    error = capsys.readouterr().err
    assert "units of words and phones need their times" in error
    assert "captum-spes align" in error


@pytest.mark.filterwarnings("always:.*perturbed by no sample")
def test_agreement_by_cost_is_drawn_where_a_method_has_several(models, manifest, tmp_path):
    options = ("--methods", "spes@5,spes@40,saliency", "--units", "20ms", "--limit", "2")
    assert run([models], manifest, tmp_path / "out", *options) == 0
    assert (tmp_path / "out" / "speaker-cost.png").stat().st_size > 10_000
    [axes] = plot_cost(StabilityStudy.load(tmp_path / "out"), "speaker").axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert len(lines["spes, 20ms, ceiling"].get_xdata()) == 2
    assert "saliency, ceiling" not in lines


def test_pictures_have_a_row_per_input(models, manifest, tmp_path):
    options = ("--methods", "saliency,spes@10", "--units", "20ms", "--inputs",
               "waveform,encoder", "--limit", "2")  # fmt: skip
    assert run([models], manifest, tmp_path / "out", *options) == 0
    study = StabilityStudy.load(tmp_path / "out")
    assert not (tmp_path / "out" / "speaker-cost.png").exists()
    axes = plot_stability(study, "speaker").axes
    assert [a.get_title(loc="left") for a in axes] == ["speaker, waveform", "speaker, encoder"]
    with pytest.raises(KeyError):
        plot_stability(study, "mood")
    written = write_stability(study, tmp_path / "again")
    assert [p.name for p in written] == ["table.csv", "agreements.csv", "summary.md", "speaker.png"]


def test_units_that_nobody_can_rank_are_told(models, manifest, tmp_path, capsys):
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    of_one_word = [{**line, "words": line["words"][:1]} for line in lines]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in of_one_word))
    options = ("--methods", "saliency", "--units", "word")
    assert run([models], manifest, tmp_path / "out", *options) == 2
    assert "no utterance has two units" in capsys.readouterr().err
