"""What else a model could have written in the place of a word, and how likely it holds it."""

from __future__ import annotations

import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.forward import CTC, Contrast
from captum_spes.forward.contrast import ContrastScore
from captum_spes.maps import is_unspaced, split_unspaced
from captum_spes.speech.contrast import Contrasted, Exchange, Spelled, tokens_that_begin_words
from captum_spes.speech.models import (
    ReadsPreviousTokens,
    SharesBeginnings,
    SpeechInput,
    TargetSequence,
    WritesInFrames,
    can,
)
from captum_spes.speech.outputs import Output
from captum_spes.speech.phrases import occurrence

# Beginnings that are followed at a time, and candidates beyond those asked for: the tokenizer may
# write one in another way, which is less likely.
_WIDTH, _SPARE = 16, 4
# Letters of a long word, where each is a token.
_MOST_TOKENS = 24
# Beginnings of CTC outputs that are followed, tokens that go on with each in a frame, and
# candidates whose shares are counted.
_CTC_WIDTH, _CTC_TOKENS, _CTC_CANDIDATES = 100, 12, 32
# Alternatives that are kept with an explanation whose foil is one of them.
_KEPT = 5
# What a byte-level tokenizer shows for a part of a character.
_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


class Alternative(NamedTuple):
    """What could stand in the place of a word.

    Attributes:
        word: as the model would write it.
        probability: how likely the model holds it there.
    """

    word: str
    probability: float


def alternatives_of(
    adapter: Any,
    speech: SpeechInput,
    states: Tensor,
    sequence: TargetSequence,
    asked: Contrast,
    gen_args: Mapping[str, Any],
    count: int,
) -> list[Alternative]:
    """The likeliest other words in the place of a word; see
    ``SpeechToTextAttribution.alternatives``.

    Args:
        adapter: of the model.
        speech: the utterance.
        states: of the encoder, batch of 1.
        sequence: what was written.
        asked: the word, its occurrence and the rule; the foil is not looked at.
        gen_args: with which it was written.
        count: how many are asked for.
    """
    place = Place.of(adapter, sequence, asked)
    with torch.no_grad():
        if can(adapter, WritesInFrames):
            found = _of_ctc(adapter, speech, states, sequence, place, gen_args, count)
        elif can(adapter, ReadsPreviousTokens):
            if sequence.frames:
                # Its scores of tokens, each in one frame, say nothing of what is left out: the word
                # behind the asked one would be the likeliest.
                raise ArgumentError(
                    "the words that a transducer could write in a place cannot be compared by its "
                    f"scores of tokens ({type(adapter).__name__}): give a foil, what could stand "
                    f"in the place of {place.word!r}."
                )
            found = _of_decoder(adapter, speech, states, sequence, place, gen_args, count)
        else:
            found = _of_classes(adapter, states, sequence)
    # Equal ones in the order of the alphabet, so that no run differs from another.
    return sorted(found, key=lambda own: (-own.probability, own.word))[:count]


def with_likeliest_foil(
    adapter: Any,
    speech: SpeechInput,
    states: Tensor,
    sequence: TargetSequence,
    contrast: Contrast,
    gen_args: Mapping[str, Any],
) -> tuple[Contrast, list[Alternative]]:
    """A contrast without a foil, with the likeliest alternative as its foil; and the likeliest
    ones."""
    found = alternatives_of(adapter, speech, states, sequence, contrast, gen_args, _KEPT)
    if not found:
        raise ArgumentError(
            f"the model knows no other word in the place of {contrast.word!r}: give a foil."
        )
    # As it is written, so that the foil's case stays that of the model.
    word = Place.of(adapter, sequence, contrast).word
    return replace(contrast, word=word, foil=found[0].word), found


