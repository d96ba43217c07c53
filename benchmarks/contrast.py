"""Do contrastive maps find what decides between two words that differ in a phone?

    python -m recipes.bundled.synthesize corpus --train 0 --validation 0 --test 600
    python benchmarks/contrast.py explain corpus/test/manifest.jsonl --out pairs.jsonl
    python benchmarks/contrast.py table pairs.jsonl --out pairs.md
    python benchmarks/contrast.py cost --model MODEL AUDIO WORD FOIL

Ten minimal pairs of each kind, the first of an unseen part of the bundled corpus whose word the
bundled model writes: numbers, *so* and *no*, singular and plural, *his* and *her*, verbs that
differ in one phone, and German gender forms (*er* and *sie*, *ihr* and *sein*) of which the English
*he*, *she*, *his* or *her* decides. For each the word that was said is contrasted with the other,
and cells, or previous tokens, are removed by different orders:

contrast    the contrastive map, SPES by regression, signed
gradients   Integrated Gradients of the log-ratio, signed
plain       the divergence of the word's own tokens, SPES by regression
energy      the loudest cells first; of previous tokens, the last ones first
random      in a random order

flips       area under the share of pairs whose foil has overtaken the word (percent)
flip point  percent removed where it first does, 100 where it never does
covered     likewise of the pairs in which the model would then write the foil: the likelier of both
            is, token by token, what it ranks first in its place
pointing    share of pairs whose map has its largest mean over frequency in a frame of the phones
            that differ (of a plural its ending)

A line for each pair; what is there is not made again. ``cost`` prints how long a contrastive
sample takes beside a plain one, in the same run.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients
from kinds_of_models import interval, lines_in
from tqdm import tqdm

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.demo import load_demo
from captum_spes.demo.examples import read_examples
from captum_spes.forward import Contrast
from captum_spes.metrics import flip_curves
from captum_spes.speech.models import load_model
from captum_spes.speech.phrases import occurrences
from recipes.bundled.lexicon import NUMBERS, THINGS, VERBS

KINDS = ("number", "so and no", "plural", "his and her", "verb", "German")
ORDERS = ("contrast", "gradients", "plain", "energy", "random")
EACH = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    explain = commands.add_parser("explain")
    explain.add_argument("manifest", type=Path)
    explain.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    explain.add_argument("--each", type=int, default=EACH, help="pairs of each kind")
    explain.add_argument("--samples", type=int, default=500)
    explain.add_argument("--token-samples", type=int, default=300)
    explain.add_argument("--score", default="parity_ratio")
    explain.add_argument("--out", type=Path, required=True)
    explain.set_defaults(run=run_explain)
    table = commands.add_parser("table")
    table.add_argument("lines", type=Path, nargs="+")
    table.add_argument("--out", type=Path)
    table.set_defaults(run=run_table)
    cost = commands.add_parser("cost")
    cost.add_argument("audio", type=Path)
    cost.add_argument("word")
    cost.add_argument("foil")
    cost.add_argument("--model", default="demo")
    cost.add_argument("--samples", type=int, default=40)
    cost.add_argument("--rounds", type=int, default=5)
    cost.set_defaults(run=run_cost)
    arguments = parser.parse_args()
    arguments.run(arguments)


# Pairs ----------------------------------------------------------------------------------


def candidates(example, pronunciations):
    """Kind, word, foil, language of the output, and the English word that decides."""
    words = [word.label.lower() for word in example.words]

    def one(kind, word, foil, language="en", said=None):
        text = example.text if language == "en" else example.translations[language]
        is_single = len(occurrences(text, word)) == 1 and words.count(said or word) == 1
        return [(kind, word, foil, language, said or word)] if is_single else []

    for word in words:
        if word in NUMBERS:
            numbers = [n for n in NUMBERS if n != word and n in pronunciations]
            foil = min(numbers, key=lambda n: distance(pronunciations, word, n))
            yield from one("number", word, foil)
        if word in ("so", "no") and word == words[0]:
            yield from one("so and no", word, "no" if word == "so" else "so")
        if word in PLURALS:
            yield from one("plural", word, PLURALS[word])
        if word in ("his", "her"):
            yield from one("his and her", word, "her" if word == "his" else "his")
        if word in VERB_FORMS:
            near = [v for v in VERB_FORMS if distance(pronunciations, word, v) == 1]
            for foil in near[:1]:
                yield from one("verb", word, foil)
        for german, foil in GENDERS.get(word, {}).items():
            yield from one("German", german, foil, "de", word)


PLURALS = {noun.english: noun.english_plural for noun in THINGS if noun.english_plural}
PLURALS = {one: many for one, many in PLURALS.items() if many.startswith(one)}
PLURALS |= {many: one for one, many in PLURALS.items()}
VERB_FORMS = sorted({form for verb in VERBS for form in
                     (verb.english, verb.english_third, verb.english_past) if form})  # fmt: skip
_ENDINGS = ("", "e", "en", "em", "er", "es")
GENDERS = {
    "he": {"er": "sie"},
    "she": {"sie": "er"},
    "his": {f"sein{ending}": f"ihr{ending}" for ending in _ENDINGS},
    "her": {f"ihr{ending}": f"sein{ending}" for ending in _ENDINGS},
}


def distance(pronunciations, one, other):
    """Phones that differ between words of as many phones; infinite for others."""
    first, second = (pronunciations.get(word) for word in (one, other))
    if not first or not second or one == other:
        return np.inf
    if len(first) != len(second):
        return 10 + abs(len(first) - len(second))
    return sum(a != b for a, b in zip(first, second, strict=True)) or np.inf


def phones_in(example, word):
    return [p for p in example.phones if word.start - 1e-3 <= p.start and p.end <= word.end + 1e-3]


def pronunciations_in(examples):
    """How each word is first spoken, without what the synthesiser says of stress and linking."""
    found = {}
    for example in examples:
        for word in example.words:
            phones = tuple(phone.label.rstrip("2#5-") for phone in phones_in(example, word))
            found.setdefault(word.label.lower(), phones)
    return found


def deciding_span(example, said, pronunciations, foil):
    """Start and end of the phones in which the spoken word differs from the other."""
    word = next(word for word in example.words if word.label.lower() == said)
    phones = phones_in(example, word)
    own = [phone.label.rstrip("2#5-") for phone in phones]
    other = pronunciations.get(foil, ())
    first = next((i for i, (a, b) in enumerate(zip(own, other, strict=False)) if a != b),
                 min(len(own), len(other)))  # fmt: skip
    last = len(own)
    while last - 1 > first and own[last - 1] == (other[last - 1 - len(own)] if other else None):
        last -= 1
    first = min(first, len(phones) - 1)  # a singular ends where the plural's ending would be
    return phones[first].start, phones[max(first, last - 1)].end


# Explaining -----------------------------------------------------------------------------


def run_explain(arguments):
    examples = read_examples(arguments.manifest)
    pronunciations = pronunciations_in(examples)
    model, processor, _ = load_demo()
    known = set()
    if arguments.out.exists():
        known = {tuple(line["key"]) for line in lines_in([arguments.out])}
    count = dict.fromkeys(arguments.kinds, 0)
    bar = tqdm(total=arguments.each * len(count))
    with arguments.out.open("a") as file:
        for example in examples:
            for kind, word, foil, language, said in candidates(example, pronunciations):
                if count.get(kind, arguments.each) == arguments.each:
                    continue
                key = (example.name, kind, word, foil)
                if key not in known:
                    found = of_pair(model, processor, example, (word, foil), language, arguments)
                    if found is None:  # the model does not write the word
                        continue
                    other = {"German": {"he": "she", "she": "he", "his": "her", "her": "his"}}
                    spoken_foil = other.get(kind, {}).get(said, foil)
                    span = deciding_span(example, said, pronunciations, spoken_foil)
                    line = {"key": key, "span": span, **found}
                    line["peaks"] = {n: float(p) for n, p in line["peaks"].items()}
                    file.write(json.dumps(line) + "\n")
                    file.flush()
                count[kind] += 1
                bar.update()


def of_pair(model, processor, example, pair, language, arguments):
    """Log-ratios of word and foil by each order, and where each map has its peak."""
    gen_args = {"target_language": language}
    explainer = SpeechToTextAttribution(SPES(model), processor)
    text = explainer.transcribe(example.path, gen_args=gen_args).text
    if len(occurrences(text, pair[0])) != 1:
        return None
    score = Contrast(*pair, score=arguments.score)
    numbers = {"n_samples": arguments.samples, "n_token_samples": arguments.token_samples}
    settings = Settings.efficient(score=score, gen_args=gen_args, **numbers)
    contrast = explainer.attribute(example.path, settings=settings, seed=0)
    if contrast.ranks.item() != 1:
        return None
    plain = explainer.attribute(
        example.path, settings=Settings.efficient(gen_args=gen_args, **numbers), seed=0
    )
    gradients = SpeechToTextAttribution(IntegratedGradients(model), processor).attribute(
        example.path, gen_args=gen_args, contrast=score, n_token_samples=0, seed=0,
        method_args={"n_steps": 20},
    )  # fmt: skip
    orders, tokens = orders_of(contrast, plain, gradients)
    found = {"text": text, "log_ratios": {}, "coverage": {}, "tokens": {}}
    for name, order in orders.items():
        flips = flip_curves(explainer, [(example.path, contrast, order)])
        found["log_ratios"][name] = flips.log_ratios[0].round(3).tolist()
        found["coverage"][name] = flips.coverage.y
    for name, order in tokens.items():
        flips = flip_curves(explainer, [(example.path, contrast, order)], side="tokens")
        found["tokens"][name] = flips.log_ratios[0].round(3).tolist()
    times = contrast.frame_times
    found["peaks"] = {name: times[order.mean(1).argmax()].item() for name, order in orders.items()}
    return found


def orders_of(contrast, plain, gradients):
    """What is removed first, of cells and of previous tokens."""
    generator = torch.Generator().manual_seed(0)
    shape, n_before = contrast.spectrogram.shape, contrast.token_attr.shape[1]
    first = contrast.parameters["sequence"]["explained"][0]
    rows = [row for row, place in enumerate(plain.parameters["sequence"]["explained"])
            if place in contrast.parameters["sequence"]["explained"]]  # fmt: skip
    assert first == plain.parameters["sequence"]["explained"][rows[0]]
    cells = {
        "contrast": contrast.spectrogram_attr[0],
        "gradients": gradients.spectrogram_attr[0],
        "plain": plain.spectrogram_attr[rows].mean(0),
        "energy": contrast.spectrogram,
        "random": torch.rand(shape, generator=generator),
    }
    tokens = {
        "contrast": contrast.token_attr[0],
        "plain": plain.token_attr[rows][:, :n_before].mean(0),
        "energy": torch.arange(n_before).float(),
        "random": torch.rand(n_before, generator=generator),
    }
    return cells, tokens


# The table ------------------------------------------------------------------------------


def run_table(arguments):
    lines = lines_in(arguments.lines)
    head = "flips | covered flips | flip point | pointing | flips, previous tokens"
    rows = [f"{len(lines)} pairs; means with 95 % intervals.", ""]
    rows += [f"| order | {head} |", "|---" * 6 + "|"]
    rows += [f"| {order} | {' | '.join(cells_of(lines, order))} |" for order in ORDERS]
    rows += ["", "Contrast minus the others, paired by pair of words:", ""]
    rows += [f"| minus | {head} |", "|---" * 6 + "|"]
    for order in ORDERS[1:]:
        rows.append(f"| {order} | {' | '.join(cells_of(lines, 'contrast', order))} |")
    rows += ["", "By kind:", ""]
    names = [f"{name}, {order}" for name in ("flips", "pointing") for order in ORDERS[:3]]
    rows += [f"| kind | {' | '.join(names)} |", "|---" * 7 + "|"]
    for kind in KINDS:
        own = [line for line in lines if line["key"][1] == kind]
        means = [np.mean(measure(own, o)) for measure in (area, pointing) for o in ORDERS[:3]]
        rows.append(f"| {kind} ({len(own)}) | {' | '.join(f'{mean:.0f}' for mean in means)} |")
    text = "\n".join(rows) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


def cells_of(lines, order, minus=None):
    """Each measure of an order, or by how much it is beyond another's."""
    cells = []
    for measure in (area, covered_area, point, pointing, of_tokens):
        values, other = measure(lines, order), measure(lines, minus) if minus else []
        if not values or (minus and not other):
            cells.append("-")
        else:
            cells.append(interval(np.subtract(values, other) if minus else values))
    return cells


