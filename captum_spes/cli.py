"""The command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from captum_spes.errors import ArgumentError, ArgumentTypeError

# Patches several times larger than the paper's: at a few hundred samples they give maps
# that the paper's patches need thousands for.
_DEFAULT_PATCHES = (60.0, 120.0)
_DEFAULT_SAMPLES = 500
# What spes-efficient takes at most.
_EFFICIENT_SAMPLES = 10_000
_DEFAULT_TOKEN_SAMPLES = 300
_AUTO = "auto"
# Steps of deletion per forward pass, where the batch of perturbed inputs is found automatically.
_STEPS_PER_EVAL = 8
# The bundled model is a hundred times smaller than Whisper.
_DEMO_SAMPLES = 1500
_DEMO_TOKEN_SAMPLES = 1000
_DEMO = "demo"
# Written out, so that --help need not load torch.
_METHODS = (
    "spes, spes-efficient, feature-wise, bubble-noise, spes-single-level, spes-grid, "
    "spes-fixed-patches, spes-probability, spes-unnormalized, spes-joint, saliency, "
    "input-x-gradient, integrated-gradients, gradient-shap, feature-ablation, occlusion, "
    "shapley-value-sampling, kernel-shap, lime, cross-attention, cross-attention-rollout, "
    "energy, random"
)
_DEFAULT_METHODS = "spes,feature-wise,bubble-noise,saliency,energy,random"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 2 for an error, 130 for Ctrl-C."""
    parsed = _parser().parse_args(arguments)
    parsed.arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            parsed.run(parsed)
    except KeyboardInterrupt:
        print("captum-spes: interrupted", file=sys.stderr)
        return 130
    except (ArgumentError, ArgumentTypeError, OSError, ImportError) as error:
        print(f"captum-spes: error: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _show_warning(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    print(f"captum-spes: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _explain(parsed: argparse.Namespace) -> None:
    _check_model(parsed)
    _use_defaults(parsed)
    for file in parsed.audio:
        if not file.exists():
            raise FileNotFoundError(f"no such audio file: {file}")
    folders = _output_folders(parsed.audio, parsed.out)

    method, explainer = _method_and_explainer(parsed)
    recordings = [_checked_audio(explainer, file) for file in parsed.audio]

    from captum_spes.report import explanation_text, write_explanation

    for file, samples, folder in zip(parsed.audio, recordings, folders, strict=True):
        result = explainer.attribute(
            samples,
            sampling_rate=explainer.adapter.sampling_rate,
            target=parsed.target,
            gen_args=_generation_arguments(parsed),
            **{**_attribute_arguments(parsed), **method.arguments(parsed.patches_per_second)},
            tolerance=parsed.tolerance,
            return_partial=parsed.return_partial,
            show_progress=not parsed.quiet,
        )
        # Files first: what was computed must not be lost to a closed pipe.
        written = [] if folder is None else write_explanation(result, folder)
        _print(f"\n{file}\n{explanation_text(result)}")
        if written:
            _print(f"\nwritten: {', '.join(str(path) for path in written)}")


def _evaluate(parsed: argparse.Namespace) -> None:
    from captum_spes.corpus import Settings, compare_methods, named_methods, read_manifest
    from captum_spes.corpus.provenance import write_provenance
    from captum_spes.report import write_comparison

    methods = named_methods([name.strip() for name in parsed.methods.split(",")])
    utterances = read_manifest(parsed.manifest, parsed.reference)[: parsed.limit]
    _use_defaults(parsed)
    model, processor = _model(parsed)
    _check_reference(parsed, writes_any_language=model.config.model_type == "canary")
    settings = Settings(
        model=parsed.model,
        attribute_args=_attribute_arguments(parsed),
        method_args=parsed.method_args,
        gen_args=_generation_arguments(parsed),
        language=parsed.reference,
        metric=parsed.metric or ("wer_capped" if parsed.reference is None else "bleu"),
        batch_size=_STEPS_PER_EVAL if parsed.batch_size == _AUTO else parsed.batch_size,
    )
    comparison = compare_methods(
        model,
        processor,
        utterances,
        methods,
        settings,
        parsed.out,
        text_normalizer=_text_normalizer(parsed.normalize_text),
        show_progress=not parsed.quiet,
    )
    for utterance, method, error in comparison.failures:
        print(f"captum-spes: {utterance}, {method}: {error}", file=sys.stderr)
    if not comparison.ids:
        raise ArgumentError("no utterance was measured with every method; nothing to compare.")
    written = write_comparison(comparison, parsed.out)
    written.append(write_provenance(parsed.out, parsed.arguments))
    _print(f"\n{(parsed.out / 'table.md').read_text(encoding='utf-8')}")
    _print(f"written: {', '.join(str(path) for path in written)}")


def _check_reference(parsed: argparse.Namespace, writes_any_language: bool) -> None:
    """What is written and what it is scored against must be of one language."""
    written = parsed.target_language or parsed.language or "en"
    if writes_any_language and (parsed.reference or parsed.language or "en") != written:
        raise ArgumentError(
            f"the model writes {written!r} and would be scored against "
            f"{parsed.reference or 'the text of what is said'!r}: give --target-language and "
            "--reference the same language."
        )
    if parsed.task == "translate" and parsed.reference is None:
        raise ArgumentError("--task translate needs --reference, the language of the translation.")


def _text_normalizer(is_wanted: bool) -> Any:
    if not is_wanted:
        return str
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    return BasicTextNormalizer()


def _check_model(parsed: argparse.Namespace) -> None:
    if parsed.audio and parsed.model is None:
        raise ArgumentError(
            "no model: give --model with a hub name or a folder, or --model demo for the "
            "bundled one, which understands the bundled recordings only."
        )
    if not parsed.audio:
        from captum_spes.demo import load_examples

        parsed.audio = [load_examples()[0].path]


def _use_defaults(parsed: argparse.Namespace) -> None:
    """Fill in what was not given: the bundled model, sample counts."""
    is_demo = parsed.model in (None, _DEMO)
    if is_demo and parsed.language not in (None, "en", "English"):
        raise ArgumentError(
            f"the bundled model hears English only, got --language {parsed.language}; its output "
            "is chosen with --target-language."
        )
    if parsed.samples is None:
        parsed.samples = _DEMO_SAMPLES if is_demo else _DEFAULT_SAMPLES
    if parsed.token_samples is None:
        parsed.token_samples = _DEMO_TOKEN_SAMPLES if is_demo else _DEFAULT_TOKEN_SAMPLES
    parsed.model = _DEMO if is_demo else parsed.model
    if hasattr(parsed, "method"):
        _choose_method(parsed)
    parsed.patches_per_second = parsed.patches_per_second or _DEFAULT_PATCHES


def _choose_method(parsed: argparse.Namespace) -> None:
    """The efficient scheme, unless what is asked for is the paper's."""
    if parsed.method is None:
        is_paper = parsed.patches_per_second or parsed.samples > _EFFICIENT_SAMPLES
        parsed.method = "spes" if is_paper else "spes-efficient"
    elif parsed.method == "spes-efficient" and parsed.patches_per_second:
        raise ArgumentError(
            "spes-efficient has patches of its own: leave out --patches-per-second, or take "
            "--method spes."
        )


def _method_and_explainer(parsed: argparse.Namespace) -> tuple[Any, Any]:
    from captum_spes import SpeechToTextAttribution
    from captum_spes.corpus import named_methods

    (method,) = named_methods([parsed.method])
    if method.same_maps_as:
        raise ArgumentError(
            f"{method.name} has the maps of {method.same_maps_as} and differs in evaluate only."
        )
    model, processor = _model(parsed)
    return method, SpeechToTextAttribution(method.make(model), processor)


def _model(parsed: argparse.Namespace) -> tuple[Any, Any]:
    import torch

    from captum_spes.demo import load_demo
    from captum_spes.speech.models import load_model

    _quiet_transformers()
    dtype = getattr(torch, parsed.dtype)
    if parsed.model == _DEMO:
        model, processor, _ = load_demo(parsed.device)
        model = model.to(dtype)
    else:
        model, processor = load_model(parsed.model, parsed.device, dtype)
    if parsed.compile:
        model.get_encoder().compile()
    return model, processor


def _attribute_arguments(parsed: argparse.Namespace) -> dict[str, Any]:
    return {
        "n_samples": parsed.samples,
        "n_token_samples": parsed.token_samples,
        "patches_per_second": parsed.patches_per_second,
        "baselines": parsed.baselines,
        "perturbations_per_eval": parsed.batch_size,
        "seed": parsed.seed,
    }


def _checked_audio(explainer: Any, file: Path) -> Any:
    """Read every file before explaining the first, so that a bad one costs no time."""
    from captum_spes.speech.audio import check_audio, load_audio

    adapter = explainer.adapter
    try:
        samples = load_audio(file, adapter.sampling_rate)
        check_audio(samples, adapter.sampling_rate, adapter.max_seconds)
    except ArgumentError as error:
        raise ArgumentError(
            str(error) if str(file) in str(error) else f"{file}: {error}"
        ) from error
    return samples


def _output_folders(files: list[Path], out: Path | None) -> list[Path | None]:
    """One folder per recording, named after it; made now, so that a bad path fails early."""
    folders: list[Path | None] = []
    for file in files:
        if out is None:
            folders.append(None)
            continue
        folder, number = out / file.stem, 1
        while folder in folders:
            number += 1
            folder = out / f"{file.stem}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise ArgumentError(f"cannot write into {folder}.")
        folders.append(folder)
    return folders


def _generation_arguments(parsed: argparse.Namespace) -> dict[str, Any]:
    arguments = {
        "num_beams": parsed.num_beams,
        "language": parsed.language,
        "task": parsed.task,
        "target_language": parsed.target_language,
        "max_new_tokens": getattr(parsed, "max_new_tokens", None),
    }
    return {name: value for name, value in arguments.items() if value is not None}


def _quiet_transformers() -> None:
    try:
        from huggingface_hub.utils import logging as hub_logging
        from transformers.utils import logging
    except ImportError:
        return  # load_model says what to install
    hub_logging.set_verbosity_error()
    logging.set_verbosity_error()
    logging.disable_progress_bar()


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"captum-spes: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog="captum-spes",
        description="Explain every token that a speech-to-text model writes.",
    )
    parser.add_argument(
        "--version", action="version", version=f"captum-spes {version('captum-spes')}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_explain(commands)
    _add_evaluate(commands)
    return parser


def _add_explain(commands: Any) -> None:
    explain = commands.add_parser(
        "explain",
        help="which time-frequency patterns and previous tokens each token rests on",
        description="Explain recordings; with none, a bundled one. The paper's own settings, "
        "which take hours on a CPU with models larger than the bundled one: "
        "--samples 20000 --token-samples 2000 --patches-per-second 400 500 600",
    )
    add = explain.add_argument
    add("audio", nargs="*", type=Path, metavar="AUDIO", help="wav, flac, mp3 or ogg; any rate")
    add(
        "--method",
        metavar="NAME",
        help="what explains (default: spes-efficient; spes with --patches-per-second or more than "
        f"{_EFFICIENT_SAMPLES} samples); known: {_METHODS}",
    )
    add("--target", metavar="TEXT", help="explain this text instead of the model's own output")
    add("--out", type=Path, metavar="DIR", help="write figures and the explanation here")
    add(
        "--tolerance",
        type=_share,
        metavar="SHARE",
        help="stop when at most this share of the tokens' maps is sampling noise, between 0 and 1; "
        "--samples is then the most that is spent",
    )
    add(
        "--return-partial",
        action="store_true",
        help="on Ctrl-C explain with the samples so far instead of giving up",
    )
    _add_shared(explain)
    explain.set_defaults(run=_explain)


def _add_evaluate(commands: Any) -> None:
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
        default=_DEFAULT_METHODS,
        metavar="NAME,...",
        help="what to compare, the first being what others are compared with (default: "
        f"{_DEFAULT_METHODS}); known: {_METHODS}",
    )
    add("--out", type=Path, metavar="DIR", required=True, help="where everything is written")
    add(
        "--reference",
        metavar="LANGUAGE",
        help="score against this translation of the manifest (default: the text)",
    )
    add(
        "--metric",
        choices=("wer_capped", "wer", "bleu"),
        help="score of what is written (default: wer_capped, at most 100; bleu with --reference)",
    )
    add(
        "--normalize-text",
        action="store_true",
        help="score without case and punctuation (the paper keeps both)",
    )
    add("--limit", type=_positive, metavar="N", help="the first N recordings only")
    add(
        "--max-new-tokens",
        type=_positive,
        metavar="N",
        help="stop the model after N tokens (default: its own limit)",
    )
    add(
        "--method-args",
        type=_json_object,
        default={},
        metavar="JSON",
        help="further arguments of methods' own attribute, for example "
        '\'{"integrated-gradients": {"n_steps": 20}}\'',
    )
    _add_shared(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _add_shared(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "--model",
        metavar="NAME_OR_DIR",
        help="a Whisper, Speech2Text or Canary model, or demo for the bundled one (the default, "
        "unless explain is given AUDIO)",
    )
    add(
        "--samples",
        type=_positive,
        metavar="N",
        help=f"perturbed spectrograms (default: {_DEFAULT_SAMPLES}; demo: {_DEMO_SAMPLES})",
    )
    add(
        "--token-samples",
        type=_not_negative,
        metavar="N",
        help="perturbed previous tokens; 0 leaves them out (default: "
        f"{_DEFAULT_TOKEN_SAMPLES}; demo: {_DEMO_TOKEN_SAMPLES})",
    )
    add(
        "--patches-per-second",
        type=float,
        nargs="+",
        metavar="N",
        help="size of the patches, one value per segmentation level (default: 60 120; "
        "spes-efficient has its own)",
    )
    add(
        "--baselines",
        choices=("mean", "silence"),
        help="what removed cells become (default: mean for Whisper, 0 for features normalised "
        "per utterance)",
    )
    add(
        "--num-beams",
        type=_positive,
        metavar="N",
        help="beam search with N beams (default: the model's own setting)",
    )
    add("--language", help="spoken language, for multilingual Whisper and Canary")
    add(
        "--target-language",
        metavar="LANGUAGE",
        help="language to write, for Canary; the bundled model writes en, de and es",
    )
    add("--task", choices=("transcribe", "translate"), help="task, for multilingual Whisper")
    add("--seed", type=int, default=0, metavar="N", help="seed of all masks (default: %(default)s)")
    add(
        "--batch-size",
        type=_batch_size,
        default=_AUTO,
        metavar="N",
        help="perturbed inputs per forward pass, or auto: what is fastest and fits in memory, for "
        "SPES (default: %(default)s)",
    )
    add("--device", choices=("cpu", "cuda", "mps"), help="where the model runs (default: cpu)")
    add(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="precision of the model (default: %(default)s)",
    )
    add(
        "--compile",
        action="store_true",
        help="compile the encoder with torch.compile, which takes up to a minute and pays for long "
        "runs on some machines",
    )
    add("--quiet", action="store_true", help="show no progress bars")


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
        raise argparse.ArgumentTypeError(f"{text!r} is no object of methods and arguments")
    return value


def _positive(text: str) -> int:
    return _integer(text, 1)


def _batch_size(text: str) -> int | str:
    return text if text == _AUTO else _positive(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1")
    return value


def _not_negative(text: str) -> int:
    return _integer(text, 0)


def _integer(text: str, lowest: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = lowest - 1
    if value < lowest:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {lowest}")
    return value


def _print(text: str) -> None:
    """Print, with a question mark for what the terminal's encoding lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, errors="replace").decode(encoding))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
