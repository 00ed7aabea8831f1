"""Choices by the platform that a program runs on, made where it is lowered."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from jax import lax

_Result = TypeVar("_Result")


def by_platform(
    *, cpu: Callable[..., _Result], default: Callable[..., _Result], static: Sequence[str] = ()
) -> Callable[..., _Result]:
    """A function that is `cpu` on the CPU and `default` on every other platform.

    `jax.default_backend()` does not say where a program runs: arrays may lie on another device, `jax.default_device`
    may name one, and `jax.export` lowers for platforms that this machine does not have.

    Args:
        cpu: Of arrays, pure.
        default: Of the same arrays, with results of the same shapes and dtypes.
        static: Names of the keywords of both that are not arrays.
    """

    # Compiled, since outside jit the platform would be that of the default device, not that of the operands.
    @functools.partial(jax.jit, static_argnames=tuple(static))
    def choose(*operands: Any, **options: Any) -> _Result:
        each = {"cpu": functools.partial(cpu, **options), "default": functools.partial(default, **options)}
        return lax.platform_dependent(*operands, **each)

    return choose


def platform_of(arrays: Any) -> str:
    """The platform that a computation with some arrays would run on, if it were not traced: "cpu", "gpu", "tpu".

    Args:
        arrays: A pytree: where those are that are committed to a device; the default device where none is.
    """
    for leaf in jax.tree.leaves(arrays):
        if isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer) and leaf.committed:
            return str(next(iter(leaf.devices())).platform)
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    return jax.default_backend() if device is None else str(getattr(device, "platform", device))
