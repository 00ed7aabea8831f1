"""Methods as people write them, and results that are there."""

import pytest
from PIL import Image

from wct_jax import Options
from wct_jax.evaluation.methods import found, painted, parse_method


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("cascade", {"method": "cascade"}),
        ("cascade,transform=ot", {"method": "cascade", "transform": "ot"}),
        ("one-pass,structure=0.3", {"method": "one-pass", "structure": 0.3}),
        ("cascade,layers=relu2_1+relu1_1,alpha=0.5+1", {"layers": ["relu2_1", "relu1_1"], "alpha": [0.5, 1]}),
        ("cascade,swap_layers=relu3_1,eps=1e-4", {"swap_layers": ["relu3_1"], "eps": 1e-4}),
    ],
)
def test_methods(text, options):
    assert parse_method(text) == Options(**({"method": "cascade"} | options))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("paint", "method"),
        ("", "method"),
        ("cascade,alpha", "takes a name and options"),
        ("cascade,alpha=2", "alpha"),
        ("cascade,alpha=1,alpha=1", "takes a name and options"),
        ("cascade,colour=1", "colour"),
        ("cascade,content_size=64", "takes no content_size"),
    ],
)
def test_what_is_no_method(text, said):
    with pytest.raises(ValueError, match=said):
        parse_method(text)


def test_curves():
    methods = painted(["cascade", "one-pass", "cascade,transform=ot"], ["a"], [0.5, 1], [0, 0.5])
    assert [method.title for method in methods] == [
        *("cascade, alpha 0.5", "cascade", "one-pass, structure 0.5", "one-pass"),
        *("cascade, transform ot, alpha 0.5", "cascade, transform ot"),
    ]
    assert [method.name for method in painted(["cascade"], ["f/a.safetensors", "b"], [], [])] == [
        "a cascade",
        "b cascade",
    ]


def test_a_style_whose_name_looks_like_a_mark(tmp_path):
    for name in ("photo__brushstrokes", "photo__waves__abcdefghijkl", "photo__waves"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    method = found(tmp_path)
    for style in ("brushstrokes", "waves"):
        assert method.result_of(tmp_path / "photo.jpg", tmp_path / f"{style}.jpg").name == f"photo__{style}.png"


def test_results_with_and_without_a_mark(tmp_path):
    for name in ("a__x", "b__x__abcdefghij23"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    method = found(tmp_path)
    assert method.name == tmp_path.name
    assert method.result_of(tmp_path / "b.jpg", tmp_path / "x.png").name == "b__x__abcdefghij23.png"
    assert method.result_of(tmp_path / "c.jpg", tmp_path / "x.png") is None
