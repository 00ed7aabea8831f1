"""Units of compilation: a function by itself, as a part of another one, or with everything that it calls."""

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import jax
from jax import lax

from wct_jax.kernels.compiler import compiler, here
from wct_jax.kernels.programs import Program, is_array, placed
from wct_jax.transform.platforms import platform_of

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Part(Generic[_P, _R]):
    """A function compiled by itself, or inlined into what JAX is tracing; see `part`."""

    def __init__(self, function: Callable[_P, _R], static: Sequence[str], context: Callable[[], Hashable]) -> None:
        """See `part`."""
        functools.update_wrapper(self, function)
        self._function, self._context = function, context
        self._inner = jax.jit(function, static_argnames=tuple(static))

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Run the function. Within `Compiler.ahead` it is only compiled, and the result has no values."""
        if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            return self._function(*args, **kwargs)
        leaves, tree = jax.tree.flatten((args, kwargs))
        if not _is_traced(leaves):
            return self._program(leaves, tree)[1](*filter(is_array, leaves))
        if here().submit:
            return jax.tree.map(lambda x: lax.empty(x.shape, x.dtype), self.compile(*args, **kwargs))
        return self._inner(*args, **kwargs)

    def compile(self, *args: _P.args, **kwargs: _P.kwargs) -> Any:
        """Compile the function for arguments with arrays or `jax.ShapeDtypeStruct`; within `Compiler.ahead`, later.

        Returns:
            The result's tree, as `jax.ShapeDtypeStruct`.
        """
        key, program = self._program(*jax.tree.flatten((args, kwargs)))
        submit = here().submit
        if submit:
            submit(key, program)
        else:
            program.make_ready()
        return program.result

    def _program(self, leaves: Sequence[Any], tree: Any) -> tuple[Hashable, Program]:
        key = (self._function, tree, self._context(), *_circumstances(), *map(_aval, leaves))
        return key, compiler().program(key, lambda kept: Program(self._function, tree, leaves, kept, repr(key[1:])))


def part(
    static: Sequence[str] = (), context: Callable[[], Hashable] = lambda: None
) -> Callable[[Callable[_P, _R]], Part[_P, _R]]:
    """Compile a function by itself, or as a part of what JAX is tracing.

    By itself it is compiled for each combination of shapes, and the `Compiler` keeps the programs used last.

    Args:
        static: Names of the arguments that are not arrays.
        context: Function that returns all else that the function depends on.
    """
    return lambda function: Part(function, static, context)


def _is_traced(leaves: Sequence[Any]) -> bool:
    # Within jit an argument may be a constant; a new array tells whether JAX is tracing.
    return any(isinstance(leaf, jax.core.Tracer) for leaf in (*leaves, lax.full((), 0)))


def _circumstances() -> tuple[Hashable, ...]:
    return jax.config.jax_enable_x64, jax.config.jax_default_device  # type: ignore[attr-defined]


def _aval(leaf: Any) -> Hashable:
    if not is_array(leaf):
        return leaf
    return leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False), placed(leaf)


def by_parts(static: Sequence[str] = ()) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compile a function whole, or on the CPU leave that to the parts that it calls.

    Networks repeat layers, and the levels of the cascade repeat networks. In parts, equal ones are compiled once, which
    halves the time on the CPU. There, starting a part costs almost nothing, but a GPU would have to wait for each.

    Args:
        static: Names of the arguments that are not arrays.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        inner = jax.jit(function, static_argnames=tuple(static))

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if platform_of((args, kwargs)) == "cpu":
                return function(*args, **kwargs)
            leaves, tree = jax.tree.flatten((args, kwargs))
            if _is_traced(leaves):
                return inner(*args, **kwargs)
            key = (function, tree, *(leaf.shape if is_array(leaf) else leaf for leaf in leaves))
            # Wrapped, to give it a cache of its own: JAX cannot empty the cache of a single function.
            anew = functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs))
            whole = compiler().program(key, lambda _: jax.jit(anew, static_argnames=tuple(static)))
            return whole(*args, **kwargs)

        return call

    return decorate
