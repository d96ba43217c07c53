"""Train a small speech classifier, once per seed.

    python -m recipes.stability.training corpus/train --validation corpus/validation \
        --tasks speaker --seeds 0 1 2 3 4 --out models/speaker

writes one model per seed, ``models/speaker/seed-0`` and so on; what is there already is left as
it is. A seed decides the initial weights and the order of the data; each can be held fixed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from captum_spes.corpus import Utterance, read_manifest
from captum_spes.errors import ArgumentError
from captum_spes.io.audio import check_audio, load_audio
from captum_spes.stability.classifier import ClassifierConfig, SpeechClassifier
from captum_spes.stability.models import class_of

_SEEDS = ("weight_seed", "order_seed")
_BATCH = 32
# Twice the quantum of 16-bit audio.
_SILENCE = 6e-5
_PEAK_LEARNING_RATE = 2e-3
_WARM_UP = 0.1
_LABEL_SMOOTHING = 0.1
# A bin that never changes must not be divided by nothing.
_LEAST_DEVIATION = 1e-3
_MASKS, _MASKED_FRAMES, _MASKED_BINS = 2, 20, 8


@dataclass(frozen=True)
class LabelledSpeech:
    """Recordings with the classes of each task.

    Attributes:
        waveforms: ``(samples,)`` each.
        targets: task to ``(utterances,)``, the number of the right class.
        classes: task to its classes.
    """

    waveforms: list[Tensor]
    targets: dict[str, Tensor]
    classes: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.waveforms)


def read_labelled_speech(
    manifest: Path,
    tasks: Sequence[str],
    sampling_rate: int,
    classes: dict[str, tuple[str, ...]] | None = None,
) -> LabelledSpeech:
    r"""
    Load the recordings of a manifest.

    Args:

        manifest (path): JSONL with ``audio``, ``text`` and ``labels``; see
                    :func:`captum_spes.corpus.read_manifest`.
        tasks (sequence of str): The labels to learn.
        sampling_rate (int): Of the waveforms, Hz.
        classes (mapping, optional): Classes of each task, of the training set.
                    Default: None, those that occur

    Returns:
        *LabelledSpeech*.

    Raises:
        ArgumentError: a line lacks a label, or has a class that ``classes`` does not.

    Examples::

        >>> speech = read_labelled_speech(Path("train/manifest.jsonl"), ["speaker"], 8000)
    """
    utterances = read_manifest(manifest)
    found = {task: [class_of(utterance, task) for utterance in utterances] for task in tasks}
    classes = classes or {task: tuple(sorted(set(names))) for task, names in found.items()}
    for task, names in found.items():
        unknown = sorted(set(names) - set(classes[task]))
        if unknown:
            raise ArgumentError(
                f"{manifest} has the {task} {unknown[0]!r}; known: {', '.join(classes[task])}."
            )
    return LabelledSpeech(
        [_waveform(utterance, sampling_rate) for utterance in utterances],
        {task: torch.tensor([classes[task].index(n) for n in found[task]]) for task in tasks},
        classes,
    )


def _waveform(utterance: Utterance, sampling_rate: int) -> Tensor:
    samples = load_audio(utterance.file, sampling_rate)
    try:
        check_audio(samples, sampling_rate, None)
        if np.ptp(samples) < _SILENCE:  # nothing can be learnt from it
            raise ArgumentError("audio is silent: every sample has (nearly) the same value.")
    except ArgumentError as error:
        raise ArgumentError(f"{utterance.audio}: {error}") from error
    return torch.from_numpy(samples)


def train_classifier(
    speech: LabelledSpeech,
    *,
    sampling_rate: int = 16_000,
    weight_seed: int = 0,
    order_seed: int = 0,
    epochs: int = 8,
    show_progress: bool = False,
) -> SpeechClassifier:
    r"""
    Train a classifier of all tasks together.

    Args:

        speech (LabelledSpeech): What to learn.
        sampling_rate (int, optional): Of its waveforms, Hz.
                    Default: 16000
        weight_seed (int, optional): Of the initial weights.
                    Default: 0
        order_seed (int, optional): Of the order of the data and of SpecAugment's masks.
                    Default: 0
        epochs (int, optional): Passes over the data.
                    Default: 8
        show_progress (bool, optional): Displays a progress bar.
                    Default: False

    Returns:
        *SpeechClassifier*, in evaluation mode. Equal seeds give equal models on one machine with
        one number of threads.

    Examples::

        >>> tone = torch.sin(torch.arange(4000) / 5)
        >>> speech = LabelledSpeech(
        ...     [tone, tone.flip(0) / 9], {"loud": torch.tensor([1, 0])}, {"loud": ("no", "yes")}
        ... )
        >>> model = train_classifier(speech, epochs=1)
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(weight_seed)
        model = SpeechClassifier(ClassifierConfig(speech.classes, sampling_rate))
    spectrograms = _scaled_spectrograms(model, speech)
    silence = model.spectrogram(torch.zeros(1, sampling_rate))[0, 0].detach()
    steps = epochs * math.ceil(len(speech) / _BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_PEAK_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: _learning_rate(s, steps))
    rng = random.Random(order_seed)
    model.train()
    with tqdm(total=steps, desc="training", disable=not show_progress) as bar:
        for _ in range(epochs):
            for batch in _batches(spectrograms, rng):
                rows = [_augmented(spectrograms[index], silence, rng) for index in batch]
                logits = classify_padded(model, rows)
                losses = [
                    functional.cross_entropy(
                        logits[task], target[batch], label_smoothing=_LABEL_SMOOTHING
                    )
                    for task, target in speech.targets.items()
                ]
                loss = torch.stack(losses).sum()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.2f}")
    return model.eval()


