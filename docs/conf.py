"""The documentation's settings for Sphinx: `sphinx-build -W -n docs docs/_build`."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

import wct_jax  # noqa: E402 - only found now

project = "wct_jax"
version = release = wct_jax.__version__
author = "the authors of wct_jax"
copyright = f"{author}, Apache License 2.0"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "attributes",
    "commands",
    "elsewhere",
    "mathml",
    "readable",
    "routes",
]
exclude_patterns = ["_build", "_ext", "_templates"]
nitpicky = True
highlight_language = "none"  # Where a docstring or a directive names no language.
smartquotes_action = "D"  # Dashes alone: quotes are there to be copied.

# Docstrings put names and code in single backticks: links where they name something documented, code where they do not.
default_role = "py:obj"
nitpick_ignore_regex = [("py:obj", ".*")]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True

# Markdown as GitHub shows it: links to headings, one page to another by its file.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

# Notebooks run at every build, on the packaged model and the pictures of examples/.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

html_theme = "sphinx_book_theme"
html_title = "wct_jax"
html_copy_source = False
html_show_sphinx = False
html_favicon = "../wct_jax/server/page/icon.svg"
html_context = {"default_mode": "auto"}
templates_path = ["_templates"]
# The theme's, but for logo.html.
html_sidebars = {"**": ["logo.html", "icon-links.html", "search-button-field.html", "sbt-sidebar-nav.html"]}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "navbar_persistent": [],
    "repository_url": "https://github.com/wct-jax/wct_jax",
    "show_toc_level": 2,
    "use_download_button": False,
    "use_repository_button": True,
}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Files outside docs/ that are pages of the site. Links to them stay as GitHub needs them.
_PAGES = {"benchmarks/README": "benchmarks", "CONTRIBUTING": "contributing", "CHANGELOG": "changelog"}
_LINK = re.compile(r"\]\((?:\.\./)+(" + "|".join(_PAGES) + r")\.md(#[\w-]+)?\)")


def _link_to_pages(app: object, docname: str, source: list[str]) -> None:
    source[0] = _LINK.sub(lambda link: f"](/project/{_PAGES[link[1]]}.md{link[2] or ''})", source[0])


def setup(app: object) -> None:
    """Connect what is defined here."""
    app.connect("source-read", _link_to_pages)
