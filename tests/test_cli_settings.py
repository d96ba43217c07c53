"""Commands and Python have one set of settings, options change what they name, and every run is
told what it will cost before it starts."""

import dataclasses
import inspect
import json
import re
import shutil

import pytest
import soundfile

from captum_spes import Settings, SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.attr import GaussianProcess, MaskedMean
from captum_spes.cli import main
from captum_spes.errors import ArgumentError
from captum_spes.forward import TokenProbability

# Few samples are noise; the command line prints it.
pytestmark = pytest.mark.filterwarnings("always:.*sampling noise")

# What is not typed: objects, which names of methods stand for, and what has options of its own,
# such as --num-beams.
UNTYPED = {"estimator", "design", "perturb_jointly", "gen_args"}
NAMES = {
    "n_samples": "--samples",
    "n_token_samples": "--token-samples",
    "perturbations_per_eval": "--batch-size",
}
# Options, and what they make of which setting.
OPTIONS = {
    "--samples 70": ("n_samples", 70),
    "--token-samples 0": ("n_token_samples", 0),
    "--perturb-prob 0.25": ("perturb_prob", 0.25),
    "--token-perturb-prob 0.125": ("token_perturb_prob", 0.125),
    "--patches-per-second 30": ("patches_per_second", (30,)),
    "--patches-per-second 400 500 600": ("patches_per_second", (400, 500, 600)),
    "--max-seconds 3": ("max_seconds", 3.0),
    "--max-seconds none": ("max_seconds", None),
    "--n-patches 20 30": ("n_patches", (20, 30)),
    "--feature-mask grid": ("feature_mask", "grid"),
    "--baselines 0.5": ("baselines", 0.5),
    "--baselines mean": ("baselines", "mean"),
    "--gradients-with-padding no": ("gradients_with_padding", False),
    "--tolerance 0.25": ("tolerance", 0.25),
    "--batch-size 3": ("perturbations_per_eval", 3),
    "--dtype float32": ("dtype", None),
    "--num-beams 2": ("gen_args", {"num_beams": 2}),
}


@pytest.fixture
def recording(tmp_path, audio):
    soundfile.write(tmp_path / "tone.flac", audio, 16_000)
    return tmp_path / "tone.flac"


