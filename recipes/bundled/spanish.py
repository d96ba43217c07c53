"""Clauses in Spanish: subject pronouns mostly left out, adjectives behind their nouns."""

from __future__ import annotations

from recipes.bundled.clauses import HE, THEY, Clause, Phrase, State
from recipes.bundled.lexicon import NUMBERS, Adjective, spanish_plural_of

_PRONOUNS = {HE: {"m": "él", "f": "ella"}, THEY: {"m": "ellos", "f": "ellas"}}
# By determiner: masculine, feminine, masculine plural, feminine plural.
_DETERMINERS = {
    "the": "el la los las",
    "a": "un una unos unas",
    "this": "este esta estos estas",
    "my": "mi mi mis mis",
    "your": "tu tu tus tus",
    "his": "su su sus sus",
    "her": "su su sus sus",
    "our": "nuestro nuestra nuestros nuestras",
}
_MODALS = {
    "can": "puedo puedes puede podemos pueden".split(),
    "must": "debo debes debe debemos deben".split(),
    "want": "quiero quieres quiere queremos quieren".split(),
    "will": ["voy a", "vas a", "va a", "vamos a", "van a"],
    "should": "debería deberías debería deberíamos deberían".split(),
}
_BE = {
    ("ser", "present"): "soy eres es somos son".split(),
    ("ser", "past"): "era eras era éramos eran".split(),
    ("estar", "present"): "estoy estás está estamos están".split(),
    ("estar", "past"): "estaba estabas estaba estábamos estaban".split(),
}
_REFLEXIVE = "me te se nos se".split()
_DEGREES = {"so": "tan", "very": "muy", "too": "demasiado", "not": "", "": ""}
_QUESTION_WORDS = {
    "what": "qué",
    "where": "dónde",
    "when": "cuándo",
    "why": "por qué",
    "who": "quién",
}


def phrase(of: Phrase, after_a: bool = False) -> str:
    """A noun phrase; ``after_a`` puts the preposition *a* before it."""
    if of.name:
        words = of.name
    elif of.noun is None:
        words = _PRONOUNS[of.person][of.gender] if of.person in _PRONOUNS else ""
    else:
        words = _noun_phrase(of)
    if after_a:
        words = f"al {words[3:]}" if words.startswith("el ") else f"a {words}"
    return f"{words} ({phrase(of.apposition)})" if of.apposition else words


def main(clause: Clause) -> str:
    """A statement, and the same behind a conjunction."""
    time = clause.time.spanish if clause.time else ""
    first, last = (time, "") if clause.time_first else ("", time)
    return _joined(first, phrase(clause.subject), _verb(clause), _rest(clause), last)


def infinitive(clause: Clause) -> str:
    """The infinitive and what belongs to it."""
    time = clause.time.spanish if clause.time else ""
    return _joined(_infinitive(clause), _rest(clause), time)


def question(clause: Clause, word: str = "") -> str:
    """A question: yes or no, or with a question word for what the clause leaves out."""
    if not word:
        return main(clause)
    asked = _QUESTION_WORDS[word]
    if word == "where" and clause.is_motion:
        asked = "adónde"
    subject = "" if word == "who" else phrase(clause.subject)
    time = clause.time.spanish if clause.time else ""
    return _joined(asked, _verb(clause), subject, _rest(clause), time)


def state(of: State) -> str:
    """How somebody or something is."""
    person, subject = of.subject.person, of.subject
    be = _BE[of.adjective.spanish_verb, of.tense][person]
    gender = subject.noun.spanish_gender if subject.noun else subject.gender
    adjective = _agreeing(of.adjective, gender, person == THEY)
    negation = "no" if of.degree == "not" else ""
    return _joined(phrase(subject), negation, be, _DEGREES[of.degree], adjective)


def _verb(clause: Clause) -> str:
    verb, person = clause.verb, clause.subject.person
    negation = "no" if clause.object and clause.object.determiner == "no" else ""
    reflexive = _REFLEXIVE[person] if verb.spanish_reflexive else ""
    if clause.tense == "present":
        return _joined(negation, reflexive, verb.spanish_present[person])
    if clause.tense == "past":
        return _joined(negation, reflexive, verb.spanish_past[person])
    return _joined(negation, _MODALS[clause.tense][person], _infinitive(clause))


def _infinitive(clause: Clause) -> str:
    verb = clause.verb
    return verb.spanish + (_REFLEXIVE[clause.subject.person] if verb.spanish_reflexive else "")


def _rest(clause: Clause) -> str:
    place = clause.place
    is_goal = clause.is_motion or clause.verb.spanish == "llegar"
    where = (place.spanish_to if is_goal else place.spanish_at) if place else ""
    what = phrase(clause.object, after_a=clause.object.is_person) if clause.object else ""
    return _joined(what, where)


def _noun_phrase(of: Phrase) -> str:
    noun = of.noun
    assert noun is not None
    word = noun.spanish_plural if of.plural else noun.spanish
    adjective = ""
    if of.adjective:
        adjective = _agreeing(of.adjective, noun.spanish_gender, of.plural)
    determiner = ""
    # Uncounted things stand alone behind the negated verb: "no bebe leche".
    if of.determiner == "no" and noun.english_plural:
        determiner = "ninguna" if noun.spanish_gender == "f" else "ningún"
    elif of.determiner in _DETERMINERS:
        column = 2 * of.plural + (noun.spanish_gender == "f")
        determiner = _DETERMINERS[of.determiner].split()[column]
    elif of.determiner in NUMBERS:
        determiner = NUMBERS[of.determiner][1]
    return _joined(determiner, word, adjective)


def _agreeing(adjective: Adjective, gender: str, plural: bool) -> str:
    singular, _, irregular = adjective.spanish.partition(", ")
    if gender == "f" and singular.endswith("o"):
        singular = f"{singular[:-1]}a"
    return (irregular or spanish_plural_of(singular)) if plural else singular


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
