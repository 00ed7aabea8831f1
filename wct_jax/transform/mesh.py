"""Arrays on a mesh whose axes are explicit."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec

_Result = TypeVar("_Result")


def has_rows_apart(image: Array) -> bool:
    """Whether explicit axes spread rows or columns of `[..., H, W, C]` over devices, so that neighbours are apart."""
    return any(axis is not None for axis in jax.typeof(image).sharding.spec[-3:-1])


def on_any_mesh(
    function: Callable[..., _Result],
    result: Callable[[NamedSharding, NamedSharding], Any],
    feature: Array,
    *rest: Any,
) -> _Result:
    """Call `function(feature, *rest)`, even if `feature` lies on a mesh with explicit axes.

    On such a mesh (the default of `jax.make_mesh`) every contraction over a sharded dimension must say how its result
    is sharded. Here only one answer makes sense, which the compiler finds by itself, so it is given the axes.

    Args:
        function: Function of arrays.
        result: Sharding of the result, from the feature's sharding over its leading dimensions and over all dimensions.
        feature: `[..., H, W, C]`.
        rest: Further arrays.
    """
    sharding = jax.typeof(feature).sharding
    mesh = sharding.mesh
    axes = tuple(n for n, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit)
    if not axes:
        return function(feature, *rest)
    lead = NamedSharding(mesh, PartitionSpec(*sharding.spec[:-3]))
    automatic = jax.sharding.auto_axes(function, axes=axes, out_sharding=result(lead, sharding))
    # Compiled, because outside jit arguments that lie on one device cannot be moved onto the mesh.
    return jax.jit(automatic)(feature, *rest)