# The place ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a word stands in an output.

    Attributes:
        word: as it is written.
        contrast: asks for this word there.
        rows: its tokens among the explained ones.
        ahead: text that the first of them holds ahead of the word: a blank, or, in scripts without
            spaces, the end of another word.
        is_first: whether nothing but blanks stands ahead in the output.
    """

    word: str
    contrast: Contrast
    rows: range
    ahead: str
    is_first: bool

    @classmethod
    def of(cls, adapter: Any, sequence: TargetSequence, asked: Contrast) -> Place:
        """Find the word; raise where the output does not hold it."""
        output = Spelled.of(adapter, sequence.explained_ids)
        start, end = occurrence(output.text, asked.word, asked.occurrence)
        word, rows = output.text[start:end], output.rows(start, end)
        first = next(place for place, row in output.starts.items() if row == rows.start)
        return cls(
            word,
            replace(asked, word=word, foil=None),
            rows,
            output.text[first:start],
            not output.text[:first].strip(),
        )

    @property
    def n_units(self) -> int:
        """How many words it is, or, in scripts without spaces, characters."""
        return _n_units(self.word)

    @property
    def is_unspaced(self) -> bool:
        """Whether any of it is of a script without spaces."""
        return any(is_unspaced(character) for character in self.word)

    def candidate(self, text: str) -> str | None:
        """What a text of tokens puts into the place, perhaps in part: "" where it is only what
        stands ahead; None where it goes another way."""
        ahead, own = self.ahead.lstrip(), text.lstrip()
        # At the beginning of an output nobody sees whether there is a blank.
        has_blank = self.is_first or bool(self.ahead[:1].isspace()) == (own != text)
        if not has_blank and text:
            return None
        if ahead.startswith(own):
            return ""
        return own[len(ahead) :].strip() if own.startswith(ahead) else None

    def is_whole(self, candidate: str) -> bool:
        """Whether it is as many words as the one that stands there, and not that one."""
        return (
            _n_units(candidate) == self.n_units
            and _INCOMPLETE not in candidate
            and _plain(candidate) not in ("", _plain(self.word))
        )


def _n_units(text: str) -> int:
    return sum(len(split_unspaced(part)) for part in text.split())


def _plain(text: str) -> str:
    """Letters and digits alone, whatever their case."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in plain if unicodedata.category(c)[0] in "LNM")


