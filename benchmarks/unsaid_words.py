"""Recordings with words that were not said, for the benchmarks of `captum-spes check`.

The manifest holds times of the words (`words`: word, start, end, as objects or lists). Its lines,
sorted by id, are two halves in turn: half 0 is what the rules that come with the package were
calibrated on, half 1 what is reported.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import load_demo
from captum_spes.io.audio import load_audio
from captum_spes.speech.models import load_model

RATE = 16_000
SOUNDS = ("white", "pink", "brown", "hum", "tone", "chirp", "music", "clicks", "silence")


def add_corpus(command):
    command.add_argument("model", help='folder, or "demo"')
    command.add_argument("manifest", type=Path)
    command.add_argument("--half", choices=("0", "1", "all"), default="1")
    command.add_argument("--limit", type=int, default=10_000, help="of the recordings")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", type=Path, required=True)


def explainer_of(name):
    if name == "demo":
        model, processor, _ = load_demo()
    else:
        model, processor = load_model(name)
    return SpeechToTextAttribution(SPES(model), processor)


def items_of(arguments):
    """Recordings with words that were not said; what each is follows from the seed alone."""
    clips = clips_of(arguments)
    for number, clip in enumerate(clips):
        generator = np.random.default_rng([arguments.seed, 0, number])
        audio = load_audio(clip["file"], RATE)
        common = {"recording": clip["id"], "spoken": clip["text"]}
        yield {**common, "name": f"{clip['id']} clean", "kind": "clean", "audio": audio}
        noise = sound(str(generator.choice(SOUNDS[:3])), len(audio), generator)
        loud = audio + noise * np.sqrt(np.mean(audio**2))
        yield {**common, "name": f"{clip['id']} errors", "kind": "errors", "audio": loud}
        words = [word for word in clip["words"] if word[1] is not None]
        if len(words) != len(clip["words"]):
            continue  # not all times are known
        forced = {**common, "target": clip["text"]}
        ends = np.array([end for _, _, end in words])
        last = int(np.abs(ends - ends[-1] / 2).argmin())
        cut = audio[: round(ends[last] * RATE)]
        said = [place <= last for place in range(len(words))]
        yield {**forced, "name": f"{clip['id']} cut", "kind": "cut", "audio": cut, "said": said}
        count = min(len(words), 5 if len(words) > 12 else 3)
        for place in sorted(generator.choice(len(words), count, replace=False).tolist()):
            spliced = without(audio, words[place][1], words[place][2])
            said = [other != place for other in range(len(words))]
            name = f"{clip['id']} splice {place}"
            yield {**forced, "name": name, "kind": "splice", "audio": spliced, "said": said}
    for number in range(arguments.sounds):
        generator = np.random.default_rng([arguments.seed, 1, number])
        kind = SOUNDS[number % len(SOUNDS)]
        length = round(generator.uniform(1.5, 12.0) * RATE)
        level = 10 ** (generator.uniform(-60, -6) / 20)
        audio = np.clip(sound(kind, length, generator) * level, -1, 1)
        name = f"{kind} {number}"
        yield {"recording": name, "name": name, "kind": "noise", "audio": audio}


def clips_of(arguments):
    lines = [json.loads(line) for line in arguments.manifest.read_text().splitlines()]
    clips = []
    for line in lines:
        words = [
            (word["word"], word["start"], word["end"]) if isinstance(word, dict) else tuple(word)
            for word in line["words"]
        ]
        name = line.get("id") or line["name"]
        file = arguments.manifest.parent / (line.get("file") or line["audio"])
        clips.append({"id": name, "file": file, "text": line["text"], "words": words})
    clips.sort(key=lambda clip: clip["id"])
    if arguments.half != "all":
        clips = clips[int(arguments.half) :: 2]
    return clips[: arguments.limit]


def without(audio, start, end, fade=80):
    """The audio without a stretch, its neighbours faded into each other."""
    first, last = round(start * RATE), round(end * RATE)
    if first <= fade or last + fade >= len(audio):
        return np.concatenate([audio[:first], audio[last:]])
    ramp = np.linspace(0, 1, fade)
    joint = audio[first - fade : first] * (1 - ramp) + audio[last - fade : last] * ramp
    return np.concatenate([audio[: first - fade], joint, audio[last:]])


def sound(kind, n_samples, generator):
    """Of a mean square of 1, but for silence."""
    times = np.arange(n_samples) / RATE
    if kind == "silence":
        return np.zeros(n_samples)
    if kind in ("white", "pink", "brown"):
        spectrum = np.fft.rfft(generator.standard_normal(n_samples))
        slope = {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind]
        wave = np.fft.irfft(spectrum / np.maximum(1, np.arange(len(spectrum))) ** slope, n_samples)
    elif kind == "hum":
        phases = generator.uniform(0, 2 * np.pi, 11)
        wave = sum(np.sin(2 * np.pi * 50 * h * times + p) / h for h, p in enumerate(phases, 1))
    elif kind == "tone":
        wave = np.sin(2 * np.pi * generator.uniform(200, 2000) * times)
    elif kind == "chirp":
        depth, rate = generator.uniform(50, 400), generator.uniform(0.2, 1)
        wave = np.sin(2 * np.pi * (300 * times + depth * np.sin(2 * np.pi * rate * times)))
    elif kind == "clicks":
        wave = np.zeros(n_samples)
        count = round(8 * n_samples / RATE)
        wave[generator.integers(0, n_samples, count)] = generator.standard_normal(count)
        ring = np.arange(400)
        wave = np.convolve(wave, np.exp(-ring / 60) * np.sin(ring / 3), "same")
    else:
        wave = music(n_samples, generator)
    return wave / max(1e-12, np.sqrt(np.mean(wave**2)))


def music(n_samples, generator):
    """Chords of a scale, struck one after the other."""
    wave = np.zeros(n_samples)
    step, root = round(RATE * generator.uniform(0.3, 0.7)), generator.uniform(110, 260)
    for start in range(0, n_samples, step):
        times = np.arange(min(step, n_samples - start)) / RATE
        for semitones in generator.choice([0, 2, 4, 5, 7, 9, 11, 12], 3, replace=False):
            pitch = root * 2 ** (semitones / 12)
            tone = sum(np.sin(2 * np.pi * pitch * h * times) / h for h in range(1, 7))
            wave[start : start + step] += np.exp(-3 * times) * tone
    return wave
