"""Measure the bundled model on sentences and voices that it was not trained on.

    python -m recipes.bundled.evaluate

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
from captum_spes.metrics import corpus_score
from captum_spes.speech.models import load_model
from recipes.bundled.model import LANGUAGES
from recipes.bundled.synthesize import make_corpus, read_manifest
from recipes.bundled.train import (
    Utterances,
    by_length,
    collate,
    prepare,
    prompt,
    reference,
    token_accuracy,
)


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
        for language, written in transcribe(model, processor, replaced).items():
            references = [reference(line, language) for line in lines]
            metric = "wer" if language == "en" else "bleu"
            row[f"{language} {metric}"] = round(corpus_score(references, written, metric), 2)
        accuracies = token_accuracy(model, replaced)
        row |= {f"{language} tokens": round(share, 2) for language, share in accuracies.items()}
        rows.append(row)
    return rows


@torch.no_grad()
def transcribe(model: Any, processor: Any, utterances: Utterances) -> dict[str, list[str]]:
    """What the model writes by greedy search in each language, in the order of the utterances."""
    texts = {language: [""] * len(utterances) for language in LANGUAGES}
    for indices in by_length(utterances):
        features, mask = collate(utterances, indices, None)
        encoded = model.model.encoder(features, attention_mask=mask)
        for language, written in texts.items():
            start = torch.tensor([prompt(processor.tokenizer, language)])
            ids = model.generate(
                encoder_outputs=encoded,
                attention_mask=mask,
                decoder_input_ids=start.expand(len(indices), -1),
                num_beams=1,
                do_sample=False,
            )
            decoded = processor.batch_decode(ids, skip_special_tokens=True)
            for index, text in zip(indices, decoded, strict=True):
                written[index] = text.strip()
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