@torch.no_grad()
def accuracy(model: SpeechClassifier, speech: LabelledSpeech) -> dict[str, float]:
    """Percentage of utterances whose class the model finds, by task."""
    found: dict[str, list[Tensor]] = {task: [] for task in speech.targets}
    for waveform in speech.waveforms:
        for task, logits in model(waveform[None]).items():
            found[task].append(logits.argmax(-1))
    return {
        task: 100 * float((torch.cat(found[task]) == target).float().mean())
        for task, target in speech.targets.items()
    }


@torch.no_grad()
def _scaled_spectrograms(model: SpeechClassifier, speech: LabelledSpeech) -> list[Tensor]:
    """Spectrograms with mean 0 and variance 1 per bin, which the model learns on the way."""
    spectrograms = [model.spectrogram(waveform[None])[0] for waveform in speech.waveforms]
    frames = torch.cat(spectrograms)
    model.mean.copy_(frames.mean(0))
    model.deviation.copy_(frames.std(0).clamp(min=_LEAST_DEVIATION))
    return [(spectrogram - model.mean) / model.deviation for spectrogram in spectrograms]


def _batches(spectrograms: Sequence[Tensor], rng: random.Random) -> Iterator[list[int]]:
    """Utterances of similar length together, in random order."""
    order = sorted(
        range(len(spectrograms)), key=lambda index: len(spectrograms[index]) + rng.uniform(0, 50)
    )
    groups = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    rng.shuffle(groups)
    yield from groups


