"""The 3x3 convolution of all networks: native code on the CPU, XLA's own elsewhere."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive
from jax.interpreters import ad

from wct_jax.kernels.canvas import inside
from wct_jax.kernels.compilation import compiled
from wct_jax.kernels.pooling import max_pool
from wct_jax.kernels.primitive import is_spread, native_primitive
from wct_jax.transform.platforms import HIGHEST
from wct_jax.transform.statistics import statistics_dtype

algorithm = jax.make_user_context(None)
"""The algorithm of `conv3x3` within a context: `with algorithm("direct"):`.

"direct" calls XLA's convolution. None, the default, takes native code in programs lowered for the CPU, where there is
any (`wct_jax.kernels.native.library`), and XLA's in others.
"""


Kernel = tuple[Array, Array]
"""A kernel `[3, 3, in, out]` and the bias `[out]` that is added."""


@compiled(static=("upsample", "relu", "pool"))
def conv3x3(
    x: Array,
    kernel: Array,
    bias: Array,
    *,
    then: Kernel | None = None,
    size: Array | None = None,
    upsample: bool = False,
    relu: bool = False,
    pool: bool = False,
) -> Array:
    """Convolve with a 3x3 kernel after padding by one reflected pixel; a side of one pixel repeats it.

    Float32 is computed as float32 on every backend, half precision on the CPU, too. Derivatives of any order exist in
    both modes.

    Args:
        x: `[..., H, W, in]`.
        kernel: `[3, 3, in, out]`.
        bias: `[out]`.
        then: A second kernel for the result, after ReLU. The CPU does not store what is between the two.
        size: Rows and columns of the image if `x` is a larger canvas, int32 `[2]`, at least two of each. The image's
            border is reflected, and results beyond it have no meaning. None for all.
        upsample: Whether to repeat each pixel twice in both directions first.
        relu: Whether to replace negative results by zero, at the end.
        pool: Whether to keep the largest of each 2x2 cell at the end, see `max_pool`.

    Returns:
        `[..., H, W, out]`, twice the sides if `upsample`, half of them if `pool`, in the dtype of `x`.

    Raises:
        ValueError: The chosen algorithm is unknown.
    """
    if algorithm.value not in ("direct", None):
        raise ValueError(f'the algorithm must be "direct" or None, got {algorithm.value!r}')
    images, kernels = x.reshape(-1, *x.shape[-3:]), ((kernel, bias), *((then,) if then else ()))
    if algorithm.value == "direct" or is_spread(x) or x.size == 0:
        y = _directly(images, kernels, size, upsample, relu, pool)
    else:
        y = _convolve(images, kernels, size, upsample, relu, pool)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def _directly(x: Array, kernels: Sequence[Kernel], size: Array | None, upsample: bool, relu: bool, pool: bool) -> Array:
    return _one_by_one(_convolve_by_operations, x, kernels, size, upsample, relu, pool)


def _one_by_one(
    convolve: Callable[..., Array],
    x: Array,
    kernels: Sequence[Kernel],
    size: Array | None,
    upsample: bool,
    relu: bool,
    pool: bool,
) -> Array:
    first, *others = kernels
    x = convolve(x, *first, size, upsample, relu or bool(others))
    size = 2 * size if upsample and size is not None else size
    for other in others:
        x = convolve(x, *other, size, False, relu)
    return max_pool(x, size) if pool else x


def _convolve_by_operations(
    x: Array, kernel: Array, bias: Array, size: Array | None, upsample: bool, relu: bool
) -> Array:
    kernel, bias = kernel.astype(x.dtype), bias.astype(x.dtype)
    if upsample:
        x, size = _repeat(x), None if size is None else 2 * size
    y = lax.conv_general_dilated(
        _pad(x, size),
        kernel,
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=HIGHEST,
    )
    y = y + bias[None, None, None]
    return jax.nn.relu(y) if relu else y


def _repeat(x: Array) -> Array:
    return x.repeat(2, axis=1).repeat(2, axis=2)


def _pad(x: Array, size: Array | None) -> Array:
    for axis in (1, 2):
        padding = [(1, 1) if axis == a else (0, 0) for a in range(4)]
        x = jnp.pad(x, padding, mode="reflect" if x.shape[axis] > 1 else "edge")
        if size is not None:
            line = lax.dynamic_slice_in_dim(x, size[axis - 1] - 1, 1, axis)
            x = lax.dynamic_update_slice_in_dim(x, line, size[axis - 1] + 1, axis)
    return x


def _linearly(x: Array, kernel: Array, size: Array | None, upsample: bool = False) -> Array:
    return _convolve_by_operations(x, kernel, jnp.zeros(kernel.shape[3], x.dtype), size, upsample, False)


def _masked(y: Array, size: Array | None, upsample: bool = False) -> Array:
    """Zero beside the image."""
    if size is None:
        return y
    return jnp.where(inside(y.shape[1:3], 2 * size if upsample else size)[None, :, :, None], y, 0)


# A primitive for the convolution and one for each of its gradients. Linear in two arguments, each is the derivative of
# the others. The last argument is the size, of the whole canvas where nothing else was `sized`.


def _convolve_by_xla(x: Array, *rest: Array, upsample: bool, relu: bool, pool: bool, sized: bool) -> list[Array]:
    *arrays, size = rest
    kernels = list(zip(arrays[::2], arrays[1::2], strict=True))
    return [_directly(x, kernels, size if sized else None, upsample, relu, pool)]


def _image_gradient_by_xla(y: Array, kernel: Array, size: Array, *, sized: bool) -> list[Array]:
    x, within = jax.ShapeDtypeStruct((*y.shape[:3], kernel.shape[2]), y.dtype), size if sized else None
    return list(jax.linear_transpose(lambda x: _linearly(x, kernel, within), x)(_masked(y, within)))


def _kernel_gradient_by_xla(x: Array, y: Array, size: Array, *, upsample: bool, sized: bool, dtype: Any) -> list[Array]:
    kernel, within = jax.ShapeDtypeStruct((3, 3, x.shape[3], y.shape[3]), dtype), size if sized else None
    y = _masked(y, within, upsample)
    return list(jax.linear_transpose(lambda kernel: _linearly(x, kernel, within, upsample), kernel)(y))


def _convolved(x: Any, *rest: Any, upsample: bool, relu: bool, pool: bool, sized: bool) -> list[Any]:
    count, *sides, _ = x.shape
    sides = [-(-(2 * side if upsample else side) // (2 if pool else 1)) for side in sides]
    return [((count, *sides, rest[-2].shape[0]), x.dtype)]


_CONVOLVE = {
    number: native_primitive(name, _convolved, _convolve_by_xla, images=1, attributes=("upsample", "relu", "pool"))
    for number, name in ((1, "wct_convolve"), (2, "wct_convolve_both"))
}
_IMAGE_GRADIENT = native_primitive(
    "wct_image_gradient",
    lambda y, kernel, size, *, sized: [((*y.shape[:3], kernel.shape[2]), y.dtype)],
    _image_gradient_by_xla,
    images=1,
)
_KERNEL_GRADIENT = native_primitive(
    "wct_kernel_gradient",
    lambda x, y, size, *, upsample, sized, dtype: [((3, 3, x.shape[3], y.shape[3]), dtype)],
    _kernel_gradient_by_xla,
    attributes=("upsample",),
)


def _convolve(x: Array, kernels: Sequence[Kernel], size: Array | None, upsample: bool, relu: bool, pool: bool) -> Array:
    static = dict(upsample=upsample, relu=relu, pool=pool, sized=size is not None)
    return _CONVOLVE[len(kernels)].bind(x, *jax.tree.leaves(kernels), _sized(x, size), **static)[0]


def _sized(x: Array, size: Array | None) -> Array:
    return jnp.asarray(x.shape[1:3], jnp.int32) if size is None else size


def _one(x: Array, kernel: Array, bias: Array, size: Array | None, upsample: bool, relu: bool) -> Array:
    return _convolve(x, ((kernel, bias),), size, upsample, relu, False)


def _image_gradient(y: Array, kernel: Array, size: Array | None, upsample: bool) -> Array:
    """The gradient by the image before it was upsampled."""
    within = 2 * size if upsample and size is not None else size
    of_x = _IMAGE_GRADIENT.bind(y, kernel, _sized(y, within), sized=size is not None)[0]
    if not upsample:
        return of_x
    count, height, width, channels = of_x.shape
    return of_x.reshape(count, height // 2, 2, width // 2, 2, channels).sum((2, 4))


def _kernel_gradient(y: Array, x: Array, size: Array | None, upsample: bool) -> Array:
    static = dict(upsample=upsample, sized=size is not None, dtype=statistics_dtype(y))
    return _KERNEL_GRADIENT.bind(x, y, _sized(x, size), **static)[0]


def _convolve_jvp(primals: Sequence[Array], tangents: Sequence[Any], **static: bool) -> tuple[list[Array], list[Any]]:
    x, *arrays, size = primals
    upsample, relu, within = static["upsample"], static["relu"], size if static["sized"] else None
    if static["pool"] or len(arrays) > 2:
        changed = [i for i, tangent in enumerate(tangents[:-1]) if not isinstance(tangent, ad.Zero)]

        def one_by_one(*given: Array) -> Array:
            anew = dict(zip(changed, given, strict=True))
            x, *arrays = (anew.get(i, primal) for i, primal in enumerate(primals[:-1]))
            kernels = list(zip(arrays[::2], arrays[1::2], strict=True))
            return _one_by_one(_one, x, kernels, within, upsample, relu, static["pool"])

        y, change = jax.jvp(one_by_one, [primals[i] for i in changed], [tangents[i] for i in changed])
        return [y], [change]
    (kernel, bias), (of_x, of_kernel, of_bias, _) = arrays, tangents
    y, none = _one(x, kernel, bias, within, upsample, relu), jnp.zeros_like(bias)
    changes = [
        *([] if isinstance(of_x, ad.Zero) else [_one(of_x, kernel, none, within, upsample, False)]),
        *([] if isinstance(of_kernel, ad.Zero) else [_one(x, of_kernel, none, within, upsample, False)]),
    ]
    if not isinstance(of_bias, ad.Zero):
        changes.append(_masked(jnp.broadcast_to(of_bias.astype(y.dtype), y.shape), within, upsample))
    change = functools.reduce(jnp.add, changes)
    return [y], [jnp.where(y > 0, change, 0) if relu else change]


def _bilinear(primitive: Primitive, transposes: Sequence[Callable[..., Array]]) -> None:
    """Set the derivatives of a primitive that is linear in each of its first two arguments.

    Args:
        primitive: The primitive.
        transposes: Functions from the change of the result, the other of the two arguments, the size, and the keywords,
            to the change of the first and of the second argument.
    """

    def jvp(primals: Sequence[Array], tangents: Sequence[Any], **static: Any) -> tuple[list[Array], list[Any]]:
        (y,), changes = primitive.bind(*primals, **static), []
        for i, tangent in enumerate(tangents[:2]):
            if not isinstance(tangent, ad.Zero):
                changes += primitive.bind(*primals[:i], tangent, *primals[i + 1 :], **static)
        return [y], [functools.reduce(jnp.add, changes)]

    def transpose(changes: Sequence[Any], *args: Any, **static: Any) -> list[Any]:
        found: list[Any] = [None] * len(args)
        size = args[-1] if static["sized"] else None
        for i, (by, other) in enumerate(zip(transposes, (args[1], args[0]), strict=True)):
            if ad.is_undefined_primal(args[i]) and not isinstance(changes[0], ad.Zero):
                found[i] = by(changes[0], other, size, **static).astype(args[i].aval.dtype)
        return found

    ad.primitive_jvps.setdefault(primitive, jvp)
    ad.primitive_transposes[primitive] = transpose


def _linear(x: Array, kernel: Array, size: Array | None, upsample: bool = False) -> Array:
    return _one(x, kernel, jnp.zeros(kernel.shape[3], kernel.dtype), size, upsample, False)


for _primitive in _CONVOLVE.values():
    ad.primitive_jvps[_primitive] = _convolve_jvp
_bilinear(
    _CONVOLVE[1],
    (
        lambda y, kernel, size, *, upsample, **_: _image_gradient(_masked(y, size, upsample), kernel, size, upsample),
        lambda y, x, size, *, upsample, **_: _kernel_gradient(_masked(y, size, upsample), x, size, upsample),
    ),
)
_bilinear(
    _IMAGE_GRADIENT,
    (
        lambda x, kernel, size, **_: _linear(x, kernel, size),
        lambda x, y, size, **_: _kernel_gradient(y, x, size, False),
    ),
)
_bilinear(
    _KERNEL_GRADIENT,
    (
        lambda kernel, y, size, *, upsample, **_: _image_gradient(y, kernel, size, upsample),
        lambda kernel, x, size, *, upsample, **_: _linear(x, kernel, size, upsample),
    ),
)
