"""The README's code runs as it stands."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile

from captum_spes.reliability import parse_method, parse_units, run_study
from tests.analysis.planted import planted_result
from tests.reliability.planted import PlantedModel, drawn, utterances

README = Path(__file__).parents[1] / "README.md"


def code_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_captum_snippet():
    captum_snippet, *_ = code_blocks("python")
    names = {}
    exec(captum_snippet, names)
    assert names["attributions"].shape == names["spectrogram"].shape


@pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
def test_whisper_and_measures_snippets(tiny_whisper, audio, tmp_path, monkeypatch):
    """With a small random model in the place of the hub's."""
    import transformers

    _, whisper_snippet, measures_snippet, *_ = code_blocks("python")
    for name, value in zip(
        ("WhisperForConditionalGeneration", "WhisperProcessor"), tiny_whisper, strict=True
    ):
        stub = SimpleNamespace(from_pretrained=lambda name, value=value, **kwargs: value)
        monkeypatch.setattr(transformers, name, stub)
    monkeypatch.chdir(tmp_path)
    soundfile.write("speech.wav", audio, 16_000)
    names = {}
    exec(whisper_snippet, names)
    assert (tmp_path / "speech.npz").exists()
    exec(measures_snippet, names)
    assert 0 <= names["curve"].auc <= 100


def test_analysis_snippet(tmp_path, monkeypatch):
    """With two small explanations in the place of the reader's."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / "explained" / name).mkdir(parents=True)
        planted_result([" so", " no"]).save(tmp_path / "explained" / name / "explanation.npz")
    times = '"words": [["so", 0.1, 0.3], ["no", 0.5, 0.7]]'
    lines = [f'{{"id": "{name}", {times}}}' for name in "ab"]
    (tmp_path / "times.jsonl").write_text("\n".join(lines))
    names = {}
    exec(code_blocks("python")[3], names)
    assert names["found"].table["word"].tolist() == ["so", "no"] * 2


def test_reliability_snippet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    methods, units = [parse_method("spes@9")], [parse_units("20ms")]
    run_study(models, utterances(tmp_path / "corpus"), methods, units, tmp_path / "reliability")
    names = {}
    exec(code_blocks("python")[4], names)
    assert names["table"]["agreement"].tolist() == [1.0]


def test_number_of_methods():
    from captum_spes.corpus import METHODS

    assert f"lists the {len(METHODS)} methods" in " ".join(README.read_text().split())


def test_commands():
    run, test = code_blocks("bash")
    assert "captum-spes explain" in run
    assert test.strip().endswith("&& pytest")


def test_files_that_it_links_are_there():
    text = README.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("http"):
            assert (README.parent / target).exists(), target
