"""Train the bundled model on a corpus of ``synthesize``.

    python -m recipes.bundled.train corpus model

writes the model of every epoch over that of the one before, so that a run that was stopped goes
on with the same command. The decoder learns all three tasks from each pass of the encoder.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from captum_spes.demo.examples import SAMPLING_RATE
from captum_spes.errors import ArgumentError
from recipes.bundled.model import LANGUAGES, make_model, make_processor, train_tokenizer
from recipes.bundled.synthesize import read_manifest

PROMPT_LENGTH = 3
_BATCH = 32
_PEAK_LEARNING_RATE = 1.5e-3
_WARM_UP_STEPS = 600
_LABEL_SMOOTHING = 0.1
_CTC_SHARE = 0.2
_PHONE_SHARE = 0.2
# Phones are learned half-way up the encoder, words at its top.
_PHONE_LAYER = 2
_SUBSAMPLING = 4
_FRAME_RATE = 100
# The average of the weights reaches back over 500 steps, of a short run over a seventh of it.
_AVERAGE_DECAY = 0.998
_AVERAGED_SHARE = 1 / 7


@dataclass(frozen=True)
class Utterances:
    """Spectrograms of one part of the corpus, one after the other, with what is said in them.

    Attributes:
        frames: ``(all frames, 80)``.
        starts: where each utterance starts, and the end of the last one.
        targets: token ids of each utterance by language, prompt and end included.
        phones: phone of each frame of the encoder, for each utterance.
    """

    frames: NDArray[Any]
    starts: list[int]
    targets: list[dict[str, list[int]]]
    phones: list[list[int]]

    def spectrogram(self, index: int) -> NDArray[Any]:
        return self.frames[self.starts[index] : self.starts[index + 1]]

    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def replaced(self, spectrograms: Sequence[NDArray[Any]]) -> Utterances:
        """The same texts with other spectrograms."""
        starts = np.cumsum([0, *map(len, spectrograms)]).tolist()
        return Utterances(np.concatenate(spectrograms), starts, self.targets, self.phones)

    def __len__(self) -> int:
        return len(self.targets)


def prepare(folder: Path, processor: Any, inventory: Sequence[str] = ()) -> Utterances:
    """Compute the spectrograms of one part once, and keep them beside the audio.

    Phones outside the inventory count as pauses.
    """
    import soundfile

    lines = read_manifest(folder)
    targets = [token_ids(line, processor.tokenizer) for line in lines]
    settings = processor.feature_extractor.to_json_string().encode()
    kept = folder / f"spectrograms-{zlib.crc32(settings):08x}.npz"
    if not kept.exists():
        spectrograms = []
        for line in tqdm(lines, f"spectrograms of {folder.name}"):
            samples, _ = soundfile.read(folder / line["audio"], dtype="float32")
            made = processor.feature_extractor(samples, sampling_rate=SAMPLING_RATE)
            frames = int(made["attention_mask"].sum())
            spectrograms.append(made["input_features"][0, :frames].numpy().astype(np.float16))
        starts = np.cumsum([0, *(len(spectrogram) for spectrogram in spectrograms)])
        unfinished = folder / "unfinished.npz"
        np.savez(unfinished, frames=np.concatenate(spectrograms), starts=starts)
        unfinished.replace(kept)
    with np.load(kept) as arrays:
        starts = arrays["starts"].tolist()
        phones = [
            _phone_ids(line["phones"], end - start, inventory)
            for line, (start, end) in zip(lines, pairwise(starts), strict=True)
        ]
        return Utterances(arrays["frames"], starts, targets, phones)


def prompt(tokenizer: Any, language: str) -> list[int]:
    """What the decoder is told first, as the processor's chat template writes it."""
    source, target = tokenizer.convert_tokens_to_ids(["<|en|>", f"<|{language}|>"])
    return [tokenizer.bos_token_id, source, target]


def reference(line: dict[str, Any], language: str) -> str:
    """The text of one line of a manifest in a language."""
    return str(line["text"] if language == "en" else line["translations"][language])


