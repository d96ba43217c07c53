"""Run every benchmark once at its smallest size, so that a change that breaks one is seen.

    python benchmarks/smoke.py                      # all; five minutes on two cores
    python benchmarks/smoke.py contrast layers      # some

Nothing is measured: numbers of so few samples mean nothing. Each script runs as a user runs it, in
a process of its own, and writes into a temporary folder; tables are made from the files in
`benchmarks/results`. The bundled models and recordings serve wherever they can. What lacks a
library or a program, or Whisper in `CAPTUM_SPES_SHARED`, is skipped. The exit status is 1 where a
script failed, after all others ran.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SHARED = Path(os.environ.get("CAPTUM_SPES_SHARED", ROOT.parent / "shared")).resolve()
DEMO = ROOT / "captum_spes" / "demo"
# What stands in braces in the commands; {out} is a folder of the script's own, {real} a folder of
# the bundled recordings in the form of the real ones.
PLACES = {
    "recordings": DEMO / "recordings" / "manifest.jsonl",
    "recording": DEMO / "recordings" / "test-00121.flac",
    "so_or_no": DEMO / "recordings" / "test-00262.flac",
    "model": DEMO / "model",
    "whisper": SHARED / "models" / "whisper-tiny.en",
    "results": HERE / "results",
}

# Arguments of each script, once for every time that it runs.
COMMANDS = {
    "bundled_model": ["--samples 20 --token-samples 10 --passes 1"],
    "check_in_use": [
        "long demo {recordings} --limit 1 --sounds 1 --minutes 0.1 --passes 1 --out {out}/a.json",
        "time demo {recordings} --limit 1 --repeats 1 --spes 10 --out {out}/b.json",
    ],
    "compare_methods": [
        "bundled_en_ablations --work {out}/work --results {out}/results --manifest {recordings} "
        "--limit 1 --samples 10 --token-samples 10 --methods spes-mean,energy"
    ],
    "conditions": [
        "run conditions {recordings} --ids test-00121 --conditions clean rate:1.4 "
        "--settings energy --out {out}",
        "run boundaries {recordings} --ids test-00121 --conditions clean --settings energy "
        "--out {out}",
        "tables {results} --out {out}/tables.md",
    ],
    "contrast": [
        "explain {recordings} --kinds 'so and no' --each 1 --samples 20 --token-samples 10 "
        "--out {out}/pairs.jsonl",
        "cost {so_or_no} No So --samples 4 --rounds 1",
        "table {results}/contrast.jsonl",
    ],
    "corpus_plan": ["--manifest {recordings} --utterances 100"],
    "corpus_store": ["--utterances 4 --samples 5 --store {out}/maps.h5"],
    "estimators_of_others": [
        "run demo {recordings} --ids test-00121 --ways ridge lars boosting "
        "'KernelSHAP of 20 per second' --samples 30 --out {out}/lines.jsonl"
    ],
    "evaluate_cost": ["--methods spes-efficient,energy --samples 10"],
    "few_passes": [
        "run demo {recordings} --set report --ids test-00121 --ways efficient:6 lime:6 "
        "--out {out}/lines.jsonl",
        "table {results}/few_passes_bundled.jsonl",
    ],
    "frame_by_frame": ["--one transducer pass --rounds 1"],
    "kinds_of_models": [
        "explain {recordings} --limit 1 --models transducer 'speech LLM' --methods energy "
        "--samples 10 --out {out}/maps.jsonl",
        "table {results}/kinds_of_models.jsonl",
    ],
    "layers": ["phones {recordings} --recordings 5 --methods energy --out {out}/one"],
    "listen": [
        "explain {real}/manifest.jsonl --model {model} --limit 1 --samples 10 "
        "--out {out}/lines.jsonl",
        "table {results}/listen.jsonl",
    ],
    "long_recordings": ["{whisper} {real}/manifest.jsonl --minutes 0.05 --samples 2"],
    "memory": ["--model {model} --audio {recording} --samples 4 --seconds 3 --tokens 10"],
    "overhead": ["small --samples 16 --runs 1", "bundled --regression 20 --runs 1"],
    "own_token_deletion": [
        "--model {model} --manifest {recordings} --methods spes,energy --limit 1 "
        "--out {out}/lines.jsonl"
    ],
    "planted_evidence": [
        "--spliced 1 --cues 1 --samples 10 --token-samples 10 --steps 1 --out {out}/lines.jsonl",
        "--table --out {results}/planted_evidence.jsonl",
    ],
    "plausibility": [
        "--folder {out} --corpus {recordings} --manifest {real}/manifest.jsonl --model {model} "
        "--limit 1 --samples 10 explain english german doubtful"
    ],
    "real_errors": [
        "find {real} --model {model} --out {out}/errors.jsonl",
        "explain {real} {out}/errors.jsonl --model {model} --count 1 --samples 10 --out {out}",
    ],
    "sample_efficiency": [
        "run demo {recordings} --schemes paper 'with gradients' --samples 10 --limit 1 "
        "--dtype float32 --out {out}/lines.jsonl",
        "table {results}/sample_efficiency_bundled.jsonl",
    ],
    "shared_gradients": ["--steps 1 --repeats 1"],
    "speech_llm": ["--kind library --rounds 1"],
    "split_half": ["--schemes efficient --samples 20 --limit 1"],
    "unheard_words": [
        "measure demo {recordings} --limit 1 --sounds 1 --out {out}/words.jsonl",
        "table {results}/unheard_words/bundled.jsonl.gz --resamples 20",
    ],
    "word_localization": [
        "--model {model} --manifest {real}/manifest.jsonl --clips 1 --samples 10 "
        "--patches-per-second 60 --out {out}/words.json"
    ],
}
# Scripts, and parts of those above.
NOT_RUN = {
    "bundled_studies": "copies what reliability.py made into the package",
    "corpus_kills": "kills runs at random moments and starts them again, for minutes",
    "corpus_throughput": "starts many processes and Ray, which takes a minute",
    "kinds_of_models picture": "explains with four models",
    "layers seeds": "trains six models",
    "plausibility tables": "compares what there are too few of in a few recordings",
    "reliability": "trains models for an hour",
}
# Beside what the tests need.
LIBRARIES = {
    "corpus_plan": ["simpy"],
    "estimators_of_others": ["sklearn", "shapiq"],
}
PROGRAMS = {"planted_evidence": ["espeak-ng"]}
AS_REAL = ("test-00121", "test-00262")
# Far more than any takes, on a busy machine too, so that one that hangs ends.
MOST_SECONDS = 1200
SHOWN_LINES = 30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of scripts; default: all")
    asked = parser.parse_args().names
    # What is not run may be a part of a script that is.
    parts = {name: name.split()[0] for name in (*COMMANDS, *NOT_RUN)}
    if unknown := set(asked) - set(parts.values()):
        parser.error(f"no such script: {', '.join(sorted(unknown))}")
    chosen = [name for name, script in sorted(parts.items()) if not asked or script in asked]
    failed = [name for name in chosen if not is_fine(name)]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return bool(failed)


def is_fine(name: str) -> bool:
    """Run a script, and say in a line what became of it; the end of its output if it failed."""
    if name in NOT_RUN:
        print(f"{name}: not run: {NOT_RUN[name]}")
        return True
    if missing := missing_of(name):
        print(f"{name}: skipped: {missing}")
        return True
    start = spent()
    with tempfile.TemporaryDirectory() as folder:
        failure = failure_of(name, Path(folder))
    seconds, own = (after - before for after, before in zip(spent(), start, strict=True))
    what = f"{'failed after ' if failure else ''}{seconds:.0f} s, {own:.0f} s of processors"
    print(f"{name}: {what}{failure}", flush=True)
    return not failure


def spent() -> tuple[float, float]:
    """Seconds of the clock, and of processors by what has run and ended."""
    times = os.times()
    return times.elapsed, times.children_user + times.children_system


def missing_of(name: str) -> str:
    """What the script needs and is not there."""
    for library in LIBRARIES.get(name, ()):
        if importlib.util.find_spec(library) is None:
            return f"{library} is not installed"
    for program in PROGRAMS.get(name, ()):
        if shutil.which(program) is None:
            return f"there is no {program}"
    if "{whisper}" in " ".join(COMMANDS[name]) and not PLACES["whisper"].exists():
        return "there is no Whisper in CAPTUM_SPES_SHARED"
    return ""


def failure_of(name: str, folder: Path) -> str:
    """Run all commands of a script; of the first that fails, what it was and how it ended."""
    out = folder / "out"
    out.mkdir()
    places = {**PLACES, "out": out, "real": real_recordings(folder / "real")}
    for command in COMMANDS[name]:
        arguments = [part.format(**places) for part in shlex.split(command)]
        status, output = finished([sys.executable, str(HERE / f"{name}.py"), *arguments])
        if status:
            end = output.splitlines()[-SHOWN_LINES:]
            return "\n  ".join(["", f"{name}.py {command}", *end])
    return ""


def finished(command: list[str]) -> tuple[int, str]:
    """Exit status and output; what runs for too long is ended, with all that it started."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        output += f"\nIt did not end in {MOST_SECONDS} s."
    return process.returncode, output


def real_recordings(folder: Path) -> Path:
    """Two of the bundled recordings with a manifest in the form of the real ones', for scripts that
    read that form; the model is taken to write what is said."""
    folder.mkdir()
    bundled = PLACES["recordings"].read_text(encoding="utf-8").splitlines()
    lines = [real_line(line) for line in map(json.loads, bundled) if line["name"] in AS_REAL]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "manifest.jsonl").write_text(text, encoding="utf-8")
    return folder


def real_line(line: dict) -> dict:
    words = [
        {"word": word.lower(), "start": start, "end": end} for word, start, end in line["words"]
    ]
    return {
        "id": line["name"], "file": str(PLACES["recordings"].parent / line["audio"]),
        "text": line["text"], "seconds": line["seconds"], "speaker": line["voice"]["name"],
        "words": words, "whisper_tiny_en": line["text"], "wer_tiny_en": 0.0,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
