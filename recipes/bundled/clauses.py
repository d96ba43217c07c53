"""What a clause says, before it is said in a language."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from recipes.bundled.lexicon import Adjective, Noun, Place, Time, Verb

# The persons that verbs agree with, in the order of every list of verb forms.
ME, YOU, HE, WE, THEY = range(5)


@dataclass(frozen=True)
class Phrase:
    """Somebody or something: a pronoun, a name, or a noun with what belongs to it.

    Attributes:
        person: what verbs agree with.
        gender: "m" or "f", of pronouns and names.
        name: a proper name.
        noun: a noun, with ``determiner`` ("the", "my", a number, "no", or "" for none),
            ``adjective`` and ``plural``.
        apposition: another phrase in brackets behind it.
    """

    person: int = HE
    gender: str = "m"
    name: str = ""
    noun: Noun | None = None
    determiner: str = ""
    adjective: Adjective | None = None
    plural: bool = False
    apposition: Phrase | None = None

    @property
    def is_pronoun(self) -> bool:
        return self.noun is None and not self.name

    @property
    def is_person(self) -> bool:
        return self.noun is None or "person" in self.noun.kinds


@dataclass(frozen=True)
class Clause:
    """Who does what, when and where.

    Attributes:
        subject: who.
        verb: does.
        object: what; None for intransitive verbs and where a question asks for it.
        tense: "present", "past" or a modal: "can", "must", "want", "will", "should".
        place: where, or for verbs of motion where to.
        time: when.
        time_first: whether the time stands before the subject.
    """

    subject: Phrase
    verb: Verb
    object: Phrase | None = None
    tense: str = "present"
    place: Place | None = None
    time: Time | None = None
    time_first: bool = False

    @property
    def is_motion(self) -> bool:
        return "place" in self.verb.kinds

    def without(self, part: str) -> Clause:
        """The clause without its object, place or time."""
        changes: dict[str, Any] = {part: None, "time_first": False}
        return replace(self, **changes)


@dataclass(frozen=True)
class State:
    """How somebody or something is: subject, adjective, and "so", "very", "too" or "not"."""

    subject: Phrase
    adjective: Adjective
    degree: str = ""
    tense: str = "present"
