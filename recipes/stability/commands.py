"""Spoken commands with an action, an object and a location, from the eSpeak NG library.

    python -m recipes.stability.commands corpus

writes ``train``, ``validation`` and ``test`` below the folder, each with FLAC files and a
``manifest.jsonl``: action, object, location and the voice's gender as labels, and the times of
words and phones. Voices of the three parts do not overlap.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from captum_spes.io.files import write_whole
from recipes.bundled.espeak import Voice
from recipes.bundled.grammar import Sentence
from recipes.bundled.synthesize import ACCENTS, FEMALE, MALE, Plan, fresh_processes, record

SIZES = {"train": 3000, "validation": 200, "test": 300}
_ACTIONS = {
    "activate": ("turn on", "switch on", "start"),
    "deactivate": ("turn off", "switch off", "stop"),
    "increase": ("turn up", "raise"),
    "decrease": ("turn down", "lower"),
    "check": ("check", "tell me about"),
}
_OBJECTS = ("lights", "heating", "music", "fan", "television", "alarm")
_LOCATIONS = ("kitchen", "bedroom", "garden", "bathroom", "office")
_NOWHERE = "none"
_POLITE_FIRST, _POLITE_LAST = ("please ", "could you ", ""), (" please", " now", "")
# One process makes one shard: the library's state carries over from one utterance to the next.
_SHARD = 100


def make_commands(folder: Path, sizes: dict[str, int], *, seed: int = 0) -> None:
    r"""
    Write a corpus of commands.

    Args:

        folder (path): Where to; parts that it holds already are left as they are.
        sizes (mapping of str to int): Utterances of "train", "validation" and "test".
        seed (int, optional): Of texts, voices and recording conditions.
                    Default: 0

    Raises:
        ArgumentError: the eSpeak NG library is not installed.
    """
    for split, size in sizes.items():
        part = folder / split
        if (part / "manifest.jsonl").exists():
            continue
        part.mkdir(parents=True, exist_ok=True)
        rng = random.Random(f"{seed} {split}")
        planned = [_plan(split, number, rng) for number in range(size)]
        shards = [planned[start : start + _SHARD] for start in range(0, size, _SHARD)]
        # The library sleeps while it speaks: more processes than cores are faster.
        processes = 3 * (os.cpu_count() or 1)
        with ProcessPoolExecutor(processes, fresh_processes(), max_tasks_per_child=1) as pool:
            made = pool.map(_write_shard, [part] * len(shards), shards)
            lines = [
                line for shard in tqdm(made, f"commands, {split}", len(shards)) for line in shard
            ]
        write_whole(part / "manifest.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def draw_command(rng: random.Random) -> tuple[str, dict[str, str]]:
    r"""
    Draw what is said and its labels; two of seven commands name no location.

    Args:

        rng (random.Random): Equal generators draw equal commands.

    Returns:
        *tuple* of the text, and "action", "object" and "location".

    Examples::

        >>> draw_command(random.Random(0))[0]
        'could you lower the fan in the kitchen'
    """
    action = rng.choice(list(_ACTIONS))
    thing = rng.choice(_OBJECTS)
    location = rng.choice((*_LOCATIONS, _NOWHERE, _NOWHERE))
    command = f"{rng.choice(_ACTIONS[action])} the {thing}"
    if location != _NOWHERE:
        place = f"in the {location}"
        command = f"{place}, {command}" if rng.random() < 0.3 else f"{command} {place}"
    if rng.random() < 0.5:
        text = f"{rng.choice(_POLITE_FIRST)}{command}"
    else:
        text = f"{command}{rng.choice(_POLITE_LAST)}"
    return text, {"action": action, "object": thing, "location": location}


def _plan(split: str, number: int, rng: random.Random) -> tuple[Plan, dict[str, str]]:
    text, labels = draw_command(rng)
    gender = rng.choice(("male", "female"))
    variants = (MALE if gender == "male" else FEMALE)[split]
    plan = Plan(
        name=f"{split}-{number:05d}",
        sentence=Sentence(kind="command", english=text, german="", spanish=""),
        voice=Voice(
            name=f"{rng.choice(ACCENTS)}+{rng.choice(variants)}",
            rate=rng.randint(140, 190),
            pitch=rng.randint(40, 60),
            pitch_range=rng.randint(30, 70),
        ),
        gender=gender,
        silence=(rng.uniform(0.05, 0.25), rng.uniform(0.05, 0.25)),
        peak=10 ** (rng.uniform(-12, -1) / 20),
        # Always some, so that pauses are not the silence that removed parts are replaced by.
        noise_slope=rng.choice((0.0, 1.0, 2.0)),
        signal_to_noise=rng.uniform(20, 35),
        seed=rng.getrandbits(32),
    )
    return plan, {**labels, "gender": gender}


def _write_shard(
    folder: Path, shard: Sequence[tuple[Plan, dict[str, str]]]
) -> list[dict[str, Any]]:
    import soundfile

    lines = []
    for plan, labels in shard:
        samples, line = record(plan)
        soundfile.write(folder / line["audio"], samples, 16_000, subtype="PCM_16")
        kept = ("audio", "seconds", "text", "words", "phones")
        lines.append({"id": plan.name, **{name: line[name] for name in kept}, "labels": labels})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    for split, size in SIZES.items():
        parser.add_argument(f"--{split}", type=int, default=size, metavar="UTTERANCES")
    parsed = parser.parse_args()
    sizes = {split: getattr(parsed, split) for split in SIZES}
    make_commands(parsed.folder, sizes, seed=parsed.seed)


if __name__ == "__main__":
    main()
