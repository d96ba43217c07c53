"""The pages of the API reference, written from the packages' lists of public names.

Every name of every ``__all__`` is shown once, with its members, under the shortest path that it is
imported by. GROUPS says on which page a name stands; a name that no page asks for by itself stands
on the page of its package, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

API = Path(__file__).resolve().parents[1] / "api"


@dataclass(frozen=True)
class Group:
    """A page: its file, title and introduction, single names, and packages shown whole."""

    file: str
    title: str
    about: str
    names: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


GROUPS = (
    Group(
        "explain",
        "Explain a recording",
        "The explainer, its settings, and what it returns.",
        names=(
            "captum_spes.SpeechToTextAttribution",
            "captum_spes.SpeechToTextAttributionResult",
            "captum_spes.Settings",
            "captum_spes.SpeechClassificationAttribution",
            "captum_spes.Word",
            "captum_spes.speech.Alternative",
            "captum_spes.speech.TranscriptError",
            "captum_spes.speech.GradientPrior",
            "captum_spes.speech.SpeechGame",
            "captum_spes.speech.parts.Part",
            "captum_spes.speech.plain.Unsaved",
        ),
    ),
    Group(
        "check",
        "Check a transcript",
        "Which words the model heard, and the rules by which that is decided.",
        names=(
            "captum_spes.EvidenceReport",
            "captum_spes.WordEvidence",
            "captum_spes.speech.VerdictRule",
            "captum_spes.speech.read_rules",
            "captum_spes.speech.shipped_rules",
            "captum_spes.speech.write_rules",
            "captum_spes.evaluation.calibrate",
        ),
    ),
    Group(
        "methods",
        "Methods",
        "What takes the place of SPES, the controls among them, and the list that names them.",
        names=(
            "captum_spes.speech.methods.Passes",
            "captum_spes.speech.methods.Extent",
            "captum_spes.speech.running.Runner",
        ),
        packages=("captum_spes.speech",),
    ),
    Group(
        "attr",
        "SPES for any model",
        "The method in Captum's terms, its estimators, and the parts to build another one.",
        names=(
            "captum_spes.attr.segmentation.Segmentation",
            "captum_spes.attr.prior.PriorMaps",
        ),
        packages=("captum_spes.attr",),
    ),
    Group(
        "masks",
        "Cut an input into patches",
        "Feature masks: which cells are removed together.",
        packages=("captum_spes.masks",),
    ),
    Group(
        "scores",
        "Scores and contrasts",
        "What is asked of the output when something is removed.",
        packages=("captum_spes.forward",),
    ),
    Group(
        "maps",
        "Work with maps",
        "Normalise, aggregate to words and bands, read off the strongest places.",
        packages=("captum_spes.maps",),
    ),
    Group(
        "metrics",
        "Judge maps",
        "Deletion and its kin, sanity checks, agreement, significance.",
        packages=("captum_spes.metrics",),
    ),
    Group(
        "compare",
        "Compare methods",
        "Methods compared on a corpus, and the standing benchmark.",
        packages=("captum_spes.evaluation", "captum_spes.benchmark"),
    ),
    Group(
        "words",
        "Words and sounds",
        "Times of words and phones, and statements about maps, each with a test.",
        packages=("captum_spes.alignment", "captum_spes.analysis"),
    ),
    Group(
        "corpus",
        "Many recordings",
        "Manifests, stores of explanations, and the workers that fill them.",
        packages=("captum_spes.corpus",),
    ),
    Group(
        "stability",
        "Training seeds",
        "Whether models that were trained alike are explained alike.",
        names=("captum_spes.stability.attributions.ModelAttributions",),
        packages=("captum_spes.stability",),
    ),
    Group(
        "report",
        "Tables, figures and pages",
        "Explanations and comparisons for people and for other tools.",
        packages=("captum_spes.report", "captum_spes.plotting", "captum_spes.pages"),
    ),
    Group(
        "models",
        "Models and families",
        "Loading a model, what methods ask of one, and the bundled models.",
        packages=("captum_spes.speech.models", "captum_spes.demo"),
    ),
    Group(
        "files",
        "Files and errors",
        "Audio, sound, and the errors that bad input ends with.",
        names=(
            "captum_spes.io.audio.load_audio",
            "captum_spes.io.audio.Excerpt",
            "captum_spes.io.sound.Sound",
            "captum_spes.errors.ArgumentError",
            "captum_spes.errors.ArgumentTypeError",
        ),
    ),
)
# In the order in which a name's home is sought: the shortest path first.
PACKAGES = ("captum_spes", *(package for group in GROUPS for package in group.packages))


def lookup(path: str) -> Any:
    """The object that a dotted path names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def public_paths() -> dict[str, str]:
    """Each path by which a public name can be imported, to the one that it is shown under."""
    homes: list[tuple[Any, str]] = []
    found: dict[str, str] = {}
    for package in PACKAGES:
        for name in importlib.import_module(package).__all__:
            path = f"{package}.{name}"
            value = lookup(path)
            home = next((own for other, own in homes if other is value and _named(value)), path)
            if home == path:
                homes.append((value, path))
            found[path] = home
    return found


