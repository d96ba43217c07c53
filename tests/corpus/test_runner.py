"""A corpus in several processes: the same explanations, whatever happens to whom."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.cli import main
from captum_spes.corpus import ExplanationStore, ThisProcess, Utterance, explain_corpus
from captum_spes.corpus.runner import seed_of
from captum_spes.demo import load_demo, load_examples
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech import GradientPrior

SETTINGS = Settings.efficient(
    n_samples=30,
    n_token_samples=0,
    patches_per_second=(30,),
    perturbations_per_eval="auto",
    prior=GradientPrior(2),
)
GIVEN = {"settings": SETTINGS, "seed": 3, "show_progress": False}
# Where processes are not what is tested: they take seconds to start.
ALONE = {**GIVEN, "workers": ThisProcess()}


def demo():
    return load_demo()[:2]


def dying(marker):
    """The bundled model, whose first encoding kills its process, once."""
    model, processor = demo()

    def die(*_):
        if not marker.exists():
            marker.touch()
            os._exit(9)

    model.get_encoder().register_forward_pre_hook(die)
    return model, processor


def utterances(count=4):
    return [Utterance(own.name, own.path, own.text) for own in load_examples()[:count]]


def contents(path):
    with ExplanationStore(path) as store:
        return {id_: stored_bytes(store[id_]) for id_ in store}


def stored_bytes(result):
    arrays, text = result._stored()
    return text, {name: values.tobytes() for name, values in arrays.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What this process gives by itself: with one thread, as each worker, however many it has."""
    path, threads = tmp_path_factory.mktemp("undisturbed") / "maps.h5", torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ExplanationStore(path) as store:
            run = explain_corpus(utterances(), store, model=demo, workers=ThisProcess(), **GIVEN)
    finally:
        torch.set_num_threads(threads)
    assert sorted(run.explained) == sorted(own.id for own in utterances())
    return contents(path)


def test_it_is_what_attribute_gives(undisturbed):
    """With the seed of the utterance; ids are told apart."""
    (utterance, *_) = utterances()
    model, processor = demo()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    result = explainer.attribute(
        utterance.audio,
        settings=SETTINGS.replace(perturbations_per_eval=16),
        seed=seed_of(3, utterance.id),
        show_progress=False,
    )
    text, arrays = undisturbed[utterance.id]
    ours = stored_bytes(result)
    assert json.loads(text)["text"] == result.text
    assert json.loads(text)["seed"] == result.seed
    assert arrays["feature_masks"] == ours[1]["feature_masks"]
    assert np.allclose(
        np.frombuffer(arrays["spectrogram_attr"], np.float32),
        np.frombuffer(ours[1]["spectrogram_attr"], np.float32), atol=1e-4,
    )  # fmt: skip
    assert len({json.loads(text)["seed"] for text, _ in undisturbed.values()}) == 4


def test_two_workers_of_which_one_dies_give_the_same(undisturbed, tmp_path):
    """It is replaced, and what it had begun is explained by another one."""
    with ExplanationStore(tmp_path / "maps.h5") as store:
        model = partial(dying, tmp_path / "marker")
        run = explain_corpus(utterances(), store, model=model, workers=2, **GIVEN)
    assert (tmp_path / "marker").exists()
    assert run.failures == {}
    assert contents(tmp_path / "maps.h5") == undisturbed


def test_a_run_goes_on_where_it_was(undisturbed, tmp_path):
    """What could not be explained is named, and the rest goes on; other settings are refused."""
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    with ExplanationStore(tmp_path / "maps.h5") as store:
        asked = [Utterance("bad", bad, ""), *utterances(2)]
        run = explain_corpus(asked, store, model=demo, **ALONE)
        assert list(run.failures) == ["bad"]
        assert store.failures() == run.failures
        assert "bad.wav" in run.failures["bad"]
        run = explain_corpus(utterances(), store, model=demo, **ALONE)
        assert run.known == [own.id for own in utterances(2)]
        assert len(run.explained) == 2
        assert list(store.failures()) == ["bad"]  # which this run was not asked for
        other = SETTINGS.replace(n_samples=31)
        with pytest.raises(ArgumentError, match=r"other settings: .*n_samples 30, now 31"):
            explain_corpus(utterances(), store, model=demo, **{**ALONE, "settings": other})
        with pytest.raises(ArgumentError, match="seed 3, now 4"):
            explain_corpus(utterances(), store, model=demo, **{**ALONE, "seed": 4})
        with pytest.raises(ArgumentError, match="holds 4 explanations"):
            explain_corpus(utterances(), store, model=demo, resume=False, **ALONE)
    assert contents(tmp_path / "maps.h5") == undisturbed


def test_what_is_no_model_is_told_before_anything_begins(tmp_path):
    with pytest.raises(ArgumentTypeError, match=r"must be a name, a folder or a function .* None"):
        explain_corpus(utterances(1), ExplanationStore(tmp_path / "maps.h5"), model=None, **GIVEN)


def test_a_second_run_is_told_of_the_first(tmp_path):
    with ExplanationStore(tmp_path / "maps.h5") as first:
        first.bind({})
        with (
            ExplanationStore(tmp_path / "maps.h5") as second,
            pytest.raises(ArgumentError, match="in use by process"),
        ):
            explain_corpus(utterances(1), second, model=demo, **GIVEN)


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "manifest.jsonl"
    lines = [{"id": u.id, "audio": str(u.audio), "text": u.text} for u in utterances()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


OPTIONS = ("--samples", "30", "--token-samples", "0", "--patches-per-second", "30", "--seed", "3")
OPTIONS += ("--prior", "2")


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_killed_runs_end_as_one_that_nobody_disturbed(manifest, tmp_path, undisturbed, capfd):
    """Killed with all that it started, after an explanation was there."""
    path = tmp_path / "maps.h5"
    asked = ["corpus", str(manifest), *OPTIONS, "--quiet", "--store", str(path)]
    command = [sys.executable, "-m", "captum_spes.cli", *asked]
    with subprocess.Popen(command, start_new_session=True) as process:
        wait_for(path, 1)
        os.killpg(process.pid, signal.SIGKILL)
    known = len(ExplanationStore(path))
    assert main([*asked, "--workers", "1"]) == 0
    assert f"{4 - known} explained, {known} known, 0 failed" in capfd.readouterr().out
    assert contents(path) == undisturbed
    with ExplanationStore(path) as store:
        assert store.verify() == {}
        assert len(store) == 4
    assert main([*asked, "--no-resume"]) == 2
    assert "holds 4 explanations" in capfd.readouterr().err


def wait_for(path: Path, count: int) -> None:
    for _ in range(600):
        with ExplanationStore(path) as store:
            if len(store) >= count:
                return
        time.sleep(0.1)
    raise AssertionError(f"no {count} explanations after a minute")
