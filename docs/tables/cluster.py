"""Tables of docs/results/cluster.md."""

from .shape import Table, number
from .sources import json_file

PAGE = "results/cluster.md"
MODELS = {
    "bundled model, a CPU thread, 100 samples": "bundled model, a CPU thread each, 100 samples",
    "Whisper tiny.en, a CPU thread, 500 samples": "Whisper tiny.en, a CPU thread each, 500 samples",
    "Whisper tiny.en, an H200, 500 samples": "Whisper tiny.en, an H200 each, 500 samples",
}
SIZES = {
    (1, "as it is"): "1",
    (10, "as it is"): "10",
    (100, "as it is"): "100",
    (1000, "as it is"): "1,000",
    (1000, "four stores"): "1,000, four stores",
}


def throughput() -> Table:
    rounds = json_file("corpus_throughput.json")["rounds"]
    # The script divides what workers explain per second by the bare loop of the same round.
    names = {
        "one worker": "one process",
        "two workers": "two processes",
        "two workers of Ray's": "two actors of Ray's",
    }
    rows = [
        [shown, ", ".join(number(each[name], 2) for each in rounds)]
        for name, shown in names.items()
    ]
    return Table(["workers", "share of the bare loop"], rows)


def plan() -> Table:
    runs = {
        (row["model"], row["workers"], row["what"]): row
        for row in json_file("corpus_plan.json")["rows"]
    }
    rows = []
    for model, shown in MODELS.items():
        planned = [runs[model, *size] for size in SIZES]
        cells = [f"{_hours(run['hours'])} ({number(run['workers busy'], 2)})" for run in planned]
        rows.append([shown, *cells])
    head = "hours with ... workers (share of their time that they work)"
    return Table([head, *SIZES.values()], rows)


def _hours(hours: float) -> str:
    """One digit after the point below a hundred hours, two below one, none above."""
    if hours >= 100:
        return f"{round(hours, -1 if hours >= 1000 else 0):,.0f}"
    return number(hours, 1 if hours >= 1 else 2)


TABLES = {"cluster-throughput": throughput, "cluster-plan": plan}
