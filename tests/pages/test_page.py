"""Pages: what they hold, that data stays data, and that they are small."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from captum_spes import SPES, SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.cli import main
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import Contrast
from captum_spes.pages import encoded_image, page_html
from captum_spes.speech.heard import heard_sounds
from captum_spes.speech.judgement import Judgement

SETTINGS = {"n_samples": 150, "n_token_samples": 60, "patches_per_second": 30, "seed": 0}
MARKUP = "</script><img src=x onerror=alert(1)><!--&amp;\u2028'\""


@pytest.fixture(scope="module")
def explained():
    model, processor, examples = load_demo()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    path = examples[0].path
    contrast = explainer.attribute(path, contrast=Contrast("drawer", "door"), **SETTINGS)
    return explainer.attribute(path, **SETTINGS), contrast, examples[0]


class Elements(HTMLParser):
    """Elements of a page, and the texts of its scripts and style."""

    def __init__(self, text):
        super().__init__()
        self.names, self.attributes, self.texts = [], [], {}
        self._open = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self._open = tag
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open is not None:
            self.texts.setdefault(self._open, []).append(data)


def payload_of(path):
    elements = Elements(path.read_text(encoding="utf-8"))
    return json.loads(elements.texts["script"][0]), elements


def plane_of(picture):
    grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["png"]))), dtype=float)
    return picture["low"] + (picture["high"] - picture["low"]) * grey[::-1].T / 255


class TestWhatItHolds:
    @pytest.fixture
    def saved(self, explained, tmp_path):
        explained[0].save_html(tmp_path / "page.html")
        return payload_of(tmp_path / "page.html")

    def test_maps(self, explained, saved):
        """The maps of all tokens, to a grey level, and the line to their normalised values."""
        result = explained[0]
        (explanation,) = saved[0]["explanations"]
        normal = result.normalized().spectrogram_attr
        assert [own["text"] for own in explanation["byToken"]] == result.output_tokens
        for row, token in enumerate(explanation["byToken"]):
            plane, raw = plane_of(token["map"]), result.spectrogram_attr[row].numpy()
            step = (raw.max() - raw.min()) / 255
            assert np.abs(plane - raw).max() <= 0.51 * step
            low, high = token["normalised"]
            line = low + (plane - plane.min()) * (high - low) / (plane.max() - plane.min())
            assert np.abs(line - normal[row].numpy()).max() < 0.005

    def test_words(self, explained, saved):
        result = explained[0]
        words = saved[0]["explanations"][0]["words"]
        assert [own["text"] for own in words] == [word.word for word in result.words]
        sure, noise = result.word_certainty(), result.reliability().words
        shares, mean = result.speech_share(), result.word_attr().token_attr
        rows = result.previous_rows()
        for number, (own, word) in enumerate(zip(words, result.words, strict=True)):
            assert own["tokens"] == list(word.token_indices)
            assert own["probability"] == pytest.approx(sure.probabilities[number].item(), rel=1e-3)
            assert own["rank"] == sure.ranks[number]
            assert own["reliability"] == pytest.approx(noise[number].item(), rel=1e-3)
            expected = shares[list(word.token_indices)].mean().item()
            assert own["share"] == pytest.approx(expected, rel=1e-3)
            known = [value for value in own["previous"] if value is not None]
            there = mean[number][~mean[number].isnan()]
            assert known == pytest.approx(there.tolist(), rel=1e-3)
            assert [rows[column] for column in own["columns"]] == [
                row for row in word.token_indices if row in rows
            ]

    def test_axes(self, explained, saved):
        result = explained[0]
        (explanation,) = saved[0]["explanations"]
        step = float(result.frame_times[1] - result.frame_times[0])
        assert explanation["start"] == pytest.approx(result.frame_times[0].item() - step / 2)
        assert explanation["end"] == pytest.approx(
            result.frame_times[-1].item() + step / 2, abs=1e-3
        )
        assert np.allclose(explanation["frequencies"], result.mel_frequencies, atol=0.06)
        grey = plane_of(explanation["spectrogram"])
        assert np.corrcoef(grey.ravel(), result.spectrogram.numpy().ravel())[0, 1] > 0.999

    def test_sound(self, explained, saved):
        sound = saved[0]["sound"]
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(sound["data"])))
        original, own_rate = soundfile.read(explained[2].path)
        assert rate == own_rate
        assert len(samples) / rate == pytest.approx(len(original) / own_rate, abs=0.1)
        count = min(len(samples), len(original))
        assert np.corrcoef(samples[:count], original[:count])[0, 1] > 0.95

    @pytest.mark.parametrize("rate", [9000, 96_000])
    def test_rates_that_mp3_does_not_know(self, explained, tmp_path, rate):
        """The next that it knows; the sound keeps its duration and its pitch."""
        result = explained[0]
        times = np.arange(round(result.seconds * rate)) / rate
        tone = (0.3 * np.sin(2 * np.pi * 1000 * times)).astype(np.float32)
        result.save_html(tmp_path / "page.html", audio=tone, sampling_rate=rate)
        sound = payload_of(tmp_path / "page.html")[0]["sound"]
        samples, own_rate = soundfile.read(io.BytesIO(base64.b64decode(sound["data"])))
        assert own_rate == sound["rate"] == {9000: 11_025, 96_000: 48_000}[rate]
        assert len(samples) / own_rate == pytest.approx(result.seconds, abs=0.1)
        peak = np.abs(np.fft.rfft(samples)).argmax() * own_rate / len(samples)
        assert peak == pytest.approx(1000, abs=2)

    def test_paths_of_this_machine_stay_here(self, explained, tmp_path):
        """Of a model in a folder a page tells the folder's name."""
        local = replace(explained[0], model_id=str(tmp_path / "secret" / "my-model"))
        local.save_html(tmp_path / "page.html")
        text = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert "my-model" in text
        assert "secret" not in text + local._repr_html_()
        assert str(explained[2].path.parent) not in text

    def test_contrasts_are_signed(self, explained, tmp_path):
        contrast = explained[1]
        contrast.save_html(tmp_path / "page.html")
        (explanation,) = payload_of(tmp_path / "page.html")[0]["explanations"]
        assert explanation["signed"]
        plane, maps = plane_of(explanation["byToken"][0]["map"]), contrast.contrast_attr()
        assert np.corrcoef(plane.ravel(), maps.spectrogram_attr.numpy().ravel())[0, 1] > 0.999
        assert explanation["byToken"][0]["map"]["low"] < 0

    def test_several(self, explained, tmp_path):
        names = ["all words", MARKUP]
        SpeechToTextAttributionResult.save_html_many(
            explained[:2], tmp_path / "page.html", names=names, title="Two"
        )
        payload, elements = payload_of(tmp_path / "page.html")
        assert [own["name"] for own in payload["explanations"]] == names
        assert elements.texts["title"] == ["Two"]

    def test_without_a_recording(self, explained, tmp_path):
        result, _, example = explained
        parameters = {k: v for k, v in result.parameters.items() if k != "audio"}
        unknown = replace(result, parameters=parameters)
        unknown.save_html(tmp_path / "page.html")
        assert payload_of(tmp_path / "page.html")[0]["sound"] is None
        unknown.save_html(tmp_path / "page.html", audio=example.path)
        assert payload_of(tmp_path / "page.html")[0]["sound"]["type"] == "audio/mpeg"
        moved = {**result.parameters["audio"], "path": str(tmp_path / "moved.flac")}
        gone = replace(result, parameters={**result.parameters, "audio": moved})
        with pytest.warns(UserWarning, match=r"no sound: .*moved.flac is not there"):
            gone.save_html(tmp_path / "page.html")
        assert payload_of(tmp_path / "page.html")[0]["sound"] is None