def _named(value: Any) -> bool:
    """Whether an object is the same wherever it is found; small constants are not."""
    return inspect.isclass(value) or inspect.isroutine(value)


def shown() -> dict[str, list[str]]:
    """For each page the paths on it, in order."""
    homes = list(dict.fromkeys(public_paths().values()))
    asked = {name for group in GROUPS for name in group.names}
    pages: dict[str, list[str]] = {}
    paths = public_paths()
    done = set(asked)
    for group in GROUPS:
        own = []
        for package in group.packages:
            for path, home in paths.items():
                if path.rpartition(".")[0] == package and home not in done:
                    own.append(home)
                    done.add(home)
        pages[group.file] = [*own, *group.names]
    left = [home for home in homes if home not in done]
    if left:
        raise ValueError(f"no page of the API reference shows {', '.join(left)}")
    return pages


def _directive(path: str) -> str:
    value = lookup(path)
    if inspect.isclass(value):
        kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
        options = "" if "__init__" in vars(value) else "   :class-doc-from: class\n"
        foreign = [name for name in vars(value) if not _is_own(value, name)]
        if foreign:
            options += f"   :exclude-members: {', '.join(foreign)}\n"
        return f".. {kind}:: {path}\n{options}"
    if inspect.isroutine(value):
        return f".. autofunction:: {path}\n"
    holds = ", ".join(f"``{_shown(entry)}``" for entry in _entries(value))
    about = _comment(path)
    return f".. py:data:: {path}\n\n   {about}\n\n   {holds}\n"


def _is_own(value: type, name: str) -> bool:
    """Whether a member was written here; some are put into a class by the library it derives from."""
    module = getattr(vars(value)[name], "__module__", None) or "captum_spes"
    return name.startswith("_") or not inspect.isroutine(vars(value)[name]) or module.startswith("captum_spes")


def _entries(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict | tuple) else [value]


def _shown(entry: Any) -> str:
    """An entry of a constant, the same on every machine."""
    if isinstance(entry, Path):
        parts = entry.parts
        return "/".join(parts[parts.index("captum_spes") :])
    return entry.__name__ if inspect.isclass(entry) else str(entry)


def _comment(path: str) -> str:
    """What the source says right above a constant, or what its class is for."""
    package, _, name = path.rpartition(".")
    folder = Path(importlib.import_module(package).__file__ or "").parent
    for file in sorted(folder.rglob("*.py")):
        lines = file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if re.match(rf"{name}(: [^=]+)? = ", line):
                above = takewhile(lambda own: own.startswith("# "), reversed(lines[:number]))
                return " ".join(own[2:] for own in reversed(list(above))) or f"A {_kind(path)}."
    return f"A {_kind(path)}."


def _kind(path: str) -> str:
    return type(lookup(path)).__name__


def _first_sentence(path: str) -> str:
    value = lookup(path)
    if not _named(value):
        return _comment(path)
    text = inspect.getdoc(value) or ""
    return re.split(r"(?<=[.?])\s", " ".join(text.partition("\n\n")[0].split()))[0].rstrip(":")


def _page(group: Group, paths: list[str]) -> str:
    lines = [group.title, "=" * len(group.title), "", group.about, ""]
    lines += [".. list-table::", "   :widths: 35 65", "   :class: summary", ""]
    for path in paths:
        lines += [f"   * - :py:obj:`~{path}`", f"     - {_first_sentence(path)}"]
    lines.append("")
    for path in paths:
        module, _, name = path.rpartition(".")
        lines += [name, "-" * len(name), "", f"``from {module} import {name}``", "", _directive(path)]
    return "\n".join(lines)


def _index() -> str:
    lines = ["API reference", "=============", ""]
    lines += ["Every public name, by what it is for. Arguments say their shapes, units and defaults;"]
    lines += ["examples in the docstrings are run by the tests.", ""]
    lines += [".. toctree::", "   :hidden:", ""]
    lines += [f"   {group.file}" for group in GROUPS]
    lines += ["", ".. list-table::", "   :widths: 35 65", ""]
    for group in GROUPS:
        lines += [f"   * - :doc:`{group.file}`", f"     - {group.about}"]
    return "\n".join(lines) + "\n"


def _write(app: Any, config: Any) -> None:
    API.mkdir(exist_ok=True)
    pages = shown()
    texts = {f"{group.file}.rst": _page(group, pages[group.file]) for group in GROUPS}
    texts["index.rst"] = _index()
    for file in API.glob("*.rst"):
        if file.name not in texts:
            file.unlink()
    for name, text in texts.items():
        file = API / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Write the pages before Sphinx looks for them."""
    app.connect("config-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
