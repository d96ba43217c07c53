"""The table of docs/results/listening.md."""

from .shape import Table, picked
from .sources import markdown_rows

PAGE = "results/listening.md"
ORDERS = {"spes": "SPES", "energy": "loudest cells", "random patches": "random patches"}
KEPT = {"0.2": "20 %", "0.4": "40 %"}


def orders() -> Table:
    """Columns of the sound, and beside them one of the masked features."""
    source = markdown_rows("listen.md", "order")
    shown = {"wer": ("error, sound ↓", 0), "kl": ("divergence, sound ↓", 2)}
    sound = _rows(source, "sound", shown | {"correlation": ("correlation ↑", 3)})
    masked = _rows(source, "masked", {"wer": ("error, masked features ↓", 0)})
    rows = [
        [*left[:-1], left[-1].partition(" [")[0], right[-1]]
        for left, right in zip(sound.rows, masked.rows, strict=True)
    ]
    return Table([*sound.header, masked.header[-1]], rows)


def _rows(source, heard, columns):
    rows = {
        (order, keep, heard): (name, kept)
        for keep, kept in KEPT.items()
        for order, name in ORDERS.items()
    }
    return picked(source, rows, columns, by=("order", "keep", "heard"), head=("order", "kept"))


TABLES = {"listening-orders": orders}
