"""``captum-spes evaluate``."""

from __future__ import annotations

import argparse
import logging
from functools import partial
from pathlib import Path
from typing import Any

from captum_spes.cli.options import (
    DEMO,
    add_model_options,
    add_settings_options,
    add_workers_options,
    json_objects,
    load,
    methods_help,
    positive,
    print_report,
    print_written,
    settings_of,
    tell,
    workers_of,
)
from captum_spes.errors import ArgumentError, optional_library
from captum_spes.text import visible

METHODS = "spes,feature-wise,bubble-noise,saliency,energy,random"
# Recordings whose cost is asked for, until one can be read.
_TRIED = 3

_LOGGER = logging.getLogger(__name__)


def add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="compare methods on a corpus by deletion, insertion and size",
        description="Explain every recording of a manifest with every method and compare: table "
        "(CSV, Markdown), curves, and all scores. A run that was stopped goes on where it was. A "
        'line of the manifest: {"id": "a", "audio": "a.flac", "text": "what is said", '
        '"translations": {"de": "..."}}, the last being optional.',
    )
    add = evaluate.add_argument
    add("manifest", type=Path, metavar="MANIFEST", help="JSONL, one recording a line")
    add(
        "--methods",
        default=METHODS,
        metavar="NAME,...",
        help="what to compare, the first being what others are compared with (default: "
        f"{METHODS}). {methods_help()}".replace("%", "%%"),
    )
    add("--out", type=Path, metavar="DIR", required=True, help="where everything is written")
    add(
        "--reference",
        metavar="LANGUAGE",
        help="score against this translation of the manifest, or against its text: text (default: "
        "the text; with an --instruction of your own it has to be said)",
    )
    add(
        "--metric",
        metavar="NAME",
        # Written out: to import the metrics takes half a second of every command.
        help="score of what is written: wer, wer_capped (at most 100), cer, cer_capped (of "
        "characters), bleu (with the tokenizer for the language of --reference), bleu-zh, "
        "bleu-ja-mecab, bleu-ko-mecab or bleu-char. Default: wer_capped, or cer_capped in scripts "
        "without spaces between words; with --reference bleu",
    )
    add(
        "--normalize-text",
        action="store_true",
        help="score without case and punctuation (the paper keeps both)",
    )
    add(
        "--explanations",
        type=Path,
        metavar="DIR",
        help="keep the explanations, as captum-spes corpus --method NAME --store DIR/NAME.h5 does, "
        "and measure those that are there without computing them again",
    )
    add(
        "--removal",
        type=_names,
        default=(),
        metavar="NAME,...",
        # Written out, as above.
        help="measure deletion and insertion, and with them the symmetric gain, also with these in "
        "the place of removed cells, whatever the explanation put there: mean (of each mel bin), "
        "silence, noise (20 dB below the recording), neighbours (a smooth continuation of what is "
        "kept), other (the same cells of another recording). Each takes as long as the measures "
        "without it. Writes differences.md, as --differences",
    )
    add(
        "--own-tokens",
        action="store_true",
        help="look at each token by its own map, by those of the other tokens and by that of the "
        "sentence, too. Writes differences.md, as --differences",
    )
    add(
        "--differences",
        action="store_true",
        help="write differences.md and differences.csv: which methods differ from the first, with "
        "p-values corrected for their number, and how far measures rank methods alike",
    )
    add(
        "--condition",
        metavar="NAME",
        # Written out, as above.
        help="bring the recordings into another condition first: noise:DB (white, DB decibels of "
        "signal to noise), speech-noise:DB (with the spectrum of the speech), "
        "reverberation:SECONDS, telephone, or rate:FACTOR (of speaking). They are written below "
        "DIR, into recordings, where they can be listened to",
    )
    add_workers_options(evaluate, "none, this process does the work")
    add("--limit", type=positive, metavar="N", help="the first N recordings only")
    add(
        "--max-new-tokens",
        type=positive,
        metavar="N",
        help="stop the model after N tokens (default: its own limit)",
    )
    add(
        "--method-args",
        type=json_objects,
        default={},
        metavar="JSON",
        help="further arguments of methods' own attribute, for example "
        '\'{"integrated-gradients": {"n_steps": 20}}\'',
    )
    add_settings_options(evaluate)
    add_model_options(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _evaluate(parsed: argparse.Namespace) -> None:
    from captum_spes.corpus.manifest import read_manifest
    from captum_spes.evaluation import compare_methods
    from captum_spes.speech import named_methods

    methods = named_methods([name.strip() for name in parsed.methods.split(",")])
    utterances = read_manifest(parsed.manifest, parsed.reference)[: parsed.limit]
    settings = _settings(parsed, utterances)
    if parsed.condition is not None:
        utterances = _in_condition(parsed, utterances)
    if _wants_differences(parsed):
        # Now, and not after a night.
        optional_library("statsmodels", "correcting p-values", "evaluation")
    workers = workers_of(parsed)
    if workers is None:
        model = partial(_loaded, parsed, utterances, methods, settings)
    else:
        model = partial(load, parsed)
    comparison = compare_methods(
        model,
        None,
        utterances,
        methods,
        settings,
        parsed.out,
        explanations=parsed.explanations,
        workers=workers,
        device=parsed.device,
        text_normalizer=_text_normalizer(parsed.normalize_text),
        show_progress=not parsed.quiet,
    )
    _report(comparison, parsed)


def _in_condition(parsed: argparse.Namespace, utterances: Any) -> Any:
    """The recordings as the condition makes them: what was measured of others is done anew."""
    from captum_spes.corpus import read_manifest, write_condition

    folder = parsed.out / "recordings"
    made = write_condition(utterances, folder, parsed.condition, seed=parsed.seed)
    return read_manifest(made, parsed.reference)


def _settings(parsed: argparse.Namespace, utterances: Any) -> Any:
    from captum_spes.corpus.manifest import TEXT
    from captum_spes.evaluation import EvaluationSettings
    from captum_spes.metrics.text import suitable_metric, text_metric

    references = [utterance.reference(parsed.reference) for utterance in utterances]
    metric, translation = parsed.metric, None if parsed.reference == TEXT else parsed.reference
    if metric is None or (metric == "bleu" and translation is not None):
        metric = suitable_metric(references, translation)
    text_metric(metric)  # now, and not after the model was loaded
    if parsed.task == "translate" and parsed.reference is None:
        raise ArgumentError("--task translate needs --reference, the language of the translation.")
    parsed.model = parsed.model or DEMO
    explained = settings_of(parsed)
    return EvaluationSettings(
        model=parsed.model,
        settings=explained,
        seed=parsed.seed,
        method_args=parsed.method_args,
        language=parsed.reference,
        metric=metric,
        batch_size=explained.perturbations_per_eval,
        removals=parsed.removal,
        own_tokens=parsed.own_tokens,
    )


def _wants_differences(parsed: argparse.Namespace) -> bool:
    return bool(parsed.differences or parsed.removal or parsed.own_tokens)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _report(comparison: Any, parsed: argparse.Namespace) -> None:
    from captum_spes.io.provenance import write_provenance
    from captum_spes.report import write_comparison, write_differences

    for utterance, method, error in comparison.failures:
        tell(f"{utterance}, {method}: {error}")
    if not comparison.ids:
        raise ArgumentError("no utterance was measured with every method; nothing to compare.")
    written = write_comparison(comparison, parsed.out)
    if _wants_differences(parsed):
        written += write_differences(comparison, parsed.out)
    written.append(write_provenance(parsed.out, parsed.arguments))
    table = parsed.out / "table.md"
    if _wants_differences(parsed):
        told = parsed.out / "differences.md"
        print_report(f"\n{told.read_text(encoding='utf-8')}", visible(told))
    print_report(f"\n{table.read_text(encoding='utf-8')}", visible(table))
    print_written(written)


def _loaded(parsed: argparse.Namespace, utterances: Any, methods: Any, settings: Any) -> Any:
    """The model of this process and its processor, once it is told what they will be asked."""
    from captum_spes.evaluation.references import check_reference
    from captum_spes.speech.models import adapt

    model, processor = load(parsed)
    if not parsed.quiet:
        adapter = adapt(model, processor)
        check_reference(adapter, settings.settings.gen_args, parsed.reference)
        _tell_cost(adapter, utterances, methods, settings)
    return model, processor


def _tell_cost(adapter: Any, utterances: Any, methods: Any, settings: Any) -> None:
    from captum_spes.evaluation.comparison import n_copies, n_copies_per_map
    from captum_spes.io.audio import audio_seconds
    from captum_spes.speech.forecast import forecast

    pairs = [(method, settings.of(method)) for method in methods]
    readable, seconds = [], 0.0
    for utterance in utterances:
        try:
            seconds += audio_seconds(utterance.file) or 0.0
        except Exception:  # whatever is wrong with a recording is told when its turn comes
            continue
        readable.append(utterance)
    for utterance in readable[:_TRIED]:
        try:
            found = forecast(
                adapter,
                utterance.audio,
                pairs,
                scored=n_copies(len(pairs), len(settings.removals)),
                scored_per_map=n_copies_per_map(len(pairs), settings),
            )
        except (ArgumentError, RuntimeError, OSError):
            continue
        _LOGGER.info(found.text(len(readable), seconds))
        return


def _text_normalizer(is_wanted: bool) -> Any:
    if not is_wanted:
        return str
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    return BasicTextNormalizer()
