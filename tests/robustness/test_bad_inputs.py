"""The command line with inputs that cannot be used: one line that says what is wrong, exit status
2, no traceback, and nothing written where results would be."""

import io
import json
import re
import struct
import zipfile

import numpy as np
import pytest
import soundfile

from captum_spes.cli import main

RATE = 16_000
QUIET = ["--quiet", "--samples", "5", "--token-samples", "2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a good recording, and bad things beside it."""
    folder = tmp_path_factory.mktemp("inputs")
    time = np.arange(RATE) / RATE
    soundfile.write(folder / "good.wav", 0.3 * np.sin(2000 * time), RATE, subtype="PCM_16")
    return folder


def fails(capsys, arguments, *words):
    """Run the command line, and check what it says."""
    capsys.readouterr()  # what making the model printed
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as error:  # argparse
        status = error.code
    said = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in said if line.startswith("captum-spes: error: ")]
    assert status == 2, said
    assert len(errors) == 1, said
    assert said[-1] == errors[0]
    assert all(line.startswith("captum-spes: ") for line in said), said
    assert "Traceback" not in "".join(said)
    for word in words:
        assert str(word) in errors[0]
    return errors[0]


# Audio ----------------------------------------------------------------------------------


def wav(rate=RATE, channels=1, bits=16, kind=1, samples=RATE, riff=b"RIFF", form=b"WAVE"):
    width = max(1, bits // 8) * channels
    data = bytes(samples * max(1, width))[: 4 * RATE]
    fmt = struct.pack("<HHIIHH", kind, channels, rate, (rate * width) % 2**32, width % 2**16, bits)
    body = form + b"fmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(data))
    return riff + struct.pack("<I", len(body) + len(data)) + body + data


def zipped():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("speech.wav", wav())
    return content.getvalue()


def nan_wav(value):
    content = io.BytesIO()
    samples = np.full(RATE, 0.1)
    samples[5] = value
    soundfile.write(content, samples, RATE, format="WAV", subtype="FLOAT")
    return content.getvalue()


BAD_AUDIO = {
    "empty": b"",
    "one-byte": b"\0",
    "zeros": bytes(5000),
    "text": b"this is no audio " * 300,
    "html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 20,
    "json": json.dumps({"error": "not found"}).encode() * 50,
    "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n",
    "zip": zipped(),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(3000),
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(3000),
    "pdf": b"%PDF-1.7\n" + bytes(3000),
    "elf": b"\x7fELF" + bytes(3000),
    "gzip": b"\x1f\x8b\x08" + bytes(3000),
    "npy": b"\x93NUMPY\x01\x00" + bytes(3000),
    "pickle": b"\x80\x04\x95" + bytes(3000),
    "only-riff": b"RIFF",
    "riff-wave": b"RIFF\x24\0\0\0WAVE",
    "no-data": wav()[:36],
    "wave-of-another-form": wav(form=b"AVIX"),
    "rate-0": wav(rate=0),
    "rate-1": wav(rate=1),
    "rate-999": wav(rate=999),
    "rate-huge": wav(rate=2**32 - 1),
    "rate-2-million": wav(rate=2_000_000),
    "channels-0": wav(channels=0),
    "bits-0": wav(bits=0),
    "bits-7000": wav(bits=7000),
    "codec-unknown": wav(kind=0x7777),
    "nan": nan_wav(np.nan),
    "inf": nan_wav(np.inf),
    "sixteen-bit-floats": nan_wav(20_000.0),
    "too-short": wav(samples=RATE // 20),
    "no-samples": wav(samples=0),
    "flac-header": b"fLaC" + bytes(60),
    "flac-magic": b"fLaC",
    "ogg-page": b"OggS" + bytes(100),
    "ogg-magic": b"OggS",
    "mp3-tag": b"ID3\x04\0\0\0\0\0\x0a" + bytes(30),
    "mp4-box": struct.pack(">I", 24) + b"ftypM4A " + bytes(12),
    "matroska": b"\x1a\x45\xdf\xa3" + bytes(60),
    "asf": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(60),
    "aiff-form": b"FORM" + struct.pack(">I", 4) + b"AIFF",
    "au-magic": b".snd" + struct.pack(">5I", 24, 0, 99, RATE, 1),
    "caf-magic": b"caff\0\x01\0\0",
    "amr": b"#!AMR\n",
    "utf-16": "speech".encode("utf-16") * 200,
}


@pytest.mark.parametrize("command", ["explain", "explain-at"])
@pytest.mark.parametrize("kind", BAD_AUDIO)
def test_audio(capsys, place, tmp_path, model_folder, kind, command):
    file = tmp_path / f"{kind}.wav"
    file.write_bytes(BAD_AUDIO[kind])
    out = tmp_path / "out"
    more = {"explain-at": ["--at", "0.1"]}.get(command, [])
    fails(capsys, ["explain", file, "--model", model_folder, *QUIET, "--out", out, *more], file)
    assert not list(tmp_path.rglob("*.npz"))


@pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
def test_audio_beside_others(capsys, place, tmp_path, model_folder):
    """All of them are named, in one line each, and the good one is explained."""
    files = [tmp_path / f"{kind}.wav" for kind in BAD_AUDIO]
    for file in files:
        file.write_bytes(BAD_AUDIO[file.stem])
    arguments = ["explain", *files, place / "good.wav", "--model", model_folder, *QUIET]
    capsys.readouterr()
    assert main([*map(str, arguments), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    for file in files:
        (line,) = (line for line in said if str(file) in line)
        assert line.startswith("captum-spes: ")
    assert len(said) == len(files)
    assert [path.parent.name for path in tmp_path.rglob("*.npz")] == ["good"]


@pytest.mark.parametrize("kind", BAD_AUDIO)
def test_audio_in_a_manifest(capsys, tmp_path, model_folder, kind):
    """Where nothing else is there to be measured; beside others it is left out."""
    (tmp_path / "a.wav").write_bytes(BAD_AUDIO[kind])
    (tmp_path / "m.jsonl").write_text(json.dumps({"id": "a", "audio": "a.wav", "text": "x"}))
    arguments = ["evaluate", tmp_path / "m.jsonl", "--model", model_folder, "--methods", "energy"]
    fails(capsys, [*arguments, *QUIET, "--out", tmp_path / "out"], "no utterance was measured")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("missing.wav", "no such audio file"),
        ("", "folder"),
        ("/dev/zero", "is a device"),
        ("/dev/full", "is a device"),
        ("https://example.org/a.wav", "no such audio file"),
        ("x" * 300, "x"),
    ],
)
def test_places_without_audio(capsys, place, model_folder, name, word):
    file = name if name.startswith(("/", "http")) else place / name
    fails(capsys, ["explain", file, "--model", model_folder, *QUIET], word)


# Options --------------------------------------------------------------------------------

NUMBERS = ("nan", "inf", "-inf", "-1", "x", "", "1e400", "0x10", "one", "True", "1,5", "--")
OPTIONS = {
    "--samples": (*NUMBERS, "0", "1.5"),
    "--token-samples": (*NUMBERS, "1.5"),
    "--perturb-prob": (*NUMBERS, "0", "1", "2"),
    "--token-perturb-prob": (*NUMBERS, "0", "1", "2"),
    "--patches-per-second": (*NUMBERS, "0"),
    "--max-seconds": (*NUMBERS, "0"),
    "--n-patches": (*NUMBERS, "0", "1.5"),
    "--tolerance": (*NUMBERS, "0", "1", "2"),
    "--batch-size": (*NUMBERS, "0", "1.5", "fast"),
    "--num-beams": (*NUMBERS, "0", "1.5"),
    "--seed": ("nan", "x", "", "1.5", "1e3"),
    "--feature-mask": ("none", "", "SLIC", "0"),
    "--score": ("bleu", "", "KL ", "0"),
    "--dtype": ("int8", "", "float", "torch.float32"),
    "--scheme": ("fast", "", "Paper"),
    "--method-args": ("", "x", "[1]", "1", "null", "{", '{"x": 1}', '{"n_steps": 2}', "{'a': 1}"),
    "--method": ("", "SPESS", "spes,energy", "none"),
    "--task": ("", "sing", "Translate"),
    "--device": ("", "gpu", "cuda:99", "tpu", "cpu:x", "meta:", "1e3"),
    "--at": ("", "noon", "5-3", "1:2:3:4", "-", "1e9", "12:34-", "nan", "inf", "-1"),
}


# Options that messages name by what they set.
NAMED_BY = {
    "--samples": "samples",
    "--token-samples": "samples",
    "--batch-size": "batch|perturbations_per_eval",
    "--num-beams": "beams",
    "--scheme": "scheme",
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, values in OPTIONS.items() for value in values]
)
def test_options_of_explain(capsys, place, model_folder, tmp_path, option, value):
    out = tmp_path / "out"
    arguments = ["explain", place / "good.wav", "--model", model_folder, "--quiet", "--out", out]
    name = option.removeprefix("--").replace("-", "[-_ ]")
    message = fails(capsys, [*arguments, f"{option}={value}"])
    assert re.search(NAMED_BY.get(option, name), message, re.IGNORECASE), message
    assert not list(tmp_path.rglob("*.npz"))


@pytest.mark.parametrize("word", ["zebra", "", " ", "?!", "a" * 10_000, "\0", "\x1b[31m", "‮"])
def test_words_that_are_not_there(capsys, place, model_folder, word):
    fails(capsys, ["explain", place / "good.wav", "--model", model_folder, *QUIET, "--word", word])


@pytest.mark.parametrize("target", ["", " ", "\n", "\t\r\n", "\u200b\ufeff", "the " * 300, "今天"])
def test_targets(capsys, place, model_folder, target):
    arguments = ["explain", place / "good.wav", "--model", model_folder, *QUIET]
    fails(capsys, [*arguments, "--target", target], "target")


@pytest.mark.parametrize(
    "name",
    ["missing", "./missing", "/no/such/folder", "~/missing/model", "a/b/c", "", " ", "../..", "\n",
     "tiny.xyz", "good.wav", "https://huggingface.co/openai/whisper-tiny", "x" * 300],
)  # fmt: skip
def test_models(capsys, place, monkeypatch, name):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(place)
    fails(capsys, ["explain", "good.wav", "--model", name, *QUIET])


def edited(name, **changes):
    def edit(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **changes}))

    return edit


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def without(name):
    return lambda folder: (folder / name).unlink()


