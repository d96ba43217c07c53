"""Make the corpus that the bundled model is trained, chosen and measured on.

    python -m recipes.bundled.synthesize corpus

writes ``train``, ``validation`` and ``test`` below the folder, each with FLAC files and a
``manifest.jsonl`` that holds the text, the translations, the voice, and the times of words and
phones. Equal seeds make equal corpora, however many processes make them. Sentences and voices of
the three parts do not overlap.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from captum_spes.alignment import Interval
from captum_spes.demo.examples import SAMPLING_RATE
from captum_spes.errors import ArgumentError
from recipes.bundled.espeak import Voice, speak
from recipes.bundled.grammar import Sentence, draw_sentence

ACCENTS = (
    "en",
    "en-us",
    "en-us-nyc",
    "en-029",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
)
# Variants of the synthesiser's voice: throat, mouth and intonation of different speakers.
MALE = {
    "train": (
        "m1 m2 m3 m5 m7 m8 Alex Andy Denis Gene Hugo Lee Marco Michael benjamin david ed john "
        "max paul robert travis"
    ).split(),
    "validation": ["m6", "zac"],
    "test": ["m4", "quincy", "victor"],
}
FEMALE = {
    "train": "f1 f3 f5 Alicia Andrea belinda linda steph steph3 anika".split(),
    "validation": ["f4", "steph2"],
    "test": ["f2", "Annie", "aunty"],
}
SIZES = {"train": 24_000, "validation": 300, "test": 600}
# Utterances that one process makes from start to end: the library's state carries over from one
# utterance to the next, so the shards must not depend on the number of processes.
SHARD = 300


@dataclass(frozen=True)
class Plan:
    """What one utterance will be; drawn before anything is spoken."""

    name: str
    sentence: Sentence
    voice: Voice
    gender: str
    silence: tuple[float, float]
    peak: float
    noise_slope: float | None
    signal_to_noise: float
    seed: int


def plans(split: str, size: int, seed: int) -> Iterator[Plan]:
    """Draw sentences, voices and recording conditions of one part of the corpus."""
    if split not in SIZES:
        raise ArgumentError(f"split must be one of {', '.join(SIZES)}, got {split!r}.")
    rng = random.Random(f"{seed} {split}")
    seen: set[str] = set()
    while len(seen) < size:
        sentence = draw_sentence(rng)
        # The text decides which part a sentence belongs to, so that no part knows another's.
        share = random.Random(sentence.english).random()
        part = "test" if share < 0.1 else "validation" if share < 0.15 else "train"
        if part != split or sentence.english in seen:
            continue
        seen.add(sentence.english)
        gender = rng.choice(("male", "female"))
        variants = (MALE if gender == "male" else FEMALE)[split]
        yield Plan(
            name=f"{split}-{len(seen):05d}",
            sentence=sentence,
            voice=Voice(
                name=f"{rng.choice(ACCENTS)}+{rng.choice(variants)}",
                rate=rng.randint(135, 200),
                pitch=rng.randint(30, 70),
                pitch_range=rng.randint(30, 70),
            ),
            gender=gender,
            silence=(rng.uniform(0.05, 0.25), rng.uniform(0.05, 0.25)),
            peak=10 ** (rng.uniform(-26, -1) / 20),
            noise_slope=rng.choice((0.0, 1.0, 2.0)) if rng.random() < 0.6 else None,
            signal_to_noise=rng.uniform(10, 35),
            seed=rng.getrandbits(32),
        )


def record(plan: Plan) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Speak a plan: ``(samples,)`` at 16 kHz, and its line of the manifest."""
    import soxr

    spoken = speak(plan.sentence.spoken, plan.voice)
    before, after = (round(seconds * SAMPLING_RATE) for seconds in plan.silence)
    speech = soxr.resample(spoken.samples, spoken.sampling_rate, SAMPLING_RATE)
    samples = np.pad(speech, (before, after))
    if plan.noise_slope is not None:
        noise = _noise(len(samples), plan.noise_slope, np.random.default_rng(plan.seed))
        loudness = np.sqrt(np.mean(speech**2))
        samples = samples + noise * loudness * 10 ** (-plan.signal_to_noise / 20)
    samples = (samples * plan.peak / np.abs(samples).max()).astype(np.float32)
    shift = before / SAMPLING_RATE
    line = {
        "name": plan.name,
        "audio": f"{plan.name}.flac",
        "seconds": round(len(samples) / SAMPLING_RATE, 3),
        "kind": plan.sentence.kind,
        "text": plan.sentence.english,
        "translations": {"de": plan.sentence.german, "es": plan.sentence.spanish},
        "gender": plan.gender,
        "voice": asdict(plan.voice),
        "signal_to_noise": None if plan.noise_slope is None else round(plan.signal_to_noise, 1),
        "words": [_shifted(word, shift) for word in spoken.words],
        "phones": [_shifted(phone, shift) for phone in spoken.phones],
    }
    return samples, line


def _noise(count: int, slope: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of unit power that falls by ``slope`` times 3 dB per octave."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / SAMPLING_RATE)
    spectrum *= np.maximum(frequencies, 50.0) ** (-slope / 2)
    noise = np.fft.irfft(spectrum, count)
    scaled: NDArray[np.float64] = noise / np.sqrt(np.mean(noise**2))
    return scaled


def _shifted(interval: Interval, shift: float) -> list[Any]:
    return [interval.label, round(interval.start + shift, 3), round(interval.end + shift, 3)]


def _write_shard(folder: Path, shard: Sequence[Plan]) -> list[dict[str, Any]]:
    import soundfile

    lines = []
    for plan in shard:
        samples, line = record(plan)
        soundfile.write(folder / line["audio"], samples, SAMPLING_RATE, subtype="PCM_16")
        lines.append(line)
    return lines


def fresh_processes() -> BaseContext:
    """How processes start in which the library has said nothing yet."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    # Copies of one that has imported everything, which takes longer than a shard's first words.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["recipes.bundled.synthesize"])
    return context


def make_corpus(
    folder: Path, sizes: dict[str, int], seed: int, processes: int | None = None
) -> None:
    """Write the corpus; a part whose manifest is there already is left as it is."""
    # The library sleeps while it speaks: more processes than cores are faster.
    processes = processes or 3 * (os.cpu_count() or 1)
    for split, size in sizes.items():
        part = folder / split
        if (part / "manifest.jsonl").exists():
            continue
        part.mkdir(parents=True, exist_ok=True)
        planned = list(plans(split, size, seed))
        shards = [planned[start : start + SHARD] for start in range(0, size, SHARD)]
        with ProcessPoolExecutor(processes, fresh_processes(), max_tasks_per_child=1) as pool:
            made = pool.map(_write_shard, [part] * len(shards), shards)
            lines = [line for shard in tqdm(made, split, len(shards)) for line in shard]
        # Last and in one step, so that a manifest means a whole part.
        unfinished = part / "manifest.jsonl.part"
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        unfinished.write_text(text, encoding="utf-8")
        shutil.move(unfinished, part / "manifest.jsonl")


def read_manifest(folder: Path) -> list[dict[str, Any]]:
    """The lines of one part's manifest."""
    with (folder / "manifest.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, help="default: three per core")
    for split, size in SIZES.items():
        parser.add_argument(f"--{split}", type=int, default=size, metavar="UTTERANCES")
    parsed = parser.parse_args()
    sizes = {split: getattr(parsed, split) for split in SIZES}
    make_corpus(parsed.folder, sizes, parsed.seed, parsed.processes)


if __name__ == "__main__":
    main()
