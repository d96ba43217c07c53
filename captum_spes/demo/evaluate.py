"""Measure the bundled model on sentences and voices that it was not trained on.

    python -m captum_spes.demo.evaluate

synthesises the test part of the corpus (which needs eSpeak NG), lets the model transcribe and
translate it, and prints word error rate, BLEU, and what is left of them when the recordings are
replaced by noise, by other recordings, or by nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from captum_spes.demo import MODEL_FOLDER
from captum_spes.demo.examples import SAMPLING_RATE
from captum_spes.demo.making.model import LANGUAGES
from captum_spes.demo.making.synthesize import make_corpus, read_manifest
from captum_spes.demo.making.train import (
    Utterances,
    collate,
    prepare,
    prompt,
    reference,
    token_accuracy,
)
from captum_spes.metrics import corpus_score
from captum_spes.speech.models import load_model

_BATCH = 32


def evaluate(
    folder: Path, model: Any, processor: Any, conditions: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Measure a model on one part of a corpus, with its recordings and with others in their place.

    Returns one row per condition (all, or some by name): what was heard, word error rate, BLEU
    and, in percent, how many tokens the model ranks first when it is given all tokens before.
    """
    lines = read_manifest(folder)
    utterances = prepare(folder, processor)
    rows = []
    for heard in conditions or CONDITIONS:
        replaced = CONDITIONS[heard](utterances, processor)
        row: dict[str, Any] = {"heard": heard, "utterances": len(lines)}
        for language in LANGUAGES:
            references = [reference(line, language) for line in lines]
            written = transcribe(model, processor, replaced, language)
            metric = "wer" if language == "en" else "bleu"
            row[f"{language} {metric}"] = round(corpus_score(references, written, metric), 2)
        accuracies = token_accuracy(model, replaced)
        row |= {f"{language} tokens": round(share, 2) for language, share in accuracies.items()}
        rows.append(row)
    return rows


@torch.no_grad()
def transcribe(model: Any, processor: Any, utterances: Utterances, language: str) -> list[str]:
    """What the model writes by greedy search."""
    texts: list[str] = []
    start = torch.tensor([prompt(processor.tokenizer, language)])
    for first in range(0, len(utterances), _BATCH):
        indices = range(first, min(first + _BATCH, len(utterances)))
        features, mask = collate(utterances, indices, None)
        ids = model.generate(
            features,
            attention_mask=mask,
            decoder_input_ids=start.expand(len(indices), -1),
            num_beams=1,
            do_sample=False,
        )
        decoded = processor.batch_decode(ids, skip_special_tokens=True)
        texts += [text.strip() for text in decoded]
    return texts


def _as_recorded(utterances: Utterances, processor: Any) -> Utterances:
    return utterances


def _noise(utterances: Utterances, processor: Any) -> Utterances:
    rng = np.random.default_rng(0)
    spectrograms = []
    for frames in utterances.lengths():
        hop = processor.feature_extractor.hop_length
        samples = rng.standard_normal(int(frames) * hop).astype(np.float32) * 0.1
        made = processor.feature_extractor(samples, sampling_rate=SAMPLING_RATE)
        spectrograms.append(made["input_features"][0, : int(frames)].numpy())
    return utterances.replaced(spectrograms)


def _others(utterances: Utterances, processor: Any) -> Utterances:
    count = len(utterances)
    return utterances.replaced(
        [utterances.spectrogram((index + count // 2) % count) for index in range(count)]
    )


def _nothing(utterances: Utterances, processor: Any) -> Utterances:
    return utterances.replaced(
        [np.zeros_like(utterances.spectrogram(index)) for index in range(len(utterances))]
    )


CONDITIONS: dict[str, Callable[[Utterances, Any], Utterances]] = {
    "the recording": _as_recorded,
    "white noise": _noise,
    "another recording": _others,
    "nothing (all cells 0)": _nothing,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=MODEL_FOLDER, help="default: the bundled model")
    parser.add_argument("--corpus", type=Path, help="of synthesize; default: made anew")
    parser.add_argument("--utterances", type=int, default=600, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the corpus made anew")
    parsed = parser.parse_args()
    model, processor = load_model(parsed.model)
    with tempfile.TemporaryDirectory() as temporary:
        corpus = parsed.corpus or Path(temporary)
        if parsed.corpus is None:
            make_corpus(corpus, {"test": parsed.utterances}, parsed.seed)
        for row in evaluate(corpus / "test", model, processor):
            print(json.dumps(row))


if __name__ == "__main__":
    main()
