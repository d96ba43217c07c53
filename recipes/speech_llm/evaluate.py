"""Does the small speech LLM listen, and does it read what it is asked?

    python -m recipes.bundled.synthesize corpus --train 0 --validation 0 --test 600
    python -m recipes.speech_llm.evaluate corpus --out evaluation.json

Word error rate of its transcripts and BLEU of its German, of sentences and voices that were not in
training, for each wording of the instruction; the same where it hears another recording, and
silence; and what it writes of one language where it is asked for the other.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from captum_spes.demo import load_speech_llm
from captum_spes.demo.speech_llm import INSTRUCTIONS
from captum_spes.io.audio import load_audio
from captum_spes.metrics import corpus_score
from captum_spes.speech.models import adapt
from recipes.bundled.synthesize import read_manifest
from recipes.bundled.train import reference

_RATE = 16_000


def evaluate(corpus: Path, limit: int) -> dict[str, Any]:
    """All figures, as JSON takes them."""
    model, processor, _ = load_speech_llm()
    adapter: Any = adapt(model, processor)
    lines = read_manifest(corpus / "test")[:limit]
    audio = [load_audio(corpus / "test" / line["audio"], _RATE) for line in lines]
    others = audio[1:] + audio[:1]
    silence = [np.zeros_like(samples) for samples in audio]
    texts = {language: [reference(line, language) for line in lines] for language in INSTRUCTIONS}

    def scores(recordings: Sequence[NDArray[np.float32]], asked: str) -> dict[str, float]:
        return _scores(adapter, recordings, asked, texts)

    found: dict[str, Any] = {"utterances": len(lines)}
    for language, wordings in INSTRUCTIONS.items():
        for asked in wordings:
            found[asked] = {"asked_for": language, **scores(audio, asked)}
        first = wordings[0]
        found[f"{first} (another recording)"] = scores(others, first)
        found[f"{first} (silence)"] = scores(silence, first)
    return found


@torch.no_grad()
def _scores(
    adapter: Any,
    recordings: Sequence[NDArray[np.float32]],
    asked: str,
    texts: dict[str, list[str]],
) -> dict[str, float]:
    """Word error rate against the English texts, BLEU against the German ones."""
    written = []
    with adapter.evaluation_mode():
        for samples in tqdm(recordings, asked):
            speech = adapter.from_audio(samples)
            states = adapter.encode(speech, speech.spectrogram[None])
            written += adapter.transcribe(speech, states, {"instruction": asked})
    score: Callable[..., float] = corpus_score
    return {
        "word_error_rate": round(score(texts["en"], written, metric="wer"), 2),
        "bleu": round(score(texts["de"], written, metric="bleu"), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder that recipes.bundled.synthesize wrote")
    parser.add_argument("--limit", type=int, default=600, help="of the test recordings")
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    found = evaluate(parsed.corpus, parsed.limit)
    print(json.dumps(found, indent=1))
    if parsed.out:
        parsed.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