class _Pool:
    """The best form of each candidate."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._best: dict[str, tuple[float, str]] = {}

    def offer(self, candidate: str, score: float) -> None:
        """Keep a candidate, unless it is none, or known in a likelier form."""
        if self._place.is_whole(candidate):
            key = _plain(candidate)
            self._best[key] = max(self._best.get(key, (-math.inf, "")), (score, candidate))

    def ranked(self, count: int) -> list[tuple[float, str]]:
        """The likeliest ones, in order."""
        return sorted(self._best.values(), key=lambda own: (-own[0], own[1]))[:count]


# Models that read what they wrote ---------------------------------------------------------


def _of_decoder(
    adapter: Any,
    speech: SpeechInput,
    states: Tensor,
    sequence: TargetSequence,
    place: Place,
    gen_args: Mapping[str, Any],
    count: int,
) -> list[Alternative]:
    beginning, wanted = _Beginning(adapter, states, sequence, place), count + _SPARE
    words = _search(beginning, place, max(_WIDTH, wanted), wanted)
    outputs = list(_outputs(words, adapter, speech, sequence, place, gen_args))
    logs = _log_probabilities(adapter, states, outputs)
    return [
        Alternative(output.contrasted.contrast.foil, math.exp(log))
        for output, log in zip(outputs, logs, strict=True)
        if output.contrasted is not None and output.contrasted.contrast.foil is not None
    ]


class _Continues(Protocol):
    """Tells what follows beginnings of a word."""

    adapter: Any

    def next(self, beginnings: Sequence[tuple[int, ...]]) -> Tensor:
        """Log-probabilities of the token behind each, ``(beginnings, vocab)``; all beginnings are
        of one length."""
        ...


class _Beginning:
    """What a model has read ahead of a word; no beginning of it is read twice in a pass.

    Args:
        adapter: of the model.
        states: of the encoder, batch of 1.
        sequence: what was written.
        place: the word's.
    """

    def __init__(
        self, adapter: Any, states: Tensor, sequence: TargetSequence, place: Place
    ) -> None:
        self.adapter, self._states, self._sequence = adapter, states, sequence
        self._start = sequence.explained[place.rows.start]
        self._prepared: Any = None
        if not can(adapter, SharesBeginnings):
            self._prepared = adapter.prepared(states, self._reading(()))

    def next(self, beginnings: Sequence[tuple[int, ...]]) -> Tensor:
        """See ``_Continues``."""
        readings = [self._reading(tokens) for tokens in beginnings]
        if can(self.adapter, SharesBeginnings):
            decoded = self.adapter.decode_branches(self._states, readings)
        else:
            decoded = [
                self.adapter.decode_prepared(self._states, reading, self._prepared)
                for reading in readings
            ]
        last = torch.cat([hidden[:, -1:] for hidden in decoded])
        logits: Tensor = self.adapter.output_layer(last)[:, 0]
        return logits.float().log_softmax(-1).cpu()

    def _reading(self, tokens: tuple[int, ...]) -> TargetSequence:
        ids, start = self._sequence.ids, self._start
        own = torch.tensor(tokens, dtype=ids.dtype, device=ids.device)
        previous = tuple(p for p in self._sequence.previous_positions if p < start)
        return replace(
            self._sequence,
            # The last id is not read, so any will do.
            ids=torch.cat([ids[:start], own, ids[-1:]]),
            explained=tuple(range(start, start + len(tokens) + 1)),
            previous=previous,
        )


def _search(beginning: _Continues, place: Place, width: int, wanted: int) -> list[str]:
    """A beam over the tokens of a word. A word ends where another begins, so that short and long
    ones compare fairly; a beginning is given up where it is less likely than all words wanted."""
    adapter, pool = beginning.adapter, _Pool(place)
    beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for _ in range(_MOST_TOKENS):
        following = beginning.next([tokens for tokens, _ in beams])
        begins = tokens_that_begin_words(adapter, following.shape[1]).cpu()
        longer: list[tuple[tuple[int, ...], float]] = []
        for (tokens, score), row in zip(beams, following, strict=True):
            candidate = _put(adapter, place, tokens)
            assert candidate is not None
            if tokens:
                pool.offer(candidate, score + float(row[begins].logsumexp(0)))
            allowed = _allowed(adapter, place, tokens, candidate, begins)
            scores, ids = row.masked_fill(~allowed, -torch.inf).topk(min(width, len(row)))
            longer += [
                ((*tokens, token), score + more)
                for token, more in zip(ids.tolist(), scores.tolist(), strict=True)
                if more > -math.inf
            ]
        known = pool.ranked(wanted)
        least = known[-1][0] if len(known) == wanted else -math.inf
        longer.sort(key=lambda own: (-own[1], own[0]))
        beams = []
        for tokens, score in longer:
            if score <= least or len(beams) == width:
                break
            candidate = _put(adapter, place, tokens)
            if candidate is not None and _n_units(candidate) <= place.n_units:
                beams.append((tokens, score))
        if not beams:
            break
    return [word for _, word in pool.ranked(wanted)]


def _put(adapter: Any, place: Place, tokens: tuple[int, ...]) -> str | None:
    """What tokens put into the place; None where they spell something else."""
    text = _text(adapter, tokens)
    return None if text is None else place.candidate(text)


def _text(adapter: Any, tokens: tuple[int, ...]) -> str | None:
    """What tokens spell, blanks included; None where one of them is no text."""
    spelled = adapter.spelled(torch.tensor(tokens, dtype=torch.int64, device="cpu"))
    if sum(len(rows) for _, rows in spelled) < len(tokens):
        return None
    return "".join(text for text, _ in spelled)


def _allowed(
    adapter: Any, place: Place, tokens: tuple[int, ...], candidate: str, begins: Tensor
) -> Tensor:
    """Tokens that can go on with a candidate: the first begins a word where words do, and where it
    has all its words, no other one begins. What stands ahead comes first."""
    ahead = place.ahead.lstrip()
    if not candidate and ahead:
        ahead = ahead[len((_text(adapter, tokens) or "").lstrip()) :]
        if ahead:
            return _tokens_like(adapter, ahead, len(begins))
    if not tokens:
        own = place.ahead[:1].isspace() and not place.is_unspaced
        return begins if own else torch.ones_like(begins)
    if _n_units(candidate) < place.n_units or not _plain(candidate):
        return torch.ones_like(begins)
    return ~begins


def _tokens_like(adapter: Any, text: str, size: int) -> Tensor:
    """Tokens that begin as a text does; ``(size,)``, bool."""
    tokenizer = getattr(adapter, "tokenizer", None)
    n_named = size if tokenizer is None else min(size, len(tokenizer))
    names = [name.lstrip() for name in adapter.token_strings(torch.arange(n_named, device="cpu"))]
    found = torch.zeros(size, dtype=torch.bool, device="cpu")
    found[:n_named] = torch.tensor(
        [name.startswith(text) or bool(name and text.startswith(name)) for name in names],
        device="cpu",
    )
    return found


def _outputs(
    words: Iterable[str],
    adapter: Any,
    speech: SpeechInput,
    sequence: TargetSequence,
    place: Place,
    gen_args: Mapping[str, Any],
) -> Iterable[Output]:
    """Of each word in the place; what the tokenizer cannot put there is left out."""
    for word in words:
        try:
            contrast = replace(place.contrast, foil=word)
            found = Contrasted.of(contrast, adapter, speech, sequence, gen_args)
        except ArgumentError:
            continue
        yield Output.of_contrasted(adapter, found)


def _log_probabilities(adapter: Any, states: Tensor, outputs: Sequence[Output]) -> list[float]:
    """Of the foil of each, as an explanation scores it."""
    decoded: dict[int, Tensor] = {}
    groups = defaultdict(list)
    for index, output in enumerate(outputs):
        # In scripts without spaces foils can differ in where they leave the output.
        groups[output.readings[0].explained].append(index)
    for indices in groups.values():
        if can(adapter, SharesBeginnings):
            readings = [outputs[index].readings[1] for index in indices]
            word, *foils = adapter.decode_branches(
                states, [outputs[indices[0]].readings[0], *readings]
            )
            hidden = [torch.cat([word, foil], 1) for foil in foils]
        else:
            hidden = [outputs[index].decode(adapter, states) for index in indices]
        decoded |= dict(zip(indices, hidden, strict=True))
    found = []
    for index, output in enumerate(outputs):
        assert isinstance(output.score, ContrastScore)
        logits = adapter.output_layer(decoded[index])
        _, foil = output.score.log_probabilities(logits, output.token_ids.to(logits.device))[0]
        found.append(float(foil))
    return found


# CTC --------------------------------------------------------------------------------------


def _of_ctc(
    adapter: Any,
    speech: SpeechInput,
    states: Tensor,
    sequence: TargetSequence,
    place: Place,
    gen_args: Mapping[str, Any],
    count: int,
) -> list[Alternative]:
    """Their shares in the probability of the word and of all candidates, each with the whole output
    around it."""
    logits = adapter.output_layer(adapter.emissions(states)).float()
    frames = sequence.frames
    before, after = place.rows.start - 1, place.rows.stop
    start = frames[before][-1] + 1 if before >= 0 else 0
    end = frames[after][0] if after < len(frames) else logits.shape[1]
    scores = logits[0, start:end].log_softmax(-1).cpu()
    pool = _Pool(place)
    for tokens, score in prefix_beam(scores, adapter.blank, _CTC_WIDTH, _CTC_TOKENS):
        candidate = _put(adapter, place, tokens)
        if candidate is not None:
            pool.offer(candidate, score)
    words, outputs = list[str](), [sequence.explained_ids]
    for _, word in pool.ranked(max(_CTC_CANDIDATES, count)):
        contrast = replace(place.contrast, foil=word)
        try:
            outputs.append(Exchange.of(contrast, adapter, speech, sequence, gen_args).ids)
        except ArgumentError:  # the tokenizer writes it in another way
            continue
        words.append(word)
    whole = CTC(adapter.blank)
    logs = torch.cat([whole(logits, logits[0], ids)[0] for ids in outputs])
    shares = logs.double().softmax(0)[1:].tolist()
    return [Alternative(*pair) for pair in zip(words, shares, strict=True)]


def prefix_beam(
    scores: Tensor, blank: int, width: int, n_tokens: int
) -> list[tuple[tuple[int, ...], float]]:
    r"""
    The likeliest outputs of some frames of a CTC model, each over all its paths (prefix beam
    search).

    Args:

        scores (Tensor): ``(frames, vocab)``, log-probabilities.
        blank (int): The id of the blank.
        width (int): Outputs that are followed.
        n_tokens (int): Tokens that are looked at in each frame; the blank comes on top.

    Returns:
        *list* of tokens and log-probability, the likeliest first; exact where ``width`` and
        ``n_tokens`` are as many as there are.
    """
    never = -math.inf
    # Of paths that end with a blank, and of those that do not.
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, never)}
    for frame in scores:
        ids = frame.topk(min(n_tokens, len(frame))).indices.tolist()
        row = {i: float(frame[i]) for i in {*ids, blank}}
        found: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [never, never])
        for tokens, (ended, open_) in beams.items():
            both, own = _sum(ended, open_), found[tokens]
            own[0] = _sum(own[0], both + row[blank])
            for token, score in row.items():
                if token == blank:
                    continue
                longer = found[*tokens, token]
                if tokens and tokens[-1] == token:
                    # Without a blank between them two are one.
                    own[1] = _sum(own[1], open_ + score)
                    longer[1] = _sum(longer[1], ended + score)
                else:
                    longer[1] = _sum(longer[1], both + score)
        possible = [item for item in found.items() if max(item[1]) > never]
        ranked = sorted(possible, key=lambda item: (-_sum(*item[1]), item[0]))[:width]
        beams = {tokens: (ended, open_) for tokens, (ended, open_) in ranked}
    return [(tokens, _sum(*both)) for tokens, both in beams.items()]


def _sum(one: float, other: float) -> float:
    """Of probabilities, as logarithms."""
    more, less = max(one, other), min(one, other)
    return more if less == -math.inf else more + math.log1p(math.exp(less - more))


# Classifiers ------------------------------------------------------------------------------


def _of_classes(adapter: Any, states: Tensor, sequence: TargetSequence) -> list[Alternative]:
    """All other classes."""
    logits = adapter.output_layer(adapter.decode(states, sequence))[0, 0]
    names = adapter.token_strings(torch.arange(len(logits), device="cpu"))
    own = int(sequence.explained_ids[0])
    shares = logits.double().softmax(0).tolist()
    return [
        Alternative(name, share)
        for i, (name, share) in enumerate(zip(names, shares, strict=True))
        if i != own
    ]
