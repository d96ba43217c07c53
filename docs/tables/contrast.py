"""Tables of docs/results/contrast.md."""

from .shape import TYPED, Table, number, picked
from .sources import markdown_rows

PAGE = "results/contrast.md"
FILE = "contrast.md"
PREVIOUS = "flips, previous tokens"


def orders() -> Table:
    return picked(
        markdown_rows(FILE, "order"),
        {
            "contrast": "contrast, SPES",
            "gradients": "contrast, Integrated Gradients",
            "plain": "plain divergence of the word, SPES",
            "energy": "loudness (previous tokens: the last first)",
            "random": "random",
        },
        {
            "flips": ("flips ↑", 0),
            "covered flips": ("covered flips ↑", 0),
            "flip point": ("flip point ↓", 0),
            "pointing": ("pointing ↑", 0),
            PREVIOUS: (f"{PREVIOUS} ↑", 0),
        },
        by="order",
    )


def differences() -> Table:
    columns = {name: (name, 0) for name in ("flips", "covered flips", "flip point", "pointing")}
    return picked(
        markdown_rows(FILE, "minus"),
        {
            "gradients": "Integrated Gradients",
            "plain": "plain divergence",
            "energy": "loudness",
            "random": "random",
        },
        {**columns, PREVIOUS: (PREVIOUS, 1)},
        by="minus",
        head="contrast of SPES minus",
    )


def kinds() -> Table:
    return picked(
        markdown_rows(FILE, "kind"),
        {
            "number (10)": "number",
            "so and no (10)": "*so* and *no*",
            "plural (10)": "singular and plural",
            "his and her (10)": "*his* and *her*",
            "verb (10)": "verb",
            "German (10)": "German gender",
        },
        {
            "flips, contrast": ("flips: SPES", 0),
            "flips, gradients": ("gradients", 0),
            "flips, plain": ("plain", 0),
            "pointing, contrast": ("pointing: SPES", 0),
            "pointing, gradients": ("gradients", 0),
            "pointing, plain": ("plain", 0),
        },
        by="kind",
    )


def errors() -> Table:
    """Ten words that Whisper got wrong."""
    head = ["written / said", "noise", "probabilities", "said, from s", "to s"]
    head += ["peak of what speaks for what was written (s)", "noise of the map"]
    rows = []
    for row in markdown_rows("real_errors.md", "recording"):
        probabilities = " / ".join(map(_probability, row["probabilities"].split(" / ")))
        spoken = row["said where (s)"].split(" to ")
        # No file holds the noise of the map.
        cells = [probabilities, *spoken, row["map's peak (s)"], TYPED]
        rows.append([row["written / said"], row["noise"], *cells])
    return Table(head, rows)


def _probability(text: str) -> str:
    """Two digits after the point; what would be zero then as in the file."""
    return number(text, 2) if float(text) >= 0.005 else text


TABLES = {
    "contrast-orders": orders,
    "contrast-differences": differences,
    "contrast-kinds": kinds,
    "contrast-errors": errors,
}
