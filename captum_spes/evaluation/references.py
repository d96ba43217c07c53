"""Whether what a model is asked to write is what it would be scored against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captum_spes.corpus.manifest import TEXT
from captum_spes.errors import ArgumentError
from captum_spes.speech.models import FollowsInstructions, NamesLanguages, can
from captum_spes.speech.models.languages import is_same_language
from captum_spes.text import shortened


def check_reference(adapter: Any, gen_args: Mapping[str, Any], reference: str | None) -> None:
    """Raise where a model is asked for another text than it would be scored against.

    What nobody can tell is taken on trust, and so is ``reference="text"``: the user has said that
    the manifest's text is what the model should write.

    Args:
        adapter: the model's.
        gen_args: what the model is asked.
        reference: a language of the translations, or "text" for what is said; None where the user
            said nothing, which means what is said.
    """
    if reference == TEXT:
        return
    if can(adapter, FollowsInstructions):
        _check_instruction(adapter, gen_args, reference)
    if can(adapter, NamesLanguages):
        _check_languages(adapter, gen_args, reference)


def _check_instruction(
    adapter: FollowsInstructions, gen_args: Mapping[str, Any], reference: str | None
) -> None:
    instruction = gen_args.get("instruction")
    if reference is None and not adapter.is_own_request(gen_args):
        raise ArgumentError(
            f"the model is asked {shortened(str(instruction), 60)!r}, and nothing says which text "
            "of the manifest it should write: give as reference a language of the translations, "
            f"or {TEXT!r} for what is said."
        )
    # Some take a language in the place of an instruction, which may be another than the spoken one.
    asks_nothing = instruction is None and gen_args.get("language") is None
    if reference is not None and asks_nothing:
        raise ArgumentError(
            f"the model is asked for a transcript and would be scored against the translation into "
            f"{reference!r}: give the instruction that asks for it, or leave the reference out."
        )


def _check_languages(
    adapter: NamesLanguages, gen_args: Mapping[str, Any], reference: str | None
) -> None:
    spoken, written = adapter.languages(gen_args)
    scored = spoken if reference is None else reference
    if written is None or (scored is not None and is_same_language(scored, written)):
        return
    against = "the text of what is said" if reference is None else f"the translation {reference!r}"
    raise ArgumentError(
        f"the model writes {written!r} and would be scored against {against}: give target language "
        f"and reference (a language of the translations, or {TEXT!r} for what is said) that agree."
    )
