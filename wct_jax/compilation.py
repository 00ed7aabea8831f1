"""How much is compiled at once, and how on the CPU."""

import contextlib
import functools
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import jax
from jax import lax

_P = ParamSpec("_P")
_R = TypeVar("_R")

# YNNPACK runs a batch of matrix products on one core, where Eigen shares them out: Winograd would take half as long
# again.
_FAST = {"xla_cpu_experimental_ynn_fusion_type": ""}
# These halve the time that compiling takes, for some 4 % of the speed.
_QUICKLY_COMPILED = {"xla_cpu_use_fusion_emitters": "False", "xla_backend_optimization_level": "1"}


@functools.cache
def compiler_options(*, quick: bool = False) -> dict[str, str]:
    """XLA's options for an outermost `jax.jit` of this library, since it refuses them to inner ones.

    Args:
        quick: Compile sooner rather than run faster.
    """
    if jax.default_backend() != "cpu":
        return {}
    options = _FAST | (_QUICKLY_COMPILED if quick else {})
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except (ValueError, RuntimeError):
        return {}  # They come and go with its versions, and are but a matter of speed.
    return options


def part(static: Sequence[str] = ()) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compile a function, by itself or as a part of what JAX is tracing.

    Called with a `jax.ShapeDtypeStruct` it does not run: it is compiled, see `ahead`, and returns what its result will
    look like.

    Args:
        static: Names of the arguments that are not arrays.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        inner = jax.jit(function, static_argnames=tuple(static))
        outermost = functools.cache(
            lambda: jax.jit(function, static_argnames=tuple(static), compiler_options=compiler_options(quick=True))
        )

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            leaves = jax.tree.leaves((args, kwargs))
            if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
                lowered = outermost().lower(*args, **kwargs)
                _pending.get()(
                    str((function, jax.tree.structure((args, kwargs)), *map(_aval, leaves))), lowered.compile
                )
                return jax.tree.map(lambda info: jax.ShapeDtypeStruct(info.shape, info.dtype), lowered.out_info)
            # Within jit a constant is traced, too.
            tracing = any(isinstance(leaf, jax.core.Tracer) for leaf in (*leaves, lax.full((), 0)))
            return (inner if tracing else outermost())(*args, **kwargs)

        return call

    return decorate


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """Compile the parts that are called within on all cores, each once, and wait for them at the end.

    Tracing is Python's, which does one thing at a time; XLA compiles meanwhile.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures: dict[str, Future[object]] = {}

        def submit(key: str, work: Callable[[], object]) -> None:
            if key not in futures:
                futures[key] = pool.submit(work)

        token, collects = _pending.set(submit), gc.isenabled()
        gc.disable()  # Next to nothing of what tracing makes is garbage, and to look for it takes a fifth of the time.
        try:
            yield
            for future in futures.values():
                future.result()
        finally:
            _pending.reset(token)
            if collects:
                gc.enable()


_pending: ContextVar[Callable[[str, Callable[[], object]], object]] = ContextVar(
    "pending", default=lambda _, work: work()
)


def _aval(leaf: Any) -> tuple[Any, ...]:
    return (leaf.shape, leaf.dtype) if hasattr(leaf, "shape") else (leaf,)


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
