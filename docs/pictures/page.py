"""Make the picture of a page that the README shows.

Run it from the root of the repository: ``python docs/pictures page``. It opens a page of
docs/pages in Chromium, chooses a word, and takes a screenshot; set CHROMIUM where it is not
``chromium``.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parents[1]
WORD = 5


def main() -> None:
    """Write the picture."""
    page_file = DOCS / "pages" / "01_explain_a_transcription.html"
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 690})
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-complete]")
        page.hover(f"#unit-{WORD}")
        page.screenshot(path=DOCS / "images" / "page.png")
        browser.close()


if __name__ == "__main__":
    main()
