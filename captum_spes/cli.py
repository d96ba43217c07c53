"""The command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from captum_spes.errors import ArgumentError, ArgumentTypeError

# Patches several times larger than the paper's: at a few hundred samples they give maps
# that the paper's patches need thousands for.
_DEFAULT_PATCHES = (60.0, 120.0)
_DEFAULT_SAMPLES = 500
_DEFAULT_TOKEN_SAMPLES = 300
_DEFAULT_BATCH = 4
# The bundled model is a hundred times smaller than Whisper, and pays for more.
_DEMO_SAMPLES = 4000
_DEMO_TOKEN_SAMPLES = 1000
_DEMO_BATCH = 16
_DEMO = "demo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 2 for an error, 130 for Ctrl-C."""
    parsed = _parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except KeyboardInterrupt:
        print("captum-spes: interrupted", file=sys.stderr)
        return 130
    except (ArgumentError, ArgumentTypeError, OSError, ImportError) as error:
        print(f"captum-spes: error: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _explain(parsed: argparse.Namespace) -> None:
    _use_bundled(parsed)
    for file in parsed.audio:
        if not file.exists():
            raise FileNotFoundError(f"no such audio file: {file}")
    folders = _output_folders(parsed.audio, parsed.out)

    explainer = _explainer(parsed)
    recordings = [_checked_audio(explainer, file) for file in parsed.audio]

    from captum_spes.report import explanation_text, write_explanation

    for file, samples, folder in zip(parsed.audio, recordings, folders, strict=True):
        result = explainer.attribute(
            samples,
            sampling_rate=explainer.adapter.sampling_rate,
            target=parsed.target,
            gen_args=_generation_arguments(parsed),
            n_samples=parsed.samples,
            n_token_samples=parsed.token_samples,
            patches_per_second=parsed.patches_per_second,
            baselines=parsed.baselines,
            perturbations_per_eval=parsed.batch_size,
            seed=parsed.seed,
            show_progress=not parsed.quiet,
        )
        # Files first: what was computed must not be lost to a closed pipe.
        written = [] if folder is None else write_explanation(result, folder)
        _print(f"\n{file}\n{explanation_text(result)}")
        if written:
            _print(f"\nwritten: {', '.join(str(path) for path in written)}")


def _use_bundled(parsed: argparse.Namespace) -> None:
    """Fill in what was not given: the bundled recording, the bundled model, sample counts."""
    if parsed.audio and parsed.model is None:
        raise ArgumentError(
            "no model: give --model with a hub name or a folder, or --model demo for the "
            "bundled one, which understands the bundled recordings only."
        )
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
    if parsed.batch_size is None:
        parsed.batch_size = _DEMO_BATCH if is_demo else _DEFAULT_BATCH
    parsed.model = _DEMO if is_demo else parsed.model
    if not parsed.audio:
        from captum_spes.demo import load_examples

        parsed.audio = [load_examples()[0].path]


def _explainer(parsed: argparse.Namespace) -> Any:
    from captum_spes import SPES, SpeechToTextAttribution
    from captum_spes.demo import load_demo
    from captum_spes.speech.models import load_model

    _quiet_transformers()
    if parsed.model == _DEMO:
        model, processor, _ = load_demo(parsed.device)
    else:
        model, processor = load_model(parsed.model, parsed.device)
    return SpeechToTextAttribution(SPES(model), processor)


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
        "--model",
        metavar="NAME_OR_DIR",
        help="a Whisper, Speech2Text or Canary model, or demo for the bundled one "
        "(default without AUDIO: demo)",
    )
    add("--target", metavar="TEXT", help="explain this text instead of the model's own output")
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
        default=_DEFAULT_PATCHES,
        metavar="N",
        help="size of the patches, one value per segmentation level (default: 60 120)",
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
        type=_positive,
        metavar="N",
        help=f"perturbed inputs per forward pass (default: {_DEFAULT_BATCH}; demo: {_DEMO_BATCH})",
    )
    add("--out", type=Path, metavar="DIR", help="write figures and the explanation here")
    add("--device", choices=("cpu", "cuda", "mps"), help="where the model runs (default: cpu)")
    add("--quiet", action="store_true", help="show no progress bars")
    explain.set_defaults(run=_explain)
    return parser


def _positive(text: str) -> int:
    return _integer(text, 1)


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
