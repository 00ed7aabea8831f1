"""How much is compiled at once, and how on the CPU."""

import contextlib
import ctypes
import functools
import gc
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import jax
from jax import lax

from wct_jax.executables import Executables
from wct_jax.machine import usable_cores
from wct_jax.platforms import platform_of
from wct_jax.programs import Program, is_array, placed
from wct_jax.recent import Recent

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


def part(
    static: Sequence[str] = (), context: Callable[[], Hashable] = lambda: None
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compile a function, by itself or as a part of what JAX is tracing.

    By itself it is compiled for each combination of shapes, and the programs used last are kept, see `MOST_PROGRAMS`.
    Called with a `jax.ShapeDtypeStruct` it does not run: it is compiled, see `ahead`, and returns what its result will
    look like.

    Args:
        static: Names of the arguments that are not arrays.
        context: What else it depends on.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        inner = jax.jit(function, static_argnames=tuple(static))

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
                return function(*args, **kwargs)
            leaves, tree = jax.tree.flatten((args, kwargs))
            shapes_only = any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
            # Within jit a constant is traced, too.
            if not shapes_only and any(isinstance(leaf, jax.core.Tracer) for leaf in (*leaves, lax.full((), 0))):
                return inner(*args, **kwargs)
            key = (function, tree, context(), *_circumstances(), *map(_aval, leaves))
            program = _programs.get(key)
            if program is None:
                program = _programs.add(
                    key, Program(function, tree, leaves, compiler_options(quick=True), _kept, repr(key[1:]))
                )
                _drop()
            if shapes_only:
                if not program.is_ready:
                    _pending.get()(key, program.make_ready)
                return program.result
            return program(*filter(is_array, leaves))

        return call

    return decorate


# The kernel allows a process 65,530 memory mappings, those of some 60 sizes of canvas. Measured: a canvas takes about
# 31 programs, which have 1,000 mappings and 45 MB.
MOST_PROGRAMS = 320


_programs: Recent[Hashable, Program] = Recent(MOST_PROGRAMS)
# JAX never forgets what it traced of functions of its own, such as `jnp.pad`: measured, 80 kB for a program.
_DROPPED_BEFORE_CLEARING = MOST_PROGRAMS
# And the C library keeps what is free between the rest: measured, a fifth of all.
_DROPPED_BEFORE_TRIMMING = MOST_PROGRAMS // 4


def _drop() -> None:
    """Drop the programs that are too many and, from time to time, what is left of those that were dropped."""
    before = _programs.dropped
    _programs.trim()
    if before // _DROPPED_BEFORE_CLEARING < _programs.dropped // _DROPPED_BEFORE_CLEARING:
        # All caches, also of the caller's functions, which are compiled again: seldom, and there is no other way.
        jax.clear_caches()
    if before // _DROPPED_BEFORE_TRIMMING < _programs.dropped // _DROPPED_BEFORE_TRIMMING:
        with contextlib.suppress(AttributeError, OSError, TypeError):  # Others than glibc have no such function.
            ctypes.CDLL(None).malloc_trim(0)


def programs_dropped() -> int:
    """How many programs this process has dropped so far: what was compiled ahead before may have to be again."""
    return _programs.dropped


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """Compile the parts that are called within on all cores, each once, and wait for them at the end.

    Tracing is Python's, which does one thing at a time; XLA compiles meanwhile.
    """
    with ThreadPoolExecutor(usable_cores()) as pool:
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
    _programs.clear()


_kept: Executables | None = None


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
            if any(isinstance(leaf, jax.core.Tracer) for leaf in (*leaves, lax.full((), 0))):
                return inner(*args, **kwargs)
            key = (function, tree, *(leaf.shape if is_array(leaf) else leaf for leaf in leaves))
            whole = _wholes.get(key)
            if whole is None:
                whole = _wholes.add(key, jax.jit(_anew(function), static_argnames=tuple(static)))
                _wholes.trim()
            return whole(*args, **kwargs)

        return call

    return decorate


# Five for a size of canvas.
_wholes: Recent[Hashable, Callable[..., Any]] = Recent(MOST_PROGRAMS // 4)


def _anew(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The same for `jax.jit`, but with a cache of its own, which JAX empties only as a whole."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        return function(*args, **kwargs)

    return call
