"""How much is compiled at once."""

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import jax

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(static: Sequence[str] = ()) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compile a function whole, or on the CPU in the parts that it calls, which are compiled each.

    Networks repeat their layers, and the levels of the cascade their networks: in parts what is alike is compiled once,
    which on the CPU takes a third of the time. There, starting a part costs nothing to speak of; a GPU would wait.

    Args:
        static: Names of the arguments that are not arrays.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        whole = jax.jit(function, static_argnames=tuple(static))

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            return function(*args, **kwargs) if jax.default_backend() == "cpu" else whole(*args, **kwargs)

        return call

    return decorate