@pytest.fixture
def commands(recording, model_folder, tmp_path):
    """Both commands, explaining the same recording."""
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps({"id": "tone", "audio": recording.name, "text": "the cat"}))
    out = tmp_path / "out"
    return {
        "explain": ["explain", str(recording), "--model", str(model_folder), "--out", str(out)],
        "evaluate": [
            "evaluate", str(manifest), "--model", str(model_folder), "--methods", "spes",
            "--out", str(out),
        ],
    }  # fmt: skip


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The settings that commands ask the wrapper for; nothing is explained."""
    found = []

    def attribute(self, *args, settings, **kwargs):
        found.append(settings)
        raise ArgumentError("stopped before the first pass")

    monkeypatch.setattr(SpeechToTextAttribution, "attribute", attribute)

    def settings_of(command, *options):
        found.clear()
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        assert main([*command, *options]) == 2
        (settings,) = found
        return settings

    return settings_of


class TestDefaults:
    @pytest.mark.parametrize("command", ["explain", "evaluate"])
    def test_are_those_of_python(self, asked, commands, command):
        # But for the batch, which nobody can know beforehand and which changes nothing.
        wanted = Settings.efficient(perturbations_per_eval="auto")
        assert asked(commands[command], "--quiet") == wanted
        paper = Settings.paper(perturbations_per_eval="auto")
        assert asked(commands[command], "--quiet", "--scheme", "paper") == paper

    @pytest.mark.parametrize("model", [(), ("--model", "demo")])
    def test_hold_for_the_bundled_model_too(self, asked, model):
        found = asked(["explain", *model, "--quiet"])
        assert found == Settings.efficient(perturbations_per_eval="auto")

    @pytest.mark.parametrize("scheme", ["efficient", "paper"])
    @pytest.mark.parametrize("option", OPTIONS)
    def test_an_option_changes_its_own_setting_only(self, asked, commands, option, scheme):
        name, value = OPTIONS[option]
        start = getattr(Settings, scheme)(perturbations_per_eval="auto")
        for command in commands.values():
            found = asked(command, "--quiet", "--scheme", scheme, *option.split())
            assert found == start.replace(**{name: value})
            assert found.estimator == start.estimator

    def test_a_score_that_can_be_negative_is_read_without_logarithms(self, asked, commands):
        for command in commands.values():
            found = asked(command, "--quiet", "--score", "probability")
            assert found.score == TokenProbability()
            assert found.estimator == GaussianProcess(log_impacts=False)
            paper = asked(command, "--quiet", "--scheme", "paper", "--score", "probability")
            assert paper.estimator == MaskedMean()

    def test_more_samples_than_the_regression_takes_need_the_papers_scheme(
        self, asked, commands, capsys
    ):
        for command in commands.values():
            assert main([*command, "--quiet", "--samples", "20000"]) == 2
            assert "at most 10000 samples" in capsys.readouterr().err
            found = asked(command, "--quiet", "--samples", "20000", "--scheme", "paper")
            assert found.n_samples == 20_000


def test_evaluate_judges_what_explain_shows(commands, asked, tmp_path, capsys):
    """The same options, the same settings, and the same in the file."""
    options = ("--samples", "20", "--token-samples", "10", "--quiet")
    shown = asked(commands["explain"], *options)
    assert asked(commands["evaluate"], *options) == shown
    kept = json.loads((tmp_path / "out" / "settings.json").read_text())["settings"]
    assert Settings.from_dict(kept) == shown.replace(perturbations_per_eval=4)


def test_what_explain_saves_is_what_it_was_asked_for(commands, tmp_path, capsys):
    options = ("--samples", "20", "--token-samples", "10", "--batch-size", "4", "--quiet")
    assert main([*commands["explain"], "--target", "the cat", *options]) == 0
    saved = SpeechToTextAttributionResult.load(tmp_path / "out" / "tone" / "explanation.npz")
    assert saved.settings == Settings.efficient(n_samples=20, n_token_samples=10)


class TestHelp:
    @pytest.fixture(params=["explain", "evaluate"])
    def shown(self, request, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "5000")
        with pytest.raises(SystemExit):
            main([request.param, "--help"])
        return capsys.readouterr().out

    def test_has_an_option_for_every_setting_that_can_be_typed(self, shown):
        for field in dataclasses.fields(Settings):
            option = NAMES.get(field.name, "--" + field.name.replace("_", "-"))
            assert (f"{option} " in shown) == (field.name not in UNTYPED), field.name

    def test_is_the_documentation_of_the_settings(self, shown):
        documented = inspect.getdoc(Settings)
        for field in dataclasses.fields(Settings):
            if field.name in UNTYPED | {"method_args"}:  # whose value differs between commands
                continue
            entry = re.search(rf"^    {field.name} \(.*?\): (.*?)[.;]$", documented, re.S | re.M)
            words = re.split(r"[`:;]", " ".join(entry.group(1).split()))[0].strip()
            assert words in shown, field.name

    def test_tells_the_defaults_of_both_schemes(self, shown):
        assert "(default: 40; paper: 20000)" in shown
        assert "(default: 200; paper: 2000)" in shown
        assert "(default: 16 values from 60 to 400; paper: 400 500 600)" in shown


def test_names_from_python_are_understood(asked, commands):
    """Settings by the names that they have there, and the study by what it measures."""
    for short, own in (("--samples", "--n-samples"), ("--token-samples", "--n-token-samples")):
        given = [asked(commands["explain"], name, "7") for name in (short, own)]
        assert given[0] == given[1]
        assert given[0] != asked(commands["explain"])
    with pytest.raises(SystemExit) as end:
        main(["stability", "--help"])
    assert end.value.code == 0


class TestCost:
    def test_explain_tells_it_before_it_starts(self, asked, commands, capsys):
        options = ("--samples", "70", "--token-samples", "30", "--target", "the cat")
        asked(commands["explain"], *options)
        lines = capsys.readouterr().err.splitlines()
        (cost,) = (number for number, line in enumerate(lines) if "passes" in line)
        assert re.search(
            "captum-spes: 1 recording, each 211 passes of spectrograms and 31 of previous tokens; "
            "about [0-9.]+ (s|min|h)$",
            lines[cost],
        )
        assert "stopped before the first pass" in " ".join(lines[cost + 1 :])

    def test_evaluate_tells_the_scoring_too(self, asked, commands, capsys):
        options = ("--samples", "70", "--token-samples", "30", "--methods", "spes,feature-wise")
        assert main([*commands["evaluate"], *options]) == 2
        lines = capsys.readouterr().err.splitlines()
        (cost,) = (number for number, line in enumerate(lines) if "passes" in line)
        # SPES differentiates at 20 masks, each of which counts as thirteen passes.
        # Two methods of 19 steps of deletion and of insertion, and nothing and everything removed.
        assert re.search(
            "captum-spes: 1 recording, each 402 passes of spectrograms and 62 of previous tokens, "
            "78 transcriptions to score them; about [0-9.]+ (s|min|h)$",
            lines[cost],
        )
        assert any("stopped before the first pass" in line for line in lines[cost + 1 :])

    @pytest.mark.parametrize("command", ["explain", "evaluate"])
    def test_is_not_told_to_the_quiet(self, asked, commands, capsys, command):
        asked(commands[command], "--quiet")
        assert "passes" not in capsys.readouterr().err.replace("before the first pass", "")

    def test_comes_again_in_a_second_run(self, asked, commands, capsys):
        """And once only."""
        for _ in range(2):
            asked(commands["explain"])
            assert capsys.readouterr().err.count("passes of spectrograms") == 1
