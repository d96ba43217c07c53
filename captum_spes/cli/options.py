"""Options that commands share. Those of an explanation are made from ``Settings``."""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from captum_spes.attr.loop import AUTO
from captum_spes.errors import ArgumentError
from captum_spes.forward import SCORES
from captum_spes.speech import METHODS, GradientPrior
from captum_spes.speech.attribution import SCHEMES
from captum_spes.speech.settings import FEATURE_MASKS, Settings
from captum_spes.text import for_terminal, shortened, visible

DEMO = "demo"
DEFAULT_SCHEME = "efficient"
# As many as a terminal is scrolled through.
_MOST_LINES = 200


class _Option(NamedTuple):
    """How a setting is typed.

    Attributes:
        read: from text to a value, which the settings check.
        flag: shorter than the setting's own name, which is understood as well; None without one.
        many: whether it takes several values.
        choices: what it can be.
    """

    read: Callable[[str], Any]
    flag: str | None = None
    many: bool = False
    choices: tuple[str, ...] | None = None
    metavar: str = "N"


def _number(text: str) -> Any:
    """A whole number where it is one, another number, or the text for the settings to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _number_or_none(text: str) -> Any:
    return None if text.lower() == "none" else _number(text)


def _prior(text: str) -> GradientPrior | None:
    """How many perturbed spectrograms are differentiated, or none."""
    if text.lower() == "none":
        return None
    try:
        return GradientPrior(int(text))
    except ValueError:
        message = f"expected none or a number of at least 2, got {text!r}"
    raise argparse.ArgumentTypeError(message)


def _yes_or_no(text: str) -> bool:
    found = {"yes": True, "no": False}.get(text.lower())
    if found is None:
        raise argparse.ArgumentTypeError(f"expected yes or no, got {text!r}")
    return found


# Settings that are typed as one value; help and defaults are those of the settings.
_TYPED = {
    "n_samples": _Option(_number, "--samples"),
    "n_token_samples": _Option(_number, "--token-samples"),
    "perturb_prob": _Option(_number),
    "token_perturb_prob": _Option(_number),
    "patches_per_second": _Option(_number, many=True),
    "max_seconds": _Option(_number_or_none),
    "n_patches": _Option(_number, many=True),
    "feature_mask": _Option(str, choices=FEATURE_MASKS),
    "baselines": _Option(_number),
    "score": _Option(str, choices=tuple(SCORES)),
    "prior": _Option(_prior),
    "gradients_with_padding": _Option(_yes_or_no, metavar="yes|no"),
    "tolerance": _Option(_number),
    "perturbations_per_eval": _Option(_number, "--batch-size"),
    "dtype": _Option(str, choices=("float32", "bfloat16", "float16")),
}
# The command line finds the batch size, as nobody can know it beforehand.
_OWN_DEFAULTS = {"perturbations_per_eval": AUTO}


def add_settings_options(command: argparse.ArgumentParser) -> None:
    """One option for each setting, and ``--scheme``, which the others change."""
    command.add_argument(
        "--scheme",
        choices=tuple(SCHEMES),
        default=DEFAULT_SCHEME,
        help="which settings to start from: efficient, or paper, which takes hours on a CPU with "
        "models larger than the bundled one (default: %(default)s)",
    )
    helps = _helps()
    efficient, paper = Settings.efficient().described(), Settings.paper().described()
    for name, option in _TYPED.items():
        defaults = _defaults(name, efficient[name], paper[name])
        # By the setting's own name, too, for those who know it from Python.
        own_name = "--" + name.replace("_", "-")
        command.add_argument(
            *dict.fromkeys((option.flag or own_name, own_name)),
            dest=name,
            type=option.read,
            nargs="+" if option.many else None,
            choices=option.choices,
            default=argparse.SUPPRESS,
            metavar=None if option.choices else option.metavar,
            help=f"{helps[name]} (default: {defaults})".replace("%", "%%"),
        )


def given_settings(parsed: argparse.Namespace) -> list[str]:
    """Names of the settings that options were given for."""
    return [name for name in _TYPED if hasattr(parsed, name)]


def settings_of(parsed: argparse.Namespace) -> Settings:
    """The settings that the options ask for."""
    given = {name: getattr(parsed, name) for name in given_settings(parsed)}
    changes = {**_OWN_DEFAULTS, **given, "gen_args": generation_arguments(parsed)}
    if "dtype" in changes:
        own_precision = changes["dtype"] == "float32"  # the weights are
        changes["dtype"] = None if own_precision else getattr(torch, changes["dtype"])
    own: Settings = SCHEMES[parsed.scheme](**changes)
    return own


def add_model_options(command: argparse.ArgumentParser) -> None:
    """Which model, where it runs, and how it writes."""
    add = command.add_argument
    add(
        "--model",
        metavar="NAME_OR_DIR",
        help="a model of a family that captum-spes models lists: a hub name, a folder, one of "
        "Whisper's short names (tiny.en, large-v3, turbo, ...), or demo for the bundled one (the "
        "default, unless explain is given AUDIO)",
    )
    add(
        "--num-beams",
        type=positive,
        metavar="N",
        help="beam search with N beams (default: the model's own setting)",
    )
    add("--language", help="spoken language, for multilingual models")
    add(
        "--target-language",
        metavar="LANGUAGE",
        help="language to write, for Canary and SeamlessM4T; the bundled model writes en, de and "
        "es",
    )
    add(
        "--label",
        metavar="NAME",
        help="what a classifier of the seed study, which may tell several things, is asked for",
    )
    add(
        "--instruction",
        metavar="TEXT",
        help="what a speech LLM is asked to do (default: the model's own words for transcription)",
    )
    add("--task", choices=("transcribe", "translate"), help="task, for multilingual Whisper")
    add("--seed", type=int, default=0, metavar="N", help="of all masks (default: %(default)s)")
    add("--device", metavar="DEVICE", help="where the model runs: cpu, cuda, cuda:1, mps")
    add(
        "--compile",
        action="store_true",
        help="compile the encoder with torch.compile, which takes up to a minute and pays for long "
        "runs on some machines",
    )
    add("--quiet", action="store_true", help="show no progress bars, and no cost before the start")


def add_workers_options(command: argparse.ArgumentParser, default: str) -> None:
    """Where work over many recordings is done.

    Args:
        command: that takes them.
        default: what happens without them, for the help.
    """
    command.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help=f"processes, each with one thread and the model (default: {default}; with --ray one "
        "for each CPU, or GPU with --device cuda)",
    )
    command.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="let the workers be on a cluster of Ray's: local starts Ray on this machine, auto "
        "joins the one that it is part of, host:port another",
    )


def workers_of(parsed: argparse.Namespace) -> Any:
    """The workers that the options ask for; None where they ask for none."""
    from captum_spes.corpus import RayWorkers

    if parsed.ray is None:
        return parsed.workers
    return RayWorkers(parsed.ray, parsed.workers, parsed.device)


def generation_arguments(parsed: argparse.Namespace) -> dict[str, Any]:
    """What ``model.generate`` is given."""
    names = (
        "num_beams", "language", "task", "target_language", "instruction", "max_new_tokens",
    )  # fmt: skip
    found = {name: getattr(parsed, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def load(parsed: argparse.Namespace) -> tuple[Any, Any]:
    """The model and its processor."""
    from captum_spes.demo import DEMOS
    from captum_spes.speech.models import load_model
    from captum_spes.speech.models.loading import on_device
    from captum_spes.stability.classifier import SpeechClassifier, is_classifier_folder

    _quiet_transformers()
    if parsed.model is None or parsed.model in DEMOS:
        if parsed.language not in (None, "en", "English"):
            raise ArgumentError(
                f"the bundled model hears English only, got --language {parsed.language}; its "
                "output is chosen with --target-language."
            )
        parsed.model = parsed.model or DEMO
        model, processor, _ = DEMOS[parsed.model](parsed.device)
    elif is_classifier_folder(parsed.model):
        model = on_device(SpeechClassifier.from_pretrained(parsed.model), parsed.device)
        processor = parsed.label
    else:
        model, processor = load_model(parsed.model, parsed.device)
    if parsed.compile:
        encoder = audio_encoder(model)
        if encoder is model:
            raise ArgumentError(
                f"--compile compiles the encoder alone, and that of a {type(model).__name__} is no "
                "part of its own: leave it out."
            )
        encoder.compile()
    return model, processor


def audio_encoder(model: Any) -> Any:
    """The part of a model that hears; the model itself where it has no such part."""
    # Of models without a decoder transformers returns the whole, before version 5 nothing.
    found = model
    if hasattr(model, "get_encoder"):
        try:
            found = model.get_encoder(modality="audio")
        except TypeError:  # it hears and nothing else
            found = model.get_encoder()
    return getattr(model, "encoder", model.base_model) if found is model else found


def take_bundled_recording(parsed: argparse.Namespace) -> None:
    """Let AUDIO be a bundled recording where there is none; with some, there must be a model."""
    if parsed.audio and parsed.model is None:
        raise ArgumentError(
            "no model: give --model with a hub name or a folder, or --model demo for the "
            "bundled one, which understands the bundled recordings only."
        )
    if not parsed.audio:
        from captum_spes.demo import load_examples

        parsed.audio = [load_examples()[0].path]


def methods_help() -> str:
    """All methods with what they do."""
    return "; ".join(f"{method.name}: {method.about}" for method in METHODS.values())


def json_object(text: str) -> dict[str, Any]:
    """Read an object of JSON."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        shown = shortened(text, 60)
        raise argparse.ArgumentTypeError(f"{shown!r} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no object of names and values")
    return value


