"""Tables of what `conditions.py` measured: means over recordings, differences paired by recording
with 95 % bootstrap intervals that draw recordings."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pandas as pd
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from captum_spes.metrics import auc, rank_agreement, word_error_rate

DRAWS = 5_000
AGAIN = "clean, another seed"
# What is told of each record, with how many digits, and how it is called.
MEASURES = {
    "own": (2, "Deletion by each token's own map (nats, higher is better)"),
    "against": (2, "Own maps less those of other tokens (nats, higher is better)"),
    "sentence": (2, "Deletion by the sentence's map (nats, higher is better)"),
    "size": (1, "Size (lower is better)"),
    "reliability": (2, "Split-half reliability of the sentence's map"),
    "agreement": (2, "Rank correlation with the clean recording's map, sentence"),
    "token_agreement": (2, "Rank correlation with the clean recording's map, mean over tokens"),
}
_NORMALIZE = BasicTextNormalizer()


def write_tables(folder, out=None, page=None):
    """One Markdown file of all parts that are there; a page that shows some of its tables, behind
    a comment with their heading, is given them."""
    texts = []
    for part, tables in (
        ("conditions", of_conditions),
        ("parameters", of_parameters),
        ("samples", of_samples),
        ("boundaries", of_boundaries),
        ("accents", of_accents),
    ):
        file = folder / f"conditions_{part}.jsonl"
        if file.exists():
            row = _boundary_row if part == "boundaries" else _row
            texts.append(f"# {part.capitalize()}\n\n{tables(read(file, row))}")
    text = "\n\n".join(texts) + "\n"
    (out or folder / "conditions.md").write_text(text)
    if page is None:
        print(text)
        return
    headings = re.split(r"^#+ (.+)\n", text, flags=re.MULTILINE)
    sections = dict(zip(headings[1::2], headings[2::2], strict=True))

    def filled(match):
        found = sections[match[1]].strip()
        return f"<!-- table: {match[1]} -->\n{found}\n<!-- end of table -->"

    shown = r"<!-- table: (.+?) -->\n.*?<!-- end of table -->"
    page.write_text(re.sub(shown, filled, page.read_text(), flags=re.DOTALL))


def read(file, row):
    """A row per record, without those of recordings that are not finished."""
    records = [json.loads(line) for line in file.read_text().splitlines()]
    rows = pd.DataFrame([row(record) for record in records])
    counts = rows.groupby("id")["setting"].size()
    whole = counts.index[counts == counts.max()]
    return rows[rows["id"].isin(whole)]


def _row(record):
    row = {key: record[key] for key in ("id", "condition", "setting")}
    if "error" in record:
        return row | {"error": record["error"]}
    steps = np.linspace(0, 100, len(record["own"]))
    areas = {name: auc(steps, record[name]) for name in ("own", "others", "sentence")}
    agreement = record["agreement"] or {}
    reference, written = (_NORMALIZE(record[name]).strip() for name in ("reference", "written"))
    return {
        **row,
        **areas,
        "against": areas["own"] - areas["others"],
        "size": record["size"],
        "reliability": record["reliability"],
        "agreement": agreement.get("sentence"),
        "token_agreement": agreement.get("tokens"),
        "spent": record["spent"],
        "patches": record["patches"],
        "errors": word_error_rate([reference], [written]) / 100 * len(reference.split()),
        "words": len(reference.split()),
    }


def _boundary_row(record):
    row = {key: record[key] for key in ("id", "condition", "setting")}
    for kind in ("sentence", "tokens"):
        own = record.get(kind)
        if own is not None:
            row |= {f"{kind} {name}": own[name] for name in ("precision", "recall", "f1")}
            row[f"{kind} gain"] = own["f1"] - own["chance_f1"]
            row[f"{kind} onsets"] = own["onsets"]
    return row


def of_boundaries(rows):
    """Means, and F1 less chance with its interval, beside that of the spectrogram's energy."""
    lines = []
    for kind in ("sentence", "tokens"):
        for condition in rows["condition"].unique():
            here = rows[rows["condition"] == condition]
            gains = _wide(here, "setting", f"{kind} gain")
            for setting in gains:
                own = here[here["setting"] == setting]
                gain = gains[setting].to_numpy()
                low, high = _bootstrap(lambda drawn, gain=gain: gain[drawn].mean(-1), len(gain))
                means = [
                    f"{own[f'{kind} {name}'].mean():.2f}"
                    for name in ("onsets", "precision", "recall", "f1")
                ]
                against = "" if setting == "energy" else _cell(gains, setting, "energy", 3)
                lines.append([
                    kind, condition, setting, *means,
                    f"{gain.mean():+.3f} [{low:.3f}, {high:.3f}]",
                    against.partition("(")[2].rstrip(")"),
                ])  # fmt: skip
    head = ["maps of", "condition", "method", "onsets", "precision", "recall", "F1",
            "F1 less chance", "gain less energy's"]  # fmt: skip
    n = rows["id"].nunique()
    return f"{n} recordings, tolerance 20 ms.\n\n{_markdown(head, lines)}"


