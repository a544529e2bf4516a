"""Configuration of the documentation site: ``python -m docs.build`` builds it (Sphinx, MyST, Furo), without a network.

The source folder is the repository, so that pages link to each other, to notebooks and to results by the same relative
paths here and where the repository is shown.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lightning_ita import __version__  # noqa: E402

project = "lightning_ita"
author = "the authors of lightning_ita"
version = release = __version__
language = "en"
smartquotes = False  # they would make dashes of --options
root_doc = "docs/index"
extensions = [
    "myst_nb",
    "docs.extensions.equations",
    "docs.extensions.drawings",
    "docs.extensions.engines",
    "docs.extensions.generated",
    "docs.extensions.api",
]

# Of the repository only what is to be read; no folder is entered that holds none of it.
READ = {"docs", "notebooks", "results", "benchmarks", "CONTRIBUTING.md", "CHANGELOG.md"}
include_patterns = [
    "docs/**.md",
    "notebooks/*.ipynb",
    "results/**.md",
    "benchmarks/growth.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
]
exclude_patterns = [entry.name for entry in ROOT.iterdir() if entry.name not in READ]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
# Outputs are committed with the notebooks, and a test runs them.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js: dict[str, object] = {}  # else pages load scripts from elsewhere
suppress_warnings = ["myst.xref_ambiguous"]

html_theme = "furo"
html_title = f"lightning_ita {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b5cad",
        "color-brand-content": "#0b5cad",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7db7f2",
        "color-brand-content": "#7db7f2",
    },
}
pygments_style = "default"
pygments_dark_style = "github-dark"
