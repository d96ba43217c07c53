"""A comparison by workers, and with explanations that are kept: the same, and never made twice."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from captum_spes import Settings
from captum_spes.cli import main
from captum_spes.corpus import (
    ExplanationStore,
    LocalWorkers,
    ThisProcess,
    Utterance,
    explain_corpus,
)
from captum_spes.demo import load_demo, load_examples
from captum_spes.errors import ArgumentError
from captum_spes.evaluation import EvaluationSettings, compare_methods, measuring
from captum_spes.report import comparison_rows, comparison_table
from captum_spes.speech import METHODS, GradientPrior, named_methods
from tests.corpus.elsewhere import Pickled
from tests.corpus.test_runner import contents

pytestmark = pytest.mark.filterwarnings("ignore")
AUTO = Settings.efficient(
    n_samples=20, n_token_samples=0, patches_per_second=(30,), perturbations_per_eval="auto",
    gen_args={"max_new_tokens": 8}, prior=GradientPrior(2),
)  # fmt: skip
SETTINGS = EvaluationSettings("demo", AUTO, seed=3)
NAMES = ("spes", "spes-unnormalized", "energy")


def demo():
    return load_demo()[:2]


def not_loaded():
    pytest.fail("the model is loaded")


@pytest.fixture
def utterances():
    """Two, the shorter one first."""
    first, second = load_examples()[1:3]
    assert first.path.stat().st_size < second.path.stat().st_size
    return [Utterance(own.name, own.path, own.text) for own in (first, second)]


@pytest.fixture
def compare(tmp_path, utterances):
    def compare(folder="out", *, model=demo, processor=None, methods=NAMES, **options):
        given = options.pop("utterances", utterances)
        settings = options.pop("settings", SETTINGS)
        return compare_methods(
            model, processor, given, named_methods(methods), settings, tmp_path / folder, **options
        )

    return compare


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def without_seconds(comparison):
    records = json.loads(json.dumps(comparison.records))
    for of_method in records.values():
        for record in of_method.values():
            del record["cost"]["seconds"]
    return json.dumps(records)


def explained(path, utterances, method, **options):
    """What ``captum-spes corpus`` writes."""
    with ExplanationStore(path) as store:
        given = {"method": method, "settings": AUTO, "seed": 3, "workers": ThisProcess()}
        return explain_corpus(
            utterances, store, model=demo, show_progress=False, **{**given, **options}
        )


def test_two_workers_give_the_same_and_keep_what_corpus_would(
    compare, utterances, tmp_path, one_thread
):
    here = compare(settings=replace(SETTINGS, settings=AUTO.replace(perturbations_per_eval=16)))
    assert not here.failures
    elsewhere = compare("elsewhere", workers=2, explanations=tmp_path / "kept")
    assert without_seconds(elsewhere) == without_seconds(here)  # in the order of the manifest
    assert sorted(file.name for file in (tmp_path / "kept").glob("*.h5")) == [
        "energy.h5", "spes.h5",
    ]  # fmt: skip
    for method in ("spes", "energy"):
        path = tmp_path / "kept" / f"{method}.h5"
        explained(tmp_path / f"{method}.h5", utterances, method)
        assert contents(path) == contents(tmp_path / f"{method}.h5")
        # It goes on with that store, and has nothing left to do.
        assert len(explained(path, utterances, method).known) == 2


class Passes:
    """Counts what goes through the encoder of a model."""

    def __init__(self):
        self.model, self.processor = demo()
        self.count = 0
        self.model.get_encoder().register_forward_pre_hook(self._add, with_kwargs=True)

    def _add(self, module, args, kwargs):
        self.count += len(next(own for own in (*args, *kwargs.values()) if hasattr(own, "shape")))

    def of(self, compare, folder, **options):
        self.count = 0
        found = compare(folder, model=self.model, processor=self.processor, **options)
        return found, self.count


def test_what_is_stored_is_measured_and_not_explained(compare, utterances, tmp_path):
    (tmp_path / "kept").mkdir()
    explained(tmp_path / "kept" / "spes.h5", utterances[:1], "spes")
    options = {"methods": ("spes", "spes-unnormalized"), "explanations": tmp_path / "kept"}
    passes, known = Passes(), utterances[0].id
    read, of_reading = passes.of(compare, "read", **options)
    made, of_making = passes.of(compare, "made", **{**options, "explanations": tmp_path / "new"})
    cost = made.records["spes"][known]["cost"]["encoder_passes"]
    assert cost > 20
    assert of_making - of_reading == cost
    for name in options["methods"]:
        assert read.records[name][known]["cost"] is None
        assert {**made.records[name][known], "cost": None} == read.records[name][known]
        # Means are over the other one alone.
        assert read.cost(name)["encoder_passes"] == cost
    assert contents(tmp_path / "kept" / "spes.h5") == contents(tmp_path / "new" / "spes.h5")
    assert "without those that were read from a store" in comparison_table(read)
    assert "from a store" not in comparison_table(made)
    again, of_both = passes.of(compare, "again", **options)
    assert of_making - of_both == 2 * cost
    assert comparison_rows(again)[0]["seconds"] is None
    # A record whose cost is not known is a whole one.
    before = (tmp_path / "again" / "scores.jsonl").read_text()
    assert passes.of(compare, "again", **options)[1] == 0
    assert (tmp_path / "again" / "scores.jsonl").read_text() == before


def test_without_a_folder_nothing_is_kept(compare, tmp_path):
    compare(methods=("energy",))
    assert not list(tmp_path.rglob("*.h5"))


def test_another_method_and_utterance_go_on_from_what_is_there(compare, utterances, tmp_path):
    options = {"explanations": tmp_path / "kept", "workers": Pickled(1)}
    compare(methods=("energy",), utterances=utterances[:1], **options)
    comparison = compare(methods=("energy", "random"), **options)
    assert not comparison.failures
    assert comparison.records["energy"][utterances[0].id]["cost"] is not None
    assert len(contents(tmp_path / "kept" / "energy.h5")) == 2
    ids = [utterance.id for utterance in utterances]
    assert comparison.ids == ids == list(comparison.records["random"])
    # The longest was done first.
    assert list(contents(tmp_path / "kept" / "random.h5")) == ids[::-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "energy.h5 was made with other settings: seed 3, now 4"),
        ({"settings": AUTO.replace(baselines=0.0)}, "energy.h5 was made with other settings: "),
        ({"settings": AUTO.replace(perturbations_per_eval=2)}, "perturbations_per_eval 16, now 2"),
    ],
)
def test_other_settings_are_refused_before_a_model_is_loaded(compare, tmp_path, change, message):
    options = {"methods": ("energy",), "explanations": tmp_path / "kept"}
    compare(**options)
    before = contents(tmp_path / "kept" / "energy.h5")
    with pytest.raises(ArgumentError, match=message):
        compare("new", model=not_loaded, settings=replace(SETTINGS, **change), **options)
    assert contents(tmp_path / "kept" / "energy.h5") == before
    assert not (tmp_path / "new").exists()


def test_scores_of_other_settings_or_seeds_are_refused_before_a_model_is_loaded(compare, tmp_path):
    compare(methods=("energy",))
    with pytest.raises(ArgumentError, match=r"scores made with other settings \(seed; see"):
        compare(model=not_loaded, methods=("energy",), settings=replace(SETTINGS, seed=4))
    path = tmp_path / "out" / "settings.json"
    kept = json.loads(path.read_text())
    assert kept.pop("seeds")
    path.write_text(json.dumps(kept))  # as when all utterances had the same seed
    with pytest.raises(ArgumentError, match=r"other settings \(seeds; see"):
        compare(model=not_loaded, methods=("energy",))


def test_another_model_is_refused_by_the_store(compare, tmp_path):
    options = {"methods": ("energy",), "explanations": tmp_path / "kept"}
    compare(**options)
    model, processor = demo()
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-3
    with pytest.raises(ArgumentError, match=r"energy\.h5 was made with other settings: digest"):
        compare("new", model=model, processor=processor, **options)


def test_an_explanation_of_another_recording_is_a_failure(compare, utterances, tmp_path):
    file = tmp_path / "one.flac"
    shutil.copy(utterances[0].audio, file)
    given = [replace(utterances[0], audio=file), utterances[1]]
    options = {"methods": ("energy",), "explanations": tmp_path / "kept"}
    compare(utterances=given, **options)
    # The same content elsewhere is the same recording.
    assert not compare("moved", **options).failures
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    comparison = compare(utterances=given, **options)
    ((id_, method, error),) = comparison.failures
    assert (id_, method) == (utterances[0].id, "energy")
    assert "is of another recording, or of this one before it changed" in error
    assert comparison.ids == [utterances[1].id]


def test_a_damaged_explanation_is_a_failure_of_its_own(compare, utterances, tmp_path):
    options = {"methods": ("energy",), "explanations": tmp_path / "kept"}
    compare(**options)
    with ExplanationStore(tmp_path / "kept" / "energy.h5") as store:
        store._change(lambda file: file["explanations/00/00/00"].pop("removed"))
    comparison = compare("again", **options)
    ((id_, _, error),) = comparison.failures
    assert id_ == utterances[0].id
    assert f"{tmp_path / 'kept' / 'energy.h5'} has of {id_!r} cannot be read: it lacks" in error


def test_what_cannot_be_measured_is_kept_all_the_same(compare, utterances, tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("no memory")

    options = {"methods": ("energy",), "explanations": tmp_path / "kept"}
    with monkeypatch.context() as patch:
        patch.setattr(measuring, "_record", fails)
        assert len(compare(**options).failures) == 2
    with ExplanationStore(tmp_path / "kept" / "energy.h5") as store:
        assert len(store) == 2
        assert store.failures() == {}  # of explaining there was none
    again = compare(**options)
    assert [record["cost"] for record in again.records["energy"].values()] == [None, None]


def test_an_utterance_that_kills_its_workers_is_a_failure(compare, utterances, tmp_path):
    bad, good = utterances
    options = {"methods": ("spes", "spes-unnormalized"), "explanations": tmp_path / "kept"}
    workers = Pickled(2, dies_of=lambda task: task.reference == bad.text)
    comparison = compare(workers=workers, **options)
    assert comparison.ids == [good.id]
    assert [failure[:2] for failure in comparison.failures] == [
        (bad.id, "spes"), (bad.id, "spes-unnormalized"),
    ]  # fmt: skip
    assert "its worker died 3 times" in comparison.failures[0][2]
    with ExplanationStore(tmp_path / "kept" / "spes.h5") as store:
        assert list(store) == [good.id]
        assert "died 3 times" in store.failures()[bad.id]
    again = compare(workers=Pickled(2), **options)
    assert again.ids == [bad.id, good.id]
    with ExplanationStore(tmp_path / "kept" / "spes.h5") as store:
        assert (list(store), store.failures()) == ([good.id, bad.id], {})


def test_what_workers_cannot_be_sent_is_told(compare, utterances, tmp_path):
    model, processor = demo()
    with pytest.raises(ArgumentError, match="workers cannot be sent a model: give its name"):
        compare(model=model, processor=processor, workers=2)
    own = replace(METHODS["energy"], name="own")
    with pytest.raises(ArgumentError, match="workers do not know the method 'own': register it"):
        compare_methods(demo, None, utterances, [own], SETTINGS, tmp_path / "out", workers=2)
    with pytest.raises(ArgumentError, match="cannot be sent what they need"):
        compare(model=lambda: (model, processor), workers=1)
    assert not (tmp_path / "out").exists()


def test_an_id_that_is_there_twice(compare, utterances):
    with pytest.raises(ArgumentError, match="an id is there twice"):
        compare(utterances=[utterances[0], utterances[0]])


@pytest.fixture
def evaluate(utterances, tmp_path, capsys):
    manifest = tmp_path / "manifest.jsonl"
    lines = [{"id": u.id, "audio": str(u.audio), "text": u.text} for u in utterances]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def evaluate(out, *options):
        status = main(
            ["evaluate", str(manifest), "--out", str(tmp_path / out), "--samples", "20",
             "--token-samples", "0", "--patches-per-second", "30", "--max-new-tokens", "8",
             "--seed", "3", "--methods", "energy,random", "--quiet", *map(str, options)]
        )  # fmt: skip
        return status, capsys.readouterr()

    return evaluate


def test_from_the_command_line(evaluate, utterances, tmp_path, monkeypatch, capsys):
    kept = tmp_path / "kept"
    status, printed = evaluate("here", "--explanations", kept)
    assert status == 0, printed.err
    assert explained(kept / "energy.h5", utterances, "energy").known == [u.id for u in utterances]
    # The options of corpus; each worker loads the model.
    workers = Pickled(2)
    monkeypatch.setattr(LocalWorkers, "opened", lambda self, make: workers.opened(make))
    assert evaluate("elsewhere", "--workers", 2)[0] == 0
    assert len(workers.works) == 2
    scores = {}
    for out in ("here", "elsewhere"):
        for line in (tmp_path / out / "scores.jsonl").read_text().splitlines():
            record = json.loads(line)
            scores.setdefault((record["id"], record["method"]), []).append(record["kl"])
    assert len(scores) == 4
    for one, other in scores.values():
        assert one == pytest.approx(other, abs=1e-3)
    # One method's explanations can be analysed.
    assert main(["analyse", str(kept), "--out", str(tmp_path / "analysed")]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert f"holds explanations by 2 methods: give those of one, {kept / 'energy.h5'}" in error
    (kept / "random.h5").unlink()
    assert main(["analyse", str(kept), "--out", str(tmp_path / "analysed")]) == 0