def of_conditions(rows):
    methods = list(rows["setting"].unique())
    conditions = list(rows["condition"].unique())
    texts = [_summary(rows, methods[0], conditions), _kept(rows, methods, conditions)]
    for measure, (digits, title) in MEASURES.items():
        shown = [own for own in conditions if rows[rows["condition"] == own][measure].notna().any()]
        if measure not in ("agreement", "token_agreement", "reliability"):
            shown = [own for own in shown if own != AGAIN]
        lines = []
        for condition in shown:
            wide = _wide(rows[rows["condition"] == condition], "setting", measure)
            present = [m for m in methods if m in wide]
            lines.append([condition, str(len(wide)), *(
                _cell(wide, m, methods[0], digits) if m in present else "" for m in methods
            )])  # fmt: skip
        texts.append(f"## {title}\n\n{_markdown(['condition', 'recordings', *methods], lines)}")
    texts.append(
        f"In brackets the method less {methods[0]}, paired by recording, with its 95 % interval."
    )
    return "\n\n".join(texts)


def _summary(rows, method, conditions):
    lines = []
    for condition in conditions:
        own = rows[(rows["condition"] == condition) & (rows["setting"] == method)]
        rates = own.groupby("id")[["errors", "words"]].sum()
        low, high = _bootstrap(
            lambda drawn, rates=rates: (
                100
                * rates["errors"].to_numpy()[drawn].sum(-1)
                / rates["words"].to_numpy()[drawn].sum(-1)
            ),
            len(rates),
        )
        rate = 100 * rates["errors"].sum() / rates["words"].sum()
        same = "" if condition == "clean" else f"{int(own['agreement'].notna().sum())}"
        failed = int(own["error"].notna().sum()) if "error" in own else 0
        interval = f"{rate:.1f} [{low:.1f}, {high:.1f}]"
        lines.append([condition, str(len(own)), interval, same, str(failed)])
    head = ["condition", "recordings", "word error rate (%)", "same text as clean", "no map"]
    return f"## What the model writes\n\n{_markdown(head, lines)}"


def _kept(rows, methods, conditions):
    """By how much the gap to the first method differs from that on the clean recordings."""
    lines = []
    for condition in conditions:
        cells = []
        for measure, method in itertools.product(("own", "against", "sentence"), methods[1:4]):
            gaps = {}
            for one in ("clean", condition):
                wide = _wide(rows[rows["condition"] == one], "setting", measure)
                gaps[one] = wide[method] - wide[methods[0]]
            change = (gaps[condition] - gaps["clean"]).dropna().to_numpy()
            low, high = _bootstrap(lambda drawn, own=change: own[drawn].mean(-1), len(change))
            cells.append(f"{change.mean():+.2f} [{low:.2f}, {high:.2f}]")
        if condition not in ("clean", AGAIN):
            lines.append([condition, *cells])
    named = itertools.product(("own", "against", "sentence"), methods[1:4])
    head = ["condition", *(f"{measure}: {method}" for measure, method in named)]
    title = f"Does the gap to {methods[0]} stay what it is on clean recordings?"
    return f"## {title}\n\n{_markdown(head, lines)}"