def cut(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


BROKEN_MODELS = {
    "no config": without("config.json"),
    "empty config": written("config.json", b""),
    "config no json": written("config.json", b"{"),
    "config null": written("config.json", b"null"),
    "config list": written("config.json", b"[1]"),
    "config nested": written("config.json", b"[" * 100_000),
    "config no text": written("config.json", b"\xff\xfe\x00"),
    "config empty object": written("config.json", b"{}"),
    "family unknown": edited("config.json", model_type="zebra"),
    "family of text": edited("config.json", model_type="bert"),
    "family number": edited("config.json", model_type=5),
    "wider": edited("config.json", d_model=32),
    "more words": edited("config.json", vocab_size=400),
    "more layers": edited("config.json", encoder_layers=3),
    "no width": edited("config.json", d_model=0),
    "text as width": edited("config.json", d_model="wide"),
    "no weights": without("model.safetensors"),
    "empty weights": written("model.safetensors", b""),
    "weights no tensors": written("model.safetensors", b"nonsense " * 100),
    "weights cut": cut,
    "weights lfs": written("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n"),
    "no tokens": without("vocab.json"),
    "tokens no json": written("vocab.json", b"{"),
    "tokens null": written("vocab.json", b"null"),
    "no pieces": without("sentencepiece.bpe.model"),
    "empty pieces": written("sentencepiece.bpe.model", b""),
    "pieces nonsense": written("sentencepiece.bpe.model", b"nonsense"),
}


@pytest.mark.parametrize("kind", BROKEN_MODELS)
def test_broken_models(capsys, place, model_folder, tmp_path, kind):
    BROKEN_MODELS[kind](model_folder)
    out = tmp_path / "out"
    arguments = ["explain", place / "good.wav", "--model", model_folder, *QUIET, "--out", out]
    fails(capsys, arguments, model_folder)
    assert not list(tmp_path.rglob("*.npz"))


@pytest.mark.parametrize("command", ["explain", "evaluate", "align", "analyse", "export"])
@pytest.mark.parametrize("out", ["file", "file/below", "/dev/null/x", "/proc/nothing/x"])
def test_places_that_cannot_be_written(capsys, place, tmp_path, model_folder, command, out):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "m.jsonl").write_text(
        json.dumps({"audio": str(place / "good.wav"), "text": "hello"})
    )
    target = out if out.startswith("/") else tmp_path / out
    given = {
        "explain": [place / "good.wav", "--model", model_folder, *QUIET],
        "evaluate": [tmp_path / "m.jsonl", "--model", model_folder, "--methods", "energy", *QUIET],
        "align": [tmp_path / "none.jsonl"],
        "analyse": [tmp_path / "none"],
        "export": [tmp_path / "none", "--format", "netcdf"],
    }[command]
    fails(capsys, [command, *given, "--out", target])
    assert (tmp_path / "file").read_text() == "in the way"


