"""A page in a real browser: it moves, plays, loads nothing and takes texts for texts."""

import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from captum_spes import SPES, SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.demo import load_demo
from captum_spes.forward import Contrast
from captum_spes.metrics import sound_faithfulness

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright and Chromium")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; set CHROMIUM")

SETTINGS = {"n_samples": 150, "n_token_samples": 60, "patches_per_second": 30, "seed": 0}
MARKUP = "<img src=x onerror='document.title=1'><b>bold</b>"


@pytest.fixture(scope="module")
def explainer():
    model, processor, _ = load_demo()
    return SpeechToTextAttribution(SPES(model), processor)


@pytest.fixture(scope="module")
def results(explainer):
    path = load_demo()[2][0].path
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


@pytest.fixture(scope="module")
def pages():
    """Pages that were made before, with the results that they show."""
    return {}


@pytest.fixture
def opened(browser, pages, tmp_path):
    """Opens a page of results; afterwards nothing was asked for, and nothing went wrong."""
    wrong = []

    def opened(*results, audio=None, sampling_rate=16_000, **context):
        path = tmp_path / "page.html"
        key = (*map(id, results), id(audio))
        if key not in pages:
            SpeechToTextAttributionResult.save_html_many(
                results, path, audio=audio, sampling_rate=sampling_rate
            )
            pages[key] = (path.read_bytes(), results, audio)  # kept, as are their ids
        path.write_bytes(pages[key][0])
        page = browser.new_page(**context)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if not own(request) else None)
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-complete]")
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


@pytest.mark.parametrize(
    "control", ["whole", "by-token", "raw", "absolute", "spectrogram", "profiles"]
)
def test_controls_change_the_map(results, opened, control):
    page = opened(results[0])
    page.hover("#unit-4")
    if control == "raw":  # on a scale of its own each map looks the same
        page.click("#absolute")
    before = drawn(page)
    page.click(f"#{control}")
    if control == "by-token":  # of one token, as the word
        assert page.locator(".unit").count() == len(results[0].output_tokens)
        assert results[0].words[4].word.strip() in page.text_content("#status")
    else:
        assert drawn(page) != before


def test_a_click_keeps_a_word(results, opened):
    """Others are pointed at on the way to a button; another click, or Escape, lets it go."""
    page = opened(results[0])
    kept = page.text_content
    page.click("#unit-2")
    page.hover("#unit-4")
    assert results[0].words[2].word in kept("#status")
    page.click("#unit-4")
    page.hover("#unit-1")
    assert results[0].words[4].word in kept("#status")
    page.keyboard.press("Escape")
    page.hover("#unit-2")
    assert results[0].words[2].word in kept("#status")
    page.click("#whole")
    page.hover("#unit-4")
    assert "The sentence" in kept("#status")
    assert page.is_disabled("#play-word")
    page.focus("#transcript")
    page.keyboard.press("ArrowRight")
    assert not page.is_checked("#whole")
    assert results[0].words[3].word in kept("#status")


def test_text_from_right_to_left(results, opened):
    """The first word stands on the right, and the left arrow leads to the next one."""
    hebrew = ["שלום", "לכל", "העולם"]
    words = [replace(own, word=text) for own, text in zip(results[0].words, hebrew, strict=False)]
    page = opened(replace(results[0], text=" ".join(hebrew), words=words))
    first, second = (page.locator(f"#unit-{i}").bounding_box()["x"] for i in (0, 1))
    assert first > second
    page.focus("#transcript")
    page.keyboard.press("ArrowLeft")
    assert hebrew[1] in page.text_content("#status")


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
    wait_until(page, "captumSpesPlaying.readyState > 0")
    assert page.evaluate("captumSpesPlaying.duration") == pytest.approx(results[0].seconds, abs=0.1)
    page.focus("#transcript")
    page.keyboard.press("Space")
    wait_until(page, "captumSpesPlaying.currentTime > 0.1")
    page.keyboard.press("Space")
    assert page.evaluate("captumSpesPlaying.paused")


@pytest.mark.parametrize("complement", [False, True])
def test_the_strongest_part_sounds_as_listen_makes_it(results, opened, complement):
    """The same cells of the same map, but for grey levels and for what MP3 takes away."""
    page, word = opened(results[0]), 4
    page.hover(f"#unit-{word}")
    kept = page.evaluate(f"captumSpesSamples(20, {str(complement).lower()}).then(Array.from)")
    expected = results[0].listen(word=word, keep=0.2, complement=complement).samples
    count = min(len(kept), len(expected))
    assert np.corrcoef(kept[:count], expected[:count])[0, 1] > 0.97
    assert np.std(kept) == pytest.approx(np.std(expected), rel=0.05)


