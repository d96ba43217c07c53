"""Tables of docs/results/deletion.md."""

from .shape import Table, beside, picked
from .sources import Row, csv_rows

PAGE = "results/deletion.md"

METHODS = (
    "spes-efficient",
    "spes-mean",
    "bubble-noise",
    "feature-wise",
    "lime",
    "integrated-gradients",
    "saliency",
    "cross-attention",
    "energy",
    "random",
)
ABLATIONS = (
    "spes-mean",
    "spes-single-level",
    "spes-grid",
    "spes-fixed-patches",
    "spes-probability",
    "spes-unnormalized",
    "spes-joint",
)
# Tables 3 and 4 are of recognition only.
TRANSLATED = ABLATIONS[:5]
WHISPER = (
    "spes",
    "feature-wise",
    "bubble-noise",
    "saliency",
    "cross-attention",
    "energy",
    "random",
)


def differences(folder: str, name: str, title: str, methods: tuple[str, ...] = METHODS) -> Table:
    """One measure of all methods with its interval, from the file of differences."""
    rows = [row for row in csv_rows(f"{folder}/differences.csv") if row["measure"] == name]
    columns: dict[str, tuple[str, int | None]] = {"shown": (title, None)}
    return picked([_with_interval(row) for row in rows], methods, columns, by="method")


def _with_interval(row: Row) -> Row:
    value, low, high = (f"{float(row[name]):.2f}" for name in ("area", "low", "high"))
    # A map that is the same for all tokens gains exactly nothing.
    return {**row, "shown": value if low == high else f"{value} [{low}, {high}]"}


def translation(folder: str, language: str, methods: tuple[str, ...] = METHODS) -> Table:
    """One translation: single tokens first, then the sentence."""
    columns = {
        "deletion with interval": (f"{language} BLEU ↓", 1),
        "size": (f"{language} size ↓", 1),
    }
    return beside(
        differences(folder, "own map", f"{language} own map ↑", methods),
        differences(folder, "own token", f"{language} less others' ↑", methods),
        picked(csv_rows(f"{folder}/table.csv"), methods, columns, by="method"),
    )


def english() -> Table:
    folder = "compare_bundled_en"
    return beside(
        differences(folder, "own map", "own map ↑"),
        differences(folder, "own token", "less others' ↑"),
        differences(folder, "kl", "sentence, KL ↑"),
        picked(
            csv_rows(f"{folder}/table.csv"),
            METHODS,
            {
                "deletion with interval": ("WER ↑", 1),
                "insertion": ("insertion ↓", 1),
                "size": ("size ↓", 1),
                "seconds": ("seconds", 1),
            },
            by="method",
        ),
    )


def german() -> Table:
    return translation("compare_bundled_de", "en-de")


def spanish() -> Table:
    return translation("compare_bundled_es", "en-es")


def ablations() -> Table:
    folder = "compare_bundled_en_ablations"
    columns = {"deletion with interval": ("WER ↑", 1), "size": ("size ↓", 1)}
    return beside(
        differences(folder, "own map", "own map ↑", ABLATIONS),
        differences(folder, "own token", "less others' ↑", ABLATIONS),
        differences(folder, "kl", "sentence, KL ↑", ABLATIONS),
        picked(csv_rows(f"{folder}/table.csv"), ABLATIONS, columns, by="method"),
    )


def german_ablations() -> Table:
    return translation("compare_bundled_de_ablations", "en-de", TRANSLATED)


def whisper() -> Table:
    return picked(
        csv_rows("compare_whisper/table.csv"),
        WHISPER,
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


TABLES = {
    "deletion-bundled": english,
    "deletion-german": german,
    "deletion-spanish": spanish,
    "deletion-ablations": ablations,
    "deletion-ablations-german": german_ablations,
    "deletion-whisper": whisper,
}
