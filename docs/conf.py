"""Sphinx: the guides in MyST Markdown, the reference from the docstrings.

Build with ``python -m sphinx -W --keep-going -b html docs docs/_build/html``; zoo has to be installed.
"""

import os
from importlib.metadata import version as installed_version

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

project = "zoo"
author = "the zoo authors"
copyright = "the zoo authors, Apache-2.0"
release = version = installed_version("transfer-zoo")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_dmath_double_inline = False

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Reference", "notes_style")]

html_theme = "furo"
html_title = "zoo"
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
