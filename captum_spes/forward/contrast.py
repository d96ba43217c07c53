"""Whether a perturbation moves a model from a word to another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, instance_of, whole_number
from captum_spes.forward.ctc import CTC
from captum_spes.forward.word_probability import RULES, log_word_probability

# Differences of logarithms beyond this are no different as ratios, and would overflow.
_MOST = 80.0


def _exp(values: Tensor) -> Tensor:
    return values.clamp(max=_MOST).exp()


def _fall_of_share(before: Tensor, after: Tensor) -> Tensor:
    """By how much the share of the word in both falls, from logarithms of ratios. Where it was
    nearly 1, the foil's share rises by as much and is not rounded away."""
    is_sure = before > 0
    before, after = torch.where(is_sure, -before, before), torch.where(is_sure, -after, after)
    fall = torch.sigmoid(before) - torch.sigmoid(after)
    return torch.where(is_sure, -fall, fall)


# Of logarithms, as the probability of a long word can be below all numbers of a computer: p and q
# of the word before and after a perturbation, s and t of the foil.
_KINDS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "predicted_difference": lambda p, q, s, t: _exp(p) - _exp(q),
    "predicted_ratio": lambda p, q, s, t: _exp(p - q),
    "raw_difference": lambda p, q, s, t: (_exp(p) - _exp(q)) - (_exp(s) - _exp(t)),
    "parity_ratio": lambda p, q, s, t: _fall_of_share(p - s, q - t),
    "cross_ratio": lambda p, q, s, t: _exp(p - s) - _exp(q - t),
    "ratio_difference": lambda p, q, s, t: _exp(p - q) - _exp(s - t),
    "log_ratio": lambda p, q, s, t: (p - s) - (q - t),
}
KINDS = tuple(_KINDS)
_WITHOUT_FOIL = ("predicted_difference", "predicted_ratio")


def contrastive_score(
    kind: str,
    original: Tensor,
    perturbed: Tensor,
    foil_original: Tensor | None = None,
    foil_perturbed: Tensor | None = None,
) -> Tensor:
    r"""
    How far a perturbation moves a model from a word, or from a word to its foil
    (arXiv 2509.26543, section 3).

    With :math:`p, q` the probability of the word before and after, and :math:`s, t` that of the
    foil: "predicted_difference" :math:`p - q`, "predicted_ratio" :math:`p / q`, "raw_difference"
    :math:`(p - q) - (s - t)`, "parity_ratio" :math:`p / (p + s) - q / (q + t)`, "cross_ratio"
    :math:`p / s - q / t`, "ratio_difference" :math:`p / q - s / t`; and "log_ratio",
    :math:`\log (p / s) - \log (q / t)`, which is not of that paper.

    Args:

        kind (str): One of these names.
        original (Tensor): Probabilities of the word, of any shape.
        perturbed (Tensor): The same after the perturbation.
        foil_original (Tensor, optional): Of the foil; the first two kinds do without.
                    Default: None
        foil_perturbed (Tensor, optional): Likewise.
                    Default: None

    Returns:
        *Tensor*, elementwise; larger where what was perturbed spoke for the word. Ratios are cut
        off at exp(80).

    Raises:
        ArgumentError: the kind is unknown, or lacks the foil.

    Examples::

        >>> word, foil = torch.tensor([0.6]), torch.tensor([0.2])
        >>> contrastive_score("parity_ratio", word, foil, foil, word)
        tensor([0.5000])
    """
    _check_kind(kind)
    if foil_original is None or foil_perturbed is None:
        if kind not in _WITHOUT_FOIL:
            raise ArgumentError(f"kind={kind!r} compares with a foil: give its probabilities, too.")
        foil_original = foil_perturbed = torch.ones_like(original)
    given = (original, perturbed, foil_original, foil_perturbed)
    return _KINDS[kind](*(probabilities.log() for probabilities in given))


def _check_kind(kind: str) -> None:
    if kind not in _KINDS:
        raise ArgumentError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")