# Manifests and alignments ---------------------------------------------------------------

LINE = {"id": "a", "audio": "good.wav", "text": "hello"}
WRONG = (None, 1, 1.5, True, "", " ", [], {}, ["x"], {"a": 1})
LINES = [
    *({**LINE, "text": value} for value in WRONG),
    *({**LINE, "audio": value} for value in WRONG),
    *({**LINE, "id": value} for value in WRONG),
    *({**LINE, "translations": value} for value in (None, 1, "x", [1])),
    *({**LINE, "labels": value} for value in (None, 1, "x", [1], {"a": 1}, {"a": None})),
    *({**LINE, "offset": value} for value in (-1, "1", [1], {}, float("nan"), float("inf"), True)),
    *({**LINE, "duration": value} for value in (-1, 0, "1", [1], float("nan"), True)),
    *({name: value for name, value in LINE.items() if name != left_out} for left_out in ("text",)),
    {},
    {"text": "hello"},
    {**LINE, "audio": "missing.wav"},
    {**LINE, "audio": "../missing.wav"},
    {**LINE, "audio": "a\0b.wav"},
    {**LINE, "audio": "x" * 5000},
    {"recording_id": "a", "text": "x", "start": 0, "duration": 1},
    {"id": "a", "sources": [{"type": "file", "source": "good.wav"}]},
    {"id": "a", "type": "MixedCut", "tracks": []},
    {"id": "a", "type": "MonoCut", "recording": {"sources": []}},
    {"id": "a", "type": "MonoCut", "recording": {"sources": [{"type": "url", "source": "x"}]}},
    {"id": "a", "type": "MonoCut", "recording": None},
    {"id": "a", "type": "PaddingCut"},
    [1, 2],
    "text",
    7,
    None,
]
RAW = [
    b"", b"\n\n", b"{", b"[", b"nonsense", b"\xff\xfe\x00", b"{'id': 1}", b"[" * 100_000,
    b'{"a":' * 100_000, b"\x00" * 100, b'{"id": 1e999999}', b"9" * 10_000, b"a,b\n1,2\n",
    b"<xml></xml>", b"\x1f\x8b\x08broken", b'{"audio": "good.wav", "text": "\\ud800',
]  # fmt: skip


