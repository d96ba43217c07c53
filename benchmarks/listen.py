"""Is what a map marks still there when it is played as sound?

    python benchmarks/listen.py explain MANIFEST --model MODEL --out listen.jsonl
    python benchmarks/listen.py table listen.jsonl --out listen.md

Recordings of a manifest, explained with SPES in the efficient scheme. The most salient share of the
cells of the sentence's map is played (``result.listen``), and the model hears that sound:

spes            the sentence's map
energy          the loudest cells
random patches  a random number for each of the patches that SPES removed, averaged over its levels
random          cells in a random order, which are no control for a sound: what lies between cells
                that are scattered is heard, too

wer          of what it writes against what it wrote from the recording, without case and
             punctuation, at most 100 (percent)
kl           how far its expectation of each token of that text moves (nats per token)
correlation  of the sound's features with the recording's, over the kept cells
difference   root mean square of how far they differ there, in standard deviations of the features
outside      the same over the other cells, which should be silent

and, as far as they apply, the same of the masked features themselves, in which removed cells get
the removed value of the explanation ("masked") or silence ("masked, silence"): what the sound
stands for. A line for each recording; what is there is not made again.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from kinds_of_models import interval, lines_in
from tqdm import tqdm
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.corpus import read_manifest
from captum_spes.metrics import corpus_score, sound_faithfulness
from captum_spes.metrics.perturbation import Hearing, explained_sequence
from captum_spes.speech.inputs import read_speech, removed_value
from captum_spes.speech.listening import salient_cells
from captum_spes.speech.models import load_model

ORDERS = ("spes", "energy", "random patches", "random")
HEARD = ("sound", "masked", "masked, silence")
KEEPS = (0.2, 0.4)
MEASURES = ("wer", "kl", "correlation", "difference", "outside")
FEATURES = MEASURES[2:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    explain = commands.add_parser("explain")
    explain.add_argument("manifest", type=Path)
    explain.add_argument("--model", required=True)
    explain.add_argument("--limit", type=int, default=20, help="recordings")
    explain.add_argument("--samples", type=int, default=300)
    explain.add_argument("--out", type=Path, required=True)
    explain.set_defaults(run=run_explain)
    table = commands.add_parser("table")
    table.add_argument("lines", type=Path, nargs="+")
    table.add_argument("--out", type=Path)
    table.set_defaults(run=run_table)
    arguments = parser.parse_args()
    arguments.run(arguments)


# Explaining -----------------------------------------------------------------------------


def run_explain(arguments):
    utterances = read_manifest(arguments.manifest)[: arguments.limit]
    known = set()
    if arguments.out.exists():
        known = {line["key"] for line in lines_in([arguments.out])}
    model, processor = load_model(arguments.model)
    with arguments.out.open("a") as file:
        for utterance in tqdm(utterances):
            if utterance.id not in known:
                found = of_recording(model, processor, utterance.audio, arguments.samples)
                file.write(json.dumps({"key": utterance.id, **found}) + "\n")
                file.flush()


def of_recording(model, processor, audio, samples):
    """What the model makes of the sounds of each order, by order, share and what it hears."""
    explainer = SpeechToTextAttribution(SPES(model), processor)
    settings = Settings.efficient(n_samples=samples, n_token_samples=0)
    result = explainer.attribute(audio, settings=settings, seed=0)
    found = {"text": result.text, "samples": samples, "heard": []}
    for order, saliency in maps_of(result).items():
        result = replace(result, spectrogram_attr=saliency)
        for keep in KEEPS:
            place = {"order": order, "keep": keep}
            sound = sound_faithfulness(
                explainer, result, keep=keep, text_normalizer=BasicTextNormalizer()
            )
            values = {
                "wer": min(sound.error_rate, 100.0), "kl": sound.divergence,
                **{name: getattr(sound, name) for name in (*FEATURES, "written")},
            }  # fmt: skip
            found["heard"].append({**place, "heard": "sound", **values})
            for heard, baselines in zip(HEARD[1:], (None, "silence"), strict=True):
                values = masked(explainer.adapter, audio, result, keep, baselines)
                found["heard"].append({**place, "heard": heard, **values})
    return found


def maps_of(result):
    """The maps of all tokens in each order."""
    maps, masks = result.spectrogram_attr, result.feature_masks
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(len(masks), int(masks.max()) + 1, generator=generator)
    patches = torch.stack([own[mask] for own, mask in zip(values, masks, strict=True)]).mean(0)
    cells = torch.rand(result.spectrogram.shape, generator=generator)
    return {
        "spes": maps, "energy": result.spectrogram.expand_as(maps),
        "random patches": patches.expand_as(maps), "random": cells.expand_as(maps),
    }  # fmt: skip


def masked(adapter, audio, result, keep, baselines):
    """The same of features of which only the cells are left."""
    normalize = BasicTextNormalizer()
    speech = read_speech(adapter, audio, adapter.sampling_rate)
    cells = salient_cells(result, None, keep, None, 1)
    removed = removed_value(adapter, speech, baselines)
    hearing = Hearing(adapter, speech, torch.where(cells, speech.spectrogram, removed)[None])
    (written,) = hearing.transcripts(result.settings.gen_args)
    divergence = hearing.graded(explained_sequence(result))["kl"].mean()
    errors = corpus_score([normalize(result.text)], [normalize(written)], "wer_capped")
    return {"wer": errors, "kl": float(divergence), "written": written.strip()}


# The table ------------------------------------------------------------------------------


def run_table(arguments):
    lines = lines_in(arguments.lines)
    rows = [f"{len(lines)} recordings, mean [95 % interval].", ""]
    rows += [f"| order | keep | heard | {' | '.join(MEASURES)} |", "|---" * 8 + "|"]
    for order in ORDERS:
        for keep in KEEPS:
            for heard in HEARD:
                own = [values_of(lines, order, keep, heard, measure) for measure in MEASURES]
                cells = [interval(values) if values else "-" for values in own]
                rows.append(f"| {order} | {keep} | {heard} | {' | '.join(cells)} |")
    rows += ["", "SPES minus the others, and the sound minus the masked features, paired by "
             "recording:", ""]  # fmt: skip
    rows += [f"| difference | keep | {' | '.join(MEASURES)} |", "|---" * 7 + "|"]
    for keep in KEEPS:
        for other in ORDERS[1:]:
            pair = ("spes", keep, "sound"), (other, keep, "sound")
            rows.append(f"| spes minus {other} | {keep} | {' | '.join(paired(lines, *pair))} |")
        for heard in HEARD[1:]:
            pair = ("spes", keep, "sound"), ("spes", keep, heard)
            cells = " | ".join(paired(lines, *pair))
            rows.append(f"| spes, sound minus {heard} | {keep} | {cells} |")
    text = "\n".join(rows) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


def values_of(lines, order, keep, heard, measure):
    """One for each recording; none where it is not measured."""
    found = [
        entry[measure]
        for line in lines
        for entry in line["heard"]
        if (entry["order"], entry["keep"], entry["heard"]) == (order, keep, heard)
        and measure in entry
    ]
    return found if len(found) == len(lines) else []


def paired(lines, one, other):
    cells = []
    for measure in MEASURES:
        first, second = (values_of(lines, *place, measure) for place in (one, other))
        cells.append(interval(np.subtract(first, second)) if first and second else "-")
    return cells


if __name__ == "__main__":
    main()
