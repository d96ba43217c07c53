"""README and docs: their code runs, their commands and links exist."""

import inspect
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import soundfile
import torch

from captum_spes.cli import main
from captum_spes.speech.methods import METHODS
from captum_spes.stability import parse_method, parse_units, run_study
from tests.analysis.planted import planted_result
from tests.stability.planted import PlantedModel, drawn, utterances

ROOT = Path(__file__).parents[1]
README, DOCS = ROOT / "README.md", ROOT / "docs"
# The examples of docs/captum.md have a test of their own.
PAGES = [README, *sorted(page for page in DOCS.glob("*.md") if page.name != "captum.md")]
LINKING_PAGES = [README, *sorted(DOCS.glob("*.md")), ROOT / "CHANGELOG.md"]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
each_linking_page = pytest.mark.parametrize("page", LINKING_PAGES, ids=lambda page: page.stem)


def code_blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def test_the_smallest_family_is_shown_as_it_is():
    from captum_spes.speech.models import llm_families

    page = (DOCS / "families.md").read_text()
    assert inspect.getsource(llm_families.GlmAsrModel) in page


def names_after(page):
    """Run the Python blocks of a page from top to bottom, as its reader does."""
    names = {"__name__": page.stem}
    for number, block in enumerate(code_blocks(page, "python"), 1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    return names


@pytest.fixture
def reader(tiny_whisper, audio, tmp_path, monkeypatch):
    """What a reader has at hand: a recording, explanations, word times, a study across seeds, and
    a hub, whose model is a small random one here."""
    import transformers

    for name, value in zip(
        ("WhisperForConditionalGeneration", "WhisperProcessor"), tiny_whisper, strict=True
    ):
        stub = SimpleNamespace(from_pretrained=lambda name, value=value, **kwargs: value)
        monkeypatch.setattr(transformers, name, stub)
    monkeypatch.chdir(tmp_path)
    soundfile.write("speech.wav", audio, 16_000)
    for name in "ab":
        Path("explained", name).mkdir(parents=True)
        planted_result([" so", " no"]).save(Path("explained", name, "explanation.npz"))
    times = '"words": [["so", 0.1, 0.3], ["no", 0.5, 0.7]]'
    Path("times.jsonl").write_text("".join(f'{{"id": "{name}", {times}}}\n' for name in "ab"))
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    methods, units = [parse_method("spes@9")], [parse_units("20ms")]
    run_study(models, utterances(tmp_path / "corpus"), methods, units, "stability")
    registered = dict(METHODS)
    yield
    plt.close("all")
    for name in METHODS.keys() - registered.keys():
        del METHODS[name]


def check_readme(names):
    assert names["attributions"].shape == names["spectrogram"].shape
    assert Path("speech.npz").exists()


def check_concepts(names):
    mean, difference = names["mean"][0], names["difference"][0]
    assert torch.allclose(mean, torch.tensor([1.5, 2.0, 1.0, 0.5]), atol=0.1)
    assert torch.allclose(difference, names["weights"], atol=0.1)


def check_guide(names):
    assert 0 <= names["curve"].auc <= 100
    assert names["found"].table["word"].tolist() == ["so", "no"] * 2
    assert names["table"]["agreement"].tolist() == [1.0]
    assert names["words"].adapter.model_id == "four words"
    assert names["maps"]["spectrogram_attr"].dims == ("token", "time", "frequency")
    for file in ("words.csv", "speech.nc", "speech.TextGrid"):
        assert Path(file).exists()
    assert type(names["robust"].attr_method.estimator).__name__ == "Median"


CHECKS = {
    README: check_readme,
    DOCS / "concepts.md": check_concepts,
    DOCS / "guide.md": check_guide,
}


@pytest.mark.filterwarnings("ignore:.*perturbed by no sample", "ignore:.*sampling noise")
@each_page
def test_python_blocks_run(page, reader):
    """With a small random model in the place of the hub's; pages say what should come out."""
    names = names_after(page)
    if page in CHECKS:
        CHECKS[page](names)


def test_guide_lists_all_methods():
    listed = re.findall(r"^\| `([a-z-]+)` \|", (DOCS / "guide.md").read_text(), re.MULTILINE)
    assert listed == list(METHODS)


@each_page
def test_commands_have_the_options_that_are_shown(page, capsys):
    """Each ``captum-spes`` line of the page, against the help of its command."""
    text = "\n".join(code_blocks(page, "console") + code_blocks(page, "bash"))
    lines = re.findall(r"captum-spes (?!&)(.+)", text.replace("\\\n", " "))
    for line in lines:
        command, *words = shlex.split(line)
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        described = re.findall(r"--[a-z-]+", capsys.readouterr().out)
        assert {word for word in words if word.startswith("--")} <= set(described), line


def test_commands_of_the_readme():
    """The two that start everything: the tests of a change read them from here."""
    run, test = code_blocks(README, "bash")
    assert run.strip().endswith("&& captum-spes explain --out explained")
    assert test.strip().endswith("&& pytest")
    assert all(command.startswith("pip install -c constraints.txt ") for command in (run, test))


def test_readme_is_short():
    assert len(README.read_text().split()) <= 700


def anchors(page):
    """As GitHub makes them of headings: the second of two equal ones ends in -1."""
    found = []
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ (.*)$", prose, re.MULTILINE):
        anchor = re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        found.append(f"{anchor}-{n}" if (n := found.count(anchor)) else anchor)
    return found


@pytest.mark.skipif(not (DOCS / "images").is_dir(), reason="pictures come with a clone only")
@each_linking_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        place, _, anchor = target.partition("#")
        file = page.parent / place if place else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target
