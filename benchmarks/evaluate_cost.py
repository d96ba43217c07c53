"""Where does the time of ``captum-spes evaluate`` go, and what does sharing passes save?

    python benchmarks/evaluate_cost.py --samples 20 --repeats 3 --out evaluate_cost_bundled.json
    python benchmarks/evaluate_cost.py --out evaluate_cost_bundled_defaults.json
    python benchmarks/evaluate_cost.py --model ../shared/models/whisper-tiny.en \\
        --audio ../shared/speech/librivox-0880.flac --samples 20 \\
        --text "He was not an ill disposed young man" --out evaluate_cost_whisper_tiny.json
    python benchmarks/evaluate_cost.py (... of Whisper) --steps 20 --without-padding \\
        --out evaluate_cost_whisper_tiny_gradients.json

``compare_methods`` on one clip, beside a plain loop that explains and scores each method by itself,
deletion and insertion one after the other in batches of 8, divergence and token accuracy from
logits of their own. Both make the same explanations; their scores are compared. Seconds are of the
processor, so that other jobs count little. Without ``--model`` the bundled model and recording.

``--steps`` adds Integrated Gradients, which the plain loop runs token by token. With
``--without-padding`` the command differentiates on a window without most of the padding, where maps
are others: gradient methods are then left out of the comparison of scores.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import torch
from shared_gradients import unshared

from captum_spes import Settings, SpeechToTextAttribution
from captum_spes.cli.evaluate import METHODS
from captum_spes.corpus import Utterance
from captum_spes.corpus.runner import seed_of
from captum_spes.demo import load_demo
from captum_spes.evaluation import EvaluationSettings, compare_methods, measured_cost, shared
from captum_spes.evaluation.comparison import PERCENTAGES, n_copies
from captum_spes.metrics.perturbation import Hearing, explained_sequence, perturbed
from captum_spes.speech import named_methods
from captum_spes.speech.forecast import forecast
from captum_spes.speech.inputs import read_speech
from captum_spes.speech.models import adapt, load_model

STAGES = ("explain", "encode", "generate", "grade")
# As `captum-spes evaluate` had it before passes were shared.
BATCH = 8
GRADIENTS = "integrated-gradients"
DIFFERENTIATE = {"saliency", GRADIENTS}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--text", default="")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--steps", type=int, help="adds Integrated Gradients")
    parser.add_argument("--without-padding", action="store_true")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.model is None:
        model, processor, examples = load_demo()
        utterance = Utterance(examples[0].name, examples[0].path, examples[0].text)
    else:
        model, processor = load_model(arguments.model)
        utterance = Utterance(arguments.audio.stem, arguments.audio, arguments.text)
    names, own = arguments.methods.split(","), {}
    if arguments.steps is not None:
        names.append(GRADIENTS)
        own[GRADIENTS] = {"n_steps": arguments.steps}
    methods = named_methods(names)
    explained = Settings.efficient(n_samples=arguments.samples)
    settings = EvaluationSettings("benchmark", explained, method_args=own)
    as_asked = settings
    if arguments.without_padding:
        explained = explained.replace(gradients_with_padding=False)
        as_asked = replace(settings, settings=explained)
    found = {
        "methods": ",".join(names), "samples": arguments.samples, "steps": arguments.steps,
        "gradients with padding": not arguments.without_padding,
        "threads": torch.get_num_threads(), "copies heard": n_copies(len(methods)),
        "forecast": round(forecast_of(adapt(model, processor), utterance, methods, as_asked), 1),
        "rounds": [],
    }  # fmt: skip
    for _ in range(arguments.repeats):
        alone, expected = measured(one_by_one, model, processor, utterance, methods, settings)
        shared_, records = measured(together, model, processor, utterance, methods, as_asked)
        if arguments.without_padding:
            expected = {name: expected[name] for name in names if name not in DIFFERENTIATE}
        found["rounds"].append({
            "one by one": alone, "together": shared_,
            "share of the time": round(shared_["seconds"] / alone["seconds"], 3),
            "share of the time to score": round(scoring(shared_) / scoring(alone), 3),
            **differences(expected, records),
        })  # fmt: skip
        print(json.dumps(found["rounds"][-1], indent=1), flush=True)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def forecast_of(adapter, utterance, methods, settings):
    """Seconds that the command tells before it starts."""
    pairs = [(method, settings.of(method)) for method in methods]
    return forecast(adapter, utterance.audio, pairs, scored=n_copies(len(methods))).seconds


def measured(way, model, processor, utterance, methods, settings):
    """Processor seconds of all and of each stage, passes, and the scores."""
    clock = Counter()
    start = time.process_time()
    with measured_cost(model) as cost:
        records = way(clock, model, processor, utterance, methods, settings)
    seconds = time.process_time() - start
    return {
        "seconds": round(seconds, 2),
        **{stage: round(clock[stage], 2) for stage in STAGES},
        "shares": {stage: round(clock[stage] / seconds, 3) for stage in STAGES},
        "encoder_passes": cost.encoder_passes, "decoder_passes": cost.decoder_passes,
    }, records  # fmt: skip


def one_by_one(clock, model, processor, utterance, methods, settings):
    """Every method as if it were alone."""
    records = {}
    for method in methods:
        made = unshared(model) if method.name == GRADIENTS else method.make(model)
        explainer = SpeechToTextAttribution(made, processor)
        with timed(clock, "explain"):
            result = explainer.attribute(
                utterance.audio,
                settings=settings.of(method),
                seed=seed_of(settings.seed, utterance.id),
            )
        adapter = explainer.adapter
        speech = read_speech(adapter, utterance.audio, adapter.sampling_rate)
        saliency = result.sentence_attr(normalized=method.normalized).spectrogram_attr
        output, record = explained_sequence(result), {}
        for name in ("deletion", "insertion"):
            is_insertion = name == "insertion"
            copies = perturbed(speech, saliency, result.removed, PERCENTAGES, is_insertion)
            with timed(clock, "encode"):
                hearing = Hearing(adapter, speech, copies, BATCH)
            with timed(clock, "generate"):
                record[name] = hearing.transcripts(settings.settings.gen_args, result.seed)
            if not is_insertion:
                with timed(clock, "grade"):
                    record["kl"] = hearing.graded(output)["kl"].mean(1)
                    accuracy = hearing.graded(output, {})["token_accuracy"]
                    record["token_accuracy"] = accuracy.mean(1)
        records[method.name] = record
    return records


def together(clock, model, processor, utterance, methods, settings):
    """As the command does it."""
    stages = (
        (SpeechToTextAttribution, "attribute", "explain"),
        (shared.SharedUtterance, "written", "explain"),
        (shared, "encoded", "encode"),
        (Hearing, "transcripts", "generate"),
        (Hearing, "graded", "grade"),
    )
    with TemporaryDirectory() as folder, ExitStack() as stack:
        for owner, name, stage in stages:
            stack.enter_context(mock.patch.object(owner, name, clocked(owner, name, clock, stage)))
        comparison = compare_methods(model, processor, [utterance], methods, settings, folder)
    return {name: comparison.records[name][utterance.id] for name in comparison.methods}


def clocked(owner, name, clock, stage):
    """A function that is timed whenever it is called."""
    function = getattr(owner, name)

    def call(*args, **kwargs):
        with timed(clock, stage):
            return function(*args, **kwargs)

    return call


@contextmanager
def timed(clock, stage):
    start = time.process_time()
    yield
    clock[stage] += time.process_time() - start


def scoring(found):
    """Seconds of everything but explaining."""
    return found["seconds"] - found["explain"]


def differences(expected, records):
    """How many texts differ, and by how much measures do; files round the latter to 6 digits."""
    texts, largest = 0, 0.0
    for name, record in expected.items():
        for side in ("deletion", "insertion"):
            texts += sum(a != b for a, b in zip(record[side], records[name][side], strict=True))
        for measure in ("kl", "token_accuracy"):
            largest = max(largest, np.abs(record[measure] - np.array(records[name][measure])).max())
    return {"texts that differ": texts, "largest difference": round(float(largest), 7)}


if __name__ == "__main__":
    main()
