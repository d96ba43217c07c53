"""The part of a vocabulary that some texts are spelled with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any


def only_tokens_of(texts: Iterable[str], tokenizer: Any, kept: Sequence[str]) -> Any:
    """A byte-pair tokenizer that spells texts as before, without the tokens that none of them has.

    Every token that a kept one is merged from stays, so that equal texts are cut into equal
    tokens; ids are given anew.

    Args:
        texts: what it must spell.
        tokenizer: with a byte-pair model.
        kept: further tokens that stay.
    """
    from tokenizers import Tokenizer

    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    model = spec["model"]
    merged = {"".join(pair): pair for pair in map(_pair, model["merges"])}
    found = set(kept)
    waiting = {
        token for text in texts for token in tokenizer.convert_ids_to_tokens(
            tokenizer.encode(text, add_special_tokens=False)
        )
    }  # fmt: skip
    while waiting:
        token = waiting.pop()
        if token not in found:
            found.add(token)
            waiting.update(merged.get(token, ()))
    tokens = [token for token in model["vocab"] if token in found]
    model["vocab"] = {token: index for index, token in enumerate(tokens)}
    model["merges"] = [
        pair for pair in model["merges"] if {"".join(_pair(pair)), *_pair(pair)} <= found
    ]
    spec["added_tokens"] = [
        {**added, "id": model["vocab"][added["content"]]}
        for added in spec["added_tokens"]
        if added["content"] in found
    ]
    # Prompts of the model it comes from hold tokens that are gone.
    spec["post_processor"] = None
    return Tokenizer.from_str(json.dumps(spec))


def _pair(merge: Any) -> tuple[str, str]:
    """Written as a list, or in one text with a blank."""
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second
