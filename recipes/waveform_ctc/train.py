"""Train a small waveform model, from scratch, on the corpus of the bundled model.

    python -m recipes.bundled.synthesize corpus
    python -m recipes.waveform_ctc.train corpus model

Every batch holds utterances of similar length. A run that was stopped goes on with the same
command; ``--minutes`` ends it in time, with the learning rate falling to its end.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from recipes.bundled.synthesize import read_manifest
from recipes.trainer import Pace, Trainer
from recipes.waveform_ctc.model import make_model, make_processor, spelled

_RATE = 16_000
_PACE = Pace(peak=1.5e-3, warm_up=500, decay=0.999)
_SAVED_EVERY = 500
# The loudest noise that is laid over a recording, as a share of its own loudness.
_NOISE = 0.15


class Recordings:
    """Audio and characters of one part of the corpus, kept in memory as 16-bit samples.

    Args:
        folder: of the part.
        tokenizer: spells the texts.
        device: where batches are needed.
    """

    def __init__(self, folder: Path, tokenizer: Any, device: torch.device) -> None:
        lines = read_manifest(folder)
        samples = _samples(folder, [line["audio"] for line in lines])
        self.texts = [spelled(line["text"]) for line in lines]
        self.labels = [torch.tensor(tokenizer(text).input_ids) for text in self.texts]
        self.starts = np.cumsum([0, *map(len, samples)])
        self.samples = torch.from_numpy(np.concatenate(samples)).to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def batch(self, indices: Sequence[int], noise: float = 0.0) -> dict[str, Tensor]:
        """Normalised samples with their mask, and labels, padded behind."""
        pad = torch.nn.utils.rnn.pad_sequence
        device = self.samples.device
        rows = [self._normalised(index, noise) for index in indices]
        lengths = torch.tensor([len(row) for row in rows], device=device)
        values = pad(rows, True)
        mask = torch.arange(values.shape[1], device=device) < lengths[:, None]
        labels = pad([self.labels[index] for index in indices], True, -100)
        return {"input_values": values, "attention_mask": mask.long(), "labels": labels.to(device)}

    def _normalised(self, index: int, noise: float) -> Tensor:
        row = self.samples[self.starts[index] : self.starts[index + 1]].float()
        row = (row - row.mean()) / torch.sqrt(row.var(correction=0) + 1e-7)
        if noise:
            row = row + torch.rand((), device=row.device) * noise * torch.randn_like(row)
        return row


def _samples(folder: Path, names: Sequence[str]) -> list[NDArray[np.int16]]:
    from concurrent.futures import ThreadPoolExecutor

    import soundfile

    def read(name: str) -> NDArray[np.int16]:
        found: NDArray[np.int16] = soundfile.read(folder / name, dtype="int16")[0]
        return found

    with ThreadPoolExecutor() as pool:
        return list(tqdm(pool.map(read, names), f"audio of {folder.name}", len(names)))


class Batches:
    """Utterances of similar length together, in random order, epoch after epoch.

    Args:
        lengths: of all utterances, in samples.
        size: utterances in a batch.
        seed: of the order.
    """

    def __init__(self, lengths: NDArray[np.int64], size: int, seed: int) -> None:
        self.lengths, self.size, self.seed = lengths, size, seed
        self.per_epoch = math.ceil(len(lengths) / size)

    def __getitem__(self, step: int) -> list[int]:
        epoch, place = divmod(step, self.per_epoch)
        if place == 0 or not hasattr(self, "_order"):
            rng = np.random.default_rng([self.seed, epoch])
            jittered = self.lengths + rng.uniform(0, 0.2 * _RATE, len(self.lengths))
            order = np.argsort(jittered)
            groups = [order[i : i + self.size] for i in range(0, len(order), self.size)]
            self._order: list[list[int]] = [
                groups[i].tolist() for i in rng.permutation(len(groups))
            ]
        return self._order[place]


def train(
    corpus: Path, folder: Path, steps: int, batch_size: int, seed: int, minutes: float | None
) -> None:
    """Train, and write the model and ``training.jsonl`` into ``folder``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    processor = make_processor(folder)
    torch.manual_seed(seed)
    recordings = Recordings(corpus / "train", processor.tokenizer, device)
    held_out = Recordings(corpus / "validation", processor.tokenizer, device)
    trainer = Trainer(make_model().to(device), loss_of, _PACE, folder)
    trainer.resume()
    batches = Batches(recordings.lengths(), batch_size, seed)
    began, losses = time.monotonic(), list[Tensor]()
    bar = tqdm(initial=trainer.step, total=steps, mininterval=20)
    while trainer.step < steps:
        spent = 0.0 if minutes is None else (time.monotonic() - began) / 60 / minutes
        if spent >= 1:
            break
        batch = recordings.batch(batches[trainer.step], _NOISE)
        losses.append(trainer.learn(batch, max(spent, trainer.step / steps)))
        bar.update()
        if trainer.step % _SAVED_EVERY == 0:
            trainer.save(_record(trainer, losses, held_out, processor, began))
            losses = []
    if losses:
        trainer.save(_record(trainer, losses, held_out, processor, began))


def loss_of(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """CTC of the characters."""
    loss: Tensor = model(**batch).loss
    return loss


def _record(
    trainer: Trainer, losses: list[Tensor], held_out: Recordings, processor: Any, began: float
) -> dict[str, Any]:
    return {
        "step": trainer.step,
        "loss": round(float(torch.stack(losses).mean()), 4),
        "validation_word_error_rate": word_error_rate(trainer.averaged, held_out, processor),
        "seconds": round(time.monotonic() - began),
    }


@torch.no_grad()
def word_error_rate(model: Any, recordings: Recordings, processor: Any) -> float:
    """Of the best path, in percent, over all words."""
    from captum_spes.metrics import corpus_score

    model.eval()
    written: list[str] = []
    for start in range(0, len(recordings), 50):
        batch = recordings.batch(range(start, min(start + 50, len(recordings))))
        del batch["labels"]
        logits = model(**batch).logits
        written += processor.batch_decode(logits.argmax(-1).cpu())
    return round(corpus_score(recordings.texts, written, metric="wer"), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder that recipes.bundled.synthesize wrote")
    parser.add_argument("folder", type=Path, help="where the model goes")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="end then, however many steps were made")
    parsed = parser.parse_args()
    train(
        parsed.corpus, parsed.folder, parsed.steps, parsed.batch_size, parsed.seed, parsed.minutes
    )


if __name__ == "__main__":
    main()
