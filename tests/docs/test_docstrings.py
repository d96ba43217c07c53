"""The examples in the docstrings run.

Hub names are answered with the small random models of the tests; nothing else is replaced.
"""

import copy
import doctest
import importlib
import pkgutil
import shutil
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import captum
import numpy as np
import pytest
import soundfile
import torch
from captum.attr import FeatureAblation, Saliency, TextTemplateInput

import captum_spes
from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.benchmark import SUITE, standing_benchmark
from captum_spes.corpus import read_manifest
from captum_spes.stability import (
    ClassifierConfig,
    SpeechClassifier,
    parse_method,
    parse_units,
    run_study,
)
from tests.captum.language_models import tiny_gpt2, word_tokenizer
from tests.stability.planted import RATE, write_corpus, write_recordings


def examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in pkgutil.walk_packages(captum_spes.__path__, "captum_spes."):
        if module.name == "captum_spes.reliability":  # the former name of another
            continue
        for test in finder.find(importlib.import_module(module.name)):
            if test.examples and test.globs.get("__name__") == module.name:
                yield test


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as a reader of an example has it: a recording, its explanation and a model."""
    return tmp_path_factory.mktemp("reader")


@pytest.fixture(scope="module")
def made(make_tiny_whisper, audio, place):
    """A model and what it explains, once for all examples; each is given copies."""
    model, processor = make_tiny_whisper()
    soundfile.write(place / "speech.flac", audio, 16_000)
    explainer = SpeechToTextAttribution(SPES(model), processor)
    result = explainer.attribute(
        audio, target="the cat", n_samples=30, n_token_samples=30, patches_per_second=40, seed=0
    )
    result.save(place / "explanation.npz")
    # Where an example loads a model by its name on the hub.
    for part in (model, processor.feature_extractor, processor.tokenizer):
        part.save_pretrained(place / "openai/whisper-tiny.en")
    return model, processor, explainer, result


@pytest.fixture
def names(made, place, tmp_path, monkeypatch):
    """What a reader of an example has at hand: imports, a model and a recording."""
    model, processor, explainer, result = copy.deepcopy(made)
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names = {
        "np": np,
        "torch": torch,
        "captum": captum,
        "FeatureAblation": FeatureAblation,
        "Saliency": Saliency,
        "SimpleClassifier": lambda: torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(16, 3)
        ).eval(),
        "WhisperForConditionalGeneration": _pretrained(model),
        "WhisperProcessor": _pretrained(processor),
        "TextTemplateInput": TextTemplateInput,
        "llm": tiny_gpt2(),
        "tokenizer": word_tokenizer(),
        "model": model,
        "processor": processor,
        "explainer": explainer,
        "result": result,
    }
    packages = (
        "attr", "forward", "masks", "maps", "demo", "metrics", "corpus", "report", "speech",
        "analysis", "alignment", "stability", "evaluation", "benchmark",
    )  # fmt: skip
    for name in packages:
        package = sys.modules[f"captum_spes.{name}"]
        names |= {public: getattr(package, public) for public in package.__all__}
    spoken = (names["Interval"]("the", 0.1, 0.3), names["Interval"]("cat", 0.3, 0.5))
    names["alignment"] = names["Alignment"](spoken)
    return names


def compared(names):
    """A comparison of one method on one recording."""
    model = names["explainer"].attr_method.forward_func
    processor = SimpleNamespace(
        feature_extractor=names["explainer"].adapter.feature_extractor,
        tokenizer=names["explainer"].adapter.tokenizer,
    )
    utterances = [names["Utterance"]("speech", Path("speech.flac"), "the cat")]
    settings = names["EvaluationSettings"]("tiny")
    methods = names["named_methods"](["energy"])
    return names["compare_methods"](model, processor, utterances, methods, settings, "scores")


@cache
def benchmarked():
    """A control, measured once."""
    return standing_benchmark(["energy"], suite=SUITE.trial())


def write_seeds_and_corpora():
    """Two classifiers, a study of them, labelled speech, and recordings of digits."""
    classes = ClassifierConfig({"speaker": ("soft", "loud")}, RATE)
    for seed in range(2):
        torch.manual_seed(seed)
        SpeechClassifier(classes).save_pretrained(f"models/seed-{seed}")
    for part in ("train", "validation", "test"):
        manifest = write_corpus(Path(part), size=2)
    models = {f"seed-{seed}": f"models/seed-{seed}" for seed in range(2)}
    methods, units = [parse_method("saliency")], [parse_units("20ms")]
    run_study(models, read_manifest(manifest), methods, units, "study")
    write_recordings(Path("recordings"), takes=10)


def _pretrained(value):
    return SimpleNamespace(from_pretrained=lambda name: value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("example", list(examples()), ids=lambda test: test.name)
def test_example_runs(example, names):
    example.globs = {**example.globs, **names}
    example.globs.pop("__file__", None)
    if "stability" in example.name:
        write_seeds_and_corpora()
    if "comparison" in example.docstring:
        example.globs["comparison"] = compared(names)
    if example.name.startswith("captum_spes.benchmark.standing.Standing."):
        example.globs["standing"] = benchmarked()
    output = []
    failed, attempted = doctest.DocTestRunner(
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    ).run(example, out=output.append)
    assert attempted
    assert not failed, "".join(output)


def test_public_methods_have_examples():
    documented = {test.name for test in examples()}
    for name in captum_spes.__all__:
        qualified = f"{getattr(captum_spes, name).__module__}.{name}"
        assert any(d.startswith(qualified) for d in documented) or name in (
            "Word",
            "SpeechToTextAttributionResult",
        ), name
