"""What the tests share: JAX without silent promotions, a small random model, small pictures."""

import contextlib
import dataclasses
import os
import tempfile
from pathlib import Path

# Four CPU devices, for the sharding tests; before JAX starts.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
# What the workers and the programs they start compile is theirs together, and nobody else's.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _compiled = tempfile.TemporaryDirectory(prefix="wct_jax-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wct_jax.kernels.conv import algorithm
from wct_jax.networks.digest import encoder_digest
from wct_jax.networks.model import Model
from wct_jax.networks.vgg import LAYERS, decoder_shapes, encoder_shapes

# Nothing is timed in a test. In CI, Hypothesis draws the same examples every time; elsewhere always new ones.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared():
    """The folder of real weights, golden pictures and photos beside the checkout."""
    if not (_SHARED / "golden").is_dir():
        pytest.skip(f"needs the yardsticks in {_SHARED.name}/ beside the checkout")
    return _SHARED


def random_model(widths, layers=LAYERS, seed=0):
    """He-initialised networks: no pictures worth looking at, but every shape and step of the real ones."""
    rng = np.random.default_rng(seed)

    def parameters(shapes):
        return {
            name: {
                "kernel": jnp.asarray(rng.normal(0, (2 / 9 / shape[0]) ** 0.5, (3, 3, *shape)), jnp.float32),
                "bias": jnp.zeros(shape[1]),
            }
            for name, shape in shapes.items()
        }

    encoder = parameters(encoder_shapes(widths))
    decoders = {layer: parameters(decoder_shapes(layer, widths)) for layer in layers}
    return Model(encoder, decoders, widths, encoder_digest(encoder))


@pytest.fixture(scope="session", name="random_model")
def _random_model():
    return random_model


@pytest.fixture(scope="session")
def model():
    """Five levels, a few channels each, and a painter of four."""
    model = random_model((4, 6, 8, 8, 8))
    return dataclasses.replace(model, painter=random_model(model.widths, ("relu4_1",), 2).decoders["relu4_1"])


@pytest.fixture(scope="session")
def several():
    """Three levels, of which two have encoders of their own, of other widths."""
    deep = random_model((4, 6, 8), ("relu3_1",))
    own = {layer: random_model(widths, (layer,), 1) for layer, widths in (("relu1_1", (7,)), ("relu2_1", (3, 5)))}
    encoders = {layer: model.encoder for layer, model in own.items()}
    return dataclasses.replace(
        deep,
        decoders=deep.decoders | {layer: model.decoders[layer] for layer, model in own.items()},
        digest=encoder_digest(deep.encoder, encoders),
        encoders=encoders,
    )


@pytest.fixture
def refused_by_the_system():
    """Run a block as a user whom permissions bind, also where the tests are run by root, whom they do not."""

    @contextlib.contextmanager
    def refused_by_the_system():
        if os.getuid():
            yield
            return
        os.setresuid(65534, 65534, 0)
        try:
            yield
        finally:
            os.setresuid(0, 0, 0)

    return refused_by_the_system


@pytest.fixture
def public():
    """A folder that any user can reach, and list and write to."""
    with tempfile.TemporaryDirectory(prefix="wct_jax-") as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True, scope="module")
def mapped():
    """Forget what the tests compiled before Linux refuses more mappings; the library forgets only its own."""
    yield
    with contextlib.suppress(OSError), open("/proc/self/maps") as file:
        if sum(1 for _ in file) > 10_000:
            jax.clear_caches()


@pytest.fixture
def directly():
    """Convolve by XLA, which gives the same numbers and takes half as long to compile, for what is about training."""
    with algorithm("direct"):
        yield


@pytest.fixture
def quick():
    """Compile without most optimizations: for networks that run a step or a few."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def lenient():
    """Optax multiplies a step's int32 by Python's floats, which strict promotion refuses; all else stays strict."""

    def lenient(optimizer):
        def update(*arguments):
            with jax.numpy_dtype_promotion("standard"):
                return optimizer.update(*arguments)

        return optax.GradientTransformation(optimizer.init, update)

    return lenient