def _augmented(spectrogram: Tensor, silence: Tensor, rng: random.Random) -> Tensor:
    """SpecAugment (Park et al., 2019): spans and bands become silence."""
    masked = spectrogram.clone()
    frames, bins = masked.shape
    for _ in range(_MASKS):
        width = rng.randint(0, min(_MASKED_FRAMES, frames // 4))
        first = rng.randint(0, frames - width)
        masked[first : first + width] = silence
        height = rng.randint(0, _MASKED_BINS)
        low = rng.randint(0, bins - height)
        masked[:, low : low + height] = silence[low : low + height]
    return masked


def classify_padded(model: SpeechClassifier, spectrograms: Sequence[Tensor]) -> dict[str, Tensor]:
    """Logits by task of ``(time, freq)`` spectrograms of any lengths, in one pass."""
    lengths = torch.tensor([len(spectrogram) for spectrogram in spectrograms])
    encoded = model.encoder_input(pad_sequence(list(spectrograms), batch_first=True))
    mask = torch.arange(encoded.shape[1]) < ((lengths + 1) // 2)[:, None]
    return model.classify(encoded, mask)


def _learning_rate(step: int, steps: int) -> float:
    """Rise in a line, then fall along a cosine."""
    warm_up = max(1, round(_WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def train_seeds(
    train: Path,
    validation: Path,
    tasks: Sequence[str],
    out: Path,
    *,
    seeds: Sequence[int],
    fixed_seeds: Mapping[str, int] | None = None,
    sampling_rate: int = 16_000,
    epochs: int = 8,
) -> dict[Path, dict[str, Any]]:
    r"""
    Train one model per seed and write each with its accuracy.

    Args:

        train (path): Folder with ``manifest.jsonl``.
        validation (path): Likewise.
        tasks (sequence of str): Labels to learn, together.
        out (path): Where ``seed-0`` and so on are written.
        seeds (sequence of int): One model each.
        fixed_seeds (mapping of str to int, optional): What all models have in common:
                    "weight_seed", their initial weights, or "order_seed", the order of the data.
                    Default: None, each has its own seed of both
        sampling_rate (int, optional): Hz.
                    Default: 16000
        epochs (int, optional): Passes over the data.
                    Default: 8

    Raises:
        ArgumentError: a recording is unusable, a label or a fixed seed is unknown, or a folder
            holds a model that was trained with other settings.

    Returns:
        *dict*: folder of each model that was trained to its seeds, its accuracy on the validation
        set and the seconds, which are also in its ``training.json``.

    Examples::

        >>> made = train_seeds(
        ...     Path("train"), Path("validation"), ["speaker"], Path("models"), seeds=range(5)
        ... )
    """
    fixed = dict(fixed_seeds or {})
    if unknown := sorted(fixed.keys() - set(_SEEDS)):
        raise ArgumentError(f"fixed_seeds may hold {' and '.join(_SEEDS)}, got {unknown[0]!r}.")
    wanted: dict[int, dict[str, Any]] = {
        seed: {
            "tasks": list(tasks),
            **dict.fromkeys(_SEEDS, seed),
            **fixed,
            "sampling_rate": sampling_rate,
            "epochs": epochs,
        }
        for seed in seeds
    }
    missing = [seed for seed in seeds if not _is_trained(out / f"seed-{seed}", wanted[seed])]
    if not missing:
        return {}
    speech = read_labelled_speech(train / "manifest.jsonl", tasks, sampling_rate)
    held_out = read_labelled_speech(
        validation / "manifest.jsonl", tasks, sampling_rate, speech.classes
    )
    records = {}
    for seed in missing:
        folder = out / f"seed-{seed}"
        used = {name: wanted[seed][name] for name in _SEEDS}
        start = time.monotonic()
        model = train_classifier(
            speech, sampling_rate=sampling_rate, epochs=epochs, show_progress=True, **used
        )
        model.save_pretrained(folder)
        record: dict[str, Any] = {
            **wanted[seed],
            "accuracy": {task: round(v, 2) for task, v in accuracy(model, held_out).items()},
            "seconds": round(time.monotonic() - start, 1),
        }
        (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n")
        records[folder] = record
    return records


def _is_trained(folder: Path, wanted: dict[str, Any]) -> bool:
    """Whether a folder holds such a model; raise if it holds another one."""
    record = folder / "training.json"
    if not record.exists():
        return False
    found = json.loads(record.read_text(encoding="utf-8"))
    differing = [name for name, value in wanted.items() if found.get(name) != value]
    if differing:
        raise ArgumentError(
            f"{folder} holds a model with other settings ({', '.join(differing)}): give another "
            "folder."
        )
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", type=Path, help="folder with manifest.jsonl")
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", required=True, help="labels to learn, together")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--weight-seed", type=int, help="the same for all (default: each its own)")
    parser.add_argument("--order-seed", type=int, help="the same for all (default: each its own)")
    parser.add_argument("--sampling-rate", type=int, default=16_000, metavar="HZ")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    parsed = parser.parse_args()
    try:
        made = train_seeds(
            parsed.train,
            parsed.validation,
            parsed.tasks,
            parsed.out,
            seeds=parsed.seeds,
            fixed_seeds={
                name: value for name in _SEEDS if (value := getattr(parsed, name)) is not None
            },
            sampling_rate=parsed.sampling_rate,
            epochs=parsed.epochs,
        )
    except (ArgumentError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
    for folder, record in made.items():
        print(json.dumps({"model": str(folder), **record}))


if __name__ == "__main__":
    main()
