"""Draw the house: the layers of the package from the ground up, with what each is for.

The layers are those that tests/test_public_names.py holds imports to, and what is written in each
is the first sentence of its docstring, so that the picture cannot say anything else than the code.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
PICTURE = DOCS / "images" / "house.svg"
# What stands on which floor says who may use it, from the ground up.
FLOORS = {
    "ground": "#6b7a8f",
    "for anybody: no speech": "#3f7d5c",
    "speech": "#2f6690",
    "measures and statements": "#8a5a83",
    "many recordings": "#b0703c",
    "for people": "#9c4146",
}
FLOOR_OF = {
    "text": "ground", "errors": "ground",
    "io": "for anybody: no speech", "pages": "for anybody: no speech",
    "plotting": "for anybody: no speech", "attr": "for anybody: no speech",
    "masks": "for anybody: no speech", "forward": "for anybody: no speech",
    "maps": "for anybody: no speech",
    "speech": "speech", "alignment": "speech", "demo": "speech",
    "metrics": "measures and statements", "analysis": "measures and statements",
    "stability": "measures and statements",
    "corpus": "many recordings", "evaluation": "many recordings", "benchmark": "many recordings",
    "report": "for people", "cli": "for people",
}  # fmt: skip


def layers() -> list[str]:
    """The list of the test, lowest layer first."""
    tree = ast.parse((ROOT / "tests" / "test_public_names.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "LAYERS":
            found: list[str] = ast.literal_eval(node.value)
            return found
    raise ValueError("tests/test_public_names.py has no LAYERS")


def purpose(layer: str) -> str:
    """The first sentence of a layer's docstring."""
    package, module = (ROOT / "captum_spes" / layer for _ in range(2))
    file = package / "__init__.py" if package.is_dir() else module.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=[.?])\s", " ".join(text.split()))[0]


def main() -> None:
    """Write the picture."""
    # The former name of another layer has no room of its own.
    rooms = [layer for layer in layers() if layer != "reliability"]
    missing = [layer for layer in rooms if layer not in FLOOR_OF]
    if missing:
        raise ValueError(f"docs/pictures/house.py has no floor for {', '.join(missing)}")
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "house", "font.size": 10}):
        figure = _drawn(rooms)
        figure.savefig(PICTURE, metadata={"Date": None})
        plt.close(figure)


def _drawn(rooms: list[str]) -> Any:
    height = 0.36
    figure, axis = plt.subplots(figsize=(8.8, height * (len(rooms) + 3)))
    for row, layer in enumerate(rooms):
        colour = FLOORS[FLOOR_OF[layer]]
        axis.add_patch(plt.Rectangle((0, row), 1.5, 0.88, color=colour))
        axis.text(0.75, row + 0.44, layer, color="white", ha="center", va="center", weight="bold")
        about = textwrap.shorten(purpose(layer).rstrip("."), 98, placeholder=" ...")
        axis.text(1.62, row + 0.44, about, va="center")
    axis.text(0, len(rooms) + 0.3, "imports run downwards: a layer uses only what stands below it")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in FLOORS.values()]
    axis.legend(
        handles, FLOORS, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, frameon=False
    )
    axis.set(xlim=(0, 8.8), ylim=(0, len(rooms) + 0.8))
    axis.axis("off")
    figure.subplots_adjust(left=0.01, right=0.99, top=1, bottom=0.12)
    return figure


if __name__ == "__main__":
    main()
