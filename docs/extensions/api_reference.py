"""The pages of the API reference, written from the packages' lists of public names.

Every name of every ``__all__`` is shown once, with its members, under the shortest path that it is
imported by. ``api_groups`` says on which page a name stands; a name that no page asks for by itself
stands on the page of its package, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import captum_spes
from extensions.api_groups import GROUPS, Group

API = Path(__file__).resolve().parents[1] / "api"

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
    packages = [own.name for own in pkgutil.iter_modules(captum_spes.__path__) if own.ispkg]
    for name in (f"captum_spes.{package}" for package in packages):
        if getattr(importlib.import_module(name), "__all__", ()) and name not in PACKAGES:
            raise ValueError(f"no page of the API reference shows {name}: see api_groups.py")
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
    """Whether a member was written here: libraries put some into classes derived from theirs."""
    module = getattr(vars(value)[name], "__module__", None) or "captum_spes"
    return (
        name.startswith("_")
        or not inspect.isroutine(vars(value)[name])
        or module.startswith("captum_spes")
    )


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
    value = lookup(path)
    return "file or folder of the package" if isinstance(value, Path) else type(value).__name__


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
        lines += [
            name,
            "-" * len(name),
            "",
            f"``from {module} import {name}``",
            "",
            _directive(path),
        ]
    return "\n".join(lines)


def _index() -> str:
    lines = ["API reference", "=============", ""]
    lines += [
        "Every public name, by what it is for. Arguments say their shapes, units and defaults;"
    ]
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
        if file.name not in texts and file.name != "command_line.rst":
            file.unlink()
    for name, text in texts.items():
        file = API / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Write the pages before Sphinx looks for them."""
    app.connect("config-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
