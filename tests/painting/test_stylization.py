"""Both methods: their order, their sizes, and that they are pure functions of pytrees."""

import copy
import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from wct_jax import extract_style, stylize, synthesize
from wct_jax.networks.autoencoder import decode_block
from wct_jax.painting.plan import per_layer
from wct_jax.transform.whitening import wct

pytestmark = pytest.mark.usefixtures("quick", "directly")


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(2)
    return rng.uniform(size=(21, 18, 3)).astype(np.float32), rng.uniform(size=(16, 24, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def style(model, pictures):
    return extract_style(model, pictures[1])


def by_hand(model, content, style_image, levels):
    """Encode, transform, decode, crop: the cascade written out."""
    image = content
    for layer, alpha in levels:
        feature, target = (jax.jit(model.encode, static_argnums=1)(x, (layer,))[layer] for x in (image, style_image))
        image = jax.jit(model.decode, static_argnums=0)(layer, wct(feature, target, alpha))
        image = image[: content.shape[0], : content.shape[1]]
    return image


@pytest.mark.slow
def test_the_cascades_levels_run_deepest_first(model, pictures, style):
    content, picture = pictures
    expected = by_hand(model, content, picture, [("relu4_1", 0.3), ("relu2_1", 0.8), ("relu1_1", 0.5)])
    layers = ["relu1_1", "relu4_1", "relu2_1"]
    result = stylize(model, content, style, [0.5, 0.3, 0.8], layers=layers, method="cascade")
    np.testing.assert_allclose(result, expected, atol=2e-3)


def test_plans_pair_layers_with_their_alpha():
    layers = ["relu2_1", "relu5_1", "relu1_1"]
    assert per_layer("alpha", layers, 0.5) == [("relu5_1", 0.5), ("relu2_1", 0.5), ("relu1_1", 0.5)]
    assert per_layer("alpha", layers, [0.5]) == per_layer("alpha", layers, 0.5)
    assert per_layer("alpha", layers, (0.1, 0.2, 0.3)) == [("relu5_1", 0.2), ("relu2_1", 0.1), ("relu1_1", 0.3)]


@pytest.mark.parametrize("size", [(1, 1), (33, 2)])
@pytest.mark.slow
def test_the_result_has_the_contents_size(model, style, size, method):
    result = stylize(model, np.full((*size, 3), 0.3, np.float32), style, method=method)
    assert result.shape == (*size, 3)
    assert np.isfinite(result).all()


@pytest.mark.slow
def test_flat_photos_all_become_the_styles_mean(model, pictures, style, method):
    last = model.painter if method == "one-pass" else model.decoders["relu1_1"]
    mean = decode_block("relu1_1", last, jnp.broadcast_to(style.moments["relu1_1"].mean, (1, 1, 4)))
    for level in (0.0, 0.42, 1.0):
        flat = stylize(model, np.full((21, 18, 3), level, np.float32), style, method=method)
        np.testing.assert_allclose(flat, np.broadcast_to(mean, flat.shape), atol=1e-4)


def test_flat_style_is_no_nan(model, pictures, method):
    style = extract_style(model, np.full((8, 8, 3), 0.5, np.float32))
    assert np.isfinite(stylize(model, pictures[0], style, method=method)).all()


@pytest.mark.slow
def test_jit_vmap_and_batches_agree(model, pictures, style, method):
    content = np.stack([pictures[0], pictures[0][::-1]])
    options = {"method": method, **({"structure": 0.5, "shrinkage": 0.1} if method == "one-pass" else {})}
    expected = np.stack([stylize(model, image, style, **options) for image in content])
    compiled = jax.jit(lambda model, x, style: stylize(model, x, style, **options))
    np.testing.assert_allclose(compiled(model, content[0], style), expected[0], atol=2e-3)
    options["layers"] = ["relu3_1"] if method == "cascade" else ["relu3_1", "relu2_1"]
    batched = jax.jit(jax.vmap(lambda x: stylize(model, x, style, **options)))
    shallow = np.stack([stylize(model, image, style, **options) for image in content])
    np.testing.assert_allclose(batched(content), shallow, atol=2e-3)
    np.testing.assert_allclose(stylize(model, content, style, **options), shallow, atol=2e-3)


@pytest.mark.slow
def test_differentiable(model, pictures, method):
    options = {"method": method, "layers": ["relu3_1"]}
    if method == "one-pass":
        options |= {"layers": ["relu3_1", "relu1_1"], "structure": 0.3, "shrinkage": 0.1}
    # In float64, where a difference of values says something: ReLU and pooling have kinks everywhere.
    with jax.enable_x64(True):
        model = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model)
        content, picture = (jnp.asarray(x, jnp.float64) for x in pictures)
        style = extract_style(model, picture, options["layers"])

        @jax.jit
        def loss(model, content, style, alpha):
            return jnp.mean(stylize(model, content, style, alpha, **options) ** 2)

        arguments = (model, content, style, 0.7)
        gradients = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*arguments)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
        for position in (1, 2, 3):
            step = jax.tree.map(lambda slope: 1e-7 * jnp.sign(slope), gradients[position])
            up, down = (
                loss(
                    *(
                        jax.tree.map(lambda x, dx, sign=sign: x + sign * dx, value, step) if i == position else value
                        for i, value in enumerate(arguments)
                    )
                )
                for sign in (1, -1)
            )
            change = sum(map(jnp.vdot, jax.tree.leaves(gradients[position]), jax.tree.leaves(step)))
            np.testing.assert_allclose(up - down, 2 * change, rtol=1e-3)


