"""Words that were not said: how well they are told from words that were, by `captum-spes check` and
by what users have today.

    python benchmarks/unheard_words.py measure MODEL MANIFEST --half 1 --out words.jsonl
    python benchmarks/unheard_words.py table words.jsonl --rules RULES --out table.md
    python benchmarks/unheard_words.py long MODEL MANIFEST --half 1 --minutes 10 --out long.json
    python benchmarks/unheard_words.py time MODEL MANIFEST --half 1 --limit 6 --out time.json

The manifest holds times of the words (`words`: word, start, end, as objects or lists). Its lines,
sorted by id, are two halves in turn: --half 0 is what the rules that come with the package were
calibrated on, --half 1 what is reported; --half all takes all lines. Sets:

a   the second half of each recording cut off, its whole text forced
b   noise, tones, music-like sounds and silence at many levels, for which the model writes freely
c   one word cut out of each sentence, the whole text forced
d   recognition errors: noise of the speech's own level added, the model writes freely

Said words of b are those that the model writes of the intact recordings and gets right. A stopped
run of `measure` goes on where it was.

`long` checks one recording of clips with five stretches of silence and noise between them, for
which the model writes freely, too; `time` compares a check with the model's own transcription.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
import warnings
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.alignment import match_words
from captum_spes.demo import load_demo
from captum_spes.io.audio import load_audio
from captum_spes.speech.checking import spoken_words
from captum_spes.speech.inputs import removed_value
from captum_spes.speech.measures import word_evidence, word_measures
from captum_spes.speech.models import load_model
from captum_spes.speech.removals import measure_removals
from captum_spes.speech.verdicts import read_rules, shipped_rules

RATE = 16_000
PASSES = (1, 4, 12, 40)
SOUNDS = ("white", "pink", "brown", "hum", "tone", "chirp", "music", "clicks", "silence")
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
    add_long(commands)
    add_time(commands)
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


def add_corpus(command):
    command.add_argument("model", help='folder, or "demo"')
    command.add_argument("manifest", type=Path)
    command.add_argument("--half", choices=("0", "1", "all"), default="1")
    command.add_argument("--limit", type=int, default=10_000, help="of the recordings")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", type=Path, required=True)


def explainer_of(name):
    if name == "demo":
        model, processor, _ = load_demo()
    else:
        model, processor = load_model(name)
    return SpeechToTextAttribution(SPES(model), processor)


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


def items_of(arguments):
    """Recordings with words that were not said; what each is follows from the seed alone."""
    clips = clips_of(arguments)
    for number, clip in enumerate(clips):
        generator = np.random.default_rng([arguments.seed, 0, number])
        audio = load_audio(clip["file"], RATE)
        common = {"recording": clip["id"], "spoken": clip["text"]}
        yield {**common, "name": f"{clip['id']} clean", "kind": "clean", "audio": audio}
        noise = sound(str(generator.choice(SOUNDS[:3])), len(audio), generator)
        loud = audio + noise * np.sqrt(np.mean(audio**2))
        yield {**common, "name": f"{clip['id']} errors", "kind": "errors", "audio": loud}
        words = [word for word in clip["words"] if word[1] is not None]
        if len(words) != len(clip["words"]):
            continue  # not all times are known
        forced = {**common, "target": clip["text"]}
        ends = np.array([end for _, _, end in words])
        last = int(np.abs(ends - ends[-1] / 2).argmin())
        cut = audio[: round(ends[last] * RATE)]
        said = [place <= last for place in range(len(words))]
        yield {**forced, "name": f"{clip['id']} cut", "kind": "cut", "audio": cut, "said": said}
        count = min(len(words), 5 if len(words) > 12 else 3)
        for place in sorted(generator.choice(len(words), count, replace=False).tolist()):
            spliced = without(audio, words[place][1], words[place][2])
            said = [other != place for other in range(len(words))]
            name = f"{clip['id']} splice {place}"
            yield {**forced, "name": name, "kind": "splice", "audio": spliced, "said": said}
    for number in range(arguments.sounds):
        generator = np.random.default_rng([arguments.seed, 1, number])
        kind = SOUNDS[number % len(SOUNDS)]
        length = round(generator.uniform(1.5, 12.0) * RATE)
        level = 10 ** (generator.uniform(-60, -6) / 20)
        audio = np.clip(sound(kind, length, generator) * level, -1, 1)
        name = f"{kind} {number}"
        yield {"recording": name, "name": name, "kind": "noise", "audio": audio}


def clips_of(arguments):
    lines = [json.loads(line) for line in arguments.manifest.read_text().splitlines()]
    clips = []
    for line in lines:
        words = [
            (word["word"], word["start"], word["end"]) if isinstance(word, dict) else tuple(word)
            for word in line["words"]
        ]
        name = line.get("id") or line["name"]
        file = arguments.manifest.parent / (line.get("file") or line["audio"])
        clips.append({"id": name, "file": file, "text": line["text"], "words": words})
    clips.sort(key=lambda clip: clip["id"])
    if arguments.half != "all":
        clips = clips[int(arguments.half) :: 2]
    return clips[: arguments.limit]


def without(audio, start, end, fade=80):
    """The audio without a stretch, its neighbours faded into each other."""
    first, last = round(start * RATE), round(end * RATE)
    if first <= fade or last + fade >= len(audio):
        return np.concatenate([audio[:first], audio[last:]])
    ramp = np.linspace(0, 1, fade)
    joint = audio[first - fade : first] * (1 - ramp) + audio[last - fade : last] * ramp
    return np.concatenate([audio[: first - fade], joint, audio[last:]])


def sound(kind, n_samples, generator):
    """Of a mean square of 1, but for silence."""
    times = np.arange(n_samples) / RATE
    if kind == "silence":
        return np.zeros(n_samples)
    if kind in ("white", "pink", "brown"):
        spectrum = np.fft.rfft(generator.standard_normal(n_samples))
        slope = {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind]
        wave = np.fft.irfft(spectrum / np.maximum(1, np.arange(len(spectrum))) ** slope, n_samples)
    elif kind == "hum":
        phases = generator.uniform(0, 2 * np.pi, 11)
        wave = sum(np.sin(2 * np.pi * 50 * h * times + p) / h for h, p in enumerate(phases, 1))
    elif kind == "tone":
        wave = np.sin(2 * np.pi * generator.uniform(200, 2000) * times)
    elif kind == "chirp":
        depth, rate = generator.uniform(50, 400), generator.uniform(0.2, 1)
        wave = np.sin(2 * np.pi * (300 * times + depth * np.sin(2 * np.pi * rate * times)))
    elif kind == "clicks":
        wave = np.zeros(n_samples)
        count = round(8 * n_samples / RATE)
        wave[generator.integers(0, n_samples, count)] = generator.standard_normal(count)
        ring = np.arange(400)
        wave = np.convolve(wave, np.exp(-ring / 60) * np.sin(ring / 3), "same")
    else:
        wave = music(n_samples, generator)
    return wave / max(1e-12, np.sqrt(np.mean(wave**2)))


def music(n_samples, generator):
    """Chords of a scale, struck one after the other."""
    wave = np.zeros(n_samples)
    step, root = round(RATE * generator.uniform(0.3, 0.7)), generator.uniform(110, 260)
    for start in range(0, n_samples, step):
        times = np.arange(min(step, n_samples - start)) / RATE
        for semitones in generator.choice([0, 2, 4, 5, 7, 9, 11, 12], 3, replace=False):
            pitch = root * 2 ** (semitones / 12)
            tone = sum(np.sin(2 * np.pi * pitch * h * times) / h for h in range(1, 7))
            wave[start : start + step] += np.exp(-3 * times) * tone
    return wave


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
            scores = {}
            removals = measure_removals(adapter, speech, sequence, removed, max(PASSES), 4)
            for passes in PASSES:
                few = removals.first(passes)
                scores[f"evidence@{passes}"] = word_evidence(few, rows).tolist()
                scores[f"measures@{passes}"] = word_measures(few, rows).tolist()
            scores.update(self.today(speech, sequence, removals, rows))
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

    def today(self, speech, sequence, removals, rows):
        adapter, logs = self.adapter, removals.log_probabilities
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
            states = adapter.encode(speech, speech.spectrogram[None])
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


# A long recording ------------------------------------------------------------------------


def add_long(commands):
    long = commands.add_parser("long")
    add_corpus(long)
    long.add_argument("--minutes", type=float, default=10.0)
    long.add_argument("--passes", type=int, default=12)
    long.add_argument("--rules", type=Path)
    long.set_defaults(run=run_long)


def run_long(arguments):
    generator = np.random.default_rng(arguments.seed)
    clips = clips_of(arguments)
    sounds = ("silence", "white", "music", "hum", "pink")
    parts, spoken, quiet = [], [], []
    seconds, wanted = 0.0, 60 * arguments.minutes
    while seconds < wanted:
        clip = clips[len(spoken) % len(clips)]
        parts.append(load_audio(clip["file"], RATE))
        spoken.append(clip["text"])
        seconds += len(parts[-1]) / RATE
        if len(quiet) < len(sounds) and seconds > wanted * (len(quiet) + 0.5) / len(sounds):
            length = round(generator.uniform(20.0, 30.0) * RATE)
            stretch = sound(sounds[len(quiet)], length, generator) * 10 ** (-30 / 20)
            quiet.append((seconds, seconds + length / RATE))
            parts.append(stretch)
            seconds += length / RATE
        pause = 0.003 * generator.standard_normal(round(generator.uniform(0.4, 1.2) * RATE))
        parts.append(pause)
        seconds += len(pause) / RATE
    audio = np.concatenate(parts).astype(np.float32)
    explainer = explainer_of(arguments.model)
    rules = read_rules(arguments.rules) if arguments.rules else None
    start = time.perf_counter()
    report = explainer.check(
        audio, passes=arguments.passes, rules=rules, seed=0, show_progress=True
    )
    matches = match_words([word.word for word in report.words], " ".join(spoken).split())
    said = {written for written, _ in matches.pairs}
    rows = []
    for number, word in enumerate(report.words):
        middle = (word.start + word.end) / 2
        is_quiet = any(first < middle < last for first, last in quiet)
        kind = "said" if number in said else "invented" if is_quiet else "error"
        rows.append({**asdict(word), "kind": kind})
    counts = {
        kind: {
            verdict: sum(row["kind"] == kind and row["heard"] is heard for row in rows)
            for verdict, heard in (("heard", True), ("not heard", False), ("cannot tell", None))
        }
        for kind in ("said", "error", "invented")
    }
    found = {
        "minutes": len(audio) / RATE / 60,
        "passes": arguments.passes,
        "seconds": time.perf_counter() - start,
        "sounds": [
            {"kind": kind, "start": first, "end": last,
             "written": " ".join(row["word"] for row in rows if first < row["start"] < last)}
            for kind, (first, last) in zip(sounds, quiet, strict=True)
        ],
        "counts": counts,
        "accused": [row for row in rows if row["kind"] == "said" and row["heard"] is False],
        "missed": [row for row in rows if row["kind"] == "invented" and row["heard"]],
        "invented": [row for row in rows if row["kind"] == "invented"],
    }  # fmt: skip
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(counts, indent=1))


# Time -----------------------------------------------------------------------------------


def add_time(commands):
    command = commands.add_parser("time")
    add_corpus(command)
    command.add_argument("--repeats", type=int, default=3)
    command.add_argument("--spes", type=int, default=300)
    command.set_defaults(run=run_time)


def run_time(arguments):
    explainer = explainer_of(arguments.model)
    clips = [load_audio(clip["file"], RATE) for clip in clips_of(arguments)]

    def seconds_of(function):
        return min(timed(function, clips) for _ in range(arguments.repeats))

    adapter = explainer.adapter

    def attention(audio):
        speech = adapter.from_audio(audio)
        adapter.attention(speech, adapter.generate(speech, {}))

    own = seconds_of(lambda audio: generate(adapter, audio))
    tasks = {f"check, {counted(n)}": lambda a, n=n: explainer.check(a, passes=n) for n in PASSES}
    found = {"transcription": {"seconds": own, "ratio": 1.0}}
    for name, task in {**tasks, "attention": attention}.items():
        seconds = seconds_of(task)
        found[name] = {"seconds": seconds, "ratio": seconds / own}
    if arguments.spes:
        options = {"scheme": "efficient", "n_samples": arguments.spes, "n_token_samples": 0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seconds = timed(lambda a: explainer.attribute(a, seed=0, **options), clips)
        found[f"SPES, {arguments.spes} passes"] = {"seconds": seconds, "ratio": seconds / own}
    found["recordings"] = len(clips)
    found["minutes"] = sum(map(len, clips)) / RATE / 60
    found["threads"] = torch.get_num_threads()
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def generate(adapter, audio):
    with torch.no_grad(), adapter.evaluation_mode():
        adapter.generate(adapter.from_audio(audio), {})


def timed(function, clips):
    start = time.perf_counter()
    for audio in clips:
        function(audio)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