def token_ids(line: dict[str, Any], tokenizer: Any) -> dict[str, list[int]]:
    """What the decoder is to write of one line of a manifest, by language, prompt included."""
    return {
        language: [
            *prompt(tokenizer, language),
            *tokenizer.encode(reference(line, language), add_special_tokens=False),
            tokenizer.eos_token_id,
        ]
        for language in LANGUAGES
    }


def _phone_ids(
    spoken: Sequence[Sequence[Any]], n_frames: int, inventory: Sequence[str]
) -> list[int]:
    """The phone that the middle of every encoder frame lies in; 0 for a pause."""
    ids = [0] * -(-n_frames // _SUBSAMPLING)
    for label, start, end in spoken:
        for frame, _ in enumerate(ids):
            if start <= frame * _SUBSAMPLING / _FRAME_RATE < end:
                ids[frame] = 1 + inventory.index(label) if label in inventory else 0
    return ids


def batches(utterances: Utterances, rng: random.Random) -> Iterator[list[int]]:
    """Utterances of similar length together, in random order."""
    lengths = utterances.lengths()
    order = sorted(range(len(lengths)), key=lambda index: lengths[index] + rng.uniform(0, 20))
    groups = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    rng.shuffle(groups)
    yield from groups


def by_length(utterances: Utterances) -> Iterator[list[int]]:
    """Utterances in batches of similar length, so that little of a batch is padding."""
    order = np.argsort(utterances.lengths(), kind="stable").tolist()
    for start in range(0, len(order), _BATCH):
        yield order[start : start + _BATCH]


def collate(
    utterances: Utterances, indices: Sequence[int], rng: random.Random | None
) -> tuple[Tensor, Tensor]:
    """``(batch, time, 80)`` with SpecAugment if a generator is given, and ``(batch, time)``."""
    spectrograms = [utterances.spectrogram(index).astype(np.float32) for index in indices]
    longest = max(len(spectrogram) for spectrogram in spectrograms)
    features = torch.zeros(len(indices), longest, spectrograms[0].shape[1])
    mask = torch.zeros(len(indices), longest, dtype=torch.bool)
    for row, spectrogram in enumerate(spectrograms):
        if rng is not None:
            _augment(spectrogram, rng)
        features[row, : len(spectrogram)] = torch.from_numpy(spectrogram)
        mask[row, : len(spectrogram)] = True
    return features, mask


def _augment(spectrogram: NDArray[np.float32], rng: random.Random) -> None:
    """SpecAugment (Park et al., 2019): bands and spans become 0, their mean."""
    frames, bins = spectrogram.shape
    for _ in range(2):
        height = rng.randint(0, 16)
        low = rng.randint(0, bins - height)
        spectrogram[:, low : low + height] = 0
        width = rng.randint(0, min(24, frames // 8))
        first = rng.randint(0, frames - width)
        spectrogram[first : first + width] = 0


class Losses(NamedTuple):
    """Of the written tokens, of the text that the encoder spells, and of the phones."""

    cross_entropy: Tensor
    ctc: Tensor
    phones: Tensor


class Trainer:
    """The model, what trains it, and where it has come to."""

    def __init__(self, processor: Any, n_phones: int, steps: int, start: Path | None) -> None:
        tokenizer = processor.tokenizer
        self.processor = processor
        self.model = make_model(tokenizer)
        if start is not None:
            trained = type(self.model).from_pretrained(start).model.encoder
            self.model.model.encoder.load_state_dict(trained.state_dict())
        # On a CPU, gradients of the fused attention take longer than those of its parts.
        self.model.set_attn_implementation("eager")
        # Only for training: from the encoder alone, phones are told half-way up and the English
        # text is spelled at its top. That teaches it to listen; left to itself the decoder
        # learns to guess first, and stays with it.
        width = self.model.config.encoder_config.hidden_size
        self.phones = torch.nn.Linear(width, 1 + n_phones)
        self.ctc = torch.nn.Linear(width, len(tokenizer))
        self.average = torch.optim.swa_utils.AveragedModel(
            self.model,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(_average_decay(steps)),
            use_buffers=True,
        )
        parts = (self.model, self.phones, self.ctc)
        parameters = [parameter for part in parts for parameter in part.parameters()]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=_PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _learning_rate(step, steps)
        )
        self.epoch = 0
        self.steps = steps

    def losses(self, utterances: Utterances, indices: Sequence[int], rng: random.Random) -> Losses:
        """The losses of one batch, before they are weighed."""
        features, mask = collate(utterances, indices, rng)
        encoded = self.model.model.encoder(features, attention_mask=mask, output_hidden_states=True)
        targets = [utterances.targets[index] for index in indices]
        labels = [target[language] for language in LANGUAGES for target in targets]
        ids = padded(labels)
        every_language = type(encoded)(
            last_hidden_state=encoded.last_hidden_state.repeat(len(LANGUAGES), 1, 1),
            attention_mask=encoded.attention_mask.repeat(len(LANGUAGES), 1),
        )
        logits = self.model(
            encoder_outputs=every_language,
            decoder_input_ids=ids[:, :-1].clamp(min=0),
            use_cache=False,
        ).logits
        cross_entropy = functional.cross_entropy(
            logits[:, PROMPT_LENGTH - 1 :].flatten(0, 1).float(),
            ids[:, PROMPT_LENGTH:].flatten(),
            label_smoothing=_LABEL_SMOOTHING,
        )
        told = self.phones(encoded.hidden_states[_PHONE_LAYER])
        spoken = padded([utterances.phones[index] for index in indices])
        phones = functional.cross_entropy(told.flatten(0, 1).float(), spoken.flatten())
        english = [torch.tensor(target["en"][PROMPT_LENGTH:-1]) for target in targets]
        ctc = functional.ctc_loss(
            self.ctc(encoded.last_hidden_state).float().log_softmax(-1).transpose(0, 1),
            torch.cat(english),
            encoded.attention_mask.sum(-1),
            torch.tensor([len(target) for target in english]),
            blank=self.processor.tokenizer.pad_token_id,
            zero_infinity=True,
        )
        return Losses(cross_entropy, ctc, phones)

    def step(
        self, utterances: Utterances, indices: Sequence[int], rng: random.Random
    ) -> list[float]:
        """Learn from one batch; returns the losses."""
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16):
            losses = self.losses(utterances, indices, rng)
        shares = (1 - _CTC_SHARE - _PHONE_SHARE, _CTC_SHARE, _PHONE_SHARE)
        weighed = [share * part for share, part in zip(shares, losses, strict=True)]
        loss = torch.stack(weighed).sum()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.model)
        return [part.item() for part in losses]

    def parts(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "phones": self.phones,
            "ctc": self.ctc,
            "average": self.average,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
        }

    def save(self, folder: Path) -> None:
        """Write the averaged model, and what a stopped run needs to go on."""
        averaged: Any = self.average.module
        averaged.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        state = {name: part.state_dict() for name, part in self.parts().items()}
        state |= {"epoch": self.epoch, "steps": self.steps, "random": torch.get_rng_state()}
        unfinished = folder / "training.pt.part"
        torch.save(state, unfinished)
        unfinished.replace(folder / "training.pt")

    def resume(self, folder: Path) -> None:
        if not (folder / "training.pt").exists():
            return
        state = torch.load(folder / "training.pt", weights_only=True)
        if state["steps"] != self.steps:
            raise ArgumentError(
                f"{folder} holds a run of {state['steps']} steps in all, and this one has "
                f"{self.steps}: go on with the same corpus and --epochs, or train into another "
                "folder."
            )
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        self.epoch = state["epoch"]
        torch.set_rng_state(state["random"])


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """``(rows, longest)``, with what losses ignore behind shorter rows."""
    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in rows], batch_first=True, padding_value=-100
    )


