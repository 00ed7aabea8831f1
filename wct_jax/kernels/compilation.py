"""Functions compiled for each combination of shapes, in bounded number, and XLA's options for that."""

import functools
import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
from jax import lax

from wct_jax.system.heap import trim_heap
from wct_jax.system.recent import Recent

_P = ParamSpec("_P")
_R = TypeVar("_R")

# JAX never forgets what it compiled, so photos of ever new sizes would fill the memory, and Linux allows a process only
# 65,530 memory mappings. Measured: a program has 80 mappings and 4.5 MB, and a size of canvas has five programs.
_programs: Recent[Hashable, Any] = Recent(100)
# The C library keeps the memory of forgotten programs. Giving it back takes milliseconds: that is done after so many.
_TRIM_AFTER = 10

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

    Of all such functions together, the hundred programs are kept that were used last.

    Args:
        static: Names of the arguments that are not arrays.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        inner = jax.jit(function, static_argnames=tuple(static))
        numbers = {number for number, name in enumerate(inspect.signature(function).parameters) if name in static}

        def outermost() -> Any:
            # JAX frees a program with the function that was jitted, so each combination has a function of its own.
            @functools.wraps(function)
            def own(*args: _P.args, **kwargs: _P.kwargs) -> _R:
                return function(*args, **kwargs)

            return jax.jit(own, static_argnames=tuple(static), compiler_options=compiler_options(quick=True))

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            fixed = [value for number, value in enumerate(args) if number in numbers]
            fixed += [(name, value) for name, value in kwargs.items() if name in static]
            arrays = [value for number, value in enumerate(args) if number not in numbers]
            leaves, tree = jax.tree.flatten((arrays, {k: v for k, v in kwargs.items() if k not in static}))
            # Within jit all arguments may be constants; a new array tells whether JAX is tracing.
            if any(isinstance(leaf, jax.core.Tracer) for leaf in (*leaves, lax.full((), 0))):
                return inner(*args, **kwargs)
            # Where arrays lie, and JAX's settings, are left to JAX, which has few programs of them for one key.
            kinds = [(leaf.shape, leaf.dtype) if hasattr(leaf, "shape") else type(leaf) for leaf in leaves]
            program = _find((function, *fixed, tree, *kinds), outermost)
            result: _R = program(*args, **kwargs)
            return result

        return call

    return decorate


def _find(key: Hashable, jitted: Callable[[], Any]) -> Any:
    program = _programs.get(key)
    if program is None:
        program = _programs.add(key, jitted())  # Compiles nothing yet.
        before = _programs.dropped
        _programs.trim()
        if before // _TRIM_AFTER < _programs.dropped // _TRIM_AFTER:
            trim_heap()
    return program
