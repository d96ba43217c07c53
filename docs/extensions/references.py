"""Where references and links lead that Sphinx does not know by itself.

A docstring names a class by any path that it can be imported by, or by its name alone; the
reference shows it under one. Pages link to files as they lie in the repository, so that they can be
read there, too: on the site a link to a notebook leads to its page, one to a page of ``save_html``
to the copy beside the site, and other files are downloaded, as Sphinx does it.
"""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes

from extensions.api_reference import public_paths

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
_SHOWN = re.compile(r'href="(?P<page>[^"#]*api/[^"#]*)#(?P<name>captum_spes\.[^"]*)"')
_INTERVAL = re.compile(r"[-\d.]+ \[[-+\d.]+, [-+\d.]+\]")
# What a role can mean: a type that is called "file" is no attribute of that name.
_KINDS = {"class": ("class", "exception"), "exc": ("exception",), "func": ("function",)}
_RETURNED = re.compile(r"(?<!\*)\*([A-Z]\w+)\*(?!\*)")
# Of Python's own there is no source to show.
_BUILT_IN = re.compile(r'<li><a href="builtins\.html">builtins</a></li>\n?')
# Pages of the site that include a file from elsewhere.
SHOWN_AS = {
    "CHANGELOG": "changes",
    "captum_spes/demo/README": "bundled_models",
    "benchmarks/results/README": "results/measurements",
}


def _find(app: Any, env: Any, node: Any, content: nodes.Node) -> nodes.Node | None:
    """Resolve a Python name that is shown under another path."""
    target = node["reftarget"]
    if node.get("refdomain") != "py":
        return None
    if node["reftype"] == "mod":
        return content if target.partition(".")[0] == "captum_spes" else None
    entries = env.get_domain("py").objects
    name = next((found for found in [target, *_by_import(target)] if found in entries), None)
    if name is None:  # a name alone, where only one thing is called so
        kinds = _KINDS.get(node["reftype"])
        ends = [
            key
            for key, entry in entries.items()
            if key.endswith(f".{target}") and (kinds is None or entry.objtype in kinds)
        ]
        name = ends[0] if len(ends) == 1 else None
    if name is None:
        return None
    found = entries[name]
    uri = app.builder.get_relative_uri(node.get("refdoc", env.docname), found.docname)
    return nodes.reference(
        "", "", content, internal=True, refuri=f"{uri}#{found.node_id}", reftitle=name
    )


def _link_returned(app: Any, what: str, name: str, value: Any, options: Any, lines: Any) -> None:
    """Make references of the types that `Returns:` names between asterisks."""
    public = {path.rpartition(".")[2] for path in public_paths()}
    inside = False
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith(" "):
            inside = line.strip() == "Returns:"
        if inside:
            lines[number] = _RETURNED.sub(
                lambda found: f":class:`{found[1]}`" if found[1] in public else found[0], line
            )


def _by_import(target: str) -> list[str]:
    """The shown path of what a dotted path imports, also of a member of a class."""
    paths = public_paths()
    head, tail = target, ""
    while head.startswith("captum_spes"):
        if head in paths:
            return [paths[head] + tail]
        module, _, name = head.rpartition(".")
        try:
            value = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError):
            value = None
        if value is not None:
            same = [home for home in paths.values() if _same(home, value)]
            if same:
                return [same[0] + tail]
        head, tail = module, f".{name}{tail}"
    return []


def _same(home: str, value: Any) -> bool:
    module, _, name = home.rpartition(".")
    return getattr(importlib.import_module(module), name) is value


def _repository_links(app: Any, doctree: nodes.document) -> None:
    """Point links to files of the repository at what stands for them on the site."""
    here = app.env.docname
    # Pages outside docs, which Markdown and notebooks name by their path.
    for node in list(doctree.findall(addnodes.pending_xref)):
        if node.get("refdomain") == "doc" and node["reftarget"].startswith(str(ROOT)):
            own = os.path.relpath(node["reftarget"], ROOT)
            node["reftarget"] = SHOWN_AS.get(own, own)
            if not own.startswith("tutorials/") and own not in SHOWN_AS:
                node.replace_self(node.children)  # a file that the site does not show
    for node in list(doctree.findall(addnodes.download_reference)):
        file = Path(os.path.normpath((DOCS / here).parent / node["reftarget"]))
        if file.suffix == ".html" and file.parent == DOCS / "pages":
            label = [child.deepcopy() for child in node.children]
            up = "../" * here.count("/")
            node.replace_self(nodes.reference("", "", *label, refuri=f"{up}pages/{file.name}"))


def _whole_intervals(app: Any, doctree: nodes.document) -> None:
    """Keep a number and its interval, 60.8 [56.3, 66.0], on one line of a table."""
    for entry in doctree.findall(nodes.entry):
        for text in list(entry.findall(nodes.Text)):
            own = _INTERVAL.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
            if own != text:
                text.parent.replace(text, nodes.Text(own))


def _source_links(app: Any, name: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Point the source of a name back at the path that it is shown under.

    Sphinx knows one path for each file; here one name of a file is shown as of the package, and
    another as of a module.
    """
    if not name.startswith("_modules/"):
        return
    entries = app.env.get_domain("py").objects

    def right(link: re.Match[str]) -> str:
        own = link["name"]
        if own not in entries:
            own = next((found for found in _by_import(own) if found in entries), own)
        if own not in entries:
            tail = own.split(".")[-2:] if own.count(".") > 2 else own.split(".")[-1:]
            ends = (".".join(tail), tail[-1])
            same = [key for end in ends for key in entries if key.endswith(f".{end}")]
            own = same[0] if same else own
        return f'href="{link["page"]}#{own}"'

    context["body"] = _BUILT_IN.sub("", _SHOWN.sub(right, context["body"]))


def setup(app: Any) -> dict[str, bool]:
    """Connect both to Sphinx's steps."""
    app.connect("missing-reference", _find)
    # Before napoleon makes fields of the sections.
    app.connect("autodoc-process-docstring", _link_returned, priority=100)
    # Before Sphinx collects the files that are downloaded.
    app.connect("doctree-read", _repository_links, priority=100)
    app.connect("doctree-read", _whole_intervals)
    app.connect("html-page-context", _source_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