def covered_area(lines, order):
    found = []
    for line in lines:
        is_covered = np.array(line["coverage"][order]) > 0
        ratios = np.where(is_covered, line["log_ratios"][order], 1.0)
        found.append(area_of(ratios))
    return found


def area(lines, order):
    return [area_of(line["log_ratios"][order]) for line in lines]


def of_tokens(lines, order):
    return [area_of(line["tokens"][order]) for line in lines if order in line["tokens"]]


def area_of(log_ratios):
    is_over = 100.0 * (np.array(log_ratios) < 0)
    return float(np.trapezoid(is_over, np.linspace(0, 1, len(is_over))))


def point(lines, order):
    found = []
    for line in lines:
        is_over = np.array(line["log_ratios"][order]) < 0
        share = 100 * is_over.argmax() / (len(is_over) - 1)
        found.append(share if is_over.any() else 100.0)
    return found


def pointing(lines, order):
    return [100.0 * (line["span"][0] <= line["peaks"][order] <= line["span"][1]) for line in lines]


# Cost -----------------------------------------------------------------------------------


def run_cost(arguments):
    is_demo = arguments.model == "demo"
    model, processor = load_demo()[:2] if is_demo else load_model(arguments.model)
    explainer = SpeechToTextAttribution(SPES(model), processor)
    settings = {"n_samples": arguments.samples, "n_token_samples": 0, "patches_per_second": 60,
                "seed": 0}  # fmt: skip
    contrast = Contrast(arguments.word, arguments.foil)
    text = explainer.transcribe(arguments.audio).text
    seconds = {"plain": [], "contrast": []}
    for _ in range(arguments.rounds + 1):  # the first one warms up
        for name, more in (("plain", {}), ("contrast", {"contrast": contrast})):
            start = time.perf_counter()
            found = explainer.attribute(arguments.audio, target=text, **settings, **more)
            seconds[name].append((time.perf_counter() - start) / arguments.samples)
            if name == "plain":
                n_tokens = len(found.output_tokens)
    plain, own = (np.array(seconds[name][1:]) for name in ("plain", "contrast"))
    ratios = own / plain
    print(
        f"{n_tokens} tokens, {torch.get_num_threads()} threads: plain {np.median(plain):.4f} s, "
        f"contrast {np.median(own):.4f} s a sample, ratio {np.median(ratios):.3f} "
        f"({ratios.min():.3f} to {ratios.max():.3f})"
    )


if __name__ == "__main__":
    main()
