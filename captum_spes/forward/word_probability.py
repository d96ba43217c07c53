"""How likely a word of several tokens is."""

from __future__ import annotations

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
    if rule == "word_boundary":
        if begins_word is None:
            raise ArgumentError(
                "rule='word_boundary' needs begins_word, (vocab,): what begins a word."
            )
        if bool((end + 1 >= tokens.shape[1]).any()):
            raise ArgumentError(
                "rule='word_boundary' asks what stands behind the word, and the text ends with it: "
                "give the end of sentence, too."
            )
    return log_word_probability(probabilities.log(), tokens, start, end, rule, begins_word).exp()


def log_word_probability(
    log_probabilities: Tensor,
    tokens: Tensor,
    start: Tensor,
    end: Tensor,
    rule: str,
    begins_word: Tensor | None = None,
) -> Tensor:
    """:func:`word_probability` of logarithms, as a logarithm, which no long word underflows;
    nothing is checked."""
    own = log_probabilities.gather(2, tokens[..., None])[..., 0]
    if rule == "first_only":
        return own.gather(1, start[:, None])[:, 0]
    places = torch.arange(tokens.shape[1], device=tokens.device)
    is_word = (places >= start[:, None]) & (places <= end[:, None])
    of_word = own.masked_fill(~is_word, 0.0).sum(1)
    if rule == "chain_rule":
        return of_word
    if rule == "length_norm":
        return of_word / (end - start + 1)
    assert begins_word is not None
    others = ~begins_word.to(log_probabilities.device, torch.bool)
    edges = torch.stack([start, end + 1], 1)[..., None].expand(-1, -1, log_probabilities.shape[2])
    begins = log_probabilities.gather(1, edges).masked_fill(others, -torch.inf).logsumexp(2)
    return of_word + begins[:, 1] - begins[:, 0]


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
