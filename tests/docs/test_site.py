"""The site builds without a warning, its links lead somewhere, and it needs no network."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("sphinx", reason="the site is built with the extra docs")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "CAPTUM_SPES_SITE" not in os.environ,
        reason="takes half a minute: CAPTUM_SPES_SITE says into which folder to build",
    ),
]
# What a browser fetches by itself, and what it goes to when somebody clicks.
FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """The targets and anchors of a page."""

    def __init__(self, file):
        super().__init__()
        self.fetched, self.links, self.anchors = [], [], set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag in FETCHED and given.get(FETCHED[tag]) and given.get("rel") != "canonical":
            self.fetched.append(given[FETCHED[tag]])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])


@pytest.fixture(scope="module")
def site():
    """Built as the documentation says, by its own command; all pages by their place."""
    place = Path(os.environ["CAPTUM_SPES_SITE"]).resolve()
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-b",
        "html",
        "docs",
        str(place),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = [file for file in place.rglob("*.html") if "pages" not in file.relative_to(place).parts]
    return place, {file: Page(file) for file in made}


def test_every_link_and_anchor_is_there(site):
    place, pages = site
    broken = []
    for file, page in pages.items():
        for target in [*page.links, *page.fetched]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            found = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not found.is_file():
                broken.append(f"{file.relative_to(place)}: {target}")
                continue
            anchors = pages[found].anchors if found in pages else {unquote(parts.fragment)}
            if parts.fragment and unquote(parts.fragment) not in anchors:
                broken.append(f"{file.relative_to(place)}: {target}")
    assert not broken, "\n".join(broken)


def test_nothing_is_fetched_from_elsewhere(site):
    place, pages = site
    for file, page in pages.items():
        for target in page.fetched:
            assert urlsplit(target).scheme in ("", "data"), (file.relative_to(place), target)
    for sheet in place.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert "@import" not in text, sheet
        assert "url(http" not in text.replace('"', "").replace("'", ""), sheet


def test_every_public_name_and_tutorial_is_shown(site):
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from extensions.api_reference import public_paths
    finally:
        sys.path.remove(str(ROOT / "docs"))
    place, pages = site
    shown = set().union(
        *(page.anchors for file, page in pages.items() if file.parent.name == "api")
    )
    assert set(public_paths().values()) <= shown
    for notebook in (ROOT / "tutorials").glob("*.ipynb"):
        assert (place / "tutorials" / f"{notebook.stem}.html").is_file()


def test_formulas_are_drawn(site):
    place, _ = site
    text = (place / "mathematics.html").read_text(encoding="utf-8")
    assert text.count("<math") > 30
    assert "\\frac" not in text
