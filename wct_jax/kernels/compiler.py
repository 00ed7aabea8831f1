"""The compiler that keeps the programs of this library's parts: one per process, or others for a while."""

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

# Linux allows a process 65,530 memory mappings, enough for some 60 sizes of canvas. Measured: a size takes about 31
# programs with 1,000 mappings and 45 MB.
MOST_PROGRAMS = 320
# A function that is compiled whole counts as so many; a size of canvas has five.
_PROGRAMS_OF_A_WHOLE = 4
# JAX never forgets what it traced of its own functions, such as `jnp.pad`: 80 kB per program, measured.
_DROPPED_BEFORE_CLEARING = MOST_PROGRAMS
# And the C library keeps the free memory in between: a fifth of all, measured.
_DROPPED_BEFORE_TRIMMING = MOST_PROGRAMS // 4
# Tracing holds Python's interpreter lock, so taking turns loses nothing.
_tracing = threading.RLock()


class Compiler:
    """The programs used last and, optionally, a folder of executables. Threads may share it."""

    def __init__(self, most: int = MOST_PROGRAMS) -> None:
        """Keep at most so many programs."""
        self._programs: Recent[Hashable, Any] = Recent(
            most, lambda program: 1 if isinstance(program, Program) else _PROGRAMS_OF_A_WHOLE
        )
        self._executables: Executables | None = None

    @property
    def dropped(self) -> int:
        """How many programs it has dropped so far. Those may have to be compiled again."""
        return self._programs.dropped

    def keep(self, executables: Executables | None) -> None:
        """Load executables from a folder and save new ones there, or stop doing so if it is None.

        Only for a process that uses one device and one `wct_jax.kernels.conv.algorithm`.
        """
        self._executables = executables
        self._programs.clear()

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Make parts called in this thread, within the block, use this compiler instead of the process's."""
        token = _here.set(Here(self))
        try:
            yield
        finally:
            _here.reset(token)

    def program(self, key: Hashable, make: Callable[[Executables | None], Any]) -> Any:
        """Look up a program, or make it.

        Args:
            key: Everything the program depends on.
            make: Function from the folder of executables to a `Program`, or to a function that JAX compiles whole.
        """
        program = self._programs.get(key)
        if program is None:
            with self.used():  # Not ahead: the parts of a part are compiled with it.
                program = self._programs.add(key, make(self._executables))
            self._drop()
        return program

    def ahead(self, function: Callable[..., object], *args: Any) -> None:
        """Compile the parts that a function calls, each once, on all cores, and wait until that is done.

        Args:
            function: Function that is traced to find its parts, which are compiled but do not run.
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
        """Drop the programs above the bound and, from time to time, what JAX and the C library keep of dropped ones."""
        before = self.dropped
        self._programs.trim()
        if before // _DROPPED_BEFORE_CLEARING < self.dropped // _DROPPED_BEFORE_CLEARING:
            # This empties the caches of the caller's functions, too, which are compiled again. JAX has no other way.
            jax.clear_caches()
        if before // _DROPPED_BEFORE_TRIMMING < self.dropped // _DROPPED_BEFORE_TRIMMING:
            with contextlib.suppress(AttributeError, OSError, TypeError):  # Only glibc has this function.
                ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    # Tracing makes almost no garbage, and looking for it takes a sixth of the time.
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class Here(NamedTuple):
    """How parts called in this context are compiled."""

    compiler: Compiler
    # Within `Compiler.ahead`: takes key and program of each part, which is compiled but does not run.
    submit: Callable[[Hashable, Program], None] | None = None


# New threads begin with this one.
_OF_THE_PROCESS = Here(Compiler())
_here = ContextVar("here", default=_OF_THE_PROCESS)


def here() -> Here:
    """Return how parts called in this context are compiled."""
    return _here.get()


def compiler() -> Compiler:
    """The compiler of parts called in this context: the process's, or the one that is `used`."""
    return here().compiler
