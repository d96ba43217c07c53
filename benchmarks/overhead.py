"""What an explanation costs beside the model: against bare forwards and against a plain loop.

In one run, on the same batches: a full explanation, the model's forwards alone, and the loop of
`plain_loop.py`. Times are of the samples beyond the first batch; what every explanation
does once (reading, patches, writing down the result) is shown as `seconds_once`. What lies outside
the model is also timed by hooks within the explanation itself (`ms_outside`), since forwards of
a large model differ by more from run to run than all that is outside.

    python benchmarks/overhead.py small --out benchmarks/results/overhead_small.json
    python benchmarks/overhead.py small_3s small_10s small_30s bundled whisper
    python benchmarks/overhead.py bundled --regression 500 1000 2000 4000
    python benchmarks/overhead.py small bundled whisper --device cuda --batch-size 64

`--regression` explains by the efficient scheme with so many samples and shows what share of the
time the estimate takes, the maps of both halves included.

Parts: small is a random Whisper of 0.8 M parameters, 750 frames, 30 tokens, a vocabulary of
8,000; small_3s, small_10s and small_30s the same with 300, 1,000 and 3,000 frames and 10, 33 and
100 tokens; bundled and whisper explain a recording (`--whisper`, `--audio`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import ClassVar

import torch
from plain_loop import Draws, plain_spectrogram_attr, plain_token_attr, score_named

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.attr import GaussianProcess
from captum_spes.demo import load_demo, load_examples
from captum_spes.metrics.perturbation import explained_sequence
from captum_spes.speech.inputs import read_speech
from captum_spes.speech.models import load_model

SHARED = Path(os.environ.get("CAPTUM_SPES_SHARED", "../shared"))
PERTURB_PROB, TOKEN_PERTURB_PROB = 0.5, 0.4
# Frames and tokens.
SMALL = {
    "small": (750, 30),
    "small_3s": (300, 10),
    "small_10s": (1000, 33),
    "small_30s": (3000, 100),
}


def small_whisper(n_frames, vocabulary):
    """A random Whisper with short windows: model, processor and features to explain."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    # Text, then end, start and no-timestamps tokens, then timestamps, as in Whisper.
    end = vocabulary - 103
    config = WhisperConfig(
        vocab_size=vocabulary, d_model=64, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=256,
        decoder_ffn_dim=256, max_source_positions=n_frames // 2, max_target_positions=128,
        init_std=0.3, pad_token_id=end, bos_token_id=end, eos_token_id=end,
        decoder_start_token_id=end + 1, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WhisperForConditionalGeneration(config).eval()
    model.generation_config.no_timestamps_token_id = end + 2
    extractor = WhisperFeatureExtractor()
    extractor.nb_max_frames = n_frames
    features = torch.randn(1, 80, n_frames, generator=generator).cumsum(2) * 0.05
    return model, _Processor(extractor, vocabulary, end), features


class _Processor:
    """A feature extractor and a tokenizer that names ids by their numbers."""

    def __init__(self, extractor, vocabulary, end):
        from tokenizers import Tokenizer, models
        from transformers import PreTrainedTokenizerFast

        names = {str(i): i for i in range(vocabulary)}
        tokenizer = Tokenizer(models.WordLevel(names, unk_token="0"))
        self.feature_extractor = extractor
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=str(end))


def cases(names, whisper, audio, device, batch_size):
    for name in names:
        if name in SMALL:
            n_frames, tokens = SMALL[name]
            model, processor, features = small_whisper(n_frames, 8000)
            target = list(range(10, 10 + tokens - 1))
            yield name, model.to(device), processor, features, target, batch_size or 16
        elif name == "bundled":
            model, processor, _ = load_demo()
            path = load_examples()[0].path
            yield name, model.to(device), processor, path, None, batch_size or 16
        else:
            model, processor = load_model(whisper)
            yield name, model.to(device), processor, audio, None, batch_size or 4


