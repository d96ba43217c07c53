"""Clauses in German: the verb second, last, or in two parts around the rest."""

from __future__ import annotations

from recipes.bundled.clauses import Clause, Phrase, State
from recipes.bundled.lexicon import NUMBERS, Verb

_PRONOUNS = ("ich", "du", {"m": "er", "f": "sie"}, "wir", "sie")
_STEMS = {
    "a": "ein",
    "no": "kein",
    "my": "mein",
    "your": "dein",
    "his": "sein",
    "her": "ihr",
    "our": "unser",
}
# Endings by case and gender ("p" for plural): after the determiner's stem, and of adjectives
# after "der", after "ein", and alone.
_DER = {"nom": "der die das die", "acc": "den die das die", "dat": "dem der dem den"}
_EIN = {"nom": "- e - e", "acc": "en e - e", "dat": "em er em en"}
_AFTER_DER = {"nom": "e e e en", "acc": "en e e en", "dat": "en en en en"}
_AFTER_EIN = {"nom": "er e es en", "acc": "en e es en", "dat": "en en en en"}
_ALONE = {"nom": "er e es e", "acc": "en e es e", "dat": "em er em en"}

_SEIN = {"present": "bin bist ist sind sind".split(), "past": "war warst war waren waren".split()}
_HABEN = "habe hast hat haben haben".split()
_MODALS = {
    "can": "kann kannst kann können können".split(),
    "must": "muss musst muss müssen müssen".split(),
    "want": "will willst will wollen wollen".split(),
    "will": "werde wirst wird werden werden".split(),
    "should": "soll sollst soll sollen sollen".split(),
}
_REFLEXIVE = {"dat": "mir dir sich uns sich".split(), "acc": "mich dich sich uns sich".split()}
_DEGREES = {"so": "so", "very": "sehr", "too": "zu", "not": "nicht", "": ""}
_QUESTION_WORDS = {"what": "was", "where": "wo", "when": "wann", "why": "warum", "who": "wer"}


def phrase(of: Phrase, case: str = "nom") -> str:
    """A noun phrase in a case: "nom", "acc" or "dat"."""
    if of.name:
        words = of.name
    elif of.noun is None:
        pronoun = _PRONOUNS[of.person]
        words = pronoun[of.gender] if isinstance(pronoun, dict) else pronoun
    else:
        words = _noun_phrase(of, case)
    return f"{words} ({phrase(of.apposition, case)})" if of.apposition else words


def main(clause: Clause) -> str:
    """A statement: the verb second, its other part last."""
    finite, last = _verb(clause)
    if clause.time_first and clause.time:
        return _joined(clause.time.german, inverted(clause, with_time=False))
    return _joined(phrase(clause.subject), finite, _middle(clause), last)


def inverted(clause: Clause, with_time: bool = True) -> str:
    """A statement behind something else, or a question: the verb before the subject."""
    finite, last = _verb(clause)
    middle = _middle(clause, with_time)
    return _joined(finite, phrase(clause.subject), middle, last)


def subordinate(clause: Clause) -> str:
    """A clause behind a conjunction: the whole verb last."""
    person = clause.subject.person
    verb = clause.verb
    if clause.tense == "present":
        verbs = verb.german_prefix + present(verb)[person]
    elif clause.tense == "past":
        verbs = f"{verb.german_participle} {_auxiliary(verb)[person]}"
    else:
        verbs = f"{verb.german_prefix}{verb.german} {_MODALS[clause.tense][person]}"
    return _joined(phrase(clause.subject), _middle(clause), verbs)


def infinitive(clause: Clause) -> str:
    """The verb with *zu*, last, and what belongs to it."""
    verb = clause.verb
    to = f"{verb.german_prefix}zu{verb.german}" if verb.german_prefix else f"zu {verb.german}"
    return _joined(_middle(clause), to)


def question(clause: Clause, word: str = "") -> str:
    """A question: yes or no, or with a question word for what the clause leaves out."""
    if word == "who":
        finite, last = _verb(clause)
        return _joined("wer", finite, _middle(clause), last)
    if word == "where" and clause.is_motion:
        return _joined("wohin", inverted(clause))
    return _joined(_QUESTION_WORDS.get(word, ""), inverted(clause))


def state(of: State) -> str:
    """How somebody or something is."""
    return _joined(phrase(of.subject), state_inverted(of, with_subject=False))


def state_inverted(of: State, with_subject: bool = True) -> str:
    """The same with the verb before the subject."""
    be = _SEIN[of.tense][of.subject.person]
    subject = phrase(of.subject) if with_subject else ""
    return _joined(be, subject, _DEGREES[of.degree], of.adjective.german)


def state_subordinate(of: State) -> str:
    """The same with the verb last."""
    be = _SEIN[of.tense][of.subject.person]
    return _joined(phrase(of.subject), _DEGREES[of.degree], of.adjective.german, be)


def present(verb: Verb) -> list[str]:
    """Forms of I, you, he, we, they, without the prefix."""
    stem = verb.german.removesuffix("en")
    return [f"{stem}e", verb.german_second, verb.german_third, verb.german, verb.german]


def _verb(clause: Clause) -> tuple[str, str]:
    """The part of the verb that agrees with the subject, and the part that comes last."""
    verb, person = clause.verb, clause.subject.person
    if clause.tense == "present":
        return present(verb)[person], verb.german_prefix
    if clause.tense == "past":
        return _auxiliary(verb)[person], verb.german_participle
    return _MODALS[clause.tense][person], verb.german_prefix + verb.german


def _auxiliary(verb: Verb) -> list[str]:
    return _SEIN["present"] if verb.german_auxiliary == "sein" else _HABEN


def _middle(clause: Clause, with_time: bool = True) -> str:
    verb, place = clause.verb, clause.place
    reflexive = _REFLEXIVE[verb.german_reflexive] if verb.german_reflexive else [""] * 5
    where = (place.german_to if clause.is_motion else place.german_at) if place else ""
    return _joined(
        reflexive[clause.subject.person],
        clause.time.german if clause.time and with_time else "",
        phrase(clause.object, verb.german_case) if clause.object else "",
        where,
    )


def _noun_phrase(of: Phrase, case: str) -> str:
    noun = of.noun
    assert noun is not None
    column = "mfnp".index("p" if of.plural else noun.german_gender)
    if of.plural:
        word = noun.german_plural
        if case == "dat" and word[-1] not in "ns":
            word += "n"
    else:
        word = noun.german if case == "nom" else noun.german_oblique
    determiner, endings = _determiner(of.determiner, case, column)
    adjective = of.adjective.german_stem + endings.split()[column] if of.adjective else ""
    return _joined(determiner, adjective, word)


def _determiner(english: str, case: str, column: int) -> tuple[str, str]:
    """The determiner, and the adjective endings that follow it."""
    if english == "the":
        return _DER[case].split()[column], _AFTER_DER[case]
    if english == "this":
        article = _DER[case].split()[column]
        ending = {"die": "e", "das": "es"}.get(article, article[1:])
        return f"dies{ending}", _AFTER_DER[case]
    if english in _STEMS:
        ending = _EIN[case].split()[column].strip("-")
        return _STEMS[english] + ending, _AFTER_EIN[case]
    return NUMBERS[english][0] if english else "", _ALONE[case]


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