def test_playing_the_strongest_part(results, opened):
    page = opened(results[0])
    page.hover("#unit-4")
    page.click("#play-kept")
    wait_until(page, "captumSpesPlaying.src.startsWith('blob:') && !captumSpesPlaying.paused")
    wait_until(page, "captumSpesPlaying.readyState > 0")  # until then it has no duration
    assert page.evaluate("captumSpesPlaying.duration") == pytest.approx(results[0].seconds, abs=0.1)
    assert page.input_value("#kept") == "20"  # what is heard is what is seen
    page.click("#play-kept")
    assert page.evaluate("captumSpesPlaying.paused")
    page.fill("#kept", "1")
    page.click("#play-kept")
    wait_until(page, "captumSpesPlaying.currentTime > 0 && captumSpesPlaying.paused")
    sound = results[0].listen(word=4, keep=0.01)
    last = np.flatnonzero(np.abs(sound.samples) > 1e-4)[-1] / sound.sampling_rate
    assert page.evaluate("captumSpesPlaying.currentTime") == pytest.approx(last, abs=0.3)


def test_what_lies_above_the_map_is_not_in_its_sound(results, opened, tmp_path):
    """A tone of 15 kHz in a recording whose map ends at 8 kHz."""
    times = np.arange(round(44_100 * results[0].seconds)) / 44_100
    tones = sum(0.2 * np.sin(2 * np.pi * hertz * times) for hertz in (1000, 15_000))
    page = opened(results[0], audio=tones.astype(np.float32), sampling_rate=44_100)
    kept = page.evaluate("captumSpesSamples(60, false).then(Array.from)")
    sizes = np.abs(np.fft.rfft(kept))
    at = (np.array([1000, 15_000]) * len(kept) / 44_100).round().astype(int)
    assert sizes[at[1]] < 0.01 * sizes[at[0]]


def test_a_word_whose_map_is_noise(results, opened):
    """It is grey and says so; a word whose map is not does not."""
    noisy = results[0].reliability().words
    word = int(noisy.argmin())
    assert noisy[word] < 0.5, "the example has a word to test with"
    page = opened(results[0])
    page.hover(f"#unit-{word}")
    assert "mostly noise" in page.text_content("#status")
    assert "mostly noise" in page.text_content(".warning")
    assert page.locator(f"#unit-{word}.noise").count() == 1
    assert page.is_visible("#legend-noise")
    sure = int(results[0].reliability().words.argmax())
    page.hover(f"#unit-{sure}")
    assert not page.is_visible(".warning")


def test_what_the_model_made_of_the_sound(results, opened, explainer):
    heard = sound_faithfulness(explainer, results[0], keep=0.3)
    page = opened(heard.added_to(results[0]))
    note = page.text_content(".note")
    assert "strongest 30 % of the map of the sentence" in note
    assert heard.written in note


def test_a_contrast(results, opened, explainer):
    """The word stands behind the tokens that the model read, and each colour has its meaning."""
    contrast = Contrast("drawer", "door")
    result = explainer.attribute(
        results[0].parameters["audio"]["path"], contrast=contrast, **SETTINGS
    )
    page = opened(result)
    assert page.text_content("#sentence") == "".join(result.previous_tokens) + " drawer."
    assert page.text_content("#sentence mark") == "drawer"
    largest = int(result.contrast_attr().token_attr.abs().argmax())
    assert result.previous_tokens[largest] == " black"
    token = page.locator("#sentence span").nth(largest)
    assert token.evaluate("e => e.style.backgroundColor") == "rgba(var(--rest), 0.600)"
    assert "“door”" in page.text_content(".signs")
    assert not page.is_visible("#whole")
    # Beside it, the plain map of the same word; and the other way round, the colours are told, too.
    page = opened(result, results[0])
    assert "no such word" not in page.locator(".warning").nth(1).text_content()
    assert "drawer" in page.locator("canvas").nth(1).get_attribute("aria-label")
    page = opened(results[0], result)
    assert "“door”" in page.text_content(".signs")
    assert page.is_visible("#whole")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier(results, opened, scheme):
    """Rules of axe-core; what it finds is named."""
    page = opened(*results, color_scheme=scheme)
    found = axe.Axe().run(page).response["violations"]
    serious = [own for own in found if own["impact"] in ("serious", "critical")]
    assert [(own["id"], [node["target"] for node in own["nodes"]]) for own in serious] == []


@pytest.mark.parametrize("is_raw", [False, True])
def test_reading_values_off(results, opened, is_raw):
    """Time, frequency and value of the cell under the pointer, normalised or raw."""
    page, word = opened(results[0]), 4
    page.hover(f"#unit-{word}")
    if is_raw:
        page.click("#raw")
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + 0.32 * box["width"], box["y"] + 0.55 * box["height"])
    time, hertz, value = map(
        float, re.match(r"(.*) s, (.*) Hz: (.*)", page.text_content("#readout")).groups()
    )
    maps = results[0] if is_raw else results[0].normalized()
    expected = maps.spectrogram_attr[list(results[0].words[word].token_indices)].mean(0)
    frame = int((results[0].frame_times - time).abs().argmin())
    bin_ = int((results[0].mel_frequencies - hertz).abs().argmin())
    near = expected[frame - 1 : frame + 2, bin_]  # the time is shown to a hundredth
    assert (near - value).abs().min() < 0.01 * (expected.max() - expected.min())


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
