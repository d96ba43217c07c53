"""Clauses in English."""

from __future__ import annotations

from recipes.bundled.clauses import HE, Clause, Phrase, State

_PRONOUNS = ("I", "you", {"m": "he", "f": "she"}, "we", "they")
_BE = {"present": "am are is are are".split(), "past": "was were was were were".split()}


def phrase(of: Phrase) -> str:
    """A noun phrase, the same as a subject and as an object."""
    if of.name:
        words = of.name
    elif of.noun is None:
        pronoun = _PRONOUNS[of.person]
        words = pronoun[of.gender] if isinstance(pronoun, dict) else pronoun
    else:
        noun = of.noun.english_plural if of.plural else of.noun.english
        adjective = of.adjective.english if of.adjective else ""
        words = _joined(of.determiner, adjective, noun)
        if of.determiner == "a" and words[2] in "aeiou":
            words = f"an{words[1:]}"
        if of.determiner == "this" and of.plural:
            words = f"these{words[4:]}"
    return f"{words} ({phrase(of.apposition)})" if of.apposition else words


def main(clause: Clause) -> str:
    """A statement, without its full stop."""
    time = clause.time.english if clause.time else ""
    first, last = (time, "") if clause.time_first else ("", time)
    return _joined(first, phrase(clause.subject), _verb(clause), _rest(clause), last)


def infinitive(clause: Clause) -> str:
    """``to`` and the verb, without the subject."""
    time = clause.time.english if clause.time else ""
    return _joined("to", clause.verb.english, _rest(clause), time)


def question(clause: Clause, word: str = "") -> str:
    """A question: yes or no, or with a question word for what the clause leaves out."""
    time = clause.time.english if clause.time else ""
    if word == "who":
        return _joined("who", _verb(clause), _rest(clause), time)
    auxiliary, verb = _question_verbs(clause)
    return _joined(word, auxiliary, phrase(clause.subject), verb, _rest(clause), time)


def state(of: State) -> str:
    """How somebody or something is."""
    be = _BE[of.tense][of.subject.person]
    return _joined(phrase(of.subject), be, of.degree, of.adjective.english)


def _rest(clause: Clause) -> str:
    place = clause.place
    where = (place.english_to if clause.is_motion else place.english_at) if place else ""
    return _joined(phrase(clause.object) if clause.object else "", where)


def _verb(clause: Clause) -> str:
    verb, third = clause.verb, clause.subject.person == HE
    if clause.tense == "present":
        return verb.english_third if third else verb.english
    if clause.tense == "past":
        return verb.english_past
    if clause.tense == "want":
        return f"wants to {verb.english}" if third else f"want to {verb.english}"
    return f"{clause.tense} {verb.english}"


def _question_verbs(clause: Clause) -> tuple[str, str]:
    verb = clause.verb.english
    do = "does" if clause.subject.person == HE else "do"
    if clause.tense == "present":
        return do, verb
    if clause.tense == "past":
        return "did", verb
    return (do, f"want to {verb}") if clause.tense == "want" else (clause.tense, verb)


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
