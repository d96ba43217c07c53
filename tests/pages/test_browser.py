"""A page in a real browser: it moves, plays, loads nothing and takes texts for texts."""

import os
import shutil
from dataclasses import replace

import pytest

from captum_spes import SPES, SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.demo import load_demo

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright and Chromium")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; set CHROMIUM")

SETTINGS = {"n_samples": 150, "n_token_samples": 60, "patches_per_second": 30, "seed": 0}
MARKUP = "<img src=x onerror='document.title=1'><b>bold</b>"


@pytest.fixture(scope="module")
def results():
    model, processor, examples = load_demo()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    path = examples[0].path
    one = explainer.attribute(path, **SETTINGS)
    two = explainer.attribute(path, **{**SETTINGS, "seed": 1})
    return one, replace(two, model_id=MARKUP, words=[replace(two.words[0], word=MARKUP)])


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        yield launched
        launched.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page of results; afterwards nothing was asked for, and nothing went wrong."""
    wrong = []

    def opened(*results, **context):
        path = tmp_path / "page.html"
        SpeechToTextAttributionResult.save_html_many(results, path)
        page = browser.new_page(**context)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if not own(request) else None)
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield opened
    assert wrong == []


def own(request):
    return request.url.startswith(("file:", "data:", "blob:"))


def drawn(page):
    return page.evaluate("document.querySelector('canvas').toDataURL()")


def test_pointing_and_keys_change_the_map(results, opened):
    page = opened(results[0])
    first, status = drawn(page), page.text_content("#status")
    assert results[0].words[0].word in status
    page.hover("#unit-4")
    assert drawn(page) != first
    assert results[0].words[4].word in page.text_content("#status")
    page.focus("#transcript")
    page.keyboard.press("ArrowLeft")
    assert results[0].words[3].word in page.text_content("#status")
    page.keyboard.press("Home")
    assert page.text_content("#status") == status
    assert drawn(page) == first
    page.keyboard.press("End")
    chosen = page.get_attribute("#transcript", "aria-activedescendant")
    assert chosen == f"unit-{len(results[0].words) - 1}"


@pytest.mark.parametrize("control", ["whole", "by-token", "absolute", "spectrogram"])
def test_controls_change_the_map(results, opened, control):
    page = opened(results[0])
    page.hover("#unit-4")
    before = drawn(page)
    page.click(f"#{control}")
    assert drawn(page) != before
    if control == "by-token":
        assert page.locator(".unit").count() == len(results[0].output_tokens)


def test_only_the_strongest(results, opened):
    page = opened(results[0])
    before = drawn(page)
    page.fill("#kept", "5")
    assert drawn(page) != before
    assert page.text_content("#kept-text") == "5 %"


def wait_until(page, expression):
    """What the page's policy lets nobody wait for in the page itself."""
    for _ in range(100):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(expression)


def test_sound(results, opened):
    page = opened(results[0])
    wait_until(page, "captumSpesSound.readyState > 0")
    assert page.evaluate("captumSpesSound.duration") == pytest.approx(results[0].seconds, abs=0.1)
    page.focus("#transcript")
    page.keyboard.press("Space")
    wait_until(page, "captumSpesSound.currentTime > 0.1")
    page.keyboard.press("Space")
    assert page.evaluate("captumSpesSound.paused")


def test_reading_values_off(results, opened):
    page = opened(results[0])
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert " s, " in page.text_content("#readout")
    assert " Hz: " in page.text_content("#readout")


def test_texts_stay_texts(results, opened):
    page = opened(results[1], results[0])
    assert page.text_content("#unit-0").startswith(MARKUP)
    assert page.locator("#transcript img, #transcript b, #facts b").count() == 0
    assert page.title() == results[1].text
    assert page.locator("canvas").count() == 2


@pytest.mark.parametrize("width", [360, 800, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out(results, opened, width, scheme):
    page = opened(results[0], viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
