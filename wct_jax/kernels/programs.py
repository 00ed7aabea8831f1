"""Programs: functions compiled for some shapes, and XLA's options for that."""

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax

from wct_jax.kernels.executables import Executables

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


class Program:
    """A function compiled for arguments of some shapes.

    It is freed when nothing refers to it, while `jax.jit` keeps all that it compiles until it is freed itself.

    Attributes:
        result: The result's tree, as `jax.ShapeDtypeStruct`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        tree: Any,
        leaves: Sequence[Any],
        kept: Executables | None,
        key: str,
    ) -> None:
        """Find the program among the executables on disk, or trace the function.

        Args:
            function: Function to compile.
            tree: Tree of its arguments.
            leaves: Leaves of its arguments: arrays or their shapes, and values that are not arrays.
            kept: Executables on disk; None for none.
            key: Everything that the program depends on, as text.
        """
        rest = [None if is_array(leaf) else leaf for leaf in leaves]

        @functools.wraps(function)
        def of_arrays(*arrays: Any) -> Any:
            given = iter(arrays)
            args, kwargs = jax.tree.unflatten(tree, [next(given) if leaf is None else leaf for leaf in rest])
            return function(*args, **kwargs)

        del of_arrays.__wrapped__  # It has other arguments.
        shapes = [_shape(leaf) for leaf in leaves if is_array(leaf)]
        self._lock = threading.Lock()
        self._executable: Callable[..., Any] | None = None
        name = f"{function.__module__}.{function.__qualname__} {key}"

        def lower() -> Any:
            # With all arguments, because an executable from disk does not tell which it takes.
            options = compiler_options(quick=True)
            return jax.jit(of_arrays, keep_unused=True, compiler_options=options).lower(*shapes)

        found = kept.find(name) if kept else None
        if found:
            self.result, load = found
            self._make = lambda: load() or lower().compile()
        else:
            lowered = lower()
            self.result = jax.tree.map(lambda info: jax.ShapeDtypeStruct(info.shape, info.dtype), lowered.out_info)
            self._make = lambda: _compile(lowered, kept, name, self.result)

    @property
    def is_ready(self) -> bool:
        """Whether it has been compiled or loaded."""
        return self._executable is not None

    def make_ready(self) -> None:
        """Compile or load the program, once."""
        with self._lock:
            if self._executable is None:
                self._executable = self._make()
                del self._make  # It refers to the lowered code, which is large.

    def __call__(self, *arrays: Any) -> Any:
        """Run the program."""
        if self._executable is None:
            self.make_ready()
        return self._executable(*arrays)  # type: ignore[misc]


def _compile(lowered: jax.stages.Lowered, kept: Executables | None, name: str, result: Any) -> jax.stages.Compiled:
    compiled = lowered.compile()
    if kept:
        kept.keep(name, compiled, result)
    return compiled


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    weak = getattr(leaf, "weak_type", False)
    dtype = jax.dtypes.canonicalize_dtype(leaf.dtype, allow_extended_dtype=True)  # JAX 0.12 warns of float64.
    return jax.ShapeDtypeStruct(leaf.shape, dtype, weak_type=weak, sharding=placed(leaf))


def placed(leaf: Any) -> Any:
    """The sharding of an array that is committed to it, otherwise None."""
    # Not asking a tracer, which has no such attribute and takes long to say so.
    stays = not isinstance(leaf, jax.core.Tracer) and getattr(leaf, "committed", False)
    return leaf.sharding if stays else None


def is_array(leaf: Any) -> bool:
    """Whether an argument is an array or the shape of one."""
    return hasattr(leaf, "shape")
