"""JAX primitives that are native code in programs for the CPU, and XLA's operations in others."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jax.sharding import AxisType

from wct_jax.kernels.native import library

_FLOAT32 = jnp.dtype("float32")


def native_primitive(
    name: str,
    results: Callable[..., Sequence[tuple[Sequence[int], Any]]],
    by_xla: Callable[..., Sequence[Array]],
    *,
    images: int = 0,
    attributes: Sequence[str] = (),
    in_place: bool = False,
) -> Primitive:
    """Define a primitive of arrays and static keywords, without derivatives.

    Native functions take float32, to which half precision is converted; float64 and empty arrays are left to XLA. So
    are programs that are exported, because other machines may lack the library, and those that XLA divides among
    several devices.

    Args:
        name: Name of the native function.
        results: Function from arguments and keywords to the shape and dtype of each result.
        by_xla: The same function by XLA.
        images: Number of its first arguments that are batches of images, if the results are, too. Then images of a
            `vmap` over these alone become one batch; otherwise a `vmap` is a loop.
        attributes: The keywords that the native function takes.
        in_place: Whether the native function can write its result where its first argument is.
    """
    primitive = Primitive(name)
    primitive.multiple_results = True
    primitive.def_abstract_eval(lambda *args, **static: [ShapedArray(*each) for each in results(*args, **static)])
    compiled = functools.cache(lambda **static: jax.jit(functools.partial(primitive.bind, **static)))

    def run(*args: Array, **static: Any) -> Sequence[Array]:
        if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            return by_xla(*args, **static)
        return compiled(**static)(*args)

    primitive.def_impl(run)
    by_operations = mlir.lower_fun(by_xla, multiple_results=True)
    mlir.register_lowering(primitive, by_operations)

    def on_cpu(context: Any, *operands: Any, **static: Any) -> Any:
        dtypes = {each.dtype for each in context.avals_in if jnp.issubdtype(each.dtype, jnp.floating)}
        unfit = jnp.dtype("float64") in dtypes or any(0 in each.shape for each in context.avals_in)
        if unfit or not library.instructions() or _is_elsewhere(context.module_context):
            return by_operations(context, *operands, **static)
        if all(each.dtype == _FLOAT32 for each in context.avals_out) and dtypes == {_FLOAT32}:
            given = {key: static[key] for key in attributes}
            aliases = {0: 0} if in_place else None
            return jax.ffi.ffi_lowering(name, operand_output_aliases=aliases)(context, *operands, **given)

        def converted(*args: Array) -> list[Array]:
            wide = [x.astype(_FLOAT32) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in args]
            found = primitive.bind(*wide, **static | ({"dtype": _FLOAT32} if "dtype" in static else {}))
            return [x.astype(aval.dtype) for x, aval in zip(found, context.avals_out, strict=True)]

        return mlir.lower_fun(converted, multiple_results=True)(context, *operands)

    mlir.register_lowering(primitive, on_cpu, platform="cpu")

    def batch(args: Sequence[Array], axes: Sequence[int | None], **static: Any) -> tuple[list[Array], list[int]]:
        args = [arg if axis is None else jnp.moveaxis(arg, axis, 0) for arg, axis in zip(args, axes, strict=True)]
        if images and all((axis is not None) == (i < images) for i, axis in enumerate(axes)):
            number = args[0].shape[0]
            found = primitive.bind(*(x.reshape(-1, *x.shape[2:]) for x in args[:images]), *args[images:], **static)
            return [y.reshape(number, args[0].shape[1], *y.shape[1:]) for y in found], [0] * len(found)

        def one(batched: Sequence[Array]) -> list[Array]:
            of_batch = iter(batched)
            each = [arg if axis is None else next(of_batch) for arg, axis in zip(args, axes, strict=True)]
            return primitive.bind(*each, **static)

        found = lax.map(one, [arg for arg, axis in zip(args, axes, strict=True) if axis is not None])
        return found, [0] * len(found)

    batching.primitive_batchers[primitive] = batch
    return primitive


def _is_elsewhere(module: Any) -> bool:
    return module.lowering_parameters.for_export or getattr(module.axis_context, "num_devices", 1) > 1


def is_spread(x: Array) -> bool:
    """Whether an array lies on devices as `jax.set_mesh` or `jax.shard_map` say: leave it to XLA."""
    in_shard_map = AxisType.Manual in jax.sharding.get_abstract_mesh().axis_types
    return in_shard_map or any(axis is not None for axis in jax.typeof(x).sharding.spec)
