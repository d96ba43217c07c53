"""Models whose attributions are known beforehand, and utterances to explain with them."""

import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from captum_spes.corpus import read_manifest
from captum_spes.stability import Attributed, View

RATE = 8000
FRAMES = 400


class PlantedModel:
    """Returns what a function of utterance and mask seed says."""

    inputs = ("spectrogram",)
    tasks = ("speaker",)

    def __init__(self, scores, n_items=1):
        self.scores = scores
        self.n_items = n_items
        self.calls = 0

    def view(self, utterance, stage):
        values = torch.zeros(FRAMES, 1)
        return View(stage, values, values, frame_rate=100.0, spectrogram=values)

    def is_right(self, utterance, task):
        return 1.0

    def attribute(self, view, utterance, task, method, masks, seed):
        self.calls += 1
        maps = [self.scores(f"{utterance.id} {item}", seed) for item in range(self.n_items)]
        return Attributed(torch.tensor(np.stack(maps), dtype=torch.float32)[..., None], 7)


def drawn(name):
    """``(frames,)``: numbers that only the name decides."""
    seed = [ord(letter) for letter in str(name)]
    return np.random.default_rng(seed).standard_normal(FRAMES)


def write_corpus(folder: Path, size: int = 3):
    """Noise of two loudnesses, with words, phones and labels; returns the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(size):
        name = f"utterance-{number}"
        generator = np.random.default_rng(number)
        is_loud = number % 2 == 1
        samples = generator.standard_normal(RATE // 2 + 400 * number) * (0.3 if is_loud else 0.03)
        soundfile.write(folder / f"{name}.wav", samples.astype(np.float32), RATE)
        lines.append(
            {
                "id": name,
                "audio": f"{name}.wav",
                "text": "so it is",
                "labels": {"speaker": "loud" if is_loud else "soft", "kind": "noise"},
                "words": [["so", 0.1, 0.2], ["it", 0.2, 0.3], ["is", 0.35, 0.45]],
                "phones": [["s", 0.1, 0.15], ["o", 0.15, 0.2], ["z", 0.35, 0.45]],
            }
        )
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def utterances(folder: Path, size: int = 3):
    return read_manifest(write_corpus(folder, size))


def write_recordings(folder, speakers=("ann", "ben"), takes=10):
    """``{digit}_{speaker}_{take}.wav``, whose length tells the digit."""
    folder.mkdir()
    for speaker in speakers:
        for digit in range(10):
            for take in range(takes):
                samples = 0.5 * np.ones(800 + 80 * digit)
                soundfile.write(folder / f"{digit}_{speaker}_{take}.wav", samples, RATE)
