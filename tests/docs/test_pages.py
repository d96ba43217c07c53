"""README and docs: their code runs, their commands and links exist."""

import ast
import inspect
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import soundfile
import torch

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.cli import main
from captum_spes.demo import load_demo
from captum_spes.speech.methods import METHODS
from captum_spes.stability import parse_method, parse_units, run_study
from tests.stability.planted import PlantedModel, drawn, utterances
from tests.test_public_names import LAYERS

ROOT = Path(__file__).parents[2]
README, DOCS = ROOT / "README.md", ROOT / "docs"
# What the build of the site writes into docs.
BUILT = (DOCS / "api", DOCS / "tutorials")
ALL_PAGES = [
    README,
    *sorted(page for page in DOCS.rglob("*.md") if not set(page.parents) & set(BUILT)),
]
# The examples of docs/captum.md have a test of their own.
PAGES = [page for page in ALL_PAGES if page.name != "captum.md"]
LINKING_PAGES = [*ALL_PAGES, ROOT / "CHANGELOG.md"]


def name_of(page):
    return str(page.relative_to(ROOT).with_suffix(""))


def code_blocks(page, language):
    """The blocks of a language, each behind as many empty lines as stand above it on the page."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return ["\n" * text.count("\n", 0, block.start(1)) + block[1] for block in found]


WITH_PYTHON = [page for page in PAGES if code_blocks(page, "python")]
WITH_COMMANDS = [page for page in PAGES if code_blocks(page, "console") + code_blocks(page, "bash")]

each_linking_page = pytest.mark.parametrize("page", LINKING_PAGES, ids=name_of)


def test_the_smallest_family_is_shown_as_it_is():
    from captum_spes.speech.models import llm_families

    page = (DOCS / "families.md").read_text()
    assert inspect.getsource(llm_families.GlmAsrModel) in page


def names_after(page):
    """Run the Python blocks of a page from top to bottom, as its reader does."""
    names = {"__name__": "__main__"}
    for block in code_blocks(page, "python"):
        exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture(scope="module")
def demo():
    """The bundled model, loaded once, and the explanation that many pages begin with."""
    loaded, settings = load_demo(), Settings.efficient()
    explainer = SpeechToTextAttribution(SPES(loaded.model), loaded.processor)
    result = explainer.attribute(loaded.examples[0].path, settings=settings, seed=0)
    return SimpleNamespace(loaded=loaded, settings=settings, result=result)


@pytest.fixture
def shared(demo, monkeypatch):
    """Pages load the bundled model from memory, and get its first explanation from there, too."""
    first = demo.loaded.examples[0].path
    attribute = SpeechToTextAttribution.attribute

    def remembered(self, audio, *args, **kwargs):
        is_first = (
            type(self.attr_method) is SPES
            and self.attr_method.forward_func is demo.loaded.model
            and self.attr_method.estimator == SPES(demo.loaded.model).estimator
            and isinstance(audio, Path)
            and (audio, args) == (first, ())
            and kwargs == {"settings": demo.settings, "seed": 0}
        )
        return demo.result if is_first else attribute(self, audio, *args, **kwargs)

    monkeypatch.setattr(SpeechToTextAttribution, "attribute", remembered)
    monkeypatch.setattr("captum_spes.demo.load_demo", lambda device=None: demo.loaded)


@pytest.fixture
def reader(shared, tiny_whisper, audio, tmp_path, monkeypatch):
    """What a reader has at hand: a recording, a study across seeds, and a hub, whose model is a
    small random one here."""
    import transformers

    for name, value in zip(
        ("WhisperForConditionalGeneration", "WhisperProcessor"), tiny_whisper, strict=True
    ):
        stub = SimpleNamespace(from_pretrained=lambda name, value=value, **kwargs: value)
        monkeypatch.setattr(transformers, name, stub)
    monkeypatch.chdir(tmp_path)
    soundfile.write("speech.wav", audio, 16_000)
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


def check_explain(names):
    assert Path("explanation.html").exists()
    assert names["translation"].settings.gen_args == {"target_language": "de"}
    assert names["part"].words[0].word.strip() == names["word"].word.strip()


def check_check(names):
    assert [word.word.strip() for word in names["checked"].not_heard] == ["lawyer", "reports"]
    assert names["report"].not_heard == []  # of the model's own text


def check_export(names):
    for file in ("words.csv", "speech.nc", "speech.TextGrid"):
        assert Path(file).exists()
    assert names["maps"]["spectrogram_attr"].dims == ("token", "time", "frequency")


def check_map(names):
    assert 0 <= names["curve"].auc <= 100
    assert names["measured"].against_others.auc == 0  # of energy, the last


# What should come out of a page's blocks.
CHECKS = {
    "README": check_readme,
    "docs/concepts": check_concepts,
    "docs/guides/explain": check_explain,
    "docs/guides/check": check_check,
    "docs/guides/export": check_export,
    "docs/guides/read_a_map": check_map,
    "docs/guides/seeds": lambda names: names["table"]["agreement"].tolist() == [1.0],
    "docs/guides/write_an_adapter": lambda names: names["words"].adapter.model_id == "four words",
}


@pytest.mark.filterwarnings("ignore:.*perturbed by no sample", "ignore:.*sampling noise")
@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_python_blocks_run(page, reader):
    """With a small random model in the place of the hub's; pages say what should come out."""
    names = names_after(page)
    if name_of(page) in CHECKS:
        assert CHECKS[name_of(page)](names) in (None, True)