def test_pixels_without_weight_do_not_count(model, pictures, style, method):
    options = {"layers": ["relu1_1"], "method": method}
    content = pictures[0].copy()
    weights = np.ones(content.shape[:2], np.float32)
    weights[:, 9:] = 0
    one = stylize(model, content, style, content_weights=weights, **options)
    content[:, 12:] = 1
    other = stylize(model, content, style, content_weights=weights, **options)
    np.testing.assert_allclose(other[:, :8], one[:, :8], atol=1e-5)
    assert np.abs(other - stylize(model, content, style, **options)).max() > 1e-2


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_on_request(model, pictures, style, method, dtype):
    options = {"method": method, "layers": ["relu2_1"]}
    if method == "one-pass":
        options |= {"layers": ["relu2_1", "relu1_1"], "structure": 0.5, "shrinkage": 0.1, "strength": 0.9}
    result = stylize(model, jnp.asarray(pictures[0], dtype), style, **options)
    assert result.dtype == dtype
    exact = stylize(model, pictures[0], style, **options)
    assert np.abs(result.astype(jnp.float32) - exact).mean() < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": ["relu1_1", "relu1_1"]}, "named once"),
        ({"layers": []}, "no layer"),
        ({"layers": ["relu6_1"]}, "no decoder for relu6_1"),
        (
            {"layers": ["relu5_1"], "method": "one-pass"},
            "the painter does not reach relu5_1, expected one of relu4_1, ",
        ),
        (
            {"structure": 0.5, "method": "cascade"},
            "`structure` needs `method` one-pass, got the cascade",
        ),
        ({"structure": [0.5, 0.5], "method": "one-pass"}, "structure must be one number or one for each of 4 layers"),
        ({"structure": -1, "method": "one-pass"}, r"structure must be in 0\.\.1, got -1"),
        ({"structure_map": np.ones((2, 2)), "method": "one-pass"}, r"structure_map must broadcast to \(21, 18\)"),
        ({"shrinkage": 1.5}, r"shrinkage must be in 0\.\.1, got 1\.5"),
        ({"method": "two-pass"}, "method must be one of cascade, one-pass, gatys, elad-milanfar, got 'two-pass'"),
        ({"alpha": [1.0, 0.5]}, "one for each of 5 layers, got 2"),
        ({"content_weights": np.ones((2, 2), np.float32)}, "weights must broadcast"),
        ({"content": np.zeros((4, 4, 3), np.uint8)}, "content must be floating point"),
        ({"content": np.zeros((4, 4, 1), np.float32)}, "content must be an image"),
    ],
)
def test_bad_calls_are_refused(model, pictures, style, arguments, message):
    with pytest.raises(ValueError, match=message):
        stylize(**({"model": model, "content": pictures[0], "style": style} | arguments))


def test_a_style_of_another_encoder_is_refused(model, pictures, style):
    with pytest.raises(ValueError, match="another encoder"):
        stylize(dataclasses.replace(model, digest="0" * 64), pictures[0], style)
    shallow = extract_style(model, pictures[1], ["relu1_1"])
    with pytest.raises(ValueError, match="style has no statistics for relu2_1"):
        stylize(model, pictures[0], shallow, layers=["relu2_1"])


def test_a_batch_spread_over_devices(model, pictures, style, method):
    content = np.stack([pictures[0]] * 4)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    options = {"method": method, "layers": ["relu2_1"]}
    result = stylize(model, jax.device_put(content, sharding), style, **options)
    assert result.sharding.is_equivalent_to(sharding, 4)
    np.testing.assert_allclose(result, stylize(model, content, style, **options), atol=1e-3)


@pytest.mark.slow
def test_progress_is_told_unless_jax_is_tracing(model, pictures, style, method):
    told, content, how = [], pictures[0][:4, :4], {"method": method}
    how["progress"] = told.append

    def repaint(x=content, alpha=1.0, layers="relu1_1"):
        return stylize(model, x, style, alpha, layers=layers, **how).sum()

    jax.jit(repaint)()
    jax.eval_shape(repaint, content)
    jax.vmap(repaint)(content[None])
    jax.grad(repaint)(jnp.asarray(content))
    jax.grad(repaint, 1)(jnp.asarray(content), 0.5)
    jax.jit(lambda style: synthesize(model, style, 4, 4, layers="relu1_1", **how))(style)
    assert told == []
    repaint(layers=["relu1_1", "relu2_1"])
    assert told == ["relu2_1", "relu1_1"]
    synthesize(model, style, 4, 4, layers="relu1_1", passes=2, **how)
    assert told[2:] == ["relu1_1"] * 2


def test_nothing_is_compiled_again(model, pictures, style, caplog, method):
    weights = np.linspace(0, 1, 18, dtype=np.float32)
    how = {"layers": ["relu1_1"], "method": method}
    options = how | {"content_weights": weights, "mask": [weights], "alpha_map": weights}
    stylize(model, pictures[0], [style], 0.5, **options)
    stylize(model, pictures[0], style, 0.5, **how)
    with jax.log_compiles():
        for alpha in (0.25, np.float32(0.5), np.asarray([0.75])):
            stylize(model, pictures[0], [style], alpha, **options)
            stylize(model, pictures[0], style, alpha, progress=lambda layer: None, **how)
    assert not [message for message in caplog.messages if "Compiling" in message and "jit(stage)" not in message]


def test_models_styles_and_moments_are_equal_to_themselves(model, style):
    for one in (model, style, style.moments["relu1_1"]):
        assert one == one
        assert len({one, one}) == 1
        assert one in [None, one]
        for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert one != other
            assert hash(one) == hash(one)
            jax.tree.map(np.testing.assert_array_equal, one, other)
    jitted = jax.jit(lambda model, x: stylize(model, x, style, layers="relu1_1"), static_argnums=0)
    assert jitted(model, np.zeros((4, 4, 3), np.float32)).shape == (4, 4, 3)
