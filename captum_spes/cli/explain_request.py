"""What ``captum-spes explain`` is asked for: the method, its settings, and what decides maps."""

from __future__ import annotations

import argparse
from typing import Any

from captum_spes.cli.options import generation_arguments, given_settings, settings_of
from captum_spes.errors import ArgumentError
from captum_spes.report.folders import Outputs

# It changes speed and memory alone.
_INCIDENTAL = "perturbations_per_eval"


def method_and_settings(parsed: argparse.Namespace) -> tuple[Any, Any]:
    """The method and the settings that it runs with.

    Raises:
        ArgumentError: an option has no effect on the method, or there is no such method.
    """
    from captum_spes.corpus.worker import fixed_batches
    from captum_spes.speech import named_methods
    from captum_spes.speech.attribution import without_logarithms
    from captum_spes.speech.plain import equal

    (method,) = named_methods([parsed.method])
    if method.same_maps_as:
        raise ArgumentError(
            f"{method.name} has the maps of {method.same_maps_as} and differs in evaluate only."
        )
    asked = settings_of(parsed)
    if parsed.workers > 1:
        asked = fixed_batches(asked)
    if parsed.method_args:
        asked = asked.replace(method_args=parsed.method_args)
    contrast = _contrast_of(parsed)
    if contrast is not None:
        asked = asked.replace(score=contrast, estimator=without_logarithms(asked.estimator))
    settings = method.settings(asked)
    if contrast is not None and (settings.score != contrast or method.runner is None):
        option = "--errors" if parsed.errors else "--contrast"
        raise ArgumentError(
            f"{option} has no effect on {method.name}: leave it out, or take another --method."
        )
    for name in given_settings(parsed):
        if not equal(getattr(asked, name), getattr(settings, name)):
            raise ArgumentError(
                f"{name}={getattr(asked, name)!r} has no effect on {method.name}: leave the option "
                "out, or take another --method."
            )
    return method, settings


def request_of(parsed: argparse.Namespace, settings: Any) -> dict[str, Any]:
    """All that decides the explanations, but the model, in JSON's types."""
    described = settings.to_dict()
    del described[_INCIDENTAL]
    if parsed.contrast or parsed.errors:
        del described["score"]  # which the options below say in short
    return {
        "method": parsed.method,
        "seed": parsed.seed,
        **described,
        "method_args": parsed.method_args,
        "gen_args": generation_arguments(parsed),
        "label": parsed.label,
        "target": parsed.target,
        "word": sorted(parsed.word),
        "at": sorted(parsed.at),
        "contrast": parsed.contrast,
        "occurrence": parsed.occurrence or 1,
        "errors": parsed.errors,
        "reference": parsed.reference,
    }


def outputs_of(parsed: argparse.Namespace) -> Outputs:
    """What is written besides explanations."""
    return Outputs((parsed.figure_format,), parsed.html, parsed.judge)


def _contrast_of(parsed: argparse.Namespace) -> Any:
    """The contrast that is asked for; of errors one that stands for theirs."""
    from captum_spes.forward import Contrast

    if parsed.errors:
        return Contrast("word", "foil")
    return (
        Contrast(*parsed.contrast, occurrence=parsed.occurrence or 1) if parsed.contrast else None
    )
