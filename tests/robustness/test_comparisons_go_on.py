"""Comparisons that were stopped, damaged or started twice, with recordings that cannot be used."""

import copy
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from captum_spes import Settings, SpeechToTextAttribution
from captum_spes.cli import main
from captum_spes.corpus import Utterance
from captum_spes.errors import ArgumentError
from captum_spes.evaluation import EvaluationSettings, compare_methods
from captum_spes.report import comparison_table, write_comparison
from captum_spes.speech import named_methods
from captum_spes.speech.identity import model_digest

pytestmark = pytest.mark.filterwarnings("ignore")
SETTINGS = EvaluationSettings(
    "tiny", Settings.paper(n_samples=10, n_token_samples=5, gen_args={"max_new_tokens": 5})
)


@pytest.fixture
def utterances(tmp_path, audio):
    found = []
    for name in ("one", "two", "three"):
        soundfile.write(tmp_path / f"{name}.flac", audio, 16_000)
        found.append(Utterance(name, tmp_path / f"{name}.flac", "the cat"))
    return found


@pytest.fixture
def compare(tiny_speech2text, tmp_path):
    def compare(given, methods=("energy",), **changes):
        return compare_methods(
            *tiny_speech2text, given, named_methods(methods), replace(SETTINGS, **changes),
            tmp_path / "out",
        )  # fmt: skip

    return compare


class TestBadRecordings:
    def test_one_that_vanishes_or_cannot_be_read(self, compare, utterances, tmp_path):
        utterances[1].audio.unlink()
        comparison = compare(utterances)
        assert comparison.ids == ["one", "three"]
        assert [failure[:2] for failure in comparison.failures] == [("two", "energy")]
        assert compare(utterances).ids == ["one", "three"]  # and again, from the folder
        soundfile.write(utterances[1].audio, np.random.default_rng(0).normal(0, 0.1, 9600), 16_000)
        assert compare(utterances).ids == ["one", "two", "three"]

    def test_half_a_character(self, compare, utterances, tmp_path):
        given = [
            utterances[0], replace(utterances[1], text="the \udce9"),
            replace(utterances[2], id="x\ud800"),
        ]  # fmt: skip
        comparison = compare(given)
        assert comparison.ids == ["one"]
        assert len(comparison.failures) == 2
        assert all("half a character" in error for _, _, error in comparison.failures)
        write_comparison(comparison, tmp_path / "out")
        assert compare(given).ids == ["one"]

    def test_what_cannot_be_written(self, compare, utterances, monkeypatch):
        import captum_spes.evaluation.measuring as module

        measure, calls = module._record, []

        def odd(*args):
            calls.append(1)
            return {**measure(*args), **({"text": object()} if len(calls) == 2 else {})}

        monkeypatch.setattr(module, "_record", odd)
        comparison = compare(utterances)
        assert comparison.ids == ["one", "three"]
        assert "cannot be written" in comparison.failures[0][2]

    def test_at_the_command_line(self, capsys, model_folder, utterances, tmp_path):
        """The cost is told for what can be read; names of recordings move no cursor."""
        (tmp_path / "raw.raw").write_bytes(b"noise" * 1000)
        lines = [{"id": "\x1b[31mraw", "audio": "raw.raw", "text": "x"}]
        lines += [{"id": u.id, "audio": u.audio.name, "text": u.text} for u in utterances]
        manifest = tmp_path / "m.jsonl"
        manifest.write_text("\n".join(map(json.dumps, lines)))
        status = main([
            "evaluate", str(manifest), "--model", str(model_folder), "--methods", "energy",
            "--samples", "10", "--token-samples", "5", "--out", str(tmp_path / "out"),
        ])  # fmt: skip
        captured = capsys.readouterr()
        assert status == 0, captured.err
        assert "\\x1b[31mraw, energy: " in captured.err
        assert "\x1b[31mraw" not in captured.out + captured.err
        assert "3 recordings" in captured.err
        assert "3 utterances" in captured.out