class TestNotebook:
    def test_it_is_small_and_tells_words(self, explained):
        html = explained[0]._repr_html_()
        elements = Elements(html)
        assert len(html) < 200_000
        assert elements.names.count("img") == 1
        assert "script" not in elements.names
        shown = [text.strip() for text in elements.texts["span"]]
        assert shown == [word.word.strip() for word in explained[0].words]
        told = [own.get("title", "") for tag, own in elements.attributes if tag == "span"]
        noise = explained[0].reliability().words
        sure = int(noise.argmax())
        assert f"{1 - noise[sure].item():.0%} of its map is sampling noise" in told[sure]
        assert " s, probability " in told[sure]

    def test_words_of_noise_have_no_time(self, explained):
        noise = explained[0].reliability().words
        worst = int(noise.argmin())
        assert noise[worst] < 0.5, "the example has a word to test with"
        elements = Elements(explained[0]._repr_html_())
        spans = [own for tag, own in elements.attributes if tag == "span"]
        assert " s, " not in spans[worst]["title"]
        assert "opacity" in spans[worst]["style"]

    def test_texts_are_texts(self, explained):
        words = [replace(explained[0].words[0], word=MARKUP), *explained[0].words[1:]]
        bad = replace(explained[0], text=MARKUP, model_id=MARKUP, words=words)
        page, bad_page = (Elements(own._repr_html_()) for own in (explained[0], bad))
        assert bad_page.names == page.names
        assert MARKUP in "".join(bad_page.texts["span"])

    def test_long_texts_end(self, explained):
        html = of_size(explained[0], 10, 320)._repr_html_()
        assert Elements(html).names.count("span") == 300
        assert "and 20 more" in html

    def test_contrasts(self, explained):
        elements = Elements(explained[1]._repr_html_())
        assert [text.strip() for text in elements.texts["span"]] == ["drawer / door"]


