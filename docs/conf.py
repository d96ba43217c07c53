"""How the site is built: ``sphinx-build -W -b html docs build/site``, without a network."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

project = "captum_spes"
author = "The captum_spes developers"
copyright = author
version = release = installed_version("captum-spes")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "extensions.sources",
    "extensions.api_reference",
    "extensions.command_line",
    "extensions.references",
    "extensions.mathml",
]
# How the folder is read on a code forge, and what is no page.
exclude_patterns = ["README.md"]
root_doc = "index"

# Pages are Markdown, headings have the anchors that code forges give them, and formulas are
# between dollars.
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
# Tutorials are shown as they are stored: tutorials/run.py executes them.
nb_execution_mode = "off"
nb_merge_streams = True

# Docstrings are written as Captum's are.
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autoclass_content = "both"
# Those of matplotlib and torch speak of their own pages.
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
# Docstrings say types in words, with shapes and units.
autodoc_typehints = "none"
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 76
add_module_names = False

# Every reference must lead somewhere; names of other packages would need the network.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!captum_spes\.).*"),
    # Made and taken by the package alone.
    (r"py:class", r"captum_spes\..*\.(CoalitionScores|Window|Record|Side|Run)"),
]

html_theme = "furo"
html_title = "captum_spes"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "mathml"
pygments_style = "friendly"
pygments_dark_style = "monokai"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
