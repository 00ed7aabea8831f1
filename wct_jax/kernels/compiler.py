"""Compiles the parts of this library and keeps what it has compiled: one for the process, or others for a while."""

import contextlib
import ctypes
import gc
import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax

from wct_jax.kernels.executables import Executables
from wct_jax.kernels.programs import Program
from wct_jax.system.machine import usable_cores
from wct_jax.system.recent import Recent

# The kernel allows a process 65,530 memory mappings, those of some 60 sizes of canvas. Measured: a canvas takes about
# 31 programs, which have 1,000 mappings and 45 MB.
MOST_PROGRAMS = 320
# A function that is compiled whole counts as so many; there are five for a size of canvas.
_PROGRAMS_OF_A_WHOLE = 4
# JAX never forgets what it traced of functions of its own, such as `jnp.pad`: measured, 80 kB for a program.
_DROPPED_BEFORE_CLEARING = MOST_PROGRAMS
# And the C library keeps what is free between the rest: measured, a fifth of all.
_DROPPED_BEFORE_TRIMMING = MOST_PROGRAMS // 4
# Tracing is Python's, which does one thing at a time: nothing is lost by taking turns.
_tracing = threading.RLock()


class Compiler:
    """The programs used last and, if it is told one, a folder of executables. Threads may share it."""

    def __init__(self, most: int = MOST_PROGRAMS) -> None:
        """Start with no programs.

        Args:
            most: How many it keeps.
        """
        self._programs: Recent[Hashable, Any] = Recent(
            most, lambda program: 1 if isinstance(program, Program) else _PROGRAMS_OF_A_WHOLE
        )
        self._executables: Executables | None = None

    @property
    def dropped(self) -> int:
        """How many programs it has dropped so far: what was compiled ahead before may have to be again."""
        return self._programs.dropped

    def keep(self, executables: Executables | None) -> None:
        """Load executables from a folder and save new ones there.

        For a process that uses one device and one `wct_jax.kernels.conv.algorithm`.

        Args:
            executables: The folder; None for none.
        """
        self._executables = executables
        self._programs.clear()

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Make the parts that this thread calls within the block use this compiler instead of the process's."""
        token = _here.set(Here(self))
        try:
            yield
        finally:
            _here.reset(token)

    def program(self, key: Hashable, make: Callable[[Executables | None], Any]) -> Any:
        """Look up a program, or make it.

        Args:
            key: All that it depends on.
            make: Makes a `Program`, or a function that JAX compiles whole, given the folder of executables.
        """
        program = self._programs.get(key)
        if program is None:
            with self.used():  # The parts of a part are not compiled by themselves.
                program = self._programs.add(key, make(self._executables))
            self._drop()
        return program

    def ahead(self, function: Callable[..., object], *args: Any) -> None:
        """Compile the parts that a function calls on all cores, each once, and wait for them.

        Args:
            function: The function. It is traced; its parts are compiled but do not run.
            args: Its arguments: pytrees of arrays or `jax.ShapeDtypeStruct`.
        """
        pool = ThreadPoolExecutor(usable_cores())
        futures: dict[Hashable, Future[None]] = {}

        def submit(key: Hashable, program: Program) -> None:
            if not program.is_ready and key not in futures:
                futures[key] = pool.submit(program.make_ready)

        token = _here.set(Here(self, submit))
        try:
            with _tracing, _no_collection():
                jax.eval_shape(function, *args)
            for future in futures.values():
                future.result()
        finally:
            _here.reset(token)
            pool.shutdown(cancel_futures=True)
            if self._executables:
                self._executables.prune()

    def _drop(self) -> None:
        """Drop the programs that are too many and, from time to time, what is left of those that were dropped."""
        before = self.dropped
        self._programs.trim()
        if before // _DROPPED_BEFORE_CLEARING < self.dropped // _DROPPED_BEFORE_CLEARING:
            # All caches, also of the caller's functions, which are compiled again: seldom, and there is no other way.
            jax.clear_caches()
        if before // _DROPPED_BEFORE_TRIMMING < self.dropped // _DROPPED_BEFORE_TRIMMING:
            with contextlib.suppress(AttributeError, OSError, TypeError):  # Others than glibc have no such function.
                ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    # Next to nothing of what tracing makes is garbage, and to look for it takes a sixth of the time.
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class Here(NamedTuple):
    """How the parts that are called here are compiled.

    Attributes:
        compiler: By what.
        submit: Takes key and program of each part that is to be compiled, not run: within `Compiler.ahead`.
    """

    compiler: Compiler
    submit: Callable[[Hashable, Program], None] | None = None


# New threads begin with it.
_OF_THE_PROCESS = Here(Compiler())
_here = ContextVar("here", default=_OF_THE_PROCESS)


def here() -> Here:
    """How the parts that are called here are compiled."""
    return _here.get()


def compiler() -> Compiler:
    """The compiler of the parts that are called here: the process's, or the one that is `used`."""
    return here().compiler
