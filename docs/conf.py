"""Settings of Sphinx. scripts/build_docs.py gathers the pages in one folder and builds them with this file."""

import os

from autotune import __version__

project = "autotune"
copyright = "The autotune authors"  # noqa: A001 - Sphinx' name
release = version = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_click",
    "sphinx_copybutton",
]
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["conf.py", "results"]
templates_path = ["_templates"]
default_role = "code"  # of `words` in docstrings and in the help of verbs

autodoc_typehints = "none"  # numpydoc's sections give types and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
copybutton_prompt_text = "$ "

# Inventories are read from the network, so a build without one leaves them out: DOCS_ONLINE=1 scripts/docs
intersphinx_mapping = (
    {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "optuna": ("https://optuna.readthedocs.io/en/stable", None),
    }
    if os.environ.get("DOCS_ONLINE") == "1"
    else {}
)

html_theme = "pydata_sphinx_theme"
html_title = "autotune"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {"**": ["all-pages.html"]}
html_theme_options = {
    "navbar_center": [],  # the sidebar lists all pages
    "show_toc_level": 2,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
}
