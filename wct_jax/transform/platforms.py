"""Choices by the platform for which a program is lowered."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from jax import lax

_Result = TypeVar("_Result")
# JAX's default for float32 is TF32 on recent NVIDIA GPUs and one pass of bfloat16 on TPUs.
HIGHEST = lax.Precision.HIGHEST


def by_platform(
    *, cpu: Callable[..., _Result], default: Callable[..., _Result], static: Sequence[str] = ()
) -> Callable[..., _Result]:
    """Make a function that is `cpu` on the CPU and `default` on every other platform.

    `jax.default_backend()` does not say where a program runs: arrays may lie on another device, `jax.default_device`
    may name one, and `jax.export` lowers for platforms that this machine does not have.

    Args:
        cpu: Pure function of arrays.
        default: Pure function of the same arrays; its results have the same shapes and dtypes.
        static: Names of their keywords that are not arrays.
    """

    # Compiled, because outside jit the platform would be that of the default device, not that of the operands.
    @functools.partial(jax.jit, static_argnames=tuple(static))
    def choose(*operands: Any, **options: Any) -> _Result:
        each = {"cpu": functools.partial(cpu, **options), "default": functools.partial(default, **options)}
        return lax.platform_dependent(*operands, **each)

    return choose


def platform_of(arrays: Any) -> str:
    """The platform that would run a computation on a pytree of arrays: "cpu", "gpu" or "tpu".

    That of the first array that is committed to a device, or else the default device's. Tracers do not count.
    """
    for leaf in jax.tree.leaves(arrays):
        if isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer) and leaf.committed:
            return str(next(iter(leaf.devices())).platform)
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    return jax.default_backend() if device is None else str(getattr(device, "platform", device))
