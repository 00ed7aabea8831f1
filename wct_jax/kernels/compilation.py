"""How much is compiled at once: a function by itself, as a part of another one, or with all that it calls."""

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
    """A function that is compiled by itself, or as a part of what JAX is tracing, see `part`."""

    def __init__(self, function: Callable[_P, _R], static: Sequence[str], context: Callable[[], Hashable]) -> None:
        """As `part`."""
        functools.update_wrapper(self, function)
        self._function, self._context = function, context
        self._inner = jax.jit(function, static_argnames=tuple(static))

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Run it. Within `Compiler.ahead` it is compiled instead, and the result has no values."""
        if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            return self._function(*args, **kwargs)
        leaves, tree = jax.tree.flatten((args, kwargs))
        if not _is_traced(leaves):
            return self._program(leaves, tree)[1](*filter(is_array, leaves))
        if here().submit:
            return jax.tree.map(lambda x: lax.empty(x.shape, x.dtype), self.compile(*args, **kwargs))
        return self._inner(*args, **kwargs)

    def compile(self, *args: _P.args, **kwargs: _P.kwargs) -> Any:
        """Compile it for arguments, of which arrays may be `jax.ShapeDtypeStruct`.

        Returns:
            What its result will look like, as `jax.ShapeDtypeStruct`. Within `Compiler.ahead` it is compiled later.
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
    """Compile a function, by itself or as a part of what JAX is tracing.

    By itself it is compiled for each combination of shapes, and the programs used last are kept by the `Compiler`.

    Args:
        static: Names of the arguments that are not arrays.
        context: What else it depends on.
    """
    return lambda function: Part(function, static, context)


def _is_traced(leaves: Sequence[Any]) -> bool:
    # Within jit a constant is traced, too.
    return any(isinstance(leaf, jax.core.Tracer) for leaf in (*leaves, lax.full((), 0)))


def _circumstances() -> tuple[Hashable, ...]:
    return jax.config.jax_enable_x64, jax.config.jax_default_device  # type: ignore[attr-defined]


def _aval(leaf: Any) -> Hashable:
    if not is_array(leaf):
        return leaf
    return leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False), placed(leaf)


def by_parts(static: Sequence[str] = ()) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compile a function whole, or on the CPU leave that to the parts that it calls.

    Networks repeat their layers, and the levels of the cascade their networks: in parts, what is alike is compiled
    once, which on the CPU takes half the time. There, starting a part costs nothing to speak of; a GPU would have to
    wait for it.

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
            # Wrapped, so that it has a cache of its own: JAX does not empty one function's alone.
            anew = functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs))
            whole = compiler().program(key, lambda _: jax.jit(anew, static_argnames=tuple(static)))
            return whole(*args, **kwargs)

        return call

    return decorate
