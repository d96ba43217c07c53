"""Train the small speech LLM on the corpus of the bundled model.

    python -m recipes.bundled.synthesize corpus
    python -m recipes.speech_llm.train corpus model --steps 8000

The bundled encoder is frozen, so that its states are computed once and kept beside the audio. Every
utterance is asked for its transcript or for its German translation, in one of several wordings. A
run that was stopped goes on with the same command.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from captum_spes.demo import load_demo
from captum_spes.demo.speech_llm import (
    AUDIO_TOKEN,
    INSTRUCTIONS,
    STACKED,
    SpeechLLM,
    SpeechLLMConfig,
)
from recipes.bundled.synthesize import read_manifest
from recipes.bundled.train import prepare, reference
from recipes.trainer import Pace, Trainer

WIDTH, LAYERS, HEADS = 144, 6, 4
_UTTERANCES = 12_000
_BATCH = 24
_PEAK_LEARNING_RATE = 2e-3
_WARM_UP_STEPS = 400
_AVERAGE_DECAY = 0.998
_SAVED_EVERY = 500
# Spans of embeddings that are left out: at most so many, of at most so many positions.
_SPANS, _LONGEST_SPAN = 2, 4


class Corpus:
    """Encoder states of one part of the corpus, and what is said in it.

    Args:
        folder: of the part.
        model: the bundled one.
        processor: its own.
        most: how many of the utterances are taken, from the first one on.
    """

    def __init__(self, folder: Path, model: Any, processor: Any, most: int) -> None:
        self.lines = read_manifest(folder)[:most]
        kept, lengths = folder / "states.npy", folder / "states.json"
        if not lengths.exists():
            _encode(folder, model, processor, most, kept, lengths)
        self.starts: list[int] = json.loads(lengths.read_text())[: len(self.lines) + 1]
        self.states = np.load(kept, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.lines)

    def plain(self, index: int) -> NDArray[Any]:
        """States of an utterance, ``(states, width)``."""
        own: NDArray[Any] = self.states[self.starts[index] : self.starts[index + 1]]
        return own.astype(np.float32)

    def of(self, index: int) -> NDArray[Any]:
        """Stacked states of an utterance, ``(embeddings, stacked width)``."""
        states = self.plain(index)
        padded = np.pad(states, ((0, -len(states) % STACKED), (0, 0)))
        return padded.reshape(-1, STACKED * states.shape[1])


@torch.no_grad()
def _encode(folder: Path, model: Any, processor: Any, most: int, kept: Path, lengths: Path) -> None:
    utterances = prepare(folder, processor)
    found = []
    for index in tqdm(range(min(most, len(utterances))), f"states of {folder.name}"):
        spectrogram = torch.from_numpy(utterances.spectrogram(index).astype(np.float32))
        states = model.model.encoder(spectrogram[None]).last_hidden_state[0]
        found.append(states.numpy().astype(np.float16))
    np.save(kept, np.concatenate(found))
    lengths.write_text(json.dumps(np.cumsum([0, *map(len, found)]).tolist()))


def small_tokenizer(processor: Any) -> Any:
    """The bundled model's, with a placeholder for audio."""
    import copy

    tokenizer = copy.deepcopy(processor.tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": [AUDIO_TOKEN]},
                                 replace_extra_special_tokens=False)  # fmt: skip
    return tokenizer


