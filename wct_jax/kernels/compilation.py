"""Functions compiled for each combination of shapes, in bounded number, and XLA's options for that."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
from jax import lax

from wct_jax.system.heap import trim_heap

_P = ParamSpec("_P")
_R = TypeVar("_R")

# JAX never forgets what it compiled, so photos of ever new sizes would fill the memory, and Linux allows a process only
# 65,530 memory mappings. Measured: a program has 80 mappings and 4.5 MB, and a size of canvas has five programs.
_MOST_PROGRAMS = 100
_programs = 0

# YNNPACK runs a batch of matrix products on one core, Eigen on all: Winograd would take 1.5 times as long.
_FAST = {"xla_cpu_experimental_ynn_fusion_type": ""}
# These halve the time of compiling, at a cost of some 4 % in speed.
_QUICKLY_COMPILED = {"xla_cpu_use_fusion_emitters": "False", "xla_backend_optimization_level": "1"}


@functools.cache
def compiler_options(*, quick: bool = False) -> dict[str, str]:
    """XLA's options for an outermost `jax.jit` of this library (inner ones may have none).

    Args:
        quick: Whether to compile sooner rather than run faster.
    """
    if jax.default_backend() != "cpu":
        return {}
    options = _FAST | (_QUICKLY_COMPILED if quick else {})
    # Options come and go with versions of XLA, and only speed depends on these.
    return options if _known(options) else {name: value for name, value in options.items() if _known({name: value})}


def _known(options: dict[str, str]) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except (ValueError, RuntimeError):
        return False
    return True


def compiled(static: Sequence[str] = ()) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compile a function for each combination of shapes, or as a part of what JAX is tracing.

    JAX forgets everything it compiled whenever there are `_MOST_PROGRAMS` programs of such functions.

    Args:
        static: Names of the arguments that are not arrays.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        inner = jax.jit(function, static_argnames=tuple(static))

        @functools.cache
        def outermost() -> Any:  # Made when called, because the options depend on the backend.
            return jax.jit(function, static_argnames=tuple(static), compiler_options=compiler_options(quick=True))

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            # Within jit all arguments may be constants; a new array tells whether JAX is tracing.
            if any(isinstance(leaf, jax.core.Tracer) for leaf in (*jax.tree.leaves((args, kwargs)), lax.full((), 0))):
                return inner(*args, **kwargs)
            jitted = outermost()
            before = jitted._cache_size()
            result: _R = jitted(*args, **kwargs)
            if jitted._cache_size() > before:
                _count_program()
            return result

        return call

    return decorate


def _count_program() -> None:
    global _programs
    _programs += 1
    if _programs < _MOST_PROGRAMS:
        return
    _programs = 0
    # This forgets the caller's functions, too, which are compiled again. JAX has no other way.
    jax.clear_caches()
    # And the C library would keep the free memory in between: a fifth of all, measured.
    trim_heap()
