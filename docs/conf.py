"""Sphinx builds the documentation with this: `uv run nox --session docs`."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

# The curves need no accelerator.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "lrtrain"
author = "The lrtrain authors"
version = release = version_of("lrtrain")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "generated", "mathml"]
exclude_patterns = ["_build", "_generated"]
html_theme = "furo"
html_title = f"lrtrain {release}"
html_static_path = ["_static"]
html_css_files = ["lrtrain.css"]
html_show_sourcelink = False
html_copy_source = False
highlight_language = "text"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
