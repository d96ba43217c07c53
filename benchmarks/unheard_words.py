"""Words that were not said: how well they are told from words that were, by `captum-spes check` and
by what users have today.

    python benchmarks/unheard_words.py measure MODEL MANIFEST --half 1 --out words.jsonl
    python benchmarks/unheard_words.py table words.jsonl --rules RULES --out table.md

The manifest and its halves are those of unsaid_words.py. Sets:

a   the second half of each recording cut off, its whole text forced
b   noise, tones, music-like sounds and silence at many levels, for which the model writes freely
c   one word cut out of each sentence, the whole text forced
d   recognition errors: noise of the speech's own level added, the model writes freely

Said words of b are those that the model writes of the intact recordings and gets right. A stopped
run of `measure` goes on where it was.
"""

from __future__ import annotations

import argparse
import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from unsaid_words import add_corpus, explainer_of, items_of

from captum_spes.alignment import match_words
from captum_spes.speech.checking import spoken_words
from captum_spes.speech.inputs import removed_value
from captum_spes.speech.measures import word_evidence, word_measures
from captum_spes.speech.removals import measure_removals
from captum_spes.speech.verdicts import read_rules, shipped_rules

PASSES = (1, 4, 12, 40)
SETS = {
    "a: half cut": ("cut",),
    "b: noise": ("noise", "clean"),
    "c: word cut out": ("splice",),
    "a, b, c": ("cut", "noise", "clean", "splice"),
    "d: errors": ("errors",),
}
# Of today, and in which direction: larger speaks for the word.
TODAY = {
    "probability": "token probability",
    "average_log_probability": "average log-probability",
    "no_speech": "no-speech probability",
    "compression": "compression ratio",
    "attention_entropy": "entropy of cross-attention",
    "attention_share": "share of attention on audio",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    add_measure(commands)
    add_table(commands)
    arguments = parser.parse_args()
    arguments.run(arguments)


# Measuring ------------------------------------------------------------------------------


def add_measure(commands):
    measure = commands.add_parser("measure")
    add_corpus(measure)
    measure.add_argument("--sounds", type=int, default=60)
    measure.add_argument("--reverse", action="store_true", help="from the last item on")
    measure.add_argument("--baselines", default="mean")
    measure.add_argument("--spes", type=int, default=0, help="samples of full SPES; 0 for none")
    measure.set_defaults(run=run_measure)


def run_measure(arguments):
    bench = Bench(explainer_of(arguments.model), arguments)
    done = set()
    if arguments.out.exists():
        done = {json.loads(line)["name"] for line in arguments.out.read_text().splitlines()}
    items = list(items_of(arguments))
    items = items[::-1] if arguments.reverse else items
    with arguments.out.open("a") as file, bench.adapter.evaluation_mode():
        for item in tqdm(items):
            if item["name"] not in done:
                line = {"name": item["name"], **bench.words(item)}
                file.write(json.dumps(rounded(line)) + "\n")
                file.flush()


def rounded(value):
    """Five digits are enough, in half the space."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(own) for key, own in value.items()}
    return [rounded(own) for own in value] if isinstance(value, list) else value


class Bench:
    """Measures the words of a recording with everything that is compared."""

    def __init__(self, explainer, arguments):
        self.explainer, self.adapter = explainer, explainer.adapter
        self.arguments = arguments

    def words(self, item):
        adapter = self.adapter
        audio = np.asarray(item["audio"], dtype=np.float32)
        speech = adapter.from_audio(audio)
        with torch.no_grad():
            sequence = (
                adapter.force(speech, item["target"], {})
                if "target" in item
                else adapter.generate(speech, {})
            )
            words = spoken_words(adapter, sequence, range(len(sequence.explained)))
            said = self.said(item, [word.word for word in words])
            found = {key: item[key] for key in ("recording", "kind")}
            if not words or len(said) != len(words):
                return {**found, "words": []}
            rows = [word.rows for word in words]
            removed = removed_value(adapter, speech, self.arguments.baselines)
            states = adapter.encode(speech, speech.spectrogram[None])
            removals = measure_removals(
                adapter, speech, sequence, removed, max(PASSES), states=states
            )
            scores = self.today(speech, sequence, states, removals.log_probabilities, rows)
            for passes in PASSES:
                few = removals.first(passes)
                scores[f"evidence@{passes}"] = word_evidence(few, rows).tolist()
                scores[f"measures@{passes}"] = word_measures(few, rows).tolist()
        if self.arguments.spes:
            scores["spes"] = self.spes(audio, sequence, rows)
        table = [
            {"word": word.word, "said": said_, **{name: of[i] for name, of in scores.items()}}
            for i, (word, said_) in enumerate(zip(words, said, strict=True))
        ]
        return {**found, "words": table}

    def said(self, item, words):
        if item["kind"] == "noise":
            return [False] * len(words)
        if "said" in item:
            return item["said"]
        matches = match_words(words, item["spoken"].split())
        matched = {written for written, _ in matches.pairs}
        return [place in matched for place in range(len(words))]

    def today(self, speech, sequence, states, logs, rows):
        adapter = self.adapter
        attention = adapter.attention(speech, sequence).cross.mean(0).double()
        share = len(speech.spectrogram) / attention_frames(adapter, speech)
        on_speech = attention[:, : max(1, round(attention.shape[1] * share))]
        shares = on_speech.sum(1)
        on_speech = on_speech / on_speech.sum(1, keepdim=True)
        entropies = -(on_speech * (on_speech + 1e-12).log()).sum(1)
        text = adapter.text(sequence.explained_ids).encode()
        found = {
            "probability": [float(logs[list(r)].mean()) for r in rows],
            "average_log_probability": [float(logs.mean())] * len(rows),
            "compression": [-len(text) / len(zlib.compress(text))] * len(rows),
            "attention_entropy": [-float(entropies[list(r)].mean()) for r in rows],
            "attention_share": [float(shares[list(r)].mean()) for r in rows],
        }
        if hasattr(adapter, "no_speech_probability"):
            prompt = sequence.ids[: sequence.explained[0]].tolist()
            found["no_speech"] = [-adapter.no_speech_probability(states, prompt)] * len(rows)
        return found

    def spes(self, audio, sequence, rows):
        """The largest cell of the word's map of full SPES."""
        result = self.explainer.attribute(
            audio,
            target=sequence.explained_ids,
            n_samples=self.arguments.spes,
            n_token_samples=0,
            scheme="efficient",
            seed=0,
        )
        maps = result.spectrogram_attr.double()
        return [float(maps[list(r)].mean(0).max()) for r in rows]


def attention_frames(adapter, speech):
    return adapter.n_frames(adapter.model_features(speech, speech.spectrogram[None]))


# The table ------------------------------------------------------------------------------


def add_table(commands):
    table = commands.add_parser("table")
    table.add_argument("words", type=Path, nargs="+")
    table.add_argument("--rules", type=Path, help="default: those that come with the package")
    table.add_argument("--family", default="whisper")
    table.add_argument("--baselines", default="mean")
    table.add_argument("--resamples", type=int, default=1000)
    table.add_argument("--out", type=Path)
    table.set_defaults(run=run_table)


def run_table(arguments):
    items = [item for path in arguments.words for item in items_in(path)]
    items = list({item["name"]: item for item in items}.values())
    rules = read_rules(arguments.rules) if arguments.rules else shipped_rules()
    words = [
        {**word, "kind": item["kind"], "recording": item["recording"]}
        for item in items
        for word in item["words"]
    ]
    scores = scores_of(words, rules, arguments)
    said = np.array([word["said"] for word in words])
    kinds = np.array([word["kind"] for word in words])
    recordings = np.array([word["recording"] for word in words])
    chosen_of = {}
    for name, of in SETS.items():
        chosen = np.isin(kinds, of)
        if "clean" in of:  # of intact recordings the words that the model gets right
            chosen &= (kinds != "clean") | said
        if said[chosen].any() and not said[chosen].all():
            chosen_of[name] = chosen
    lines = [
        f"{name}: {said[chosen].sum()} words said, {(~said[chosen]).sum()} not said"
        for name, chosen in chosen_of.items()
    ]
    for title, measure in (("ROC-AUC", roc_auc), ("precision at 90 % recall", precision)):
        lines += ["", f"| {title} | {' | '.join(chosen_of)} |", "|---" * (len(chosen_of) + 1) + "|"]
        for score, values in scores.items():
            cells = [
                interval(values[chosen], said[chosen], recordings[chosen], measure, arguments)
                for chosen in chosen_of.values()
            ]
            lines.append(f"| {score} | {' | '.join(cells)} |")
    lines += ["", *verdict_lines(words, rules, arguments, said, chosen_of)]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


def items_in(path):
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [json.loads(line) for line in text.splitlines()]


def counted(passes):
    return "1 pass" if passes == 1 else f"{passes} passes"


def scores_of(words, rules, arguments):
    scores = {}
    for passes in PASSES:
        rule = chosen_rule(rules, arguments, passes)
        measures = np.array([word[f"measures@{passes}"] for word in words])
        scores[f"check, {counted(passes)}"] = rule.scores(measures)
    for passes in PASSES:
        scores[f"evidence alone, {counted(passes)}"] = np.array(
            [word[f"evidence@{passes}"] for word in words]
        )
    if all("spes" in word for word in words):
        scores["largest cell of SPES"] = np.array([word["spes"] for word in words])
    for key, name in TODAY.items():
        if all(key in word for word in words):
            scores[name] = np.array([word[key] for word in words])
    return scores


def chosen_rule(rules, arguments, passes):
    (rule,) = [
        rule
        for rule in rules
        if (rule.family, rule.baselines, rule.passes)
        == (arguments.family, arguments.baselines, passes)
    ]
    return rule


def verdict_lines(words, rules, arguments, said, chosen_of):
    lines = ["| passes | set | said: not heard | cannot tell | not said: heard | cannot tell |"]
    lines += ["|---|---|---|---|---|---|"]
    for passes in PASSES:
        rule = chosen_rule(rules, arguments, passes)
        verdicts = rule.verdicts(np.array([word[f"measures@{passes}"] for word in words]))
        heard = np.array([{True: 1, False: -1, None: 0}[verdict] for verdict in verdicts])
        for name, chosen in chosen_of.items():
            shares = [
                100 * np.mean(heard[chosen & (said == truth)] == value)
                for truth, value in ((True, -1), (True, 0), (False, 1), (False, 0))
            ]
            cells = " | ".join(f"{share:.1f} %" for share in shares)
            lines.append(f"| {passes} | {name} | {cells} |")
    return lines


def interval(values, said, recordings, measure, arguments):
    """A measure with its 95 % bootstrap interval over recordings."""
    generator = np.random.default_rng(0)
    names, place = np.unique(recordings, return_inverse=True)
    members = [np.flatnonzero(place == i) for i in range(len(names))]
    drawn = []
    for _ in range(arguments.resamples):
        rows = np.concatenate([members[i] for i in generator.integers(0, len(names), len(names))])
        if said[rows].any() and not said[rows].all():
            drawn.append(measure(values[rows], said[rows]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{measure(values, said):.3f} [{low:.3f}, {high:.3f}]"


def roc_auc(values, said):
    from scipy.stats import rankdata

    ranks, n_said = rankdata(values), said.sum()
    above = ranks[said].sum() - n_said * (n_said + 1) / 2
    return above / (n_said * (len(said) - n_said))


def precision(values, said, recall=0.9):
    """Of the words with the lowest scores, which hold 90 % of those that were not said, how many
    were not said."""
    threshold = np.quantile(values[~said], recall, method="higher")
    return (~said[values <= threshold]).mean()


if __name__ == "__main__":
    main()