def test_words_that_were_not_heard(explained, tmp_path):
    result, _, example = explained
    model, processor, _ = load_demo()
    report = SpeechToTextAttribution(SPES(model), processor).check(example.path, passes=1)
    words = [replace(word, heard=word.word != "bakery") for word in report.words]
    result.save_html(tmp_path / "page.html", checked=replace(report, words=words))
    (explanation,) = payload_of(tmp_path / "page.html")[0]["explanations"]
    verdicts = {own["text"]: own["verdict"] for own in explanation["words"]}
    assert verdicts.pop("bakery") == "not heard"
    assert verdicts.pop(".") is None
    assert set(verdicts.values()) == {"heard"}
    other = [replace(word, word="zebra") for word in report.words]
    with pytest.raises(ArgumentError, match="checked is of another text"):
        result.save_html(tmp_path / "page.html", checked=replace(report, words=other))


class TestSafety:
    def test_texts_are_data(self, explained, tmp_path):
        result = explained[0]
        bad = replace(
            result,
            text=MARKUP,
            model_id=MARKUP,
            output_tokens=[MARKUP, *result.output_tokens[1:]],
            runners_up=[MARKUP, *result.runners_up[1:]],
            words=[replace(result.words[0], word=MARKUP), *result.words[1:]],
        )
        bad.save_html(tmp_path / "bad.html")
        result.save_html(tmp_path / "good.html")
        (payload, bad_page), (_, page) = (
            payload_of(tmp_path / name) for name in ("bad.html", "good.html")
        )
        assert bad_page.names == page.names
        assert bad_page.attributes == page.attributes
        (explanation,) = payload["explanations"]
        assert explanation["byToken"][0]["text"] == explanation["words"][0]["text"] == MARKUP
        assert bad_page.texts["title"] == [MARKUP]

    def test_the_policy_allows_its_own_script_alone(self):
        page = Elements(page_html({"explanations": []}, "title", "heading"))
        (policy,) = (
            own["content"] for _, own in page.attributes if own.get("http-equiv") is not None
        )
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
        assert "http" not in policy
        for kind, text in {
            "script": page.texts["script"][-1],
            "style": page.texts["style"][0],
        }.items():
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{kind}-src 'sha256-{digest}'" in policy

    def test_nothing_is_loaded(self, explained, tmp_path):
        explained[0].save_html(tmp_path / "page.html")
        text = (tmp_path / "page.html").read_text(encoding="utf-8")
        _, elements = payload_of(tmp_path / "page.html")
        assert not re.search(r"https?://|@import|fetch\(|XMLHttp|innerHTML|eval\(", text)
        assert not any({"src", "href"} & own.keys() for _, own in elements.attributes)


