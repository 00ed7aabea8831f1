"""Names that docstrings take from other projects, with the pages that describe them: nothing is fetched to build."""

import jax
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import stringify_annotation

_PYTHON = "https://docs.python.org/3/library/{}.html#{}"
_PAGES = {
    "jax.Array": "https://docs.jax.dev/en/latest/_autosummary/jax.Array.html#jax.Array",
    "jax.Device": "https://docs.jax.dev/en/latest/jax.html#jax.Device",
    "jax.typing.ArrayLike": "https://docs.jax.dev/en/latest/_autosummary/jax.typing.ArrayLike.html",
    "numpy.dtype": "https://numpy.org/doc/stable/reference/generated/numpy.dtype.html#numpy.dtype",
    "numpy.ndarray": "https://numpy.org/doc/stable/reference/generated/numpy.ndarray.html#numpy.ndarray",
    "optax.GradientTransformation": "https://optax.readthedocs.io/en/latest/api/transformations.html",
    "grain.DatasetIterator": "https://google-grain.readthedocs.io/en/latest/",
    "rich.console.Console": "https://rich.readthedocs.io/en/stable/reference/console.html#rich.console.Console",
} | {
    name: _PYTHON.format(name.rpartition(".")[0], name)
    for name in (
        "fractions.Fraction",
        "os.PathLike",
        "pathlib.Path",
        *(f"collections.abc.{name}" for name in ("Callable", "Collection", "Iterable", "Iterator", "Mapping")),
        "collections.abc.Sequence",
    )
}
# The modules in which these libraries define their public names.
_PRIVATE = {
    "jax.jaxlib._jax.Array": "jax.Array",
    "jaxlib._jax.Array": "jax.Array",
    "jaxlib._jax.Device": "jax.Device",
    "optax._src.base.GradientTransformation": "optax.GradientTransformation",
    "grain._src.python.dataset.dataset.DatasetIterator": "grain.DatasetIterator",
}
# A union of eight types, which Python has forgotten the name of.
_ARRAY_LIKE = stringify_annotation(jax.typing.ArrayLike, "smart")


def _name_unions(app: Sphinx, *_: object) -> None:
    for annotations in app.env.current_document.autodoc_annotations.values():
        for name, text in annotations.items():
            annotations[name] = text.replace(_ARRAY_LIKE, "~jax.typing.ArrayLike")


def _link(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.TextElement
) -> nodes.reference | None:
    target = node["reftarget"]
    page = _PAGES.get(_PRIVATE.get(target, target))
    return nodes.reference("", "", shown, refuri=page, internal=False) if page else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the handlers."""
    app.connect("missing-reference", _link)
    # Before autodoc puts the types into the descriptions.
    app.connect("object-description-transform", _name_unions, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