class TimeInside:
    """Seconds spent inside the encoder, the decoder and the output layer, while open."""

    def __init__(self, model):
        self.seconds = 0.0
        self._modules = (model.get_encoder(), model.get_decoder(), model.get_output_embeddings())

    def __enter__(self):
        self._handles = [
            handle
            for module in self._modules
            for handle in (
                module.register_forward_pre_hook(self._start, with_kwargs=True),
                module.register_forward_hook(self._stop, with_kwargs=True),
            )
        ]
        return self

    def __exit__(self, *_):
        for handle in self._handles:
            handle.remove()

    def _start(self, module, args, kwargs):
        _synchronize()
        self._started = time.perf_counter()

    def _stop(self, module, args, kwargs, output):
        _synchronize()
        self.seconds += time.perf_counter() - self._started


def _synchronize():
    """Wait for a GPU, which works on while the processor goes ahead."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


class Case:
    """The three ways to compute the same maps, each as a function of the number of samples."""

    def __init__(self, model, processor, audio, target, batch):
        self.explainer = SpeechToTextAttribution(SPES(model), processor)
        self.adapter = self.explainer.adapter
        self.model, self.processor = model, processor
        self.audio, self.batch = audio, batch
        self.speech = read_speech(self.adapter, audio, self.adapter.sampling_rate)
        probe = self.explainer.attribute(audio, target=target, n_samples=1, n_token_samples=1)
        self.target = probe.output_ids
        self.sequence = explained_sequence(probe)
        self.levels, self.removed = list(probe.feature_masks), probe.removed
        self.tokens = len(probe.output_tokens)
        with torch.no_grad():
            self.states = self.adapter.encode(self.speech, self.speech.spectrogram[None])

    def explain(self, side, n_samples):
        counts = (n_samples, 0) if side == "spectrogram" else (1, n_samples)
        return self.explainer.attribute(
            self.audio, target=self.target, n_samples=counts[0], n_token_samples=counts[1],
            perturbations_per_eval=self.batch, seed=0,
        )  # fmt: skip

    @torch.no_grad()
    def bare(self, side, n_samples):
        adapter, sequence = self.adapter, self.sequence
        spectrograms = self.speech.spectrogram.to(adapter.device).repeat(self.batch, 1, 1)
        keep = torch.ones(self.batch, len(sequence.decoder_ids), device=adapter.device)
        for start in range(0, n_samples, self.batch):
            size = min(self.batch, n_samples - start)
            if side == "spectrogram":
                adapter.logits(adapter.encode(self.speech, spectrograms[:size]), sequence)
            else:
                with adapter.keep_previous_tokens(keep[:size]):
                    adapter.logits(self.states.expand(size, -1, -1), sequence)

    def plain(self, side, n_samples):
        score = score_named("kl", self.sequence)
        if side == "spectrogram":
            draws = Draws(n_samples, PERTURB_PROB, 0, self.batch)
            return plain_spectrogram_attr(
                self.adapter, self.speech, self.sequence, self.levels, self.removed, draws, score
            )
        draws = Draws(n_samples, TOKEN_PERTURB_PROB, 0, self.batch)
        return plain_token_attr(self.adapter, self.speech, self.sequence, draws, score)


def seconds(case, way, side, n_samples):
    """In all, and inside the model."""
    with TimeInside(case.model) as inside:
        start = time.perf_counter()
        getattr(case, way)(side, n_samples)
        _synchronize()
        return time.perf_counter() - start, inside.seconds


def measure(case, side, n_samples, runs):
    rows = []
    for _ in range(runs):
        ms, inside, once = {}, {}, {}
        for way in WAYS:
            first, more = (seconds(case, way, side, n + case.batch) for n in (0, n_samples))
            ms[way] = 1000 * (more[0] - first[0]) / n_samples
            inside[way] = 1000 * (more[1] - first[1]) / n_samples
            once[way] = first[0]
        outside = ms["explain"] - inside["explain"]
        rows.append(
            {
                "ms_per_mask": {way: round(ms[way], 3) for way in WAYS},
                "ms_outside": round(outside, 3),
                "share_outside": round(outside / ms["explain"], 4),
                "explain_over_bare": round(ms["explain"] / ms["bare"], 3),
                "plain_loop_ms_outside": round(ms["plain"] - inside["plain"], 3),
                "plain_over_explain": round(ms["plain"] / ms["explain"], 2),
                "seconds_once": round(once["explain"] - once["bare"], 3),
            }
        )
    names = [name for name in rows[0] if name != "ms_per_mask"]
    medians = {name: statistics.median(row[name] for row in rows) for name in names}
    ranges = {name: [min(r[name] for r in rows), max(r[name] for r in rows)] for name in names}
    return {"median": medians, "range": ranges, "runs": rows}


class TimedRegression(GaussianProcess):
    """Seconds spent in the estimate; what is kept meanwhile is no work to speak of."""

    seconds: ClassVar[float] = 0.0

    def start(self, examples, n_outputs):
        running = super().start(examples, n_outputs)
        attributions = running.attributions

        def timed(half=None):
            start = time.perf_counter()
            try:
                return attributions(half)
            finally:
                TimedRegression.seconds += time.perf_counter() - start

        running.attributions = timed
        return running


def measure_regression(case, n_samples, runs):
    method = SPES(case.model, estimator=TimedRegression())
    explainer = SpeechToTextAttribution(method, case.processor)
    rows = []
    for run in range(runs + 1):
        TimedRegression.seconds = 0.0
        start = time.perf_counter()
        explainer.attribute(
            case.audio, target=case.target, scheme="efficient", n_samples=n_samples,
            n_token_samples=300, perturbations_per_eval=case.batch, seed=0,
        )  # fmt: skip
        _synchronize()
        if run:  # the first is slower
            rows.append((time.perf_counter() - start, TimedRegression.seconds))
    total, own = (statistics.median(column) for column in zip(*rows, strict=True))
    shares = [own / total for total, own in rows]
    return {
        "samples": n_samples,
        "seconds": round(total, 2),
        "seconds_of_regression": round(own, 3),
        "ms_per_sample": round(1000 * own / n_samples, 3),
        "share": round(statistics.median(shares), 4),
        "range_of_share": [round(min(shares), 4), round(max(shares), 4)],
    }


WAYS = ("explain", "bare", "plain")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", choices=(*SMALL, "bundled", "whisper"))
    parser.add_argument("--whisper", default=SHARED / "models" / "whisper-tiny.en", type=Path)
    parser.add_argument("--audio", default=SHARED / "speech" / "so-021700362.flac", type=Path)
    parser.add_argument("--samples", type=int, default=320)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--regression", type=int, nargs="+", default=[], metavar="SAMPLES")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, help="default: 16, of Whisper 4")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    report = {
        "machine": {"processor": platform.processor() or platform.machine(),
                    "gpu": torch.cuda.get_device_name() if device.type == "cuda" else None,
                    "threads": torch.get_num_threads(), "torch": torch.__version__},
        "samples": arguments.samples,
    }  # fmt: skip
    for name, *parts in cases(
        arguments.cases, arguments.whisper, arguments.audio, device, arguments.batch_size
    ):
        case = Case(*parts)
        report[name] = {
            "parameters": sum(p.numel() for p in parts[0].parameters()),
            "frames": len(case.speech.spectrogram),
            "tokens": case.tokens,
            "batch": case.batch,
        }
        for n_samples in arguments.regression:
            found = measure_regression(case, n_samples, arguments.runs)
            report[name].setdefault("regression", []).append(found)
            print(name, "regression", json.dumps(found), flush=True)
        for side in () if arguments.regression else ("spectrogram", "previous tokens"):
            report[name][side] = measure(case, side, arguments.samples, arguments.runs)
            print(name, side, json.dumps(report[name][side]["median"]), flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
