"""Types of attributes, which docstrings leave to the annotations beside them."""

import inspect
import re

from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

_ATTRIBUTE = re.compile(r"    (\w+):(?= |$)")


def _add_types(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    if what != "class" or "Attributes:" not in lines:
        return
    types = inspect.get_annotations(value, eval_str=True)
    for number in range(lines.index("Attributes:") + 1, len(lines)):
        if lines[number] and not lines[number].startswith(" "):
            return
        found = _ATTRIBUTE.match(lines[number])
        if found and found[1] in types:
            kind = stringify_annotation(types[found[1]], "smart")
            lines[number] = f"    {found[1]} ({kind}){lines[number][found.end() - 1 :]}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the handler, before Napoleon reads the docstring."""
    app.connect("autodoc-process-docstring", _add_types, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
