"""Sources that are made before Sphinx reads them: pictures, tutorials, the glossary's entries; and
pages of ``save_html``, which are put beside the site's own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from pictures.__main__ import make, make_missing

DOCS = Path(__file__).resolve().parents[1]
TUTORIALS = DOCS.parent / "tutorials"
_ROW = re.compile(r"^\| (?P<term>[^|]+?) \| (?P<meaning>.+) \|$", re.MULTILINE)


def _prepare(app: Any, config: Any) -> None:
    make_missing()
    make("house")  # as the code is now
    there = DOCS / "tutorials"
    there.mkdir(exist_ok=True)
    notebooks = {path.name: path for path in TUTORIALS.glob("*.ipynb")}
    for path in there.glob("*.ipynb"):
        if path.name not in notebooks:
            path.unlink()
    for name, path in notebooks.items():
        copy = there / name
        # A copy that is the same stays as it is, so that Sphinx need not read it again.
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copy)


def _linkable_glossary(app: Any, name: str, source: list[str]) -> None:
    """Make of the table's rows entries that other pages can point at."""
    if name != "glossary":
        return
    rows = [row for row in _ROW.finditer(source[0]) if row["term"] not in ("term", "---")]
    entries = "".join(f"{row['term']}\n  {row['meaning']}\n\n" for row in rows)
    before = source[0][: source[0].index("| term |")]
    source[0] = f"{before}:::{{glossary}}\n{entries}:::\n"


def _copy_pages(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        shutil.copytree(DOCS / "pages", Path(app.outdir) / "pages", dirs_exist_ok=True)


def setup(app: Any) -> dict[str, bool]:
    """Connect what is prepared to Sphinx's steps."""
    app.connect("config-inited", _prepare)
    app.connect("source-read", _linkable_glossary)
    app.connect("build-finished", _copy_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
