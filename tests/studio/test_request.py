"""Requests: parts that contradict each other are refused before anything is read."""

import pytest

from wct_jax.painting.options import Options
from wct_jax.studio.request import Look, Request, Texture


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"files": ("a", "b"), "weights": (1.0,)}, "a weight for each style, got 1 for 2 styles"),
        ({"files": ("a", "b"), "weights": (0.0, 0.0)}, "`style_weights` must not all be 0"),
        ({"files": ("a",), "weights": (-1.0,)}, "style_weights must be at least 0"),
        ({"files": ("a", "b"), "weights": (1.0, 2.0), "masks": ("m",)}, "`mask` puts each in its place"),
        ({"files": ("a",), "masks": ("m", "n")}, "got 2 masks and 1 styles"),
        ({"files": ("a", "b", "c"), "masks": ("m",)}, "got 1 masks and 3 styles"),
        ({"files": ("a",), "style_masks": ("m", "n")}, "a `style_mask` for each style.* got 2 for 1 styles"),
        ({"files": (None, None), "masks": ("m", "n")}, "a style for one of the masks at least, got none"),
        ({"files": ("a", None)}, "got no mask"),
    ],
)
def test_looks(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        Look(**values)


@pytest.mark.parametrize(
    ("photo", "look", "options", "sentence"),
    [
        ("p", Look(), {}, "expected a `style`, or `whiten_only`, got neither"),
        ("p", Look(("a",)), {"whiten_only": True}, "`whiten_only` takes no `style`"),
        ("p", Look(("a", "b")), {"swap_layers": ["relu1_1"]}, "mixed styles have none"),
        (Texture(2, 2), Look(("a",)), {"preserve_color": "coral"}, "a texture has no photo"),
        (Texture(2, 2), Look(("a",)), {"strength": 0.5}, "`strength` keeps some of the photo"),
        (
            Texture(2, 2),
            Look(("a",)),
            {"method": "one-pass", "structure": (0, 0.5)},
            "`structure` keeps that of the photo, and `synthesize` has none",
        ),
        (Texture(2, 2), Look(("a",)), {"content_size": 5}, "`content_size` resizes photos"),
    ],
)
def test_requests(photo, look, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Request(photo, look, Options(**options))


def test_a_map_of_structure_is_for_one_pass():
    look = Look(("a",))
    with pytest.raises(ValueError, match="`structure` needs `method` one-pass, got the cascade"):
        Request("p", look, Options(method="cascade"), structure="map")
    with pytest.raises(ValueError, match="`synthesize` has none"):
        Request(Texture(2, 2), look, Options(method="one-pass"), structure="map")


@pytest.mark.parametrize(("size", "sentence"), [((0, 1), "width must be at least 1"), ((1, 1, -1), "seed must be")])
def test_textures(size, sentence):
    with pytest.raises(ValueError, match=sentence):
        Texture(*size)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"files": "a.jpg"}, "files must be a tuple, one for each style, got str"),
        ({"files": ("a",), "masks": (None,)}, "`mask` must be a picture for each region, got None"),
    ],
)
def test_a_look_is_of_tuples_of_pictures(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        Look(**values)
