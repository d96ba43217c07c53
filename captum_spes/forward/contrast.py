"""How likely a word is, and whether a perturbation moves a model from it to another word."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, instance_of

RULES = ("chain_rule", "length_norm", "first_only", "word_boundary")


def word_probability(
    probabilities: Tensor,
    tokens: Tensor,
    start: Tensor,
    end: Tensor,
    rule: str = "word_boundary",
    begins_word: Tensor | None = None,
) -> Tensor:
    r"""
    The probability of a word of one or more tokens (arXiv 2509.26543, section 3).

    Args:

        probabilities (Tensor): ``(batch, length, vocab)``: of the token at each place, given all
                    before.
        tokens (Tensor): ``(batch, length)``, int: what stands there.
        start (Tensor): ``(batch,)``, int: the place of the word's first token.
        end (Tensor): ``(batch,)``, int: of its last one.
        rule (str, optional): "chain_rule", the product over its tokens; "length_norm", the n-th
                    root of it for n tokens; "first_only", the probability of its first token;
                    "word_boundary", the product, times the probability that another word begins
                    behind it, divided by the probability that a word begins where it does (Pimentel
                    and Meister, arXiv 2406.14561): without, "in" is likely wherever "into" is.
                    Default: "word_boundary"
        begins_word (Tensor, optional): ``(vocab,)``, bool: tokens that begin a word, or end the
                    text; needed by "word_boundary".
                    Default: None

    Returns:
        *Tensor* of shape ``(batch,)``.

    Raises:
        ArgumentError: shapes do not fit, a word ends before it starts or outside of the text, the
            rule is unknown, or "word_boundary" has no ``begins_word`` or no place behind the word.

    Examples::

        >>> probabilities = torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.8, 0.1, 0.1]]])
        >>> word = torch.tensor([[0, 1, 0]]), torch.tensor([0]), torch.tensor([1])
        >>> word_probability(probabilities, *word, rule="chain_rule")
        tensor([0.3000])
    """
    _check(probabilities, tokens, start, end, rule)
    length = tokens.shape[1]
    own = probabilities.gather(2, tokens[..., None])[..., 0]
    places = torch.arange(length, device=tokens.device)
    if rule == "first_only":
        return own.gather(1, start[:, None])[:, 0]
    is_word = (places >= start[:, None]) & (places <= end[:, None])
    product = own.masked_fill(~is_word, 1.0).prod(1)
    if rule == "chain_rule":
        return product
    if rule == "length_norm":
        return product ** (1 / (end - start + 1))
    if begins_word is None:
        raise ArgumentError("rule='word_boundary' needs begins_word, (vocab,): what begins a word.")
    if bool((end + 1 >= length).any()):
        raise ArgumentError(
            "rule='word_boundary' asks what stands behind the word, and the text ends with it: "
            "give the end of sentence, too."
        )
    begins = probabilities[..., begins_word.to(probabilities.device, torch.bool)].sum(2)
    behind = begins.gather(1, end[:, None] + 1)[:, 0]
    return product * behind / begins.gather(1, start[:, None])[:, 0]


def _check(probabilities: Tensor, tokens: Tensor, start: Tensor, end: Tensor, rule: str) -> None:
    if rule not in RULES:
        raise ArgumentError(f"rule must be one of {', '.join(RULES)}, got {rule!r}.")
    for name, value in {
        "probabilities": probabilities, "tokens": tokens, "start": start, "end": end,
    }.items():  # fmt: skip
        instance_of(name, value, Tensor, "a Tensor")
    batch = len(tokens)
    fits = (
        probabilities.dim() == 3
        and tuple(probabilities.shape[:2]) == tuple(tokens.shape)
        and tuple(start.shape) == tuple(end.shape) == (batch,)
    )
    if not fits:
        raise ArgumentError(
            "probabilities must be (batch, length, vocab), tokens (batch, length), start and end "
            f"(batch,); got {tuple(probabilities.shape)}, {tuple(tokens.shape)}, "
            f"{tuple(start.shape)}, {tuple(end.shape)}."
        )
    is_inside = (start >= 0) & (start <= end) & (end < tokens.shape[1])
    if not bool(is_inside.all()):
        raise ArgumentError(
            f"each word must lie within its text, 0 <= start <= end < {tokens.shape[1]}; got "
            f"start={start.tolist()}, end={end.tolist()}."
        )


# With p and q the word before and after a perturbation, s and t the foil.
_KINDS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "predicted_difference": lambda p, q, s, t: p - q,
    "predicted_ratio": lambda p, q, s, t: p / q,
    "raw_difference": lambda p, q, s, t: (p - q) - (s - t),
    "parity_ratio": lambda p, q, s, t: p / (p + s) - q / (q + t),
    "cross_ratio": lambda p, q, s, t: p / s - q / t,
    "ratio_difference": lambda p, q, s, t: p / q - s / t,
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
    :math:`p / s - q / t`, "ratio_difference" :math:`p / q - s / t`.

    Args:

        kind (str): One of these names.
        original (Tensor): Probabilities of the word, of any shape.
        perturbed (Tensor): The same after the perturbation.
        foil_original (Tensor, optional): Of the foil; the first two kinds do without.
                    Default: None
        foil_perturbed (Tensor, optional): Likewise.
                    Default: None

    Returns:
        *Tensor*, elementwise; larger where the perturbation spoke for the word.

    Raises:
        ArgumentError: the kind is unknown, or lacks the foil.

    Examples::

        >>> word, foil = torch.tensor([0.6]), torch.tensor([0.2])
        >>> contrastive_score("parity_ratio", word, foil, foil, word)
        tensor([0.5000])
    """
    if kind not in _KINDS:
        raise ArgumentError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    if foil_original is None or foil_perturbed is None:
        if kind not in _WITHOUT_FOIL:
            raise ArgumentError(f"kind={kind!r} compares with a foil: give its probabilities, too.")
        foil_original = foil_perturbed = torch.ones_like(original)
    return _KINDS[kind](original, perturbed, foil_original, foil_perturbed)