def json_objects(text: str) -> dict[str, Any]:
    """Read an object of methods, and of arguments of each."""
    value = json_object(text)
    if not all(isinstance(own, dict) for own in value.values()):
        raise argparse.ArgumentTypeError(f"{text!r} is no object of methods and arguments")
    return value


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if not re.fullmatch(r"\+?\d+", text.strip()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def print_text(text: str) -> None:
    """Print, with a question mark for what the terminal's encoding lacks, and escapes for what
    would move its cursor."""
    print(encodable(for_terminal(text)))


def encodable(text: str) -> str:
    """A text with a question mark for what the encoding of the output lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, errors="replace").decode(encoding)


def print_report(text: str, place: str) -> None:
    """Print what may be long: its beginning, and where the rest is."""
    lines = text.split("\n")
    more = len(lines) - _MOST_LINES
    if more > 0:
        lines = [*lines[:_MOST_LINES], f"... and {more} more lines: {place}"]
    print_text("\n".join(lines))


def print_written(paths: Sequence[Path]) -> None:
    """Say which files were written."""
    print_text(f"written: {', '.join(visible(path) for path in paths)}")


def tell(message: str) -> None:
    """Print one line on standard error."""
    print(f"captum-spes: {visible(message)}", file=sys.stderr)


def _defaults(name: str, efficient: Any, paper: Any) -> str:
    if name in _OWN_DEFAULTS:
        return str(_OWN_DEFAULTS[name])
    if efficient == paper:
        return ("yes" if paper else "no") if isinstance(paper, bool) else _shown(paper)
    return f"{_shown(efficient)}; paper: {_shown(paper)}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if not isinstance(value, list):
        return str(value)
    if len(value) > 4:
        return f"{len(value)} values from {value[0]} to {value[-1]}"
    return " ".join(map(str, value))


def _helps() -> dict[str, str]:
    """What the settings' documentation says of each, without its default."""
    text = (inspect.getdoc(Settings) or "").split("Args:\n")[1].split("Raises:\n")[0]
    found = {}
    for entry in re.split(r"^    (?=\w+ \()", text, flags=re.MULTILINE)[1:]:
        name, body = re.match(r"(\w+) \(.*?\): (.*)", entry, re.DOTALL).groups()  # type: ignore[union-attr]
        body = " ".join(body.partition("Default:")[0].split())
        body = re.sub(r":\w+:`([^`]*)`", lambda m: m.group(1).rpartition(".")[2], body)
        found[name] = body.replace("``", "").rstrip(".")
    return found


def _quiet_transformers() -> None:
    try:
        from huggingface_hub.utils import logging as hub_logging
        from transformers.utils import logging
    except ImportError:
        return  # load_model says what to install
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()
    logging.disable_progress_bar()