def test_guide_lists_all_methods():
    page = (DOCS / "guides" / "compare.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)
    assert listed == list(METHODS)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_commands_have_the_options_that_are_shown(page, capsys):
    """Each ``captum-spes`` line of the page, against the help of its command."""
    text = "\n".join(code_blocks(page, "console") + code_blocks(page, "bash"))
    lines = re.findall(r"captum-spes (?!&)(.+)", text.replace("\\\n", " "))
    for line in lines:
        command, *words = shlex.split(line)
        with pytest.raises(SystemExit) as ended:
            main([command, *words, "--help"])  # what stands before --help is read first
        assert ended.value.code == 0, line
        described = re.findall(r"--[a-z-]+", capsys.readouterr().out)
        assert {word for word in words if word.startswith("--")} <= set(described), line


def test_the_picture_of_the_house_shows_every_layer():
    """In the order of the list that imports are held to."""
    picture = (DOCS / "images" / "house.svg").read_text(encoding="utf-8")
    shown = re.findall(r"<text[^>]*>([a-z]+)</text>", picture)
    rooms = [layer for layer in LAYERS if layer != "reliability"]  # the former name of another
    assert [word for word in shown if word in rooms][: len(rooms)] == rooms  # a legend follows


def test_gotchas_quote_what_the_code_says():
    """Headings in quotation marks are messages: their words stand in the source."""
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "captum_spes").rglob("*.py")]
    said = " ".join(
        "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
        if isinstance(node, ast.JoinedStr)
        else node.value
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    )
    page = (DOCS / "gotchas.md").read_text(encoding="utf-8")
    quoted = re.findall(r'"([^"]+)"', "\n".join(re.findall(r"^#+ .*$", page, re.MULTILINE)))
    quoted += re.findall(r'^"([^"]+)"', page, re.MULTILINE)
    assert len(quoted) > 12
    for message in quoted:
        for words in re.split(r"\.\.\.|[\d.]+ ?%?", message):
            assert words.strip() in said, message


def test_commands_of_the_readme():
    """The two that start everything: the tests of a change read them from here."""
    run, test = (block.strip() for block in code_blocks(README, "bash"))
    assert run.strip().endswith("&& captum-spes explain --out explained")
    assert test.strip().endswith("&& pytest")
    assert all(command.startswith("pip install -c constraints.txt ") for command in (run, test))


def test_readme_is_short():
    assert len(README.read_text().split()) <= 620


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