def of_size(result, seconds, n_tokens):
    """An explanation of three levels of patches that all differ."""
    generator, n_frames = torch.Generator().manual_seed(0), 100 * seconds
    maps = torch.zeros(n_tokens, n_frames, 80)
    for frames, bins in ((10, 4), (15, 5), (20, 8)):
        patches = torch.rand(n_tokens, n_frames // frames + 1, 80 // bins, generator=generator)
        maps += patches.repeat_interleave(frames, 1)[:, :n_frames].repeat_interleave(bins, 2)
    return replace(
        result,
        output_tokens=[" word"] * n_tokens,
        spectrogram=torch.randn(n_frames, 80, generator=generator),
        removed=torch.zeros(n_frames, 80),
        feature_masks=torch.zeros(1, n_frames, 80, dtype=torch.int64),
        spectrogram_attr=maps,
        token_attr=None,
        frame_times=torch.arange(n_frames) / 100,
        words=[],
        output_ids=[1] * n_tokens,
        seconds=float(seconds),
        probabilities=None,
        ranks=None,
        runners_up=None,
        parameters={},
    )


class TestSize:
    def size(self, result, folder):
        count = int(16_000 * result.seconds)
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, count).astype(np.float32)
        result.save_html(folder / "page.html", audio=noise)
        return (folder / "page.html").stat().st_size

    def test_ten_seconds_and_thirty_tokens(self, explained, tmp_path):
        assert self.size(of_size(explained[0], 10, 30), tmp_path) < 3_000_000

    def test_a_minute_and_two_hundred_tokens(self, explained, tmp_path):
        """Below 15 MB, from what the first two and the next two tokens take."""
        two, four = (self.size(of_size(explained[0], 60, n), tmp_path) for n in (2, 4))
        assert two + 198 * (four - two) / 2 < 15_000_000

    def test_long_maps_are_averaged(self, explained, tmp_path):
        """Three frames a column for 60 s, and the axis ends where its last column does."""
        long = of_size(explained[0], 60, 1)
        self.size(long, tmp_path)
        (explanation,) = payload_of(tmp_path / "page.html")[0]["explanations"]
        assert explanation["width"] == 2000
        plane = plane_of(explanation["byToken"][0]["map"])
        expected = long.spectrogram_attr[0].reshape(2000, 3, 80).mean(1).numpy()
        assert np.abs(plane - expected).max() < np.ptp(expected) / 250
        assert explanation["end"] == pytest.approx(59.995, abs=0.01)

    def test_a_plane_of_one_value(self):
        picture = encoded_image(np.full((4, 3), 2.0))
        assert np.array_equal(plane_of(picture), np.full((4, 3), 2.0))


def test_what_is_refused(explained, tmp_path):
    result = explained[0]
    save = SpeechToTextAttributionResult.save_html_many
    page = tmp_path / "page.html"
    with pytest.raises(ArgumentError, match="at least one result"):
        save([], page)
    with pytest.raises(ArgumentError, match="names must be 1"):
        save([result], page, names=["a", "b"])
    with pytest.raises(ArgumentTypeError, match="results must be"):
        save(["a"], page)
    with pytest.raises(ArgumentError, match="of one recording"):
        save([result, replace(result, seconds=9.0)], page)
    other = {**result.parameters, "audio": {**result.parameters["audio"], "sha256": "0" * 64}}
    window = {**result.parameters, "window": {"start": 30.0, "end": 33.2}}
    for parameters in (other, window):
        with pytest.raises(ArgumentError, match="these are of two"):
            save([result, replace(result, parameters=parameters)], page)
    with pytest.raises(ArgumentError, match="another recording"):
        result.save_html(page, audio=np.zeros(8000, dtype=np.float32))
    assert not page.exists()


@pytest.mark.parametrize("name", ["deletion", "heard"])
@pytest.mark.parametrize("damaged", [3, [3], {}, [{}], {"metric": "no"}, None])
def test_damaged_notes_are_told(explained, tmp_path, name, damaged):
    if (name == "deletion" and damaged is None) or (name == "heard" and damaged == {}):
        pytest.skip("nothing was measured")
    result = replace(explained[0], parameters={**explained[0].parameters, name: damaged})
    with pytest.raises(ArgumentError, match="is damaged"):
        result.save_html(tmp_path / "page.html")


def test_the_command(tmp_path, capsys):
    """The page has the sound, what the model makes of it, and what the map is worth."""
    quick = ["--samples", "60", "--token-samples", "20", "--quiet", "--judge"]
    assert main(["explain", *quick, "--html", "--out", str(tmp_path)]) == 0
    (page,) = tmp_path.rglob("explanation.html")
    payload, _ = payload_of(page)
    assert payload["sound"] is not None
    result = SpeechToTextAttributionResult.load(page.with_suffix(".npz"))
    assert payload["explanations"][0]["notes"] == [
        Judgement.from_dict(result.parameters["deletion"]).text(),
        str(heard_sounds(result.parameters)[0]),
    ]
    assert result.parameters["heard"][0]["written"] in payload["explanations"][0]["notes"][1]
    assert main(["explain", *quick, "--html"]) == 2
    assert "give --out DIR" in capsys.readouterr().err
