"""Do the maps make sense? The plausibility analyses on the bundled model and on Whisper.

    python -m recipes.bundled.synthesize build/corpus --train 0 --validation 0 --test 600
    python benchmarks/plausibility.py explain english german spanish whisper doubtful
    python benchmarks/plausibility.py tables --out benchmarks/results/plausibility

`explain` saves explanations under `build/plausibility`; what is there is not made again, so that it
can be stopped, and its parts run side by side:

* english: the bundled model's transcriptions of the first 60 utterances with every method, and of
  all that hold *so* or *no* with SPES;
* german, spanish: its translations of 300 utterances, for the previous tokens;
* whisper: real clips with every method;
* doubtful: what Whisper writes for noise and silence, and real clips that end half-way, with the
  whole text as target: words of the second half are not in the audio.

`tables` analyses them. Models run in bfloat16, masks have the seed 0. `--limit` and `--samples`,
before the command, make a trial of it.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from captum_spes import Settings, SpeechToTextAttribution
from captum_spes.alignment import align_result, read_alignments
from captum_spes.analysis import (
    EVIDENCE,
    align_results,
    compare_profiles,
    dependence,
    frequency_profiles,
    hallucination_check,
    intermediate_explanations,
    load_results,
    mean_test,
    plot_hallucination_check,
    plot_positions,
    plot_profiles,
    plot_time,
    plot_token_evidence,
    position_analysis,
    time_analysis,
    token_evidence,
    word_evidence,
)
from captum_spes.analysis.findings import corrected, utterance_means
from captum_spes.demo import load_demo
from captum_spes.demo.examples import read_examples
from captum_spes.io.audio import load_audio
from captum_spes.speech import named_methods
from captum_spes.speech.models import load_model

SHARED = Path(os.environ.get("CAPTUM_SPES_SHARED", "../shared"))
METHODS = "spes-efficient,saliency,integrated-gradients,cross-attention,energy,random"
RATE = 16_000
# The paper's examples, and their kind in Spanish.
PAIRS = {
    "german": [("zu", "um"), (")", "("), ("“", "„"), ("?", "Was"), ("?", "Wo"), ("zu", ",")],
    "spanish": [("»", "«"), (")", "("), ("?", "¿")],
}
N_ENGLISH, N_TRANSLATED, N_WHISPER, N_CUT, N_NOISE = 60, 300, 12, 12, 12


class Explaining:
    """Explanations of one model, saved."""

    def __init__(self, model, processor, folder, parsed, settings, gradient_steps=20):
        self.model, self.processor = model, processor
        self.folder, self.gradient_steps = folder, gradient_steps
        self.settings = settings
        if parsed.samples is not None:
            self.settings = dict.fromkeys(settings, parsed.samples)

    def __call__(
        self, name, audio, method_name="spes-efficient", *, group="", target=None, **arguments
    ):
        file = self.folder / (group or method_name) / f"{name}.npz"
        if file.exists():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        (method,) = named_methods([method_name])
        explainer = SpeechToTextAttribution(method.make(self.model), self.processor)
        if method_name == "integrated-gradients":
            arguments["method_args"] = {"n_steps": self.gradient_steps}
        asked = Settings.paper(patches_per_second=(60, 120), **self.settings, **arguments)
        result = explainer.attribute(audio, target=target, settings=method.settings(asked), seed=0)
        result.save(file)
        print(file, result.text, flush=True)


def explain_english(folder, parsed):
    examples = read_examples(parsed.corpus)[: parsed.limit]
    explain = Explaining(*bundled(), folder, parsed, {"n_samples": 1_000, "n_token_samples": 1_000})
    minimal_pair = [e for e in examples if {"so", "no"} & {w.label.lower() for w in e.words}]
    for example in {e.name: e for e in [*examples[:N_ENGLISH], *minimal_pair]}.values():
        explain(example.name, example.path)
    for method in METHODS.split(",")[1:]:
        for example in examples[:N_ENGLISH]:
            explain(example.name, example.path, method)


def explain_translations(folder, parsed, language):
    explain = Explaining(*bundled(), folder, parsed, {"n_samples": 200, "n_token_samples": 1_000})
    for example in read_examples(parsed.corpus)[:N_TRANSLATED][: parsed.limit]:
        explain(example.name, example.path, gen_args={"target_language": language})


def explain_whisper(folder, parsed):
    settings = {"n_samples": 200, "n_token_samples": 200}
    explain = Explaining(*whisper(parsed.model), folder, parsed, settings, 10)
    for method in METHODS.split(","):
        for clip in clips(parsed.manifest)[:N_WHISPER][: parsed.limit]:
            explain(clip["id"], clip["audio"], method)


def explain_doubtful(folder, parsed):
    settings = {"n_samples": 200, "n_token_samples": 200}
    explain = Explaining(*whisper(parsed.model), folder, parsed, settings)
    for clip in clips(parsed.manifest)[:N_CUT][: parsed.limit]:
        samples = load_audio(clip["audio"], RATE)
        explain(
            clip["id"], samples[: len(samples) // 2], group="cut", target=clip["whisper_tiny_en"]
        )
    for number in range(N_NOISE)[: parsed.limit]:
        generator = np.random.default_rng(number)
        loudness = (0.3, 0.03, 0.003)[number % 3]
        noise = generator.standard_normal(3 * RATE).astype(np.float32)
        if number % 2:  # below 300 Hz mostly, as a room sounds
            noise = np.convolve(noise, np.full(50, 0.02, np.float32), "same")
        explain(f"noise-{number:02}", (loudness * noise).clip(-1, 1), group="noise")


def bundled():
    model, processor, _ = load_demo()
    return model.to(torch.bfloat16), processor


def whisper(folder):
    return load_model(folder, dtype=torch.bfloat16)


def clips(manifest):
    """Short clips that Whisper writes without an error."""
    entries = [json.loads(line) for line in manifest.read_text().splitlines()]
    return [
        {**entry, "audio": manifest.parent / entry["file"]}
        for entry in entries
        if entry["seconds"] < 6 and entry["wer_tiny_en"] == 0 and entry["words"]
    ]


def tables(parsed):
    parsed.out.mkdir(parents=True, exist_ok=True)
    alignments = {
        "english": read_alignments(parsed.corpus),
        "whisper": read_alignments(parsed.manifest),
    }
    for part, of_part in alignments.items():
        compare_methods(parsed, part, of_part)
    frequencies(parsed, alignments["english"])
    hallucinations(parsed, alignments["whisper"])
    for part in ("english", "whisper"):
        found = token_evidence(
            load_results(parsed.folder / part / "spes-efficient"), keep_noise=True
        )
        write(parsed.out, f"kurtosis_{part}", found.tests, plot_token_evidence(found))
    for part in ("english", "german", "spanish", "whisper"):
        previous_tokens(parsed, part)


def compare_methods(parsed, part, alignments):
    import pandas

    rows = []
    names = METHODS.split(",")
    ids = {p.stem for p in (parsed.folder / part / names[-1]).glob("*.npz")}
    for method in names:
        results = load_results(parsed.folder / part / method)
        aligned = align_results({i: r for i, r in results.items() if i in ids}, alignments)
        found = time_analysis(aligned.results, keep_noise=True)
        if method == names[0]:
            write(parsed.out, f"time_{part}", found.tests, plot_time(found))
            print("unmatched:", {i: w for i, w in aligned.unmatched_written.items() if w})
            print("dropped:", {**aligned.dropped, **found.dropped})
        tests = found.tests.set_index("question")
        words = tests.loc["inside > outside, words"]
        rows.append(
            {
                "method": method,
                "words": words["n"],
                "utterances": words["utterances"],
                "inside - outside": words["estimate"],
                "Cohen's d": words["effect_size"],
                "p, words": words["p"],
                "p, utterances": tests.loc["inside > outside, utterances", "p"],
                "pointing (%)": 100 * found.table["hit"].mean(),
                "chance (%)": 100 * found.table["chance"].mean(),
                "pointing, own - others (%)": 100
                * tests.loc["pointing, own word > others", "estimate"],
                "ROC-AUC": found.table["auc"].mean(),
                "ROC-AUC, own - others": tests.loc["ROC-AUC, own word > others", "estimate"],
                "p, own > others": tests.loc["ROC-AUC, own word > others", "p"],
                "order (rho)": tests.loc["centres follow the words (rho > 0)", "effect_size"],
            }
        )
    table = pandas.DataFrame(rows)
    # One correction for all methods and both tests.
    names = ["p, words", "p, utterances", "p, own > others"]
    values = table[names].to_numpy(dtype=float)
    table[names] = stats.false_discovery_control(values.ravel()).reshape(values.shape)
    write(parsed.out, f"methods_{part}", table)


def frequencies(parsed, alignments):
    results = load_results(parsed.folder / "english" / "spes-efficient")
    aligned = align_results(results, alignments)
    genders = {e.name: e.gender for e in read_examples(parsed.corpus)}
    profiles = frequency_profiles(aligned.results, keep_noise=True, groups=genders)
    pair = compare_profiles(profiles, "so", "no")
    write(parsed.out, "so_and_no", pair.tests, plot_profiles(pair, ["so", "no"]))
    paper = [0, 200, 400, 800, 1500, 4000, 8000]
    coarse = frequency_profiles(aligned.results, keep_noise=True, groups=genders, bands=paper)
    write(parsed.out, "so_and_no_coarse", compare_profiles(coarse, "so", "no").tests)
    only_so = replace(coarse, table=coarse.table.query("unit == 'so'"))
    write(parsed.out, "so_by_gender", compare_profiles(only_so, "female", "male", by="group").tests)
    same_length = frequency_profiles(
        aligned.results, keep_noise=True, bands=paper, over_frames="mean"
    )
    write(parsed.out, "so_and_no_mean", compare_profiles(same_length, "so", "no").tests)
    phones = frequency_profiles(aligned.results, keep_noise=True, alignments=aligned.alignments)
    write(
        parsed.out, "phones", compare_profiles(phones, "s", "m").tests,
        plot_profiles(phones, ["s", "S", "i:", "u:", "m", "n"]),
    )  # fmt: skip


def hallucinations(parsed, alignments):
    import pandas

    intact = align_results(load_results(parsed.folder / "whisper" / "spes-efficient"), alignments)
    cut = load_results(parsed.folder / "doubtful" / "cut")
    noise = load_results(parsed.folder / "doubtful" / "noise")
    kept = {f"{i}, cut": result for i, result in cut.items()}
    words = word_evidence({**intact.results, **kept, **noise})
    truth = [_is_said(row, intact.results, kept, alignments) for row in words.table.itertuples()]
    known = [t is not None for t in truth]
    words = replace(words, table=words.table[known].reset_index(drop=True))
    recordings = words.table["utterance"].str.removesuffix(", cut")
    check = hallucination_check(words, [t for t in truth if t is not None], clusters=recordings)
    write(parsed.out, "hallucinations", check.tests, plot_hallucination_check(check))
    kind = check.table["utterance"].map(
        lambda i: "noise" if i in noise else "cut" if i in kept else "intact"
    )
    medians = check.table.groupby([kind, "supported"])[list(EVIDENCE)].median()
    counts = check.table.groupby([kind, "supported"]).size().rename("words")
    write(parsed.out, "evidence", pandas.concat([counts, medians], axis=1).reset_index())
    only_cut = check.table[kind == "cut"].reset_index(drop=True)
    within = hallucination_check(replace(words, table=only_cut), only_cut["supported"].tolist())
    write(parsed.out, "hallucinations_cut", within.tests)
    same_words(parsed, check.table, kept)


def same_words(parsed, words, kept):
    """Later words are easier to guess: those not said, beside themselves in the whole recording."""
    of_cut = words[words["utterance"].isin(kept) & ~words["supported"]]
    whole = words.assign(utterance=words["utterance"] + ", cut")
    # Words of one text have one number, with and without its end.
    pairs = of_cut.merge(whole, on=["utterance", "position", "word"], suffixes=("_cut", "_whole"))
    difference = pairs["impact_whole"] - pairs["impact_cut"]
    question = "impact of the same word, said > not said"
    rows = [
        mean_test(f"{question}, words", difference, pairs["utterance"].tolist()),
        mean_test(f"{question}, utterances", *utterance_means(difference, pairs["utterance"])),
    ]
    higher = int((difference > 0).sum())
    print(f"\n{higher} of {len(pairs)} words have the higher impact where they are said")
    write(parsed.out, "hallucinations_same_words", corrected(rows))


def _is_said(row, intact, kept, alignments):
    """Whether a word is in the audio; None where that cannot be told (cut within it)."""
    if row.utterance in intact:
        return intact[row.utterance].words[row.position].start is not None or None
    if row.utterance not in kept:
        return False
    result = kept[row.utterance]
    word = align_result(result, alignments[row.utterance.removesuffix(", cut")]).result
    times = {w.token_indices[0]: w for w in word.words}
    found = times.get(result.words[row.position].token_indices[0])
    if found is None or found.start is None:
        return None
    if found.end <= result.seconds:
        return True
    return False if found.start >= result.seconds else None


def previous_tokens(parsed, part):
    found = position_analysis(
        load_results(parsed.folder / part / "spes-efficient"), keep_noise=True
    )
    write(parsed.out, f"positions_{part}", found.tests, plot_positions(found))
    write(parsed.out, f"intermediate_{part}", intermediate_explanations(found))
    results = load_results(parsed.folder / part / "spes-efficient")
    for token, previous in PAIRS.get(part, ()):
        pair = dependence(results, token, previous, keep_noise=True)
        counts = {f"rank {r} of all": int((pair.table["rank"] == r).sum()) for r in (1, 2)}
        between = {
            f"rank {r} between": int((pair.table["rank_between"] == r).sum()) for r in (1, 2)
        }
        print(f"\n{token} by {previous}, {len(pair.table)} times: {counts | between}")
        print(pair.tests.to_string())


def write(folder, name, table, figure=None):
    table.to_csv(folder / f"{name}.csv", index=False, float_format="%.4g")
    if figure is not None:
        figure.savefig(folder / f"{name}.png", dpi=100)
    print(f"\n{name}\n{table.to_string()}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("build/plausibility"))
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus/test/manifest.jsonl"))
    parser.add_argument("--manifest", type=Path, default=SHARED / "speech" / "manifest.jsonl")
    parser.add_argument("--model", type=Path, default=SHARED / "models" / "whisper-tiny.en")
    parser.add_argument("--limit", type=int, help="explanations of each kind")
    parser.add_argument("--samples", type=int, help="of audio and of previous tokens")
    commands = parser.add_subparsers(required=True, dest="command")
    explain = commands.add_parser("explain")
    explain.add_argument("parts", nargs="+", choices=PARTS)
    commands.add_parser("tables").add_argument("--out", type=Path, required=True)
    parsed = parser.parse_args()
    warnings.filterwarnings("ignore")
    if parsed.command == "tables":
        tables(parsed)
        return
    for part in parsed.parts:
        PARTS[part](parsed.folder / part, parsed)


PARTS = {
    "english": explain_english,
    "german": lambda folder, parsed: explain_translations(folder, parsed, "de"),
    "spanish": lambda folder, parsed: explain_translations(folder, parsed, "es"),
    "whisper": explain_whisper,
    "doubtful": explain_doubtful,
}


if __name__ == "__main__":
    main()