@dataclass(frozen=True)
class Contrast:
    r"""
    Why this word and not that one (arXiv 2509.26543): how far a perturbation moves the model from
    a word of the output to a foil in its place.

    Args:

        word (str): A word or phrase that the output holds. Case does not matter.
        foil (str, optional): What could stand there instead, of any length.
                    Default: None, the likeliest other word there, as
                    :meth:`captum_spes.SpeechToTextAttribution.alternatives` finds it; the settings
                    of the result name it
        occurrence (int, optional): Which one, where the output holds the word several times, 1 for
                    the first.
                    Default: 1
        score (str, optional): One of the kinds of :func:`contrastive_score`. Gradient methods
                    differentiate the logarithm of the ratio of both, whatever is given here.
                    Default: "parity_ratio", how the share of the word in the probability of both
                    falls
        probability (str, optional): What the probability of a word of several tokens is, one of
                    the rules of :func:`word_probability`. A CTC model scores the whole output with
                    the word and with the foil, over all paths, and needs none.
                    Default: "word_boundary"

    Raises:
        ArgumentError: word or foil hold nothing, or are the same, or an argument is none of its
            values.
        ArgumentTypeError: an argument has the wrong type.

    Examples::

        >>> Contrast("doctor", "actor").label
        'doctor / actor'
    """

    word: str
    foil: str | None = None
    occurrence: int = field(default=1, kw_only=True)
    score: str = field(default="parity_ratio", kw_only=True)
    probability: str = field(default="word_boundary", kw_only=True)

    is_divergence = False
    has_gradient = True
    is_per_token = False

    def __post_init__(self) -> None:
        for name in ("word", "foil") if self.foil is not None else ("word",):
            text = getattr(self, name)
            instance_of(name, text, str, "a text")
            if not text.strip():
                raise ArgumentError(f"{name} holds nothing: give a word or a phrase.")
            object.__setattr__(self, name, " ".join(text.split()))
        if self.word == self.foil:
            raise ArgumentError(
                f"word and foil are the same, {self.word!r}: give what could stand there instead."
            )
        object.__setattr__(self, "occurrence", whole_number("occurrence", self.occurrence, 1))
        if self.score not in KINDS:
            raise ArgumentError(f"score must be one of {', '.join(KINDS)}, got {self.score!r}.")
        if self.probability not in RULES:
            raise ArgumentError(
                f"probability must be one of {', '.join(RULES)}, got {self.probability!r}."
            )

    @property
    def label(self) -> str:
        """The name of what is explained: word and foil."""
        return self.word if self.foil is None else f"{self.word} / {self.foil}"

    def of_logarithms(self, original: Tensor, perturbed: Tensor) -> Tensor:
        """The score of ``(..., 2)``, log-probabilities of the word and of the foil."""
        return _KINDS[self.score](
            original[..., 0], perturbed[..., 0], original[..., 1], perturbed[..., 1]
        )

    def __call__(self, perturbed: Tensor, reference: Tensor, token_ids: Tensor) -> Tensor:
        """Not by itself: ``SpeechToTextAttribution`` finds word and foil among the tokens."""
        raise ArgumentError(
            "Contrast does not know which tokens are the word's: give it to "
            "SpeechToTextAttribution.attribute(..., contrast=Contrast(word, foil))."
        )


class ContrastScore:
    """A contrast of words whose places are known: a :class:`captum_spes.forward.Score` with one
    unit, which falls as the model moves from the word to the foil.

    Args:
        contrast: how it is scored.
        log_probabilities: from logits, ``(batch, tokens, vocab)``, and ids, ``(tokens,)``, to
            ``(batch, 2)``: of the word and of the foil.
    """

    is_divergence = False
    has_gradient = True
    is_per_token = False

    def __init__(
        self, contrast: Contrast, log_probabilities: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        self.contrast = contrast
        self.log_probabilities = log_probabilities
        self.reads_all_frames = isinstance(log_probabilities, OfOutputs)
        self._original: tuple[Tensor, Tensor] | None = None

    def __call__(self, perturbed: Tensor, reference: Tensor, token_ids: Tensor) -> Tensor:
        """Return ``(batch, 1)``; see :class:`Score`."""
        ids = token_ids.to(perturbed.device)
        # Every perturbed input is compared with the same reference: it is scored once.
        if self._original is None or self._original[0] is not reference:
            self._original = (reference, self.log_probabilities(reference[None], ids))
        original = self._original[1]
        moved = self.log_probabilities(perturbed, ids)
        return -self.contrast.of_logarithms(original, moved)[:, None]

    def labels(self, tokens: Sequence[str]) -> list[str]:
        """The name of its unit: word and foil."""
        return [self.contrast.label]


@dataclass(frozen=True, eq=False)
class OfWords:
    """Log-probabilities of words, such as one and its foil, of a model that reads what it wrote.

    Attributes:
        rule: see :func:`captum_spes.forward.word_probability`.
        lengths: rows of the logits that belong to each word.
        begins_word: from the size of the vocabulary to ``(vocab,)``, bool.
        has_end: whether the last row of each is that of what stands behind it.
    """

    rule: str
    lengths: tuple[int, ...]
    begins_word: Callable[[int], Tensor]
    has_end: bool = True

    def __call__(self, logits: Tensor, token_ids: Tensor) -> Tensor:
        """Return ``(batch, words)``."""
        log_probabilities = logits.float().log_softmax(-1)
        sizes = list(self.lengths)
        parts = zip(log_probabilities.split(sizes, 1), token_ids.split(sizes), strict=True)
        return torch.stack([self._of_one(*part) for part in parts], 1)

    def _of_one(self, log_probabilities: Tensor, token_ids: Tensor) -> Tensor:
        tokens = token_ids.expand(len(log_probabilities), -1)
        first = torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
        place = first, first + (tokens.shape[1] - 1 - self.has_end)
        if self.rule != "word_boundary":
            return log_word_probability(log_probabilities, tokens, *place, self.rule)
        begins = self.begins_word(log_probabilities.shape[2]).to(tokens.device)
        if bool(begins[token_ids[0]]):
            return log_word_probability(log_probabilities, tokens, *place, self.rule, begins)
        # In the middle of a compound, or at the beginning of a text without a blank in front, a
        # boundary in front says nothing.
        behind = log_probabilities[:, -1].masked_fill(~begins, -torch.inf).logsumexp(1)
        return log_word_probability(log_probabilities, tokens, *place, "chain_rule") + behind


@dataclass(frozen=True, eq=False)
class OfOutputs:
    """Log-probabilities of a CTC model's output with a word and with its foil, over all paths.

    Attributes:
        blank: its id.
        foil: ``(tokens,)``: the output with the foil.
    """

    blank: int
    foil: Tensor

    def __call__(self, logits: Tensor, token_ids: Tensor) -> Tensor:
        """Return ``(batch, 2)``; ``logits`` are those of all frames, ``token_ids`` the output with
        the word."""
        whole = CTC(self.blank)
        ids = (token_ids, self.foil.to(token_ids.device))
        return torch.cat([whole(logits, logits[0], own) for own in ids], 1)