def small_model(tokenizer: Any, demo: Any) -> SpeechLLM:
    """The bundled encoder, and a decoder that has learned nothing yet."""
    config = SpeechLLMConfig(
        encoder_config=demo.config.encoder_config.to_dict(),
        audio_token_id=tokenizer.convert_tokens_to_ids(AUDIO_TOKEN),
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=3 * WIDTH,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=HEADS,
        head_dim=WIDTH // HEADS, max_position_embeddings=512, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = SpeechLLM(config)
    model.encoder.load_state_dict(demo.model.encoder.state_dict())
    model.encoder.requires_grad_(False)
    return model


class Batch:
    """Utterances with what is asked and what is to be written, padded behind.

    Attributes:
        audio: ``(batch, embeddings, stacked width)``.
        ids: ``(batch, length)``: placeholders, instruction, output.
        labels: ``(batch, length)``: the output, -100 elsewhere.
    """

    def __init__(
        self, corpus: Corpus, indices: Sequence[int], tokenizer: Any, rng: random.Random
    ) -> None:
        audio_id = tokenizer.convert_tokens_to_ids(AUDIO_TOKEN)
        audio, ids, labels = [], [], []
        for index in indices:
            stacked = corpus.of(index)
            for _ in range(rng.randint(0, _SPANS)):
                width = rng.randint(1, _LONGEST_SPAN)
                first = rng.randint(0, max(0, len(stacked) - width))
                stacked[first : first + width] = 0
            language = rng.choice(list(INSTRUCTIONS))
            asked = rng.choice(INSTRUCTIONS[language]) + tokenizer.bos_token
            prompt = [audio_id] * len(stacked)
            prompt += tokenizer.encode(asked, add_special_tokens=False)
            text = reference(corpus.lines[index], language)
            output = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
            audio.append(torch.from_numpy(stacked))
            ids.append(torch.tensor(prompt + output))
            labels.append(torch.tensor([-100] * len(prompt) + output))
        pad = torch.nn.utils.rnn.pad_sequence
        self.audio = torch.cat(audio)
        self.ids = pad(ids, True, tokenizer.pad_token_id)
        self.labels = pad(labels, True, -100)


def loss_of(model: SpeechLLM, batch: Batch) -> tuple[Tensor, Tensor]:
    """Cross entropy of the output, and how much of it is ranked first."""
    embeddings = model.get_input_embeddings()(batch.ids)
    is_audio = (batch.ids == model.config.audio_token_id)[..., None]
    audio = model.projector(batch.audio)
    embeddings = embeddings.masked_scatter(is_audio, audio.to(embeddings.dtype))
    # Padding stands behind, where nothing looks at it.
    hidden = model.model(inputs_embeds=embeddings, use_cache=False).last_hidden_state[:, :-1]
    truth = batch.labels[:, 1:]
    is_output = truth >= 0
    logits = model.lm_head(hidden[is_output]).float()
    truth = truth[is_output]
    return (
        functional.cross_entropy(logits, truth, label_smoothing=0.1),
        (logits.argmax(-1) == truth).float().mean(),
    )


def train(corpus_folder: Path, folder: Path, steps: int, seed: int) -> None:
    """Train, and write the model and ``training.jsonl`` into ``folder``."""
    demo, processor, _ = load_demo()
    tokenizer = small_tokenizer(processor)
    corpus = Corpus(corpus_folder / "train", demo, processor, _UTTERANCES)
    held_out = Corpus(corpus_folder / "validation", demo, processor, _UTTERANCES)
    torch.manual_seed(seed)
    tokenizer.save_pretrained(folder)
    losses, rights = list[float](), list[float]()

    def loss(model: SpeechLLM, batch: Batch) -> Tensor:
        found, right = loss_of(model, batch)
        rights.append(right.item())
        return found

    warm_up = max(1, min(_WARM_UP_STEPS, steps // 4))
    pace = Pace(_PEAK_LEARNING_RATE, warm_up, _AVERAGE_DECAY)
    trainer = Trainer(small_model(tokenizer, demo), loss, pace, folder)
    trainer.resume()
    groups = _groups(corpus, seed)
    began = time.monotonic()
    for step in tqdm(range(trainer.step, steps), initial=trainer.step, total=steps):
        rng = random.Random(f"{seed} {step}")
        batch = Batch(corpus, groups[step % len(groups)], tokenizer, rng)
        progress = (step - warm_up) / max(1, steps - warm_up)
        losses.append(trainer.learn(batch, progress).item())
        if trainer.step % _SAVED_EVERY == 0 or trainer.step == steps:
            record = {
                "step": trainer.step,
                "loss": round(float(np.mean(losses)), 4),
                "token_accuracy": round(100 * float(np.mean(rights)), 2),
                "validation_token_accuracy": _accuracy(trainer.averaged, held_out, tokenizer),
                "seconds": round(time.monotonic() - began),
            }
            losses.clear()
            rights.clear()
            trainer.save(record)


def _groups(corpus: Corpus, seed: int) -> list[list[int]]:
    """Utterances of similar length together, in random order."""
    rng = random.Random(seed)
    lengths = [end - start for start, end in pairwise(corpus.starts)]
    order = sorted(range(len(lengths)), key=lambda index: lengths[index] + rng.uniform(0, 5))
    groups = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    rng.shuffle(groups)
    return groups


@torch.no_grad()
def _accuracy(model: SpeechLLM, corpus: Corpus, tokenizer: Any) -> float:
    """Percentage of tokens that the model ranks first, given the ones before."""
    model.eval()
    rng = random.Random(0)
    found = [
        loss_of(model, Batch(corpus, range(start, min(start + 30, len(corpus))), tokenizer, rng))[1]
        for start in range(0, len(corpus), 30)
    ]
    return round(100 * float(torch.stack(found).mean()), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder that recipes.bundled.synthesize wrote")
    parser.add_argument("folder", type=Path, help="where the model goes")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    train(parsed.corpus, parsed.folder, parsed.steps, parsed.seed)


if __name__ == "__main__":
    main()
