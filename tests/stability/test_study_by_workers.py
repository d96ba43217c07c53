"""A study by several workers: the same files, bit by bit, whatever happens to whom."""

import gc
import weakref
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from captum_spes.cli import main
from captum_spes.corpus import LocalWorkers
from captum_spes.errors import ArgumentError
from captum_spes.stability import (
    ClassifierConfig,
    SpeechClassifier,
    jobs,
    load_explained_model,
    parse_method,
    parse_units,
    run_study,
)
from tests.corpus.elsewhere import Pickled
from tests.stability.planted import RATE, PlantedModel, drawn, utterances

pytestmark = pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
METHODS = ("spes@10", "saliency")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for seed in range(2):
        torch.manual_seed(seed)
        classifier = SpeechClassifier(ClassifierConfig({"speaker": ("soft", "loud")}, RATE))
        classifier.save_pretrained(folder / f"seed-{seed}")
    return {f"seed-{seed}": str(folder / f"seed-{seed}") for seed in range(2)}


@pytest.fixture
def study(tmp_path, models):
    explained = utterances(tmp_path / "corpus", 4)

    def study(folder, **options):
        methods = [parse_method(name) for name in METHODS]
        given = {"models": models, "utterances": explained, **options}
        return run_study(
            methods=methods, units=[parse_units("20ms")], folder=tmp_path / folder, **given
        )

    return study


@pytest.fixture
def undisturbed(study, tmp_path):
    """What this process writes with one thread, as each worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    study("undisturbed")
    torch.set_num_threads(threads)
    return files(tmp_path / "undisturbed")


def files(folder):
    found = {path.name: path.read_bytes() for path in (folder / "attributions").glob("[!.]*")}
    assert sorted(found) == ["seed-0.npz", "seed-1.npz"]
    return found


def test_one_process_and_two_workers_give_the_same_files(study, undisturbed, tmp_path):
    study("one", workers=1)
    assert files(tmp_path / "one") == undisturbed
    workers = Pickled(2)
    study("two", workers=workers)
    assert files(tmp_path / "two") == undisturbed
    assert len(workers.works) == 2


def test_what_was_explained_is_saved_where_workers_die(study, undisturbed, tmp_path):
    """And is not explained again by the next run."""

    def is_bad(task):
        name, utterance = task
        return (name, utterance.id) == ("seed-1", "utterance-1")

    with pytest.raises(ArgumentError, match="utterance-1 by seed-1: its worker died 3 times"):
        study("died", workers=Pickled(2, dies_of=is_bad))
    assert files(tmp_path / "died")["seed-0.npz"] == undisturbed["seed-0.npz"]
    asked = []
    study("died", workers=Pickled(1, dies_of=lambda task: asked.append(task)))
    assert {name for name, _ in asked} == {"seed-1"}
    assert 1 <= len(asked) < 4
    assert "utterance-1" in [utterance.id for _, utterance in asked]
    assert files(tmp_path / "died") == undisturbed
    asked.clear()
    study("died", workers=Pickled(1, dies_of=lambda task: asked.append(task)))
    assert asked == []


@pytest.mark.parametrize("workers", [None, Pickled(1)])
def test_one_model_at_a_time_is_in_memory(study, monkeypatch, workers):
    loaded, alive = [], []

    def load(*arguments):
        gc.collect()
        alive.append(sum(known() is not None for known in loaded))
        model = load_explained_model(*arguments)
        loaded.append(weakref.ref(model))
        return model

    monkeypatch.setattr(jobs, "load_explained_model", load)
    study("out", workers=workers)
    # All of them to be checked, of which the first one stays for the work of this process.
    assert alive == ([0, 1, 0] if workers is None else [0, 1, 0, 0])


def test_workers_cannot_be_sent_models(study, tmp_path):
    models = {name: PlantedModel(lambda key, seed: drawn(key)) for name in "ab"}
    with pytest.raises(ArgumentError, match="workers cannot be sent the model a: give its name"):
        study("out", models=models, workers=2)
    assert not (tmp_path / "out").exists()


def test_other_models_where_the_workers_are(study, models):
    """A folder of the same name on another machine, for example."""

    class Elsewhere(Pickled):
        @contextmanager
        def opened(self, make):
            other = Path(models["seed-1"]) / "other.txt"
            other.touch()
            try:
                with super().opened(make) as lanes:
                    yield lanes
            finally:
                other.unlink()

    with pytest.raises(ArgumentError, match="workers have another model seed-1, or none, where"):
        study("out", workers=Elsewhere(1))


def test_from_the_command_line(models, undisturbed, tmp_path, monkeypatch):
    workers = Pickled(2)
    monkeypatch.setattr(LocalWorkers, "opened", lambda self, make: workers.opened(make))
    options = ["--methods", ",".join(METHODS), "--units", "20ms", "--quiet", "--workers", "2"]
    manifest, out = tmp_path / "corpus" / "manifest.jsonl", tmp_path / "out"
    places = ["--manifest", str(manifest), "--out", str(out)]
    assert main(["reliability", "--models", *models.values(), *places, *options]) == 0
    assert len(workers.works) == 2
    assert files(tmp_path / "out") == undisturbed
