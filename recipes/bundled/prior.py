"""How well the text of the demonstration language can be guessed without listening.

    python -m recipes.bundled.prior corpus

trains the decoder of the bundled model alone, on the same texts and with nothing to listen to,
and prints how many tokens of the test sentences it ranks first when it is given all tokens
before. The bundled model is only worth explaining where it does better than this.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from recipes.bundled.model import LANGUAGES, make_model
from recipes.bundled.synthesize import read_manifest
from recipes.bundled.train import (
    PROMPT_LENGTH,
    padded,
    processor_for,
    ranked_first,
    token_ids,
)

_BATCH = 128
_LEARNING_RATE = 2e-3


def guess(model: Any, rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Logits and true ids of the tokens behind the prompt, from the tokens before alone."""
    from transformers.models.parakeet.modeling_parakeet import ParakeetEncoderModelOutput

    ids = padded(rows)
    nothing = torch.zeros(len(rows), 1, model.config.decoder_config.hidden_size)
    logits = model(
        encoder_outputs=ParakeetEncoderModelOutput(last_hidden_state=nothing),
        decoder_input_ids=ids[:, :-1].clamp(min=0),
        use_cache=False,
    ).logits
    return logits[:, PROMPT_LENGTH - 1 :], ids[:, PROMPT_LENGTH:]


@torch.no_grad()
def accuracy(model: Any, rows: Sequence[list[int]]) -> float:
    """Percentage of tokens that are ranked first."""
    model.eval()
    hits = total = 0
    for start in range(0, len(rows), _BATCH):
        logits, truth = guess(model, rows[start : start + _BATCH])
        right, count = ranked_first(logits, truth)
        hits += right
        total += count
    return 100 * hits / total


def train_prior(corpus: Path, epochs: int, seed: int) -> dict[str, float]:
    """Train without audio; returns the accuracy on the test sentences by language."""
    lines = read_manifest(corpus / "train")
    tokenizer = processor_for(lines).tokenizer
    texts = [ids for line in lines for ids in token_ids(line, tokenizer).values()]
    torch.manual_seed(seed)
    model = make_model(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE)
    steps = epochs * math.ceil(len(texts) / _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, steps)
    rng = random.Random(seed)
    for epoch in range(epochs):
        model.train()
        rng.shuffle(texts)
        for start in tqdm(range(0, len(texts), _BATCH), f"epoch {epoch + 1}/{epochs}"):
            logits, truth = guess(model, texts[start : start + _BATCH])
            loss = functional.cross_entropy(logits.flatten(0, 1), truth.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    held_out = [token_ids(line, tokenizer) for line in read_manifest(corpus / "test")]
    return {
        language: round(accuracy(model, [ids[language] for ids in held_out]), 2)
        for language in LANGUAGES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder that synthesize wrote")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    print(json.dumps(train_prior(parsed.corpus, parsed.epochs, parsed.seed)))


if __name__ == "__main__":
    main()
