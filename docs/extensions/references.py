"""Where references and links lead that Sphinx does not know by itself.

A docstring names a class by any path that it can be imported by, or by its name alone; the
reference shows it under one. Pages link to files as they lie in the repository, so that they can be
read there, too: on the site a link to a notebook leads to its page, one to a module to its source,
one to a page of ``save_html`` to the copy beside the site.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes

from extensions.api_reference import public_paths

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
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
        ends = [key for key in entries if key.endswith(f".{target}")]
        name = ends[0] if len(ends) == 1 else None
    if name is None:
        return None
    found = entries[name]
    uri = app.builder.get_relative_uri(node.get("refdoc", env.docname), found.docname)
    return nodes.reference(
        "", "", content, internal=True, refuri=f"{uri}#{found.node_id}", reftitle=name
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


def setup(app: Any) -> dict[str, bool]:
    """Connect both to Sphinx's steps."""
    app.connect("missing-reference", _find)
    # Before Sphinx collects the files that are downloaded.
    app.connect("doctree-read", _repository_links, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
