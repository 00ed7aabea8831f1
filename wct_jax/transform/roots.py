"""Square roots of covariance matrices and of their inverses, with gradients in closed form."""

import functools
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from wct_jax.checks.arguments import as_number
from wct_jax.transform.platforms import HIGHEST, by_platform
from wct_jax.transform.statistics import Moments

_Result = TypeVar("_Result")
product = functools.partial(jnp.matmul, precision=HIGHEST)

# Variance below (this times the dtype's machine epsilon)² of the feature's mean square is rounding, not
# signal: a flat picture leaves it behind. Measured by benchmarks/rounding.py.
_ROUNDING = 32


def root_of(statistics: Moments, eps: ArrayLike) -> Array:
    """C^½ `[..., C, C]` over the eigenvalues that `whiten_color` keeps."""
    return _power(statistics.covariance, jnp.asarray(as_number("eps", eps)), floor_of(statistics), False)


def inverse_root_of(statistics: Moments, eps: ArrayLike) -> Array:
    """C^-½ `[..., C, C]` over the eigenvalues that `whiten_color` keeps."""
    return _power(statistics.covariance, jnp.asarray(as_number("eps", eps)), floor_of(statistics), True)


def floor_of(statistics: Moments) -> Array:
    """The variance `[...]` that rounding can leave in a constant feature."""
    # A cut relative to the largest eigenvalue is not enough: rounding leaves a constant feature a covariance of about
    # 1e-13, all of it within `eps` of its own largest.
    unit = (_ROUNDING * jnp.finfo(statistics.mean.dtype).eps) ** 2
    mean_square = jnp.sum(statistics.mean**2, -1) + jnp.trace(statistics.covariance, axis1=-2, axis2=-1)
    return unit * mean_square


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _power(covariance: Array, eps: Array, floor: Array, inverse: bool) -> Array:
    """C^½, or C^-½ if `inverse`, over the eigenvalues above eps times the largest and above `floor`."""
    vectors, roots, kept = _spectrum(covariance, eps, floor)
    return _compose(vectors, jnp.where(kept, 1 / roots if inverse else roots, 0))


@_power.defjvp
def _power_jvp(inverse: bool, primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    """Daleckii-Krein theorem: df(C) = E (F ∘ (Eᵀ dC E)) Eᵀ with F_ij = (f(λ_i) - f(λ_j)) / (λ_i - λ_j).

    Differentiating `eigh` itself would divide by differences of eigenvalues, which repeat and vanish. The divided
    differences of a root need no subtraction: for kept a and b they are 1 / (√a + √b) and, for the inverse root,
    -1 / (√a √b (√a + √b)). A dropped eigenvalue counts as zero, where f is zero: f(a) / a. The set of eigenvalues kept
    is held fixed, since the cut has no derivative.
    """
    vectors, roots, kept = _spectrum(*primals)
    power = jnp.where(kept, 1 / roots if inverse else roots, 0)
    a, b = roots[..., :, None], roots[..., None, :]
    # A dropped root is 1 here, which leaves the kept one in a product.
    both = -1 / (a * b * (a + b)) if inverse else 1 / (a + b)
    one = 1 / (a * b) ** 3 if inverse else 1 / (a * b)
    kept_a, kept_b = kept[..., :, None], kept[..., None, :]
    divided = jnp.where(kept_a & kept_b, both, jnp.where(kept_a | kept_b, one, 0))
    change = (tangents[0] + jnp.matrix_transpose(tangents[0])) / 2
    transposed = jnp.matrix_transpose(vectors)
    inner = divided * product(product(transposed, change), vectors)
    return _compose(vectors, power), product(product(vectors, inner), transposed)


def _spectrum(covariance: Array, eps: Array, floor: Array) -> tuple[Array, Array, Array]:
    """Eigenvectors `[..., C, C]`, roots of the eigenvalues `[..., C]` (1 where dropped), and mask of those kept."""
    values, vectors = _eigh(covariance)
    cut = jnp.maximum(eps.astype(values.dtype) * values[..., -1:], floor[..., None])
    kept = values > cut  # not >=, or a covariance of zeros would keep everything
    return vectors, jnp.sqrt(jnp.where(kept, values, 1)), kept


def one_by_one(function: Callable[..., _Result]) -> Callable[[Array], _Result]:
    """Apply a decomposition of one matrix to `[..., C, C]` on the CPU, one matrix after the other.

    jaxlib splits a batch among the threads of its pool and blocks the thread that called it. When as many batches run
    at once as there are threads, all of them wait forever (seen with two on two cores, jaxlib 0.10.2).
    """
    each = jax.vmap(jax.custom_batching.sequential_vmap(function))

    @jax.jit  # Otherwise every call outside jit would compile the loop again, and JAX would keep all of them.
    def of_all(matrices: Array) -> _Result:
        lead = matrices.shape[:-2]
        results = each(matrices.reshape(-1, *matrices.shape[-2:]))
        return jax.tree.map(lambda x: x.reshape(*lead, *x.shape[1:]), results)

    return of_all


def _eigh_of_one(matrix: Array) -> tuple[Array, Array]:
    # In double precision: in single, eigenvalues of a millionth of the largest, which are just kept, would be 10 % off,
    # and their directions, which whitening makes as strong as the others, would differ from run to run.
    with jax.enable_x64(True):
        values, vectors = jnp.linalg.eigh(lax.convert_element_type(matrix, jnp.float64))
        return lax.convert_element_type(values, matrix.dtype), lax.convert_element_type(vectors, matrix.dtype)


# Eigenvalues `[..., C]`, ascending, and eigenvectors `[..., C, C]`.
_eigh = by_platform(cpu=one_by_one(_eigh_of_one), default=lambda matrices: tuple(jnp.linalg.eigh(matrices)))


def _compose(vectors: Array, values: Array) -> Array:
    return product(vectors * values[..., None, :], jnp.matrix_transpose(vectors))
