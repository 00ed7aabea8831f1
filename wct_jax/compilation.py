"""How much is compiled at once, and how on the CPU."""

import contextlib
import functools
import gc
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import jax
from jax import lax

from wct_jax.executables import Executables
from wct_jax.platforms import platform_of

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
            leaves, tree = jax.tree.flatten((args, kwargs))
            key = (function, tree, *map(_aval, leaves))
            if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
                if _kept is not None:
                    return _load(_kept, key, leaves)
                lowered = outermost().lower(*args, **kwargs)
                _pending.get()(key, lowered.compile)
                return _shapes(lowered)
            # Within jit a constant is traced, too.
            if any(isinstance(leaf, jax.core.Tracer) for leaf in (*leaves, lax.full((), 0))):
                return inner(*args, **kwargs)
            loaded = _known[key].executable if key in _known else None
            return outermost()(*args, **kwargs) if loaded is None else loaded(*filter(_is_array, leaves))

        return call

    return decorate


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """Compile the parts that are called within on all cores, each once, and wait for them at the end.

    Tracing is Python's, which does one thing at a time; XLA compiles meanwhile.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures: dict[Hashable, Future[object]] = {}

        def submit(key: Hashable, work: Callable[[], object]) -> None:
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
            if _kept is not None:
                _kept.prune()


_pending: ContextVar[Callable[[Hashable, Callable[[], object]], object]] = ContextVar(
    "pending", default=lambda _, work: work()
)


def keep(executables: Executables | None) -> None:
    """Have `ahead` find what it compiles, and leave it, in a folder.

    For a process that uses one device and one `wct_jax.conv.algorithm`.

    Args:
        executables: The folder; None for none.
    """
    global _kept
    _kept = executables
    _known.clear()


@dataclass
class _Known:
    """A part for some shapes: what it returns, and how to run it, once that is there."""

    result: Any
    executable: Callable[..., Any] | None = None


_kept: Executables | None = None
_known: dict[Hashable, _Known] = {}


def _load(kept: Executables, key: tuple[Any, ...], leaves: Sequence[Any]) -> Any:
    """Find an executable or compile it, when its turn comes, and return what its result looks like."""
    if key in _known:
        return _known[key].result
    function, tree, *avals = key

    def of_arrays(*arrays: Any) -> Any:
        rest = iter(arrays)
        args, kwargs = jax.tree.unflatten(tree, [next(rest) if _is_array(leaf) else leaf for leaf in leaves])
        return function(*args, **kwargs)

    name = f"{function.__module__}.{function.__qualname__} {tree} {avals}"
    found = kept.find(name)
    if found:
        result, load = found
    else:
        jitted = jax.jit(of_arrays, compiler_options=compiler_options(quick=True))
        lowered = jitted.lower(*filter(_is_array, leaves))
        result = _shapes(lowered)

        def load() -> Callable[..., Any] | None:
            compiled = lowered.compile()
            kept.keep(name, compiled, result)
            return compiled

    known = _known[key] = _Known(result)

    def work() -> None:
        known.executable = load()

    _pending.get()(key, work)
    return result


def _shapes(lowered: jax.stages.Lowered) -> Any:
    return jax.tree.map(lambda info: jax.ShapeDtypeStruct(info.shape, info.dtype), lowered.out_info)


def _aval(leaf: Any) -> Hashable:
    return (leaf.shape, str(leaf.dtype), getattr(leaf, "weak_type", False)) if _is_array(leaf) else leaf


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "shape")


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
            return (function if platform_of((args, kwargs)) == "cpu" else whole)(*args, **kwargs)

        return call

    return decorate
