"""The 3x3 convolution of all networks: native code on the CPU, XLA's own elsewhere."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from wct_jax.kernels.canvas import inside
from wct_jax.kernels.compilation import part
from wct_jax.kernels.native import library
from wct_jax.transform.platforms import HIGHEST

algorithm = jax.make_user_context(None)
"""The algorithm of `conv3x3` within a context: `with algorithm("direct"):`.

"direct" calls XLA's convolution. None, the default, takes native code in programs lowered for the CPU, where there is
any (`wct_jax.kernels.native.library`), and XLA's in others.
"""


@part(static=("upsample", "relu"), context=lambda: algorithm.value)
def conv3x3(
    x: Array, kernel: Array, bias: Array, *, size: Array | None = None, upsample: bool = False, relu: bool = False
) -> Array:
    """Convolve with a 3x3 kernel after padding by one reflected pixel; a side of one pixel repeats it.

    Float32 is computed as float32 on every backend, half precision on the CPU, too. The gradient is a rule of its own,
    without forward mode: choose `algorithm("direct")` for that.

    Args:
        x: `[..., H, W, in]`.
        kernel: `[3, 3, in, out]`.
        bias: `[out]`.
        size: Rows and columns of the image if `x` is a larger canvas, int32 `[2]`, at least two of each. The image's
            border is reflected, and results beyond it have no meaning. None for all.
        upsample: Whether to repeat each pixel twice in both directions first.
        relu: Whether to replace negative results by zero.

    Returns:
        `[..., H, W, out]`, or twice the sides if `upsample`, in the dtype of `x`.

    Raises:
        ValueError: The chosen algorithm is unknown.
    """
    if algorithm.value not in ("direct", None):
        raise ValueError(f'the algorithm must be "direct" or None, got {algorithm.value!r}')
    images = x.reshape(-1, *x.shape[-3:])
    if algorithm.value == "direct" or _is_spread(x) or x.size == 0:
        y = _directly(images, kernel, bias, size, upsample=upsample, relu=relu)
    else:
        y = _convolve(images, kernel, bias, size, upsample, relu)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def _is_spread(x: Array) -> bool:
    """Whether XLA is told how an array lies on devices, within `jax.set_mesh` or `jax.shard_map`."""
    kind = jax.typeof(x)
    return any(axis is not None for axis in kind.sharding.spec) or bool(getattr(kind, "vma", ()))


def _directly(x: Array, kernel: Array, bias: Array, size: Array | None = None, *, upsample: bool, relu: bool) -> Array:
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


# A primitive for the convolution and one for each of its gradients. Linear in two arguments, each is the derivative of
# the others. Their last argument is a size, or left out. Where they run is chosen when they are lowered.


def _primitive(name: str, result: Callable[..., Any], by_xla: Callable[..., Array], images: int) -> Primitive:
    """Define a primitive.

    Args:
        name: Name of the native function.
        result: Function from the arguments to the result's shape and dtype.
        by_xla: The same function by XLA.
        images: Number of its first arguments that are batches of images, if the result is one, too; otherwise 0.
    """
    primitive = Primitive(name)
    primitive.def_abstract_eval(lambda *args, **static: ShapedArray(*result(*args, **static)))
    primitive.def_impl(lambda *args, **static: jax.jit(functools.partial(primitive.bind, **static))(*args))
    lowered_by_xla = mlir.lower_fun(by_xla, multiple_results=False)
    mlir.register_lowering(primitive, lowered_by_xla)

    def natively(*args: Array, **static: Any) -> Array:
        floats, size = _split(args)
        whole = jnp.asarray(args[0].shape[1:3], jnp.int32) if size is None else size
        return primitive.bind(*(x.astype(jnp.float32) for x in floats), whole, **static)

    def on_cpu(context: Any, *operands: Any, **static: Any) -> Any:
        floats, size = _split(context.avals_in)
        dtypes = {each.dtype for each in floats}
        if not library.instructions() or jnp.dtype("float64") in dtypes or _is_elsewhere(context.module_context):
            return lowered_by_xla(context, *operands, **static)
        if size is not None and dtypes == {jnp.dtype("float32")}:
            attributes = {key: value for key, value in static.items() if key != "dtype"}
            return jax.ffi.ffi_lowering(name)(context, *operands, **attributes)

        def converted(*args: Array) -> Array:
            return natively(*args, **static).astype(context.avals_out[0].dtype)

        return mlir.lower_fun(converted, multiple_results=False)(context, *operands)

    mlir.register_lowering(primitive, on_cpu, platform="cpu")

    def batch(args: Sequence[Array], axes: Sequence[int | None], **static: Any) -> tuple[Array, int]:
        args = [arg if axis is None else jnp.moveaxis(arg, axis, 0) for arg, axis in zip(args, axes, strict=True)]
        if images and all((axis is not None) == (i < images) for i, axis in enumerate(axes)):
            # More images for the same kernel.
            y = primitive.bind(*(x.reshape(-1, *x.shape[2:]) for x in args[:images]), *args[images:], **static)
            return y.reshape(args[0].shape[0], -1, *y.shape[1:]), 0

        def one(batched: Sequence[Array]) -> Array:
            of_batch = iter(batched)
            each = [arg if axis is None else next(of_batch) for arg, axis in zip(args, axes, strict=True)]
            return primitive.bind(*each, **static)

        return lax.map(one, [arg for arg, axis in zip(args, axes, strict=True) if axis is not None]), 0

    batching.primitive_batchers[primitive] = batch
    return primitive


def _split(args: Sequence[Any]) -> tuple[Sequence[Any], Any]:
    """The floating-point arguments, and the size if there is one."""
    return (args, None) if jnp.issubdtype(args[-1].dtype, jnp.floating) else (args[:-1], args[-1])


def _is_elsewhere(module: Any) -> bool:
    """Whether a program is for machines that may lack native code, or for several devices that XLA divides it among."""
    return module.lowering_parameters.for_export or getattr(module.axis_context, "num_devices", 1) > 1


def _convolved(
    x: Any, kernel: Any, bias: Any, size: Any = None, *, upsample: bool, relu: bool
) -> tuple[Sequence[int], Any]:
    times = 2 if upsample else 1
    return (x.shape[0], times * x.shape[1], times * x.shape[2], kernel.shape[3]), x.dtype


def _linearly(x: Array, kernel: Array, size: Array | None, upsample: bool = False) -> Array:
    return _directly(x, kernel, jnp.zeros(kernel.shape[3], x.dtype), size, upsample=upsample, relu=False)


def _image_gradient_by_xla(y: Array, kernel: Array, size: Array | None = None) -> Array:
    x = jax.ShapeDtypeStruct((*y.shape[:3], kernel.shape[2]), y.dtype)
    return jax.linear_transpose(lambda x: _linearly(x, kernel, size), x)(_masked(y, size))[0]


def _kernel_gradient_by_xla(x: Array, y: Array, size: Array | None = None, *, upsample: bool, dtype: Any) -> Array:
    kernel = jax.ShapeDtypeStruct((3, 3, x.shape[3], y.shape[3]), dtype)
    y = _masked(y, size, upsample)
    return jax.linear_transpose(lambda kernel: _linearly(x, kernel, size, upsample), kernel)(y)[0]


def _masked(y: Array, size: Array | None, upsample: bool = False) -> Array:
    """Zero beside the image."""
    if size is None:
        return y
    return jnp.where(inside(y.shape[1:3], 2 * size if upsample else size)[None, :, :, None], y, 0)


_convolve_p = _primitive("wct_convolve", _convolved, _directly, 1)
_image_gradient_p = _primitive(
    "wct_image_gradient",
    lambda y, kernel, size=None: ((*y.shape[:3], kernel.shape[2]), y.dtype),
    _image_gradient_by_xla,
    1,
)
_kernel_gradient_p = _primitive(
    "wct_kernel_gradient",
    lambda x, y, size=None, *, upsample, dtype: ((3, 3, x.shape[3], y.shape[3]), dtype),
    _kernel_gradient_by_xla,
    0,
)


def _and(size: Array | None) -> tuple[Array, ...]:
    return () if size is None else (size,)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _convolve(x: Array, kernel: Array, bias: Array, size: Array | None, upsample: bool, relu: bool) -> Array:
    return _convolve_p.bind(x, kernel, bias, *_and(size), upsample=upsample, relu=relu)


def _forward(*args: Any) -> tuple[Array, Any]:
    x, kernel, bias, size, _, relu = args
    y = _convolve(*args)
    return y, (x, kernel, bias, size, y if relu else None)


def _backward(upsample: bool, relu: bool, kept: Any, gradient: Array) -> tuple[Array, Array, Array, None]:
    x, kernel, bias, size, y = kept
    gradient = _masked(gradient, size, upsample)
    if y is not None:
        gradient = jnp.where(y > 0, gradient, 0)
    of_kernel = _kernel_gradient(x, gradient, size, upsample, kernel.dtype)
    return _back(gradient, kernel, size, upsample), of_kernel, gradient.sum((0, 1, 2)).astype(bias.dtype), None


_convolve.defvjp(_forward, _backward)


def _back(gradient: Array, kernel: Array, size: Array | None, upsample: bool) -> Array:
    """The gradient by the image before it was upsampled."""
    of_x = _image_gradient(gradient, kernel, 2 * size if upsample and size is not None else size)
    if not upsample:
        return of_x
    count, height, width, channels = of_x.shape
    return of_x.reshape(count, height // 2, 2, width // 2, 2, channels).sum((2, 4))


@jax.custom_vjp
def _image_gradient(y: Array, kernel: Array, size: Array | None) -> Array:
    return _image_gradient_p.bind(y, kernel, *_and(size))


def _image_gradient_backward(kept: Any, change: Array) -> tuple[Array, Array, None]:
    y, kernel, size = kept
    of_y = _convolve(change, kernel, jnp.zeros(kernel.shape[3], kernel.dtype), size, False, False)
    return of_y.astype(y.dtype), _kernel_gradient(change, y, size, False, kernel.dtype), None


_image_gradient.defvjp(lambda *args: (_image_gradient(*args), args), _image_gradient_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _kernel_gradient(x: Array, y: Array, size: Array | None, upsample: bool, dtype: Any) -> Array:
    return _kernel_gradient_p.bind(x, y, *_and(size), upsample=upsample, dtype=dtype)


def _kernel_gradient_backward(
    upsample: bool, dtype: Any, kept: Any, change: Array
) -> tuple[Array, Array, None]:
    x, y, size = kept
    of_y = _convolve(x, change, jnp.zeros(change.shape[3], change.dtype), size, upsample, False)
    return _back(y, change, size, upsample).astype(x.dtype), of_y.astype(y.dtype), None


_kernel_gradient.defvjp(lambda *args: (_kernel_gradient(*args), args[:3]), _kernel_gradient_backward)
