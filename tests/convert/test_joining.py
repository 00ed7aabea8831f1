"""Encoders joined: each layer is read from its own, and what does not go together is refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wct_jax import extract_style, stylize, white_style
from wct_jax.convert.joining import join
from wct_jax.networks.digest import encoder_digest
from wct_jax.networks.vgg import LAYERS

pytestmark = pytest.mark.usefixtures("quick", "directly")


@pytest.fixture
def single(random_model):
    def single(widths, layers, seed=0, **document):
        auxiliary = {
            layer: {"kernel": jnp.full((1, 1, width, 9), seed, jnp.float32), "bias": jnp.zeros(9)}
            for layer, width in zip(LAYERS, widths, strict=False)
        }
        model = random_model(widths, layers, seed)
        return dataclasses.replace(model, auxiliary=auxiliary, document=json.dumps(document))

    return single


@pytest.fixture
def models(single):
    shallow, deep = ({"kind": "k", "file": f"{name}.pth"} for name in ("shallow", "deep"))
    return {
        "shallow.pth": single((7,), ["relu1_1"], 1, source=shallow, decoders={"relu1_1": {}}),
        "deep.pth": single((4, 6, 8), ["relu3_1", "relu2_1"], 3, source=deep, licence="a"),
    }


@pytest.mark.slow
def test_each_layer_is_read_from_its_own_encoder(models, rng):
    joined = join(models)
    shallow, deep = models.values()
    assert joined.layers == ("relu3_1", "relu2_1", "relu1_1")
    assert (joined.widths, joined.widths_at("relu1_1"), joined.channels_at("relu1_1")) == ((4, 6, 8), (7,), 7)
    content, picture = (rng.random(shape, np.float32) for shape in ((20, 27, 3), (18, 16, 3)))
    features = jax.jit(joined.encode)(picture)
    assert [features[layer].shape[-1] for layer in LAYERS[:3]] == [7, 6, 8]
    np.testing.assert_array_equal(joined.encode(picture, ["relu1_1"])["relu1_1"], shallow.encode(picture)["relu1_1"])
    assert white_style(joined).moments["relu1_1"].mean.shape == (7,)
    image = stylize(deep, content, extract_style(deep, picture))
    expected = stylize(shallow, image, extract_style(shallow, picture))
    np.testing.assert_array_equal(stylize(joined, content, extract_style(joined, picture)), expected)
    through = jax.jit(lambda model, x: stylize(model, x, extract_style(model, picture)))(joined, content)
    np.testing.assert_allclose(through, expected, atol=2e-3)
    with pytest.raises(ValueError, match="encoder has layers"):
        joined.encode(picture, ["relu1_1", "relu4_1"])


def test_what_is_kept_of_each(models):
    joined = join(models)
    assert float(joined.auxiliary["relu1_1"]["kernel"].max()) == 1
    assert float(joined.auxiliary["relu2_1"]["kernel"].max()) == 3
    assert joined.auxiliary["relu1_1"]["kernel"].shape == (1, 1, 7, 9)
    assert joined.metadata["source"]["file"] == "deep.pth"
    assert joined.metadata["sources"] == {"relu1_1": {"source": {"kind": "k", "file": "shallow.pth"}}}
    assert joined.metadata["decoders"] == {"relu1_1": {}}
    assert joined.digest == encoder_digest(joined.encoder, joined.encoders)
    assert join(dict(reversed(models.items()))).digest == joined.digest


def test_what_cannot_be_joined(models, single):
    with pytest.raises(ValueError, match=r"shallow.pth and b both end at relu1_1: expected each encoder to end"):
        join({**models, "b": models["shallow.pth"]})
    with pytest.raises(ValueError, match="a has several encoders already"):
        join({"a": join(models), "b": single((2, 3), [])})
    with pytest.raises(ValueError, match=r"deep.pth has a decoder of relu2_1, which would be read from b"):
        join({**models, "b": single((2, 3), [])})
    wide = dataclasses.replace(single((2, 3), ["relu1_1"]), auxiliary={})
    with pytest.raises(ValueError, match=r"b has a decoder of relu1_1, .* read from a: expected decoders of relu2_1"):
        join({"a": single((4, 6, 8), []), "b": wide})
