"""Names for what the theme leaves without one, for screen readers."""

import re
from collections.abc import Callable
from typing import Any

from sphinx.application import Sphinx

# An entry of the sidebar that has pages of its own, and the arrow that shows them.
_ARROW = re.compile(r"(<a [^>]*>(?P<page>[^<]*)</a>\s*<details[^>]*>\s*<summary)>")


def _name_arrows(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: object) -> None:
    make: Callable[..., str] = context["generate_toctree_html"]

    def named(*args: Any, **kwargs: Any) -> str:
        return _ARROW.sub(r'\1 aria-label="Pages of \g<page>">', str(make(*args, **kwargs)))

    context["generate_toctree_html"] = named


def setup(app: Sphinx) -> dict[str, bool]:
    """Change the pages after the theme has set them up."""
    app.connect("html-page-context", _name_arrows, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