class TestRecords:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("kl", None), ("deletion", ["a"]), ("cost", {}), ("size", "text"), ("text", 3),
            ("reference", None), ("kl", "remove"), ("size", "remove"), ("cost", "remove"),
        ],
    )  # fmt: skip
    def test_one_without_a_field_is_named_and_measured_again(
        self, compare, utterances, tmp_path, field, value
    ):
        first = compare(utterances[:2])
        path = tmp_path / "out" / "scores.jsonl"
        broken, whole = map(json.loads, path.read_text().splitlines())
        if value == "remove":
            del broken[field]
        else:
            broken[field] = value
        path.write_text(f"{json.dumps(broken)}\n{json.dumps(whole)}\n")
        with pytest.warns(UserWarning, match=f"one by energy lacks {field}"):
            again = compare(utterances[:2])
        assert again.ids == ["one", "two"]
        assert again.records["energy"]["one"]["kl"] == first.records["energy"]["one"]["kl"]
        assert len(path.read_text().splitlines()) == 3

    @pytest.mark.parametrize("line", ["null", "[]", "3", '"id"', "{}", "[" * 100_000, '{"id": 1}'])
    def test_a_line_that_is_no_record_is_named(self, compare, utterances, tmp_path, line):
        compare(utterances[:1])
        path = tmp_path / "out" / "scores.jsonl"
        path.write_text(path.read_text() + line + "\n")
        with pytest.raises(ArgumentError, match="damaged in line 2"):
            compare(utterances[:1])

    def test_settings_that_are_null(self, compare, utterances, tmp_path):
        compare(utterances[:1])
        (tmp_path / "out" / "settings.json").write_text("null")
        with pytest.raises(ArgumentError, match=r"settings\.json is damaged"):
            compare(utterances[:1])


class TestOtherModels:
    def test_other_weights_of_one_name_are_refused(self, compare, utterances, tiny_speech2text):
        compare(utterances[:1])
        with torch.no_grad():
            next(tiny_speech2text[0].parameters()).view(-1)[0] += 1e-3
        with pytest.raises(ArgumentError, match=r"other settings \(weights;"):
            compare(utterances[:1])

    def test_what_is_part_of_a_model(self, tiny_whisper):
        # The feature extractor is that of all tests.
        model, processor = copy.deepcopy(tiny_whisper)
        before = model_digest(model, processor)
        assert model_digest(model, processor) == before
        for change in (
            lambda: setattr(model.generation_config, "num_beams", 3),
            lambda: setattr(model.config, "dropout", 0.9),
            lambda: setattr(processor.feature_extractor, "hop_length", 161),
            lambda: next(iter(model.buffers()), next(model.parameters())).data.add_(1),
        ):
            change()
            after = model_digest(model, processor)
            assert after != before
            before = after

    def test_what_was_done_with_a_model_is_not(self, tiny_whisper):
        model, processor = copy.deepcopy(tiny_whisper)
        before = model_digest(model, processor)
        # What a call leaves behind that asks for padded texts of two tokens at most.
        processor.tokenizer.backend_tokenizer.enable_padding()
        processor.tokenizer.backend_tokenizer.enable_truncation(2)
        assert model_digest(model, processor) == before

    def test_the_place_of_a_model_is_not(self, model_folder, tmp_path):
        from captum_spes.speech.models import load_model

        shutil.copytree(model_folder, tmp_path / "copy")
        one, other = (model_digest(*load_model(f)) for f in (model_folder, tmp_path / "copy"))
        assert one == other


HOLD = """
import sys, time
from pathlib import Path
from captum_spes.io.locks import only_process_in
with only_process_in(Path(sys.argv[1])):
    print("held", flush=True); time.sleep(60)
"""


def test_two_at_a_time_is_one_too_many(compare, utterances, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline()
    monkeypatch.setattr(
        SpeechToTextAttribution, "attribute", lambda *a, **k: pytest.fail("worked all the same")
    )
    with pytest.raises(ArgumentError, match=f"in use by process {other.pid} on "):
        compare(utterances)
    monkeypatch.undo()
    other.kill()
    other.wait()
    other.stdout.close()
    assert len(compare(utterances).ids) == 3


def test_ids_are_data_in_tables(compare, utterances, tmp_path):
    utterances[1].audio.write_bytes(b"no audio")
    comparison = compare([utterances[0], replace(utterances[1], id="x\n\n# H\n<script>|")])
    table = comparison_table(comparison)
    assert "<script>" not in table
    assert not [line for line in table.splitlines() if line.startswith("#")]
    assert "* x\\\\n\\\\n# H\\\\n&lt;script&gt;\\|, energy: " in table
