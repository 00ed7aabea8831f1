"""Options: checked when made, equal by value, to and from JSON."""

import dataclasses
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wct_jax.checks.arguments import check_patch
from wct_jax.painting.color import _WAYS
from wct_jax.painting.options import COLORS, TRANSFORMS, Options
from wct_jax.transform.maps import TRANSFORMS as MAPS

fraction = st.floats(0, 1)
options = st.builds(
    Options,
    method=st.just("one-pass"),
    structure=fraction | st.lists(fraction, min_size=2, max_size=5),
    shrinkage=fraction,
    layers=st.none() | st.lists(st.sampled_from(["relu1_1", "relu2_1"]), min_size=1, unique=True),
    alpha=fraction | st.lists(fraction, min_size=1, max_size=5),
    strength=fraction,
    eps=fraction,
    transform=st.sampled_from(TRANSFORMS),
    patch=st.integers(3, 9),
    stride=st.integers(1, 3),
    passes=st.none() | st.integers(1, 9),
    margin=st.integers(0, 99),
    preserve_color=st.none() | st.sampled_from(COLORS),
    content_size=st.none() | st.integers(1, 9999),
)


@given(options)
def test_json_there_and_back(one):
    again = Options.from_json(one.to_json())
    assert (again, hash(again), again.digest) == (one, hash(one), one.digest)
    assert Options(**one.changed) == one


def test_values_are_plain_and_equal_by_value():
    one = Options(layers="relu1_1", alpha=np.float32([0.5]), margin=np.int64(3), eps=jnp.float32(0.25), strength=1)
    assert one == Options(layers=("relu1_1",), alpha=0.5, margin=3, eps=0.25)
    assert all(type(value) in (float, int, str, bool, tuple, type(None)) for value in vars(one).values())
    assert one.changed == {"layers": ("relu1_1",), "alpha": 0.5, "margin": 3, "eps": 0.25}
    assert one != dataclasses.replace(one, margin=4)
    assert one.digest != dataclasses.replace(one, margin=4).digest


def test_names_are_those_of_the_library():
    assert set(TRANSFORMS) == set(MAPS)
    assert set(COLORS) == set(_WAYS)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"alpha": 1.5}, "alpha must be in 0..1, got 1.5"),
        ({"alpha": [0.5, "1"]}, "alpha must be a number, got str"),
        ({"strength": float("nan")}, "strength must be in 0..1, got nan"),
        ({"method": "two-pass"}, "method must be one of cascade, one-pass, gatys, elad-milanfar, got 'two-pass'"),
        (
            {"structure": 0.5, "method": "cascade"},
            "`structure` needs `method` one-pass, got the cascade",
        ),
        ({"structure": [0, 2], "method": "one-pass"}, "structure must be in 0..1, got 2"),
        ({"shrinkage": -0.5}, "shrinkage must be in 0..1, got -0.5"),
        ({"eps": -1}, "eps must be in 0..1, got -1"),
        ({"layers": []}, "there is no layer to stylize: layers must have one at least"),
        ({"layers": ["relu1_1", "relu1_1"]}, "each layer can be named once, got relu1_1, relu1_1"),
        ({"layers": [1]}, "layers must be names such as relu4_1"),
        ({"transform": "pca"}, "transform must be one of zca, ot, cholesky, adain, got 'pca'"),
        ({"preserve_color": "hue"}, "preserve_color must be one of luminance, histogram, coral, got 'hue'"),
        ({"passes": 1001}, "passes must be at most 1000, got 1001"),
        ({"margin": 1.5}, "margin must be an integer, got 1.5"),
        ({"content_size": 0}, "content_size must be at least 1, got 0"),
        ({"stride": 4}, "`stride` must be from 1 to `patch`, 3, got 4"),
        ({"whiten_only": "yes"}, "whiten_only must be True or False, got str"),
        ({"whiten_only": True, "transform": "ot"}, "`whiten_only` is a transform of its own"),
        ({"whiten_only": True, "swap_layers": ["relu1_1"]}, "`swap_layers` needs the patches of a style"),
    ],
)
def test_mistakes_are_a_sentence(values, sentence):
    for make in (lambda: Options(**values), lambda: Options.from_json(json.dumps(values))):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            make()


def test_what_is_traced_is_no_option():
    for name in ("alpha", "structure", "strength", "eps", "shrinkage"):
        with pytest.raises(ValueError, match=f"{name} must be a plain number"):
            jax.eval_shape(lambda x, name=name: Options(**{name: x}) and x, 0.5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "must be a JSON object"), ("[1]", "must be a JSON object"), ('{"alfa": 1}', "got 'alfa'")],
)
def test_bad_json_is_refused(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        Options.from_json(text)


def test_the_digest_is_the_same_in_every_process():
    code = "from wct_jax.painting.options import Options; print(Options(margin=16).digest, 'jax' in sys.modules)"
    out = subprocess.check_output([sys.executable, "-c", f"import sys; {code}"], text=True)
    assert out.split() == [Options(margin=16).digest, "False"]


def test_patches():
    assert check_patch(3, 3) == (3, 3)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        check_patch(3, 0)
