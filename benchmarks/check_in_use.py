"""A check in use: a long recording with sounds in which nobody speaks, and the time it takes.

    python benchmarks/check_in_use.py long MODEL MANIFEST --half 1 --minutes 10 --out long.json
    python benchmarks/check_in_use.py time MODEL MANIFEST --half 1 --limit 6 --out time.json

`long` checks one recording of clips with some sounds between them for which the model, given one
alone, writes words; it writes the whole freely. `time` compares a check with the model's own
transcription. The manifest and its halves are those of unsaid_words.py.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from unsaid_words import RATE, SOUNDS, add_corpus, clips_of, explainer_of, sound

from captum_spes.alignment import match_words
from captum_spes.io.audio import load_audio
from captum_spes.speech.verdicts import read_rules

PASSES = (1, 4, 12, 40)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    add_long(commands)
    add_time(commands)
    arguments = parser.parse_args()
    arguments.run(arguments)


# A long recording ------------------------------------------------------------------------


def add_long(commands):
    long = commands.add_parser("long")
    add_corpus(long)
    long.add_argument("--minutes", type=float, default=10.0)
    long.add_argument("--sounds", type=int, default=5)
    long.add_argument("--passes", type=int, default=12)
    long.add_argument("--rules", type=Path)
    long.set_defaults(run=run_long)


def misleading_sounds(explainer, seed, count, tries=200):
    """Sounds in which nobody speaks and for which the model writes words, so long that a window of
    30 s holds nothing else."""
    found = []
    for number in range(tries):
        generator = np.random.default_rng([seed, 2, number])
        kind = SOUNDS[number % len(SOUNDS)]
        level = 10 ** (generator.uniform(-60, -10) / 20)
        length = round(generator.uniform(45.0, 60.0) * RATE)
        audio = np.clip(sound(kind, length, generator) * level, -1, 1).astype(np.float32)
        written = explainer.transcribe(audio).text
        if any(character.isalpha() for character in written):
            found.append({"kind": kind, "audio": audio, "written": written})
        if len(found) == count:
            return found
    raise SystemExit(f"the model writes words for {len(found)} of {tries} sounds")


def run_long(arguments):
    generator = np.random.default_rng(arguments.seed)
    clips = clips_of(arguments)
    explainer = explainer_of(arguments.model)
    sounds = misleading_sounds(explainer, arguments.seed, arguments.sounds)
    parts, spoken, quiet = [], [], []
    seconds, wanted = 0.0, 60 * arguments.minutes
    while seconds < wanted:
        clip = clips[len(spoken) % len(clips)]
        parts.append(load_audio(clip["file"], RATE))
        spoken.append(clip["text"])
        seconds += len(parts[-1]) / RATE
        if len(quiet) < len(sounds) and seconds > wanted * (len(quiet) + 0.5) / len(sounds):
            stretch = sounds[len(quiet)]["audio"]
            quiet.append((seconds, seconds + len(stretch) / RATE))
            parts.append(stretch)
            seconds += len(stretch) / RATE
        pause = 0.003 * generator.standard_normal(round(generator.uniform(0.4, 1.2) * RATE))
        parts.append(pause)
        seconds += len(pause) / RATE
    audio = np.concatenate(parts).astype(np.float32)
    rules = read_rules(arguments.rules) if arguments.rules else None
    start = time.perf_counter()
    report = explainer.check(
        audio, passes=arguments.passes, rules=rules, seed=0, show_progress=True
    )
    matches = match_words([word.word for word in report.words], " ".join(spoken).split())
    said = {written for written, _ in matches.pairs}
    rows = []
    for number, word in enumerate(report.words):
        middle = (word.start + word.end) / 2
        is_quiet = any(first < middle < last for first, last in quiet)
        kind = "said" if number in said else "invented" if is_quiet else "error"
        rows.append({**asdict(word), "kind": kind})
    counts = {
        kind: {
            verdict: sum(row["kind"] == kind and row["heard"] is heard for row in rows)
            for verdict, heard in (("heard", True), ("not heard", False), ("cannot tell", None))
        }
        for kind in ("said", "error", "invented")
    }
    found = {
        "minutes": len(audio) / RATE / 60,
        "passes": arguments.passes,
        "seconds": time.perf_counter() - start,
        "sounds": [
            {"kind": own["kind"], "start": first, "end": last, "written_alone": own["written"],
             "written": " ".join(row["word"] for row in rows if first < row["start"] < last)}
            for own, (first, last) in zip(sounds, quiet, strict=True)
        ],
        "counts": counts,
        "accused": [row for row in rows if row["kind"] == "said" and row["heard"] is False],
        "missed": [row for row in rows if row["kind"] == "invented" and row["heard"]],
        "invented": [row for row in rows if row["kind"] == "invented"],
    }  # fmt: skip
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(counts, indent=1))


# Time -----------------------------------------------------------------------------------


def add_time(commands):
    command = commands.add_parser("time")
    add_corpus(command)
    command.add_argument("--repeats", type=int, default=3)
    command.add_argument("--spes", type=int, default=300)
    command.set_defaults(run=run_time)


def run_time(arguments):
    explainer = explainer_of(arguments.model)
    clips = [load_audio(clip["file"], RATE) for clip in clips_of(arguments)]

    def seconds_of(function):
        return min(timed(function, clips) for _ in range(arguments.repeats))

    adapter = explainer.adapter

    def attention(audio):
        speech = adapter.from_audio(audio)
        adapter.attention(speech, adapter.generate(speech, {}))

    own = seconds_of(lambda audio: generate(adapter, audio))
    tasks = {f"check, {counted(n)}": lambda a, n=n: explainer.check(a, passes=n) for n in PASSES}
    found = {"transcription": {"seconds": own, "ratio": 1.0}}
    for name, task in {**tasks, "attention": attention}.items():
        seconds = seconds_of(task)
        found[name] = {"seconds": seconds, "ratio": seconds / own}
    if arguments.spes:
        options = {"scheme": "efficient", "n_samples": arguments.spes, "n_token_samples": 0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seconds = timed(lambda a: explainer.attribute(a, seed=0, **options), clips)
        found[f"SPES, {arguments.spes} passes"] = {"seconds": seconds, "ratio": seconds / own}
    found["recordings"] = len(clips)
    found["minutes"] = sum(map(len, clips)) / RATE / 60
    found["threads"] = torch.get_num_threads()
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def generate(adapter, audio):
    with torch.no_grad(), adapter.evaluation_mode():
        adapter.generate(adapter.from_audio(audio), {})


def timed(function, clips):
    start = time.perf_counter()
    for audio in clips:
        function(audio)
    return time.perf_counter() - start


def counted(passes):
    return "1 pass" if passes == 1 else f"{passes} passes"


if __name__ == "__main__":
    main()
