"""Do the small models without a decoder listen?

    python -m recipes.bundled.synthesize corpus --train 0 --validation 0 --test 600
    python -m recipes.heads.evaluate corpus --out evaluation.json

Word error rate of the CTC layer, the transducer, and the model that reads samples, of sentences and
voices that were not in training; the same where they hear another recording, and silence. Of the
last, and of all once more, in capital letters without punctuation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from captum_spes.demo import load_ctc, load_transducer, load_waveform_ctc
from captum_spes.io.audio import load_audio
from captum_spes.metrics import corpus_score
from captum_spes.speech.models import adapt
from recipes.bundled.synthesize import read_manifest
from recipes.waveform_ctc.model import spelled

MODELS = {"ctc": load_ctc, "transducer": load_transducer, "samples": load_waveform_ctc}
_RATE = 16_000


def evaluate(corpus: Path, limit: int) -> dict[str, Any]:
    """All figures, as JSON takes them."""
    lines = read_manifest(corpus / "test")[:limit]
    audio = [load_audio(corpus / "test" / line["audio"], _RATE) for line in lines]
    heard = {
        "the recording": audio,
        "another recording": audio[1:] + audio[:1],
        "silence": [np.zeros_like(samples) for samples in audio],
    }
    texts = [str(line["text"]) for line in lines]
    found: dict[str, Any] = {"utterances": len(lines)}
    for name, load in MODELS.items():
        model, processor, _ = load()
        adapter: Any = adapt(model, processor)
        found[name] = {}
        for what, recordings in heard.items():
            written = [_written(adapter, own) for own in tqdm(recordings, f"{name}: {what}")]
            scores = {"without_case": _error_rate(map(spelled, texts), map(spelled, written))}
            if name != "samples":
                scores["word_error_rate"] = _error_rate(texts, written)
            found[name][what] = scores
    return found


@torch.no_grad()
def _written(adapter: Any, samples: Any) -> str:
    speech = adapter.from_audio(samples)
    with adapter.evaluation_mode():
        states = adapter.encode(speech, speech.spectrogram[None])
        (text,) = adapter.transcribe(speech, states, {})
    return str(text)


def _error_rate(references: Any, written: Any) -> float:
    score: float = corpus_score(list(references), list(written), metric="wer")
    return round(score, 2)


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