@pytest.mark.parametrize("command", ["evaluate", "align"])
@pytest.mark.parametrize("content", [*map(json.dumps, LINES), *RAW], ids=lambda c: str(c)[:40])
def test_manifests(capsys, place, tmp_path, command, content):
    manifest = place / "manifest.jsonl"
    manifest.write_bytes(content if isinstance(content, bytes) else content.encode())
    more = ["--model", "demo", "--methods", "energy", *QUIET] if command == "evaluate" else []
    fails(capsys, [command, manifest, *more, "--out", tmp_path / "out"], "manifest.jsonl")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["evaluate", "align", "analyse", "export"])
@pytest.mark.parametrize("name", ["missing", "missing.jsonl", "/dev/null", "/proc/self/mem", "."])
def test_places_without_a_manifest(capsys, tmp_path, command, name):
    given = name if name.startswith("/") else tmp_path / name
    more = {"evaluate": ["--model", "demo", *QUIET], "export": ["--format", "netcdf"]}
    fails(capsys, [command, given, *more.get(command, []), "--out", tmp_path / "out"])
    assert not (tmp_path / "out").exists()


ALIGNMENTS = {
    "json": [
        b"", b"{", b"null", b"1", b"[]", b"{}", b'"x"', b"[" * 100_000, b'{"words": 5}',
        b'{"words": [1]}', b'{"words": [{"word": "a"}]}', b'{"words": [["a", "x", "y"]]}',
        b'{"words": [["a", 2, 1]]}', b'{"words": [["a", NaN, 1]]}', b'{"segments": 7}',
        b'{"segments": [{"text": "a b"}]}', b'{"chunks": [{"text": "a b", "timestamp": [0, 1]}]}',
        b'{"words": [["a", ' + b"9" * 400 + b", 1]]}", b"\xff\xfe",
    ],
    "ctm": [b"", b"a 1 0.1\n", b"a 1 x 0.2 word\n", b"a 1 nan 0.2 word\n", b"a 1 0.1 -5 word\n",
            b"\xff\xfe\x00", b";; nothing\n", b"a 1 0 1 x\na 2 0 1 y\n"],
    "textgrid": [b"", b"nonsense", b"File type = \"ooTextFile\"\n", b"\xff\xfe\x00\x01"],
    "jsonl": [b"", b"{", b'{"words": []}', b'{"id": "a", "words": 5}', b"[1]", b"7"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("suffix", "content"),
    [(suffix, content) for suffix, contents in ALIGNMENTS.items() for content in contents],
    ids=lambda c: str(c)[:30],
)
def test_alignments(capsys, explained, tmp_path, suffix, content):
    file = tmp_path / f"tone.{suffix}"
    file.write_bytes(content)
    out = tmp_path / "out"
    fails(capsys, ["analyse", explained, "--alignments", file, "--out", out])
    assert not list(tmp_path.rglob("*.csv"))


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """A folder of one saved explanation."""
    from tests.analysis.planted import planted_result

    folder = tmp_path_factory.mktemp("explained")
    planted_result([" so", " no", "."]).save(folder / "tone.npz")
    return folder


def damaged(content, kind):
    if kind == "empty":
        return b""
    if kind == "half":
        return content[: len(content) // 2]
    if kind == "text":
        return b"nonsense " * 100
    if kind == "npy":
        saved = io.BytesIO()
        np.save(saved, np.zeros(3))
        return saved.getvalue()
    if kind == "other-npz":
        saved = io.BytesIO()
        np.savez(saved, a=np.zeros(3))
        return saved.getvalue()
    flipped = bytearray(content)
    for place in range(40, len(flipped), 97):
        flipped[place] ^= 0x55
    return bytes(flipped)


@pytest.mark.parametrize("kind", ["empty", "half", "text", "npy", "other-npz", "flipped"])
def test_saved_explanations(capsys, explained, tmp_path, kind):
    content = (explained / "tone.npz").read_bytes()
    (tmp_path / "tone.npz").write_bytes(damaged(content, kind))
    (tmp_path / "times.jsonl").write_text('{"id": "tone", "words": [["so", 0.1, 0.3]]}')
    out = tmp_path / "out"
    fails(capsys, ["analyse", tmp_path, "--alignments", tmp_path / "times.jsonl", "--out", out])


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["explan"], ["--version-of"], ["explain", "--nothing"], ["evaluate"], ["align"],
        ["analyse"], ["export"], ["reliability"], ["evaluate", "m.jsonl"], ["align", "m.jsonl"],
        ["explain", "--model"], ["explain", "a.wav"], ["evaluate", "--out"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_commands(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    fails(capsys, arguments)


@pytest.mark.parametrize("kind", BAD_AUDIO)
def test_audio_that_is_aligned(capsys, tmp_path, kind):
    (tmp_path / "a.wav").write_bytes(BAD_AUDIO[kind])
    (tmp_path / "m.jsonl").write_text(json.dumps({"id": "a", "audio": "a.wav", "text": "hello"}))
    out = tmp_path / "out.jsonl"
    fails(capsys, ["align", tmp_path / "m.jsonl", "--out", out, "--quiet"], "could be aligned")
    assert not out.exists()


RELIABILITY = {
    "--models": ("missing", "https://example.org/model", "good.wav"),
    "--manifest": ("missing.jsonl", "/dev/null", ".", "good.wav"),
    "--methods": ("", "spess", "spes,spes", "spes,,lime", "lime@", "lime@0", "lime@x", "spes@-5",
                  "lime@1.5", "lime@nan"),
    "--units": ("", "10", "ms", "-20ms", "0ms", "nanms", "20 s", "word,word", "20ms:", ":word",
                "20ms:word:cell", "syllable"),
    "--inputs": ("", "sound", "waveform,waveform"),
    "--runs": NUMBERS,
    "--limit": NUMBERS,
    "--seed": ("nan", "x", "", "1.5"),
    "--top": ("nan", "inf", "-1", "0", "1", "x", ""),
}  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value"),
    [(option, value) for option, values in RELIABILITY.items() for value in values],
)
def test_options_of_reliability(capsys, place, tmp_path, monkeypatch, option, value):
    monkeypatch.chdir(place)
    (place / "m.jsonl").write_text(json.dumps({"id": "a", "audio": "good.wav", "text": "hello"}))
    given = {"--models": "no/model", "--manifest": "m.jsonl", "--out": str(tmp_path / "out")}
    given[option] = value
    fails(capsys, ["reliability", *(f"{name}={own}" for name, own in given.items())])
    assert not list(tmp_path.rglob("*.csv"))
