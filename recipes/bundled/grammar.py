"""Sentences of the demonstration language, drawn at random, in English, German and Spanish."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from recipes.bundled import english, german, spanish
from recipes.bundled.clauses import HE, ME, THEY, WE, YOU, Clause, Phrase, State
from recipes.bundled.lexicon import (
    NAMES,
    NUMBERS,
    PERSON_ADJECTIVES,
    PERSONS,
    PLACES,
    THING_ADJECTIVES,
    THINGS,
    TIMES,
    VERBS,
    Noun,
    Verb,
)

_OWNERS = ("my", "your", "his", "her", "our")
_MODALS = ("can", "must", "want", "will", "should")
_MAX_WORDS = 13
_DEPENDENT = [verb for verb in VERBS if not verb.kinds & {"place", "event"}]
_TRANSITIVE = [verb for verb in _DEPENDENT if verb.kinds]
_MOTION = [verb for verb in VERBS if "place" in verb.kinds]
_EVENTS = [verb for verb in VERBS if "event" in verb.kinds]
_THINGS = [noun for noun in THINGS if "event" not in noun.kinds]
# Verbs that take an infinitive: English, German (with prefix), Spanish, by person.
_CONTROL = (
    (("try", "tries"), "versuche versuchst versucht versuchen versuchen", "",
     "intento intentas intenta intentamos intentan"),
    (("promise", "promises"), "verspreche versprichst verspricht versprechen versprechen", "",
     "prometo prometes promete prometemos prometen"),
    (("begin", "begins"), "fange fängst fängt fangen fangen", "an",
     "empiezo_a empiezas_a empieza_a empezamos_a empiezan_a"),
    (("stop trying", "stops trying"), "höre hörst hört hören hören", "auf_zu_versuchen",
     "dejo_de_intentar dejas_de_intentar deja_de_intentar dejamos_de_intentar "
     "dejan_de_intentar"),
)  # fmt: skip
# Verbs that take a clause.
_REPORTING = (
    (("know", "knows"), "weiß weißt weiß wissen wissen", "sé sabes sabe sabemos saben"),
    (("think", "thinks"), "glaube glaubst glaubt glauben glauben",
     "creo crees cree creemos creen"),
    (("say", "says"), "sage sagst sagt sagen sagen", "digo dices dice decimos dicen"),
    (("see", "sees"), "sehe siehst sieht sehen sehen", "veo ves ve vemos ven"),
)  # fmt: skip


@dataclass(frozen=True)
class Sentence:
    """A sentence with its translations.

    Attributes:
        kind: the construction that it was drawn from.
        english: the text, with punctuation.
        german: its German translation.
        spanish: its Spanish translation.
    """

    kind: str
    english: str
    german: str
    spanish: str

    @property
    def spoken(self) -> str:
        """What is read aloud: brackets and quotation marks become the pauses of commas."""
        text = re.sub(r" \(", ", ", self.english)
        text = re.sub(r"\)(?=[.?!,])", "", text).replace(")", ",")
        return text.replace('"', "")


def draw_sentence(rng: random.Random) -> Sentence:
    """Draw a sentence of at most 13 words; equal generators draw equal sentences."""
    kinds, weights = zip(*_KINDS.items(), strict=True)
    while True:
        kind = rng.choices(kinds, weights=[weight for weight, _ in weights])[0]
        texts = _KINDS[kind][1](rng)
        if len(texts[0].split()) <= _MAX_WORDS:
            return Sentence(kind, *texts)


# Parts of sentences ----------------------------------------------------------------------


def _subject(rng: random.Random, pronouns: Sequence[int] = (ME, YOU, HE, WE, THEY)) -> Phrase:
    choice = rng.random()
    if choice < 0.25:
        person = rng.choice(pronouns)
        return Phrase(person=person, gender=rng.choice("mf") if person == HE else "m")
    if choice < 0.4:
        name = rng.choice(list(NAMES))
        return Phrase(name=name, gender=NAMES[name])
    return _noun_phrase(rng, rng.choice(PERSONS), 0.25)


def _noun_phrase(rng: random.Random, noun: Noun, adjective_share: float) -> Phrase:
    plural = bool(noun.english_plural) and rng.random() < 0.25
    if plural:
        determiner = rng.choice(("the", *_OWNERS, "this", *NUMBERS))
    elif noun.english_plural:
        determiner = rng.choice(("the", "the", "the", "a", "a", *_OWNERS, "this"))
    else:
        determiner = rng.choice(("the", "the", *_OWNERS, "this"))
    adjectives = PERSON_ADJECTIVES if "person" in noun.kinds else THING_ADJECTIVES
    adjective = rng.choice(adjectives) if rng.random() < adjective_share else None
    person = THEY if plural else HE
    return Phrase(
        person=person, noun=noun, determiner=determiner, adjective=adjective, plural=plural
    )


def _object(rng: random.Random, verb: Verb) -> Phrase | None:
    if not verb.kinds or verb.kinds & {"place", "event"}:
        return None
    if "person" in verb.kinds:
        if rng.random() < 0.2:
            name = rng.choice(list(NAMES))
            return Phrase(name=name, gender=NAMES[name])
        return _noun_phrase(rng, rng.choice(PERSONS), 0.25)
    noun = rng.choice([noun for noun in _THINGS if noun.kinds & verb.kinds])
    if rng.random() < 0.12:
        return Phrase(noun=noun, determiner="no")
    if not noun.english_plural and rng.random() < 0.5:
        return Phrase(noun=noun)
    return _noun_phrase(rng, noun, 0.35)


def _clause(rng: random.Random, verbs: Sequence[Verb] = _DEPENDENT, extras: float = 0.45) -> Clause:
    """A clause of any verb, sometimes with a time and a place."""
    verb = rng.choice(verbs)
    tense = rng.choices(("present", "past", "modal"), weights=(5, 3, 4))[0]
    if tense == "past" and not verb.english_past:
        tense = "present"
    times = [time for time in TIMES if _time_kinds(tense) & time.tenses]
    thing = _object(rng, verb)
    clause = Clause(
        subject=_subject(rng),
        verb=verb,
        object=thing,
        tense=rng.choice(_MODALS) if tense == "modal" else tense,
        time=rng.choice(times) if rng.random() < extras else None,
        place=rng.choice(PLACES) if rng.random() < extras * 0.8 else None,
    )
    return replace(clause, time_first=bool(clause.time) and rng.random() < 0.3)


def _time_kinds(tense: str) -> set[str]:
    return {"future" if tense == "modal" else tense, "hour"}


def _in_main_order(clause: Clause) -> Clause:
    return replace(clause, time_first=False)


def _aim(rng: random.Random, verbs: Sequence[Verb], extras: float) -> Clause:
    """A clause that can become an infinitive: nobody goes somewhere to buy no bread."""
    clause = _clause(rng, verbs, extras)
    while clause.object and clause.object.determiner == "no":
        clause = _clause(rng, verbs, extras)
    return _in_main_order(clause)


# Kinds of sentences ----------------------------------------------------------------------

Texts = tuple[str, str, str]


def _statement(rng: random.Random) -> Texts:
    clause = _clause(rng, extras=0.6)
    return _ended(english.main(clause), german.main(clause), spanish.main(clause))


def _motion(rng: random.Random) -> Texts:
    clause = replace(_clause(rng, _MOTION, extras=0.6), place=rng.choice(PLACES))
    return _ended(english.main(clause), german.main(clause), spanish.main(clause))


def _event(rng: random.Random) -> Texts:
    verb = rng.choice(_EVENTS)
    noun = rng.choice([noun for noun in THINGS if "event" in noun.kinds])
    subject = Phrase(noun=noun, determiner=rng.choice(("the", "this", *_OWNERS)))
    clause = replace(_clause(rng, [verb], extras=1.0), subject=subject, object=None)
    return _ended(english.main(clause), german.main(clause), spanish.main(clause))


def _state(rng: random.Random) -> State:
    degree = rng.choices(("so", "very", "too", "not", ""), weights=(4, 2, 2, 2, 1))[0]
    tense = rng.choice(("present", "present", "past"))
    if rng.random() < 0.5:
        subject = _subject(rng, (HE, THEY))
        adjectives = PERSON_ADJECTIVES
    else:
        subject = _noun_phrase(rng, rng.choice(_THINGS), 0.3)
        adjectives = THING_ADJECTIVES
    return State(subject, rng.choice(adjectives), degree, tense)


def _description(rng: random.Random) -> Texts:
    first, second = _state(rng), _state(rng)
    texts: tuple[str, ...] = (english.state(first), german.state(first), spanish.state(first))
    if rng.random() < 0.5:
        other = (english.state(second), german.state(second), spanish.state(second))
        word = rng.choice((("and", "und", "y"), (", but", ", aber", ", pero")))
        texts = tuple(
            f"{a} {w} {b}".replace(" ,", ",") for a, w, b in zip(texts, word, other, strict=True)
        )
    return _ended(*texts)


def _existence(rng: random.Random) -> Texts:
    noun, place = rng.choice(_THINGS), rng.choice(PLACES)
    choice = rng.choice(("no", "number", "a"))
    if choice == "number" and noun.english_plural:
        number = rng.choice(list(NUMBERS))
        thing = Phrase(noun=noun, determiner=number, plural=True)
    elif choice == "a" and noun.english_plural:
        thing = Phrase(noun=noun, determiner="a", adjective=rng.choice(THING_ADJECTIVES))
    else:
        thing = Phrase(noun=noun, determiner="no")
    there = "there are" if thing.plural else "there is"
    no = "no hay" if thing.determiner == "no" else "hay"
    return _ended(
        f"{there} {english.phrase(thing)} {place.english_at}",
        f"es gibt {german.phrase(thing, 'acc')} {place.german_at}",
        f"{no} {spanish.phrase(thing)} {place.spanish_at}",
    )


def _purpose(rng: random.Random) -> Texts:
    motion = rng.choice([_MOTION, _MOTION, _TRANSITIVE])
    clause = _clause(rng, motion, extras=0.2)
    if clause.is_motion:
        clause = replace(clause, place=rng.choice(PLACES))
    aim = replace(_aim(rng, _TRANSITIVE, extras=0.0), subject=clause.subject)
    return _ended(
        f"{english.main(clause)} {english.infinitive(aim)}",
        f"{german.main(clause)}, um {german.infinitive(aim)}",
        f"{spanish.main(clause)} para {spanish.infinitive(aim)}",
    )


def _attempt(rng: random.Random) -> Texts:
    (base, third), forms, prefix, spanish_forms = rng.choice(_CONTROL)
    aim = _aim(rng, _DEPENDENT, extras=0.25)
    person = aim.subject.person
    separated = f" {prefix}".replace("_", " ").rstrip()
    return _ended(
        f"{english.phrase(aim.subject)} {third if person == HE else base} "
        f"{english.infinitive(aim)}",
        f"{german.phrase(aim.subject)} {forms.split()[person]}{separated}, "
        f"{german.infinitive(aim)}",
        f"{spanish.phrase(aim.subject)} {spanish_forms.split()[person].replace('_', ' ')} "
        f"{spanish.infinitive(aim)}",
    )


def _report(rng: random.Random) -> Texts:
    (base, third), forms, spanish_forms = rng.choice(_REPORTING)
    clause = _in_main_order(_clause(rng, extras=0.3))
    subject = _subject(rng)
    person = subject.person
    return _ended(
        f"{english.phrase(subject)} {third if person == HE else base} that {english.main(clause)}",
        f"{german.phrase(subject)} {forms.split()[person]}, dass {german.subordinate(clause)}",
        f"{spanish.phrase(subject)} {spanish_forms.split()[person]} que {spanish.main(clause)}",
    )


def _reason(rng: random.Random) -> Texts:
    clause, state = _clause(rng, extras=0.25), _state(rng)
    return _ended(
        f"{english.main(clause)} because {english.state(state)}",
        f"{german.main(clause)}, weil {german.state_subordinate(state)}",
        f"{spanish.main(clause)} porque {spanish.state(state)}",
    )


def _condition(rng: random.Random) -> Texts:
    first = _in_main_order(_clause(rng, extras=0.1))
    second = _in_main_order(_clause(rng, extras=0.1))
    when, wenn, cuando = rng.choice((("if", "wenn", "si"), ("when", "wenn", "cuando")))
    if when == "when" and first.tense == "past":
        wenn = "als"
    return _ended(
        f"{when} {english.main(first)}, {english.main(second)}",
        f"{wenn} {german.subordinate(first)}, {german.inverted(second)}",
        f"{cuando} {spanish.main(first)}, {spanish.main(second)}",
    )


def _contrast(rng: random.Random) -> Texts:
    first = _in_main_order(_clause(rng, extras=0.1))
    second = _in_main_order(_clause(rng, extras=0.1))
    but, aber, pero = rng.choice(((", but", ", aber", ", pero"), (" and", " und", " y")))
    then = spanish.main(second)
    if pero == " y" and then.startswith("i"):
        pero = " e"
    return _ended(
        f"{english.main(first)}{but} {english.main(second)}",
        f"{german.main(first)}{aber} {german.main(second)}",
        f"{spanish.main(first)}{pero} {then}",
    )


def _answer(rng: random.Random) -> Texts:
    """The minimal pair: the same sentence begins with *so* or with *no*."""
    is_no = rng.random() < 0.5
    if rng.random() < 0.4:
        state = _state(rng)
        said = (english.state(state), german.state(state), spanish.state(state))
        then = german.state_inverted(state)
    else:
        clause = _in_main_order(_clause(rng, extras=0.4))
        said = (english.main(clause), german.main(clause), spanish.main(clause))
        then = german.inverted(clause)
    if is_no:
        return _ended(f"no, {said[0]}", f"nein, {said[1]}", f"no, {said[2]}")
    return _ended(f"so, {said[0]}", f"also {then}", f"así que {said[2]}")


def _yes_no_question(rng: random.Random) -> Texts:
    clause = _in_main_order(_clause(rng, extras=0.4))
    return _asked(english.question(clause), german.question(clause), spanish.question(clause))


def _question(rng: random.Random) -> Texts:
    word = rng.choice(("what", "what", "where", "when", "why", "who"))
    clause = _in_main_order(_clause(rng, _TRANSITIVE if word == "what" else _DEPENDENT, 0.4))
    if word == "what" and clause.object and clause.object.is_person:
        word = "why"
    if word == "where" and rng.random() < 0.4:
        clause = _in_main_order(_clause(rng, _MOTION, 0.4))
    if clause.is_motion and word != "where":
        clause = replace(clause, place=rng.choice(PLACES))
    if word == "who":
        clause = replace(clause, subject=Phrase())
    asked = {"what": "object", "where": "place", "when": "time"}.get(word)
    clause = clause.without(asked) if asked else clause
    return _asked(*(language.question(clause, word) for language in (english, german, spanish)))


def _quotation(rng: random.Random) -> Texts:
    speaker = _subject(rng, (HE,))
    while speaker.plural:
        speaker = _subject(rng, (HE,))
    said = rng.choice((_statement, _description, _yes_no_question, _question))(rng)
    inner = said[2].removesuffix(".")
    return (
        f'{_capital(english.phrase(speaker))} says, "{said[0]}"',
        f"{_capital(german.phrase(speaker))} sagt: „{said[1]}“",
        f"{_capital(spanish.phrase(speaker))} dice: «{inner}».",
    )


def _brackets(rng: random.Random) -> Texts:
    clause = _in_main_order(_clause(rng, extras=0.3))
    subject = clause.subject
    if rng.random() < 0.6 or clause.time is None:
        noun = rng.choice(PERSONS)
        adjective = rng.choice(PERSON_ADJECTIVES) if rng.random() < 0.3 else None
        determiner = rng.choice(("the", "a", *_OWNERS))
        apposition = Phrase(noun=noun, determiner=determiner, adjective=adjective)
        while subject.is_pronoun or subject.plural:
            subject = _subject(rng)
        clause = replace(clause, subject=replace(subject, apposition=apposition))
        return _ended(english.main(clause), german.main(clause), spanish.main(clause))
    time, rest = clause.time, clause.without("time")
    return _ended(
        f"{english.main(rest)} ({time.english})",
        f"{german.main(rest)} ({time.german})",
        f"{spanish.main(rest)} ({time.spanish})",
    )


_KINDS: dict[str, tuple[int, Callable[[random.Random], Texts]]] = {
    "statement": (22, _statement),
    "motion": (5, _motion),
    "event": (4, _event),
    "description": (7, _description),
    "existence": (4, _existence),
    "purpose": (9, _purpose),
    "attempt": (7, _attempt),
    "report": (6, _report),
    "reason": (5, _reason),
    "condition": (5, _condition),
    "contrast": (4, _contrast),
    "answer": (8, _answer),
    "yes-no question": (5, _yes_no_question),
    "question": (10, _question),
    "quotation": (5, _quotation),
    "brackets": (6, _brackets),
}


def _ended(first: str, second: str, third: str) -> Texts:
    return f"{_capital(first)}.", f"{_capital(second)}.", f"{_capital(third)}."


def _asked(first: str, second: str, third: str) -> Texts:
    return f"{_capital(first)}?", f"{_capital(second)}?", f"¿{_capital(third)}?"


def _capital(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:]
