"""Tables of docs/results/deletion.md."""

from .shape import Table, beside, picked
from .sources import csv_rows

PAGE = "results/deletion.md"

METHODS = (
    "spes",
    "feature-wise",
    "bubble-noise",
    "spes-single-level",
    "spes-grid",
    "spes-fixed-patches",
    "spes-probability",
    "spes-unnormalized",
    "spes-joint",
    "saliency",
    "integrated-gradients",
    "cross-attention",
    "energy",
    "random",
)
ENGLISH_ONLY = ("spes-unnormalized", "spes-joint")
BUNDLED_ONLY = (
    *(method for method in METHODS if method.startswith("spes-")),
    "integrated-gradients",
)


def task(folder: str, title: str, methods: list[str]) -> Table:
    columns = {"deletion with interval": (title, 1), "size": ("size ↓", 1)}
    return picked(csv_rows(f"{folder}/table.csv"), methods, columns, by="method")


def bundled() -> Table:
    translated = [method for method in METHODS if method not in ENGLISH_ONLY]
    return beside(
        task("compare_bundled_en", "en deletion ↑", [*METHODS]),
        task("compare_bundled_de", "en-de deletion ↓", translated),
        task("compare_bundled_es", "en-es deletion ↓", translated),
    )


def whisper() -> Table:
    return picked(
        csv_rows("compare_whisper/table.csv"),
        [method for method in METHODS if method not in BUNDLED_ONLY],
        {
            "deletion with interval": ("deletion ↑", 1),
            "insertion with interval": ("insertion ↓", 1),
            "size": ("size ↓", 1),
            "kl with interval": ("KL ↑", 2),
            "token_accuracy with interval": ("token accuracy ↓", 1),
            "encoder_passes": ("encoder passes", 0),
            "seconds": ("seconds", 0),
        },
        by="method",
    )


TABLES = {"deletion-bundled": bundled, "deletion-whisper": whisper}