def of_parameters(rows):
    settings, conditions = list(rows["setting"].unique()), list(rows["condition"].unique())
    told = ("own", "sentence", "size", "reliability")
    texts = []
    for condition in conditions:
        here = rows[rows["condition"] == condition]
        wides = {measure: _wide(here, "setting", measure) for measure in told}
        lines = [
            [
                setting,
                _patches(here, setting),
                *(_cell(wides[m], setting, settings[0], MEASURES[m][0]) for m in told),
            ]
            for setting in settings
        ]
        head = ["setting", "patches", *told]
        n = here["id"].nunique()
        texts.append(f"## Parameters: {condition}\n\n{n} recordings.\n\n{_markdown(head, lines)}")
    lines = []
    for measure in told[:2]:
        means = {
            condition: _wide(rows[rows["condition"] == condition], "setting", measure).mean()
            for condition in conditions
        }
        found = rank_agreement({c: [m[s] for s in settings] for c, m in means.items()}, settings)
        lines.append([measure, *(f"{tau:.2f}" for tau in found.taus[0, 1:])])
    head = ["measure", *(f"clean and {condition}" for condition in conditions[1:])]
    texts.append(
        f"## Do settings rank alike? Kendall's tau of their means\n\n{_markdown(head, lines)}"
    )
    texts.append(f"In brackets the setting less {settings[0]}, paired by recording.")
    return "\n\n".join(texts)


def of_samples(rows):
    settings = list(rows["setting"].unique())
    told = ("own", "sentence", "size", "reliability")
    wides = {measure: _wide(rows, "setting", measure) for measure in (*told, "spent")}
    lines = [
        [s, *(_cell(wides[m], s, settings[0], MEASURES[m][0]) for m in told),
         f"{wides['spent'][s].mean():.0f}"]
        for s in settings
    ]  # fmt: skip
    head = ["setting", *told, "seconds of one thread"]
    n = rows["id"].nunique()
    return (
        f"{n} clean recordings: no interval is to be had from so few.\n\n{_markdown(head, lines)}"
    )


def of_accents(rows):
    groups = {
        "natives": rows[~rows["id"].str.startswith("so-")],
        "learners": rows[rows["id"].str.startswith("so-")],
    }
    if min(group["id"].nunique() for group in groups.values()) < 2:
        return "Too few recordings yet."
    settings = list(rows["setting"].unique())
    lines = []
    for setting in settings:
        for measure in ("own", "against", "sentence", "size"):
            own = {
                name: group[group["setting"] == setting][measure].dropna().to_numpy(float)
                for name, group in groups.items()
            }
            counts = [f"{values.mean():.2f} ({len(values)})" for values in own.values()]
            one, other = own.values()
            drawn = np.random.default_rng(0)
            means = [
                values[drawn.integers(0, len(values), (DRAWS, len(values)))].mean(1)
                for values in (one, other)
            ]
            low, high = np.quantile(means[1] - means[0], [0.025, 0.975])
            difference = f"{other.mean() - one.mean():+.2f} [{low:.2f}, {high:.2f}]"
            lines.append([setting, measure, *counts, difference])
    rates = []
    for name, group in groups.items():
        own = group[group["setting"] == settings[0]]
        rates.append(f"{name} {100 * own['errors'].sum() / own['words'].sum():.1f} %")
    head = ["method", "measure", *groups, "learners less natives"]
    return f"Word error rate: {', '.join(rates)}.\n\n{_markdown(head, lines)}"


def _wide(rows, columns, measure):
    """``(recordings, columns)``, of those that all columns are known of that any is known of."""
    wide = rows.pivot_table(index="id", columns=columns, values=measure, dropna=False)
    return wide.astype(float).dropna(axis=1, how="all").dropna()


def _cell(wide, name, reference, digits):
    if name not in wide or not len(wide):
        return ""
    mean = f"{wide[name].mean():.{digits}f}"
    if name == reference or reference not in wide:
        return mean
    differences = (wide[name] - wide[reference]).to_numpy()
    difference = f"{differences.mean():+.{digits}f}"
    if len(differences) < 3:
        return f"{mean} ({difference})"
    low, high = _bootstrap(lambda drawn: differences[drawn].mean(-1), len(differences))
    return f"{mean} ({difference} [{low:.{digits}f}, {high:.{digits}f}])"


def _bootstrap(statistic, count):
    drawn = np.random.default_rng(0).integers(0, count, (DRAWS, count))
    low, high = np.quantile(statistic(drawn), [0.025, 0.975])
    return float(low), float(high)


def _patches(rows, setting):
    found = [p for p in rows[rows["setting"] == setting]["patches"] if p is not None]
    return f"{np.mean([np.mean(p) for p in found]):,.0f}"


def _markdown(head, lines):
    texts = [f"| {' | '.join(line)} |" for line in (head, *lines)]
    return "\n".join([texts[0], "|---" * len(head) + "|", *texts[1:]])
