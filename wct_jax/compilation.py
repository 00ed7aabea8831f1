"""How much is compiled at once, and how on the CPU."""

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import jax
from jax import lax

_P = ParamSpec("_P")
_R = TypeVar("_R")

# YNNPACK runs a batch of matrix products on one core, where Eigen shares them out: Winograd takes half as long again.
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}


@functools.cache
def compiler_options() -> dict[str, str]:
    """XLA's options for an outermost `jax.jit` of this library; it refuses them to inner ones."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=_CPU_OPTIONS).lower(0.0).compile()
    except (ValueError, RuntimeError):
        return {}  # They come and go with its versions, and are but a matter of speed.
    return _CPU_OPTIONS


def part(static: Sequence[str] = ()) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compile a function, by itself or as a part of what JAX is tracing.

    Args:
        static: Names of the arguments that are not arrays.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        inner = jax.jit(function, static_argnames=tuple(static))
        outermost = functools.cache(
            lambda: jax.jit(function, static_argnames=tuple(static), compiler_options=compiler_options())
        )

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            return (inner if _is_tracing(args, kwargs) else outermost())(*args, **kwargs)

        return call

    return decorate


def _is_tracing(*arguments: object) -> bool:
    # Within jit a constant is traced, too.
    return any(isinstance(leaf, jax.core.Tracer) for leaf in (*jax.tree.leaves(arguments), lax.full((), 0)))


def by_parts(static: Sequence[str] = ()) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compile a function whole, or on the CPU leave that to the parts that it calls.

    Networks repeat their layers, and the levels of the cascade their networks: in parts, what is alike is compiled
    once, which on the CPU takes half the time. There, starting a part costs nothing to speak of; a GPU would have to
    wait for it.

    Args:
        static: Names of the arguments that are not arrays.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        whole = jax.jit(function, static_argnames=tuple(static))

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            return (function if jax.default_backend() == "cpu" else whole)(*args, **kwargs)

        return call

    return decorate
