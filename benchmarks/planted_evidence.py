"""Do maps point to evidence that was planted? Words spliced into recordings, and words on which
the spelling of another word depends; the truth is known from how the recording was made.

* spliced: a word of another recording takes the place of a word; where the model writes it, its
  map should lie where it was spliced in. Kept only if the model writes the planted word, once.
* cue: a word sounds like another (know, no), and another word decides how it is written: made
  silent, the spelling changes. Kept only if exactly one word decides. The map of the word should
  point to that cue; its own sound is left out of account.

One line of JSON per recording, also for those that were not kept, with the reason; it goes on
where it was stopped. Speech: the grammar and voices of the bundled corpus's test part (eSpeak NG,
times of the synthesiser), for Whisper real recordings (times of a forced alignment) for splicing
and English sentences of eSpeak NG for cues.

    python benchmarks/planted_evidence.py --out FILE.jsonl --spliced 24 --cues 16
    python benchmarks/planted_evidence.py --out FILE.jsonl --model WHISPER --manifest \
        speech/manifest.jsonl --spliced 6 --cues 6
    python benchmarks/planted_evidence.py --out FILE.jsonl --table
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from pathlib import Path

import numpy as np

from captum_spes import SpeechToTextAttribution
from captum_spes.alignment import Interval
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError
from captum_spes.io.audio import load_audio
from captum_spes.metrics import (
    cue_in_audio,
    cue_in_text,
    planted_evidence,
    spelling_cues,
    splice,
)
from captum_spes.speech import Settings
from captum_spes.speech.methods import named_methods
from captum_spes.speech.models import load_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the recipes are not in the wheel

RATE = 16_000
METHODS = ("spes-efficient", "integrated-gradients", "cross-attention", "energy", "random")
BUNDLED_SPELLINGS = (("two", "too", "to"), ("ate", "eight"), ("no", "know"))
BUNDLED_CUES = r"\w know that|\b(is|are|was|were) too\b"
# Spellings, the one that the sentence has first; and the sentence.
SENTENCES = """
knight night|The brave knight rode into battle.
night knight|The sky was very dark last night.
write right|She took a pen to write a letter.
right write|You must turn right at the corner.
flour flower|The baker needs more flour for the bread.
sail sale|The sailor raised the sail of the boat.
mail male|The postman brought the mail this morning.
male mail|The lion is a male and not a female.
tail tale|The dog wagged its tail.
tale tail|The old man told us a fairy tale.
pair pear|He bought a new pair of shoes.
pear pair|She ate an apple and a pear.
bear bare|The hunter saw a brown bear in the forest.
bare bear|He walked on the grass with bare feet.
meat meet|The butcher cut the meat with a knife.
meet meat|We will meet our friends at the station.
week weak|We will come back next week.
weak week|The sick man was very weak.
son sun|The father loves his son.
sun son|The moon is smaller than the sun.
hole whole|The dog dug a deep hole in the garden.
whole hole|He told the whole story.
piece peace|I would like a piece of cake.
peace piece|The war is over and there is peace.
plane plain|The pilot landed the plane.
brake break|The driver stepped on the brake of the car.
break brake|Please do not break the window.
sea see|The ship sailed across the sea.
see sea|I can see you.
steel steal|The bridge is made of steel.
steal steel|The thief wanted to steal the money.
rain reign|The clouds brought heavy rain.
reign rain|The king had a long reign over the country.
sent cent|She sent me a letter yesterday.
deer dear|The hunter shot a deer in the forest.
hair hare|The barber cut my hair.
weather whether|The weather is cold today.
whether weather|I do not know whether he will come.
wood would|The table is made of wood.
won one|The team won the game.
one won|There is only one apple left.
ate eight|The boy ate his dinner.
hear here|I can hear the music.
here hear|Please come here at once.
their there|The children played with their toys.
two too to|I have two brothers.
too two to|This coffee is too hot.
no know|There is no milk left.
know no|I do not know his name.
red read|She wore a red dress.
read red|He read a book yesterday.
wait weight|Please wait for me at the door.
weight wait|He wants to lose some weight.
road rode|The car drove along the road.
rode road|She rode a horse to town.
steak stake|He ate a big steak for dinner.
waist waste|She wore a belt around her waist.
hour our|We waited for an hour.
our hour|This is our house.
""".strip().splitlines()


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.table:
        print(_table(_read(arguments.out)))
        return
    if arguments.model is None:
        model, processor, _ = load_demo()
        name = "bundled"
        spliced, cues = _bundled_splices(arguments.seed), _bundled_sentences(arguments.seed)
    else:
        model, processor = load_model(arguments.model)
        name = Path(arguments.model).name
        spliced, cues = _real_splices(arguments.manifest, arguments.seed), _sentences()
    bench = _Bench(model, processor, name, arguments)
    bench.run("spliced", spliced, bench.spliced, arguments.spliced)
    bench.run("cue", cues, bench.cue, arguments.cues)


class _Bench:
    """Explains what was planted, by every method."""

    def __init__(self, model, processor, name, arguments):
        self.name, self.out, self.seed = name, arguments.out, arguments.seed
        self.settings = Settings.paper(
            n_samples=arguments.samples,
            n_token_samples=arguments.token_samples,
            perturbations_per_eval=arguments.perturbations_per_eval,
        )
        steps = {"method_args": {"spectrogram": {"n_steps": arguments.steps}}}
        changes = {"integrated-gradients": steps}
        self.methods = {
            method.name: (
                SpeechToTextAttribution(method.make(model), processor),
                method.settings(self.settings).replace(**changes.get(method.name, {})),
            )
            for method in named_methods(METHODS)
        }
        self.explainer = self.methods["random"][0]

    def run(self, kind, candidates, measure, count):
        """Measure candidates until ``count`` were kept, those of earlier runs included."""
        lines = [
            line for line in _read(self.out) if (line["model"], line["kind"]) == (self.name, kind)
        ]
        known = {line["id"] for line in lines}
        kept = sum("methods" in line for line in lines)
        for candidate in candidates:
            if kept >= count:
                return
            if candidate["id"] in known:
                continue
            start = time.process_time()
            line = {"model": self.name, "kind": kind, "id": candidate["id"], "seed": self.seed}
            try:
                line |= measure(candidate)
            except ArgumentError as error:
                line["refused"] = str(error)
            line["cpu_seconds"] = round(time.process_time() - start, 1)
            kept += "methods" in line
            with self.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def spliced(self, candidate):
        planted = candidate["word"]
        made = splice(
            candidate["samples"], candidate["other"], candidate["span"],
            planted_span=candidate["planted_span"],
        )  # fmt: skip
        text = self.explainer.transcribe(made.samples, seed=0).text
        facts = {"word": planted, "text": text, "span": [made.start, made.end]}
        if _plain_words(text).count(planted) != 1:
            return facts | {"refused": "the model does not write the planted word once"}
        found = {}
        for name, result in self._explanations(made.samples):
            tokens = _tokens_of(result, planted)
            evidence = planted_evidence(
                result, tokens, (made.start, made.end), margin=candidate["margin"]
            )
            found[name] = vars(evidence)
        return facts | {"methods": found}

    def cue(self, candidate):
        samples, words, own = candidate["samples"], candidate["words"], candidate["own"]
        facts = {"word": words[own].label, "text": candidate["text"]}
        cues = spelling_cues(self.explainer, samples, words, own, candidate["spellings"])
        facts["cues"] = [[cue.word, cue.place - own, cue.spelling, cue.text] for cue in cues]
        if len(cues) != 1:
            return facts | {"refused": f"{len(cues)} words decide the spelling"}
        place, found = cues[0].place, {}
        for name, result in self._explanations(samples):
            tokens = _tokens_of(result, facts["word"].lower())
            evidence = planted_evidence(result, tokens, words[place][1:], without=[words[own][1:]])
            among = cue_in_audio(result, tokens, words, place, own)
            found[name] = {
                **vars(evidence), "rank": among.rank, "n_words": among.n_words,
                "rank_area": among.area,
            }  # fmt: skip
            if result.token_attr is not None and place < own:
                text = cue_in_text(result, tokens, _tokens_of(result, words[place].label.lower()))
                found[name] |= {
                    "text_rank": text.rank, "text_words": text.n_words, "text_area": text.area,
                }  # fmt: skip
        return facts | {"methods": found}

    def _explanations(self, samples):
        first = None
        for name, (explainer, settings) in self.methods.items():
            target = None if first is None else first.output_ids
            first = explainer.attribute(samples, settings=settings, seed=self.seed, target=target)
            yield name, first


# Recordings ------------------------------------------------------------------------------


def _bundled(seed, wanted=""):
    """Sentences that hold an expression, spoken."""
    from recipes.bundled.synthesize import plans, record

    for plan in plans("test", 20_000, 1_000 + seed):
        if re.search(wanted, plan.sentence.english, re.I) is None:
            continue
        samples, line = record(plan)
        yield line["name"], samples, [Interval(*word) for word in line["words"]], line["text"]


def _bundled_splices(seed):
    """Content words of one sentence in the place of those of the one before."""
    rng, before = random.Random(seed), None
    for name, samples, words, _ in _bundled(seed):
        if before is not None:
            other, there = before
            candidate = _splice_of(rng, name, samples, words, other, there)
            if candidate is not None:
                yield candidate | {"margin": 0.0}
        before = samples, words


def _real_splices(manifest, seed):
    rng, before = random.Random(seed), None
    for line in map(json.loads, manifest.read_text().splitlines()):
        if line["wer_tiny_en"] or not line["words"] or line["seconds"] > 6:
            continue
        samples = load_audio(manifest.parent / line["file"], RATE)
        words = [Interval(word["word"], word["start"], word["end"]) for word in line["words"]]
        if before is not None:
            candidate = _splice_of(rng, line["id"], samples, words, *before)
            if candidate is not None:
                yield candidate | {"margin": 0.03}
        before = samples, words


def _splice_of(rng, name, samples, words, other, there):
    said = {word.label.lower() for word in words}
    places = [word for word in words[1:] if len(word.label) > 3]
    planted = [w for w in there if len(w.label) > 3 and w.label.lower() not in said]
    if not places or not planted:
        return None
    place, new = rng.choice(places), rng.choice(planted)
    return {
        "id": name, "samples": samples, "other": other, "span": place[1:],
        "planted_span": new[1:], "word": new.label.lower(),
    }  # fmt: skip


def _bundled_sentences(seed):
    spellings = {word: group for group in BUNDLED_SPELLINGS for word in group}
    for name, samples, words, text in _bundled(seed, BUNDLED_CUES):
        labels = [word.label.lower() for word in words]
        for own, label in enumerate(labels):
            if label in spellings and label != "to" and labels.count(label) == 1:
                yield {
                    "id": f"{name} {label}", "samples": samples, "words": words, "own": own,
                    "spellings": spellings[label], "text": text,
                }  # fmt: skip


def _sentences():
    import soxr

    from recipes.bundled.espeak import Voice, speak

    for line in SENTENCES:
        spellings, text = line.split("|")
        for voice in ("en-us", "en-gb-x-rp"):
            spoken = speak(text, Voice(voice, rate=150))
            speech = soxr.resample(spoken.samples, spoken.sampling_rate, RATE)
            room = RATE // 5
            words = [Interval(word, start + 0.2, end + 0.2) for word, start, end in spoken.words]
            labels = [word.label.lower() for word in words]
            yield {
                "id": f"{voice} {text}", "samples": np.pad(speech, room).astype(np.float32),
                "words": words, "own": labels.index(spellings.split()[0]),
                "spellings": spellings.split(), "text": text,
            }  # fmt: skip


# Results ---------------------------------------------------------------------------------


def _plain_words(text):
    return re.findall(r"[a-z']+", text.lower())


def _tokens_of(result, word):
    found = [own.token_indices for own in result.words if _plain_words(own.word) == [word]]
    if len(found) != 1:
        raise ArgumentError(f"{word!r} is written {len(found)} times.")
    return found[0]


def _read(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _table(lines):
    """Means over recordings, with the standard error; chance is in the row of random."""
    rows = ["model kind method n pointing mass area | cue first, rank area | in the text (n)"]
    groups = dict.fromkeys((line["model"], line["kind"]) for line in lines)
    for model, kind in groups:
        own = [line for line in lines if (line["model"], line["kind"]) == (model, kind)]
        kept = [line["methods"] for line in own if "methods" in line]
        rows.append(f"{model} {kind}: {len(kept)} kept of {len(own)}")
        for method in METHODS:
            found = [methods[method] for methods in kept if method in methods]
            rows.append("  " + _row(method, found))
        shares = [methods["random"]["share"] for methods in kept]
        rows.append(f"  share of the cells {_mean(shares)}")
    return "\n".join(rows)


def _row(method, found):
    parts = [method, str(len(found)), *(_mean([one[k] for one in found]) for k in
             ("pointing", "mass", "area"))]  # fmt: skip
    if found and "rank" in found[0]:
        parts += ["|", _mean([one["rank"] == 1 for one in found]),
                  _mean([one["rank_area"] for one in found])]  # fmt: skip
        in_text = [one for one in found if one.get("text_words", 0) > 1]
        if in_text:
            first = _mean([one["text_rank"] == 1 for one in in_text])
            area = _mean([one["text_area"] for one in in_text])
            parts += ["|", first, area, f"({len(in_text)})"]
    return " ".join(parts)


def _mean(values):
    known = np.array([value for value in values if np.isfinite(value)], dtype=float)
    if not len(known):
        return "-"
    error = known.std(ddof=1) / len(known) ** 0.5 if len(known) > 1 else float("nan")
    return f"{known.mean():.2f}±{error:.2f}"


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", help="default: the bundled one")
    parser.add_argument("--manifest", type=Path, help="real recordings, for another model")
    parser.add_argument("--spliced", type=int, default=24, metavar="RECORDINGS")
    parser.add_argument("--cues", type=int, default=16, metavar="RECORDINGS")
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--token-samples", type=int, default=200)
    parser.add_argument("--steps", type=int, default=50, help="of Integrated Gradients")
    parser.add_argument("--perturbations-per-eval", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="print what the file holds")
    return parser


if __name__ == "__main__":
    main()
