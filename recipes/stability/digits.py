"""Strings of spoken digits, from recordings of single ones.

    python -m recipes.stability.digits RECORDINGS corpus

takes a folder of ``{digit}_{speaker}_{take}.wav``, as the Free Spoken Digit Dataset comes, and
writes ``train``, ``validation`` and ``test`` below ``corpus``, each with FLAC files and a
``manifest.jsonl``: who speaks and the keyword as labels, and the times of the words. The keyword is
the one digit below five; it stands anywhere, so that a model cannot know its place without hearing
it. Joined recordings of one speaker have words whose times are known exactly, which single digits
lack; phones of the test part are found by forced alignment. Takes 0 to 4 are for the test, as the
dataset's own split has it, 5 to 7 for validation.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from captum_spes.alignment import force_align
from captum_spes.errors import ArgumentError
from captum_spes.io.files import write_whole

SIZES = {"train": 4000, "validation": 300, "test": 300}
SAMPLING_RATE = 8000
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_KEYWORDS, _OTHERS = range(5), range(5, 10)
_TAKES = {"test": range(5), "validation": range(5, 8), "train": range(8, 1000)}
_PAUSE = (0.05, 0.2)
# Of noise beside a voice at full scale: without it, pauses would be exactly the silence that
# removed parts are replaced by.
_NOISE = 1e-3

Takes = dict[tuple[str, int], list[Path]]


def make_digit_strings(
    recordings: Path, folder: Path, sizes: dict[str, int], *, n_digits: int = 4, seed: int = 0
) -> None:
    r"""
    Write a corpus of strings of digits.

    Args:

        recordings (path): Folder of ``{digit}_{speaker}_{take}.wav``, 8 kHz.
        folder (path): Where to; parts that it holds already are left as they are.
        sizes (mapping of str to int): Utterances of "train", "validation" and "test".
        n_digits (int, optional): Per utterance.
                    Default: 4
        seed (int, optional): Of digits, takes, pauses and noise.
                    Default: 0

    Raises:
        ArgumentError: there are no such recordings.
        ImportError: pocketsphinx, which finds the phones, is not installed.

    Examples::

        >>> make_digit_strings(Path("recordings"), Path("digits"), {"train": 1})
    """
    for split, size in sizes.items():
        part = folder / split
        if (part / "manifest.jsonl").exists():
            continue
        part.mkdir(parents=True, exist_ok=True)
        takes = _takes(recordings, split)
        rng = random.Random(f"{seed} {split}")
        lines = [
            _write_utterance(part, f"{split}-{number:05d}", takes, n_digits, rng)
            for number in tqdm(range(size), f"digits, {split}")
        ]
        if split == "test":
            for line in tqdm(lines, "phones"):
                line |= _phones(part / line["audio"], line["text"])
        text = "".join(json.dumps(line) + "\n" for line in lines)
        write_whole(part / "manifest.jsonl", text)


def _takes(recordings: Path, split: str) -> Takes:
    """Recordings of every speaker and digit."""
    takes: Takes = defaultdict(list)
    for file in sorted(recordings.glob("[0-9]_*_*.wav")):
        digit, speaker, take = file.stem.split("_")
        if int(take) in _TAKES[split]:
            takes[speaker, int(digit)].append(file)
    if not takes:
        raise ArgumentError(
            f"{recordings} holds no recordings {{digit}}_{{speaker}}_{{take}}.wav for the part "
            f"{split!r}."
        )
    return takes


def _write_utterance(
    folder: Path, name: str, takes: Takes, n_digits: int, rng: random.Random
) -> dict[str, Any]:
    import soundfile

    speaker = rng.choice(sorted({speaker for speaker, _ in takes}))
    digits = [rng.choice(_OTHERS) for _ in range(n_digits)]
    keyword = rng.choice(_KEYWORDS)
    digits[rng.randrange(n_digits)] = keyword
    parts: list[NDArray[np.float32]] = [_pause(rng)]
    words = []
    for digit in digits:
        samples, rate = soundfile.read(rng.choice(takes[speaker, digit]), dtype="float32")
        if rate != SAMPLING_RATE:
            raise ArgumentError(f"expected recordings of {SAMPLING_RATE} Hz, got {rate} Hz.")
        start = sum(map(len, parts)) / SAMPLING_RATE
        words.append([DIGITS[digit], round(start, 4), round(start + len(samples) / rate, 4)])
        parts += [samples / np.abs(samples).max(), _pause(rng)]
    speech = np.concatenate(parts)
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(len(speech))
    # Loudness must not tell who speaks.
    audio = (speech + _NOISE * noise) * 10 ** (rng.uniform(-12, -1) / 20)
    soundfile.write(folder / f"{name}.flac", audio, SAMPLING_RATE, subtype="PCM_16")
    return {
        "id": name,
        "audio": f"{name}.flac",
        "seconds": round(len(audio) / SAMPLING_RATE, 3),
        "text": " ".join(DIGITS[digit] for digit in digits),
        "labels": {"speaker": speaker, "keyword": DIGITS[keyword]},
        "words": words,
    }


def _phones(audio: Path, text: str) -> dict[str, Any]:
    """The field of a manifest; empty where the aligner refuses."""
    try:
        phones = force_align(audio, text).phones
    except ArgumentError:
        return {}
    return {"phones": [[label, round(start, 3), round(end, 3)] for label, start, end in phones]}


def _pause(rng: random.Random) -> NDArray[np.float32]:
    return np.zeros(round(rng.uniform(*_PAUSE) * SAMPLING_RATE), dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--digits", type=int, default=4, help="per utterance")
    parser.add_argument("--seed", type=int, default=0)
    for split, size in SIZES.items():
        parser.add_argument(f"--{split}", type=int, default=size, metavar="UTTERANCES")
    parsed = parser.parse_args()
    sizes = {split: getattr(parsed, split) for split in SIZES}
    make_digit_strings(
        parsed.recordings, parsed.folder, sizes, n_digits=parsed.digits, seed=parsed.seed
    )


if __name__ == "__main__":
    main()
