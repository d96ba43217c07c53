"""Train a CTC layer or a transducer on the bundled encoder, which stays as it is.

    python -m recipes.bundled.synthesize corpus
    python -m recipes.heads.train ctc corpus model
    python -m recipes.heads.train transducer corpus model

States of the encoder are computed once and kept beside the audio. A run that was stopped goes on
with the same command.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import ParakeetProcessor, ParakeetTokenizer

from captum_spes.demo import load_demo
from recipes.heads.model import ctc_loss, make_ctc, make_transducer, transducer_loss
from recipes.heads.vocabulary import only_tokens_of
from recipes.speech_llm.train import Corpus
from recipes.trainer import Pace, Trainer

HEADS = {"ctc": (make_ctc, ctc_loss, 32), "transducer": (make_transducer, transducer_loss, 16)}
_PACE = Pace(peak=3e-3)
_UTTERANCES = 12_000
_SAVED_EVERY = 250
# Spans of states that are left out: at most so many, of at most so many states.
_SPANS, _LONGEST_SPAN = 2, 6


class Batch:
    """Utterances with what is said in them, padded behind.

    Attributes:
        states: ``(batch, states, width)`` of the encoder.
        labels: ``(batch, tokens)``.
        n_states, n_labels: ``(batch,)``, without padding.
    """

    def __init__(
        self, corpus: Corpus, indices: Sequence[int], tokenizer: Any, rng: random.Random | None
    ) -> None:
        states, labels = [], []
        for index in indices:
            own = corpus.plain(index)
            if rng is not None:
                _leave_out(own, rng)
            states.append(torch.from_numpy(own))
            text = corpus.lines[index]["text"]
            labels.append(torch.tensor(tokenizer.encode(text, add_special_tokens=False)))
        self.states = pad_sequence(states, True)
        self.labels = pad_sequence(labels, True, tokenizer.pad_token_id)
        self.n_states = torch.tensor([len(own) for own in states])
        self.n_labels = torch.tensor([len(own) for own in labels])


def _leave_out(states: NDArray[Any], rng: random.Random) -> None:
    """Set spans of states to 0, so that removed patches are nothing new."""
    for _ in range(rng.randint(0, _SPANS)):
        width = rng.randint(1, _LONGEST_SPAN)
        first = rng.randint(0, max(0, len(states) - width))
        states[first : first + width] = 0


def make_processor(processor: Any, head: str, texts: Sequence[str]) -> ParakeetProcessor:
    """The bundled model's, in the form that the published models of this kind have.

    Args:
        processor: of the bundled model.
        head: "ctc" or "transducer".
        texts: what is written; no other tokens than theirs are kept.
    """
    names = {"unk_token": processor.tokenizer.unk_token, "pad_token": processor.tokenizer.pad_token}
    tokenizer = ParakeetTokenizer(
        tokenizer_object=only_tokens_of(texts, processor.tokenizer, list(names.values())), **names
    )
    if head == "transducer":
        tokenizer.add_special_tokens({"additional_special_tokens": ["<blank>"]})
    kind = {"ctc": "ctc", "transducer": "tdt"}[head]
    return ParakeetProcessor(processor.feature_extractor, tokenizer, decoder_type=kind)


def train(head: str, corpus: Path, folder: Path, steps: int, seed: int) -> None:
    """Train, and write the model and ``training.jsonl`` into ``folder``."""
    demo, processor, _ = load_demo()
    parts = [
        Corpus(corpus / part, demo, processor, _UTTERANCES) for part in ("train", "validation")
    ]
    own = make_processor(processor, head, [line["text"] for line in parts[0].lines])
    own.save_pretrained(folder)
    torch.manual_seed(seed)
    make, loss, size = HEADS[head]
    trainer = Trainer(make(demo, own.tokenizer), loss, _PACE, folder)
    trainer.resume()
    groups = _groups(parts[0], size, seed)
    began, losses = time.monotonic(), list[Tensor]()
    for step in tqdm(range(trainer.step, steps), initial=trainer.step, total=steps, mininterval=20):
        rng = random.Random(f"{seed} {step}")
        batch = Batch(parts[0], groups[step % len(groups)], own.tokenizer, rng)
        losses.append(trainer.learn(batch, step / steps))
        if trainer.step % _SAVED_EVERY == 0 or trainer.step == steps:
            trainer.save(
                {
                    "step": trainer.step,
                    "loss": round(float(torch.stack(losses).mean()), 4),
                    "validation_loss": held_out_loss(trainer, parts[1], own.tokenizer),
                    "seconds": round(time.monotonic() - began),
                }
            )
            losses = []


def _groups(corpus: Corpus, size: int, seed: int) -> list[list[int]]:
    """Utterances of similar length together, in random order."""
    rng = random.Random(seed)
    lengths = [end - start for start, end in pairwise(corpus.starts)]
    order = sorted(range(len(lengths)), key=lambda index: lengths[index] + rng.uniform(0, 5))
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    rng.shuffle(groups)
    return groups


@torch.no_grad()
def held_out_loss(trainer: Trainer, corpus: Corpus, tokenizer: Any) -> float:
    """Of the averaged model, over the first utterances of a part."""
    trainer.averaged.eval()
    found = [
        trainer.loss(
            trainer.averaged,
            Batch(corpus, range(start, min(start + 20, len(corpus))), tokenizer, None),
        )
        for start in range(0, min(100, len(corpus)), 20)
    ]
    return round(float(torch.stack(found).mean()), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("head", choices=HEADS)
    parser.add_argument("corpus", type=Path, help="folder that recipes.bundled.synthesize wrote")
    parser.add_argument("folder", type=Path, help="where the model goes")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    train(parsed.head, parsed.corpus, parsed.folder, parsed.steps, parsed.seed)


if __name__ == "__main__":
    main()
