"""Tables of docs/results/heard_words.md."""

from functools import partial

from .shape import Table, number, picked
from .sources import json_file, markdown_rows

PAGE = "results/heard_words.md"
FOLDER = "unheard_words"
WHISPER, BUNDLED = f"{FOLDER}/whisper_tiny.md", f"{FOLDER}/bundled.md"
SETS = ("a: half cut", "b: noise", "c: word cut out", "a, b, c", "d: errors")
CHECKS = ("check, 1 pass", "check, 4 passes", "check, 12 passes", "check, 40 passes")
ALL = "a, b, c"


def curves(file: str) -> Table:
    """The file has the evidence alone at other numbers of passes, too."""
    source = markdown_rows(file, "ROC-AUC")
    scores = [row["ROC-AUC"] for row in source]
    left_out = [f"evidence alone, {passes}" for passes in ("1 pass", "4 passes", "40 passes")]
    shown = [score for score in scores if score not in left_out]
    return picked(source, shown, {name: (name, None) for name in SETS}, by="ROC-AUC")


def precision(file: str) -> Table:
    title = "precision at 90 % recall"
    columns = {name: (name, None) for name in SETS}
    return picked(markdown_rows(file, title), [*CHECKS, "token probability"], columns, by=title)


def verdicts(file: str) -> Table:
    rows = [("1", ALL), ("4", ALL), *(("12", name) for name in SETS), ("40", ALL)]
    columns = {
        "said: not heard": ("said: not heard", None),
        "cannot tell": ("cannot tell", None),
        "not said: heard": ("not said: heard", None),
        "cannot tell (2)": ("cannot tell", None),
    }
    return picked(markdown_rows(file, "passes"), rows, columns, by=("passes", "set"))


def cost() -> Table:
    scores = [*CHECKS, "attention", "SPES, 300 passes"]
    files = {"Whisper tiny.en": "time_whisper_tiny.json", "bundled model": "time_bundled.json"}
    table = Table(["", *(score.removeprefix("check, ") for score in scores)], [])
    for model, name in files.items():
        times = json_file(f"{FOLDER}/{name}")
        label = f"{model}, {times['recordings']} recordings, {times['minutes'] * 60:.0f} s"
        ratios = [number(times[s]["ratio"], 1) if s in times else "" for s in scores]
        table.rows.append([label, *ratios])
    return table


TABLES = {
    "heard-whisper-curves": partial(curves, WHISPER),
    "heard-whisper-precision": partial(precision, WHISPER),
    "heard-whisper-verdicts": partial(verdicts, WHISPER),
    "heard-bundled-curves": partial(curves, BUNDLED),
    "heard-bundled-precision": partial(precision, BUNDLED),
    "heard-bundled-verdicts": partial(verdicts, BUNDLED),
    "heard-cost": cost,
}