def _average_decay(steps: int) -> float:
    return max(0.0, min(_AVERAGE_DECAY, 1 - 1 / (_AVERAGED_SHARE * steps)))


def _learning_rate(step: int, steps: int) -> float:
    """Rise in a line, then fall along a cosine to a hundredth."""
    warm_up = max(1, min(_WARM_UP_STEPS, steps // 4))
    if step < warm_up:
        return (step + 1) / warm_up
    progress = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


@torch.no_grad()
def token_accuracy(model: Any, utterances: Utterances) -> dict[str, float]:
    """Percentage of tokens that the model ranks first, given the ones before."""
    correct, total = dict.fromkeys(LANGUAGES, 0), dict.fromkeys(LANGUAGES, 0)
    for indices in by_length(utterances):
        features, mask = collate(utterances, indices, None)
        encoded = model.model.encoder(features, attention_mask=mask)
        for language in LANGUAGES:
            ids = padded([utterances.targets[index][language] for index in indices])
            logits = model(
                encoder_outputs=encoded,
                decoder_input_ids=ids[:, :-1].clamp(min=0),
                use_cache=False,
            ).logits
            hits, count = ranked_first(logits[:, PROMPT_LENGTH - 1 :], ids[:, PROMPT_LENGTH:])
            correct[language] += hits
            total[language] += count
    return {language: 100 * correct[language] / total[language] for language in LANGUAGES}


def ranked_first(logits: Tensor, truth: Tensor) -> tuple[int, int]:
    """How many tokens the logits rank first, and how many there are without padding."""
    is_token = truth >= 0
    return int(((logits.argmax(-1) == truth) & is_token).sum()), int(is_token.sum())


def processor_for(lines: Sequence[dict[str, Any]]) -> Any:
    """The processor with the subwords of a manifest's texts."""
    texts = (reference(line, language) for line in lines for language in LANGUAGES)
    return make_processor(train_tokenizer(texts))


def train(
    corpus: Path,
    folder: Path,
    epochs: int,
    seed: int,
    *,
    order_seed: int | None = None,
    start: Path | None = None,
) -> None:
    """Train, and write the model and ``training.log`` into ``folder``.

    ``seed`` is that of the initial weights, and of the order of the data and its masks if there is
    no ``order_seed``. ``start`` is a trained model, whose encoder and subwords are taken, so that
    a short run is enough for a new decoder.
    """
    lines = read_manifest(corpus / "train")
    processor = processor_for(lines) if start is None else _processor_of(start)
    inventory = sorted({label for line in lines for label, _, _ in line["phones"]})
    utterances = prepare(corpus / "train", processor, inventory)
    held_out = prepare(corpus / "validation", processor, inventory)
    torch.manual_seed(seed)
    steps = epochs * math.ceil(len(lines) / _BATCH)
    trainer = Trainer(processor, len(inventory), steps, start)
    folder.mkdir(parents=True, exist_ok=True)
    trainer.resume(folder)
    while trainer.epoch < epochs:
        rng = random.Random(f"{seed if order_seed is None else order_seed} {trainer.epoch}")
        began = time.monotonic()
        groups = list(batches(utterances, rng))
        progress = tqdm(groups, f"epoch {trainer.epoch + 1}/{epochs}")
        losses = []
        for group in progress:
            losses.append(trainer.step(utterances, group, rng))
            recent = Losses(*np.mean(losses[-50:], axis=0))
            progress.set_postfix({name: f"{value:.2f}" for name, value in recent._asdict().items()})
        trainer.epoch += 1
        means = Losses(*np.mean(losses, axis=0))
        record = {
            "epoch": trainer.epoch,
            **{name: round(float(value), 4) for name, value in means._asdict().items()},
            "validation_token_accuracy": {
                language: round(share, 2)
                for language, share in token_accuracy(
                    trainer.average.module.eval(), held_out
                ).items()
            },
            "seconds": round(time.monotonic() - began),
        }
        trainer.save(folder)
        with (folder / "training.log").open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
        print(json.dumps(record), flush=True)


def _processor_of(folder: Path) -> Any:
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder that synthesize wrote")
    parser.add_argument("folder", type=Path, help="where the model goes")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights")
    parser.add_argument("--order-seed", type=int, help="of the order of the data (default: --seed)")
    parser.add_argument(
        "--start",
        type=Path,
        metavar="MODEL",
        help="take encoder and subwords of this trained model (default: train all of it)",
    )
    parsed = parser.parse_args()
    train(
        parsed.corpus,
        parsed.folder,
        parsed.epochs,
        parsed.seed,
        order_seed=parsed.order_seed,
        start=parsed.start,
    )


if __name__ == "__main__":
    main()
