"""The command line from recordings to tables of the plausibility analyses."""

import json
import shutil
import unicodedata

import pandas as pd
import pytest

from captum_spes.alignment import Alignment, Interval, read_alignments
from captum_spes.analysis import load_results
from captum_spes.cli import main
from captum_spes.corpus import ExplanationStore
from captum_spes.demo import MANIFEST, load_examples
from tests.analysis.planted import noise, planted_result


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


# Of recordings that are explained with few samples; the command line prints it.
pytestmark = pytest.mark.filterwarnings("always:.*sampling noise")


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """Three bundled recordings, really explained."""
    folder = tmp_path_factory.mktemp("explained")
    recordings = [example.path for example in load_examples()[:3]]
    status = main(
        ["explain", *map(str, recordings), "--model", "demo", "--out", str(folder), "--quiet",
         "--samples", "80", "--token-samples", "100", "--prior", "6"]
    )  # fmt: skip
    assert status == 0
    return folder


@pytest.mark.slow
class TestAnalyse:
    def test_maps_lie_where_the_words_are_spoken(self, capsys, explained, tmp_path):
        out = tmp_path / "analysed"
        status, printed, _ = run(
            capsys, "analyse", explained, "--out", out, "--alignments", MANIFEST,
            "--manifest", MANIFEST, "--group-by", "gender",
        )  # fmt: skip
        assert status == 0
        names = {path.name for path in out.iterdir()}
        for name in ("token_evidence", "word_times", "previous_tokens"):
            assert {f"{name}.csv", f"{name}_tests.csv", f"{name}.png"} <= names
        assert {
            "summary.md",
            "word_profiles.png",
            "phone_profiles.png",
            "word_evidence.csv",
        } <= names
        tests = pd.read_csv(out / "word_times_tests.csv").set_index("question")
        words = tests.loc["inside > outside, words"]
        assert words["n"] > 15
        assert words["p_corrected"] < 0.01
        own = tests.loc["pointing, own word > others"]
        assert own["p_corrected"] < 0.01
        assert own["effect_size"] > 0.5
        assert tests.loc["centres follow the words (rho > 0)", "effect_size"] > 0.8
        summary = (out / "summary.md").read_text()
        assert printed.strip().startswith(summary.strip())
        assert "# Analyses of 3 explanations by SPES" in summary
        assert "3 utterances have times" in summary

    def test_without_times(self, capsys, explained, tmp_path):
        status, printed, _ = run(capsys, "analyse", explained, "--out", tmp_path / "a")
        assert status == 0
        names = {path.name for path in (tmp_path / "a").iterdir()}
        assert "word_evidence.csv" in names
        assert "word_times.csv" not in names
        assert "Kurtosis" in printed

    def test_a_store_is_read_as_a_folder_is(self, capsys, explained, tmp_path):
        store = tmp_path / "maps.h5"
        with ExplanationStore(store) as opened:
            for name, result in load_results(explained).items():
                opened.add(name, result)
        for place, out in ((store, tmp_path / "of store"), (explained, tmp_path / "of folder")):
            assert run(capsys, "analyse", place, "--out", out)[0] == 0
        tables = [file.name for file in (tmp_path / "of folder").glob("*.csv")]
        assert "token_evidence.csv" in tables
        for name in tables:
            first, second = (tmp_path / folder / name for folder in ("of store", "of folder"))
            assert first.read_bytes() == second.read_bytes()

    def test_utterances_without_times_are_named(self, capsys, explained, tmp_path):
        lines = MANIFEST.read_text().splitlines()[:2]
        (tmp_path / "two.jsonl").write_text("\n".join(lines))
        status, printed, _ = run(
            capsys, "analyse", explained, "--out", tmp_path / "a",
            "--alignments", tmp_path / "two.jsonl",
        )  # fmt: skip
        assert status == 0
        left_out = load_examples()[2].path.stem
        assert f"* {left_out}: no alignment" in printed

    def test_hallucinations_where_the_audio_lacks_words(self, capsys, explained, tmp_path):
        """One recording's words are given as those of another."""
        first, second, _ = (example.path.stem for example in load_examples()[:3])
        lines = [json.loads(line) for line in MANIFEST.read_text().splitlines()[:3]]
        lines[0]["words"] = lines[0]["words"][: len(lines[0]["words"]) // 2]
        (tmp_path / "times.jsonl").write_text("\n".join(map(json.dumps, lines)))
        out = tmp_path / "a"
        status, _, _ = run(
            capsys, "analyse", explained, "--out", out, "--alignments", tmp_path / "times.jsonl"
        )
        assert status == 0
        words = pd.read_csv(out / "word_evidence.csv")
        assert not words.loc[words["utterance"] == first, "supported"].all()
        assert words.loc[words["utterance"] == second, "supported"].all()
        assert {"auc_low", "auc_high"} <= set(pd.read_csv(out / "word_evidence_tests.csv"))


class TestAlign:
    def test_a_manifest(self, capsys, tmp_path):
        pytest.importorskip("pocketsphinx")
        example = next(e for e in load_examples() if e.name == "test-00121")
        shutil.copy(example.path, tmp_path / "a.flac")
        lines = [
            {"id": "a", "audio": "a.flac", "text": example.text},
            {"id": "b", "audio": "a.flac", "text": "a zxcvq"},
        ]
        (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
        out = tmp_path / "times.jsonl"
        status, printed, errors = run(
            capsys, "align", tmp_path / "m.jsonl", "--out", out, "--quiet"
        )
        assert status == 0
        assert "aligned 1 of 2" in printed
        assert "b: the dictionary lacks zxcvq" in errors
        assert [w.label for w in read_alignments(out)["a"].words] == [
            w.label.lower() for w in example.words
        ]

    @pytest.fixture
    def planted(self, monkeypatch):
        """An aligner that finds one word, or raises what a text names."""

        def align(audio, text):
            errors = {"type": TypeError("samplerate"), "file": FileNotFoundError("gone"),
                      "stop": KeyboardInterrupt()}  # fmt: skip
            if text in errors:
                raise errors[text]
            return Alignment((Interval(text, 0.1, 0.3),))

        monkeypatch.setattr("captum_spes.alignment.force_align", align)

    def manifest(self, tmp_path, *texts):
        shutil.copy(load_examples()[0].path, tmp_path / "a.flac")
        lines = [{"id": f"u{i}", "audio": "a.flac", "text": t} for i, t in enumerate(texts)]
        (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
        return tmp_path / "m.jsonl"

    def test_no_error_of_one_recording_ends_the_run(self, capsys, tmp_path, planted):
        out = tmp_path / "times.jsonl"
        manifest = self.manifest(tmp_path, "so", "type", "file", "no")
        status, printed, errors = run(capsys, "align", manifest, "--out", out, "--quiet")
        assert status == 0
        assert "aligned 2 of 4" in printed
        assert errors.splitlines() == [
            "captum-spes: u1: TypeError: samplerate", "captum-spes: u2: gone"
        ]  # fmt: skip
        assert set(read_alignments(out)) == {"u0", "u3"}

    def test_an_interrupted_run_keeps_what_it_has(self, capsys, tmp_path, planted):
        out = tmp_path / "times.jsonl"
        manifest = self.manifest(tmp_path, "so", "stop", "no")
        assert run(capsys, "align", manifest, "--out", out, "--quiet")[0] == 130
        assert set(read_alignments(out)) == {"u0"}

    def test_nothing_aligned(self, capsys, tmp_path):
        pytest.importorskip("pocketsphinx")
        shutil.copy(load_examples()[0].path, tmp_path / "a.flac")
        (tmp_path / "m.jsonl").write_text(json.dumps({"audio": "a.flac", "text": "zxcvq"}))
        status, _, errors = run(
            capsys, "align", tmp_path / "m.jsonl", "--out", tmp_path / "t.jsonl", "--quiet"
        )
        assert status == 2
        assert "no recording could be aligned" in errors
        assert not (tmp_path / "t.jsonl").exists()


class TestWrongUse:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["missing", "--out", "o"], "no such explanation: missing"),
            ([".", "--out", "o"], "holds no saved explanation"),
            (["a.npz", "--out", "o", "--compare", "so", "no"], "--compare needs --alignments"),
            (["a.npz", "--out", "o", "--group-by", "gender"], "--group-by needs --alignments"),
            (
                ["a.npz", "--out", "o", "--alignments", "a.json", "--group-by", "x"],
                "--group-by and --manifest go together",
            ),
            (["a.npz", "--out", "o", "--alignments", "x.json"], "no such alignment: x.json"),
            (["a.npz", "--out", "file"], "file"),
        ],
    )
    def test_one_clear_line(self, capsys, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        if "a.npz" in arguments:
            planted_result([" so", " no"]).save("a.npz")
        (tmp_path / "file").write_text("")
        status, _, errors = run(capsys, "analyse", *arguments)
        assert status == 2
        assert errors.startswith("captum-spes: error: ")
        assert message in errors
        assert len(errors.strip().splitlines()) == 1

    def test_a_word_that_does_not_occur(self, capsys, tmp_path):
        for name in "ab":
            planted_result([" so", " no"]).save(tmp_path / f"{name}.npz")
        times = {"words": [["so", 0.1, 0.3], ["no", 0.5, 0.7]]}
        for name in "ab":
            (tmp_path / f"{name}.json").write_text(json.dumps(times))
        arguments = ["analyse", tmp_path, "--out", tmp_path / "o", "--alignments", tmp_path]
        status, printed, _ = run(
            capsys, *arguments, "--compare", "So", "yes", "--compare", "So", "No"
        )
        assert status == 0
        assert "Not made: 'so' occurs in 2 utterances, 'yes' in 0" in printed
        assert "so - no, " in printed
        assert (tmp_path / "o" / "so_and_no.png").exists()


class TestPlantedResults:
    """Everything but the explaining, on a folder of small results."""

    @pytest.fixture
    def folder(self, tmp_path):
        for seed in range(6):
            maps = noise(3, seed)
            times = {"words": [["so", 0.1, 0.3], ["no", 0.5, 0.7]]}
            planted_result([" so", " no", "."], maps).save(tmp_path / f"u{seed}.npz")
            (tmp_path / f"u{seed}.json").write_text(json.dumps(times))
        return tmp_path

    def analyse(self, capsys, folder, *more):
        return run(
            capsys, "analyse", folder, "--out", folder / "out", "--alignments", folder, *more
        )

    @pytest.mark.filterwarnings("always:.*left out")
    def test_segments_without_words_say_nothing_of_words(self, capsys, folder):
        """They are not counted as not said."""
        transcript = {
            "text": "so no",
            "segments": [{"id": 0, "start": 0, "end": 1, "text": "so no"}],
        }
        (folder / "u5.json").write_text(json.dumps(transcript))
        status, printed, errors = self.analyse(capsys, folder)
        assert status == 0
        assert "u5.json: segment 1 has no words: transcribe with the times of words" in errors
        assert "* u5: no alignment" in printed
        assert "5 utterances have times" in printed
        assert "every word of the output was matched" in printed

    @pytest.mark.filterwarnings("always:.*left out")
    def test_one_bad_file_is_named(self, capsys, folder):
        (folder / "u0.json").write_text("[" * 100_000)
        (folder / "u1.json").write_text('{"words": [["so", 0.1, 0.3], ["no", 0.7, 0.5]]}')
        status, printed, errors = self.analyse(capsys, folder)
        assert status == 0
        assert "u0.json: no JSON that can be read: it is nested too deeply" in errors
        assert "u1.json: left out word 2: 'no' from 0.7 to 0.5" in errors
        assert "* u0: no alignment" in printed
        assert "* u1: written only: no; spoken only: -" in printed

    @pytest.mark.parametrize("language", ["sv", "vi", "am", "el", "pt-BR"])
    def test_odd_numbers_in_any_language(self, capsys, folder, language):
        planted_result([" so", " 1961", " 1.5th", f" {'9' * 5000}"]).save(folder / "u0.npz")
        assert self.analyse(capsys, folder, "--language", language)[0] == 0

    def test_what_is_no_language_is_told(self, capsys, folder):
        status, _, errors = self.analyse(capsys, folder, "--language", "German")
        assert status == 2
        assert errors == (
            "captum-spes: error: the language 'German' is no code such as 'en' or 'pt-BR'.\n"
        )

    def test_names_in_another_form(self, capsys, folder):
        (folder / "u0.npz").rename(folder / (unicodedata.normalize("NFD", "Zürich") + ".npz"))
        (folder / "u0.json").rename(folder / (unicodedata.normalize("NFC", "Zürich") + ".json"))
        status, printed, _ = self.analyse(capsys, folder)
        assert status == 0
        assert "6 utterances have times" in printed

    @pytest.mark.filterwarnings("always:no font of this system")
    def test_a_language_without_spaces(self, capsys, tmp_path):
        for name in "ab":
            planted_result(["今", "天", "很", "好", "。"]).save(tmp_path / f"{name}.npz")
            times = {"words": [["今天", 0.1, 0.3], ["很", 0.4, 0.5], ["冷", 0.5, 0.7]]}
            (tmp_path / f"{name}.json").write_text(json.dumps(times))
        assert self.analyse(capsys, tmp_path, "--language", "zh")[0] == 0
        words = pd.read_csv(tmp_path / "out" / "word_evidence.csv")
        assert words["word"].tolist() == ["今", "天", "很", "好"] * 2
        assert words["supported"].tolist() == [True, True, True, False] * 2

    @pytest.mark.parametrize("bands", ["bark", "erb", "hz", "voice"])
    def test_every_kind_of_band(self, capsys, folder, bands):
        status, _, _ = self.analyse(capsys, folder, "--bands", bands)
        assert status == 0
        assert (folder / "out" / "word_profiles.png").exists()

    def test_three_groups_and_one_utterance_without(self, capsys, folder):
        lines = [{"id": f"u{i}", "speaker": ("a/1", "b", "c")[i // 2]} for i in range(5)]
        (folder / "who.txt").write_text("\n".join(map(json.dumps, lines)))
        status, printed, _ = self.analyse(
            capsys, folder, "--manifest", folder / "who.txt", "--group-by", "speaker"
        )
        assert status == 0
        assert "u5: no group" in printed
        assert (folder / "out" / "a_1_and_b.csv").exists()
        # One speaker of one utterance cannot be compared; the rest is there all the same.
        assert "Not made: 'a/1' occurs in 2 utterances, 'c' in 1" in printed
        assert "Not made: 'b' occurs in 2 utterances, 'c' in 1" in printed
        assert "## Previous tokens" in printed

    def test_groups_of_others_do_not_matter(self, capsys, folder):
        lines = [{"id": f"u{i}", "gender": "female"} for i in range(6)]
        lines.append({"id": "somebody else", "gender": "male"})
        (folder / "who.txt").write_text("\n".join(map(json.dumps, lines)))
        status, printed, _ = self.analyse(
            capsys, folder, "--manifest", folder / "who.txt", "--group-by", "gender"
        )
        assert status == 0
        assert "male" not in printed.replace("female", "")

    def test_no_word_in_common(self, capsys, folder):
        for seed in range(6):
            (folder / f"u{seed}.json").write_text('{"words": [["yes", 0.1, 0.3]]}')
        status, printed, _ = self.analyse(capsys, folder)
        assert status == 0
        assert "* u0: written only: so, no; spoken only: yes" in printed
        assert "Not made: no written word has a time" in printed
        assert "no word of the output was matched to a spoken one" in printed
