"""Time outside the model, and memory, of explaining a speech LLM.

    python benchmarks/speech_llm.py --out speech_llm.json

A Qwen2-Audio of random weights, 8 layers of width 512: 30 s of audio are 750 embeddings, before an
output of 40 tokens; batches of 8. Each kind of pass runs in a process of its own; told is by how
much its peak of memory exceeds what the process held before, with model, states and shared
beginning:

model       the model's own forward pass of the whole batch, logits of all positions
audio       perturbed spectrograms: front end, decoder, output layer of the explained tokens
text        perturbed text so far, what stands before it read once and shared
whole       the same, everything read anew for each example
library     the same, from transformers' own cache, which holds a copy for each example
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

BATCH, TOKENS, SECONDS = 8, 40, 30
KINDS = ("model", "audio", "text", "whole", "library")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, help="run one kind of pass in this process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.kind is not None:
        print(json.dumps(measured(arguments.kind, arguments.rounds)))
        return
    found = {kind: run_alone(kind, arguments.rounds) for kind in KINDS}
    for kind, own in found.items():
        own["ratio"] = own["seconds"] / found["model"]["seconds"]
        print(
            f"{kind:8} {own['seconds']:.3f} s a batch, {own['ratio']:.2f} of the model's own pass, "
            f"{own['megabytes']:.0f} MB beyond the model"
        )
    found["setting"] = {
        "batch": BATCH, "audio_positions": 750, "tokens": TOKENS,
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def run_alone(kind, rounds):
    command = [sys.executable, __file__, "--kind", kind, "--rounds", str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@torch.no_grad()
def measured(kind, rounds):
    adapter = make_adapter()
    speech = adapter.from_audio(
        np.random.default_rng(0).standard_normal(SECONDS * 16_000).astype(np.float32)
    )
    target = adapter.force(speech, list(range(300, 300 + TOKENS - 1)), {})
    states = adapter.encode(speech, speech.spectrogram[None])
    prepared = adapter.prepared(states, target)
    spectrograms = speech.spectrogram.expand(BATCH, -1, -1) + torch.zeros(BATCH, 1, 1)
    keep = torch.ones(BATCH, len(target.decoder_ids))
    shared = states.expand(BATCH, -1, -1)
    passes = {
        "model": lambda: own_pass(adapter, speech, spectrograms, target),
        "audio": lambda: adapter.logits(adapter.encode(speech, spectrograms), target),
        "text": lambda: adapter.output_layer(adapter.decode_prepared(shared, target, prepared)),
        "whole": lambda: adapter.output_layer(adapter.decode(shared, target)),
        "library": lambda: library_pass(adapter, shared, target, prepared.length),
    }
    # From here on the peak is that of the passes alone.
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    with adapter.keep_previous_tokens(keep):
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            passes[kind]()
            times.append(time.perf_counter() - start)
    return {"seconds": min(times), "megabytes": memory("VmHWM") - before}


def memory(name):
    """Of this process, in megabytes, as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def own_pass(adapter, speech, spectrograms, target):
    inputs = adapter.front_end_inputs(
        adapter.model_features(speech, spectrograms), spectrograms.shape[1]
    )
    ids = target.decoder_ids.expand(BATCH, -1)
    return adapter.model(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs).logits


def library_pass(adapter, states, target, length):
    """What transformers would do: read the beginning once, repeat its cache for the batch."""
    from transformers import DynamicCache

    embeddings = adapter._embeddings(states, target.decoder_ids)
    cache = DynamicCache()
    read = adapter.language_model
    read(inputs_embeds=embeddings[:1, :length], past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(BATCH)
    hidden = read(inputs_embeds=embeddings[:, length:], past_key_values=cache, use_cache=True)
    return adapter.output_layer(hidden.last_hidden_state)


def make_adapter():
    import transformers as hf

    from captum_spes.speech.models import adapt

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.speech.families import chat, decoder, tokenizer

    torch.manual_seed(0)
    size = {"encoder_layers": 8, "d_model": 256, "encoder_attention_heads": 4}
    config = hf.Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder", "num_mel_bins": 128, "encoder_ffn_dim": 1024,
            "max_source_positions": 1500, **size,
        },
        text_config=decoder(
            "qwen2", hidden_size=512, intermediate_size=1408, num_hidden_layers=8,
            num_attention_heads=8, num_key_value_heads=8, head_dim=64, vocab_size=8000,
            max_position_embeddings=2048, initializer_range=0.05,
        ),
        audio_token_index=259,
    )  # fmt: skip
    processor = hf.Qwen2AudioProcessor(
        hf.WhisperFeatureExtractor(feature_size=128), tokenizer("<|AUDIO|>"), chat("<|AUDIO|>")
    )
    return adapt(hf.Qwen2AudioForConditionalGeneration(config).eval(), processor)


if __name__ == "__main__":
    main()
