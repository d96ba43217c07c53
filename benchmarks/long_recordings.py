"""A long recording made of real clips: the windowed transcript beside the model's own pipeline, and
a word near its end explained in the time of one window.

    python benchmarks/long_recordings.py MODEL MANIFEST --minutes 10 --out results.json

Each half runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.corpus import read_manifest
from captum_spes.io.audio import load_audio
from captum_spes.metrics import corpus_score
from captum_spes.speech import Settings
from captum_spes.speech.models import load_model

RATE = 16_000
NORMALIZE = BasicTextNormalizer()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", choices=("pipeline", "windows"), help=argparse.SUPPRESS)
    parser.add_argument("--audio", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        part = {"pipeline": pipeline_part, "windows": windows_part}[arguments.part]
        print(json.dumps(part(arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        audio = Path(folder) / "long.flac"
        text = make_recording(arguments, audio)
        found = {name: run_part(name, audio) for name in ("pipeline", "windows")}
    found["minutes"] = arguments.minutes
    for part in ("pipeline", "windows"):
        written = NORMALIZE(found[part].pop("text"))
        found[part]["wer"] = round(corpus_score([NORMALIZE(text)], [written], metric="wer"), 2)
    lines = json.dumps(found, indent=1)
    print(lines)
    if arguments.out:
        arguments.out.write_text(lines + "\n", encoding="utf-8")


def run_part(name, audio):
    """Run one half in its own process."""
    command = [sys.executable, *sys.argv, "--part", name, "--audio", str(audio)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def make_recording(arguments, file):
    """Clips in random order with pauses between them; returns what is said."""
    rng = np.random.default_rng(arguments.seed)
    utterances = read_manifest(arguments.manifest)
    texts, length = [], 0
    with soundfile.SoundFile(file, "w", RATE, 1, subtype="PCM_16") as opened:
        while length < arguments.minutes * 60 * RATE:
            for index in rng.permutation(len(utterances)):
                pause = np.zeros(int(rng.uniform(0.3, 1.0) * RATE), np.float32)
                samples = np.append(load_audio(utterances[index].audio, RATE), pause)
                opened.write(samples)
                texts.append(utterances[index].text)
                length += len(samples)
                if length >= arguments.minutes * 60 * RATE:
                    break
    return " ".join(texts)


def mebibytes():
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def pipeline_part(arguments):
    """What transformers' pipeline writes from the whole file."""
    from transformers import pipeline

    model, processor = load_model(arguments.model)
    recognise = pipeline(
        "automatic-speech-recognition",
        model=model,
        tokenizer=processor.tokenizer,
        feature_extractor=processor.feature_extractor,
    )
    before, start = mebibytes(), time.perf_counter()
    found = recognise(load_audio(arguments.audio, RATE), return_timestamps=True)
    seconds = time.perf_counter() - start
    return {"text": found["text"], "seconds": round(seconds, 1), "mib_on_top": mebibytes() - before}


def windows_part(arguments):
    """Ours; and the last word that is written before four fifths of the recording."""
    model, processor = load_model(arguments.model)
    explainer = SpeechToTextAttribution(SPES(model), processor)
    speech = explainer.adapter.from_audio(np.zeros(30 * RATE, np.float32))
    with torch.no_grad():
        explainer.adapter.encode(speech, speech.spectrogram[None])
    before, start = mebibytes(), time.perf_counter()
    transcript = explainer.transcribe(arguments.audio)
    transcribing, after = time.perf_counter() - start, mebibytes()
    word = [w for w in transcript.words if w.start < 0.8 * transcript.seconds][-1]
    settings = Settings.efficient(n_samples=arguments.samples, n_token_samples=50)
    start = time.perf_counter()
    (part,) = explainer.attribute_parts(
        arguments.audio, at=word.start, transcript=transcript, settings=settings, seed=0
    )
    explaining = time.perf_counter() - start
    window = part.parameters["window"]
    first, last = (round(window[name] * RATE) for name in ("start", "end"))
    by_hand = load_audio(arguments.audio, RATE)[first:last]
    start = time.perf_counter()
    again = explainer.attribute(by_hand, settings=part.settings, seed=part.seed)
    alone = time.perf_counter() - start
    return {
        "text": transcript.text,
        "seconds": round(transcribing, 1),
        "windows": len(transcript.windows),
        "mib_on_top": after - before,
        "word": word.word,
        "word_at": round(word.start, 2),
        "part_seconds": round(explaining, 1),
        "window_alone_seconds": round(alone, 1),
        "largest_difference": float((part.spectrogram_attr - again.spectrogram_attr).abs().max()),
        "mib_on_top_with_explanation": mebibytes() - before,
    }


if __name__ == "__main__":
    main()
