"""Executables on disk, which spare a process tracing and lowering what an earlier one has compiled.

JAX looks into its own compilation cache only after both, which take a second for the many small parts of a painting;
filling that cache takes another.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib.version
from jax._src.array import ArrayImpl
from jax.core import ShapedArray
from jaxlib import xla_client

import wct_jax
from wct_jax.kernels.native import library
from wct_jax.system.private_folder import PrivateFolder
from wct_jax.system.processor import cores, processor
from wct_jax.transform.statistics import Moments

Loader = Callable[[], Callable[..., Any] | None]

# Classes that results may contain, beside lists, tuples, and dictionaries.
_RECORDS = {record.__name__: record for record in (Moments,)}


class Executables:
    """Executables for the first device, in a folder, by a name for the code they were compiled from.

    Each file holds a line of JSON, which describes the result, followed by the executable as XLA serializes it. XLA
    verifies little of that before running it, so the files are in a `PrivateFolder`.
    """

    def __init__(self, folder: Path, most: int) -> None:
        """Use a `PrivateFolder` of about `most` bytes."""
        self._folder = PrivateFolder(folder, most)
        self._circumstances = _circumstances()

    def find(self, name: str) -> tuple[Any, Loader] | None:
        """Look for an executable by its name.

        Returns:
            The result's tree, as `jax.ShapeDtypeStruct`, and a function that loads the executable: a function of
            arrays alone, or None if it cannot be loaded. None if there is no executable of that name.
        """
        content = self._folder.read(self._key(name))
        if content is None:
            return None
        header, _, payload = content.partition(b"\n")
        try:
            result = _restored(json.loads(header)["result"])
        except Exception:  # A file of another version can raise anything.
            return None

        def load() -> Callable[..., Any] | None:
            _know_lapack()
            device, shapes = jax.devices()[0], jax.tree.leaves(result)
            tree, sharding = jax.tree.structure(result), jax.sharding.SingleDeviceSharding(device)
            try:
                executable = device.client.deserialize_executable(payload, xla_client.DeviceList((device,)))
            except Exception:  # The interface of XLA's client is not public.
                return None

            def call(*arrays: Any) -> Any:
                inputs = [a if isinstance(a, jax.Array) else jax.device_put(a, device) for a in arrays]
                outputs = executable.execute_sharded(inputs).disassemble_into_single_device_arrays()
                # Committed to no device, like JAX's own results of such arrays, because that decides what runs where.
                return jax.tree.unflatten(
                    tree,
                    [
                        ArrayImpl(ShapedArray(shape.shape, shape.dtype), sharding, shards, False, _skip_checks=True)
                        for shape, shards in zip(shapes, outputs, strict=True)
                    ],
                )

            return call

        return result, load

    def keep(self, name: str, compiled: jax.stages.Compiled, result: Any) -> None:
        """Write an executable, if possible.

        Args:
            name: Name for `find`.
            compiled: Compiled function of positional arrays that takes all of them (`jax.jit` with `keep_unused`).
            result: The result's tree, as `jax.ShapeDtypeStruct`.
        """
        # Not every backend can serialize, and not every result can be described.
        with contextlib.suppress(TypeError, ValueError, NotImplementedError, jax.errors.JaxRuntimeError):
            executable: Any = compiled.runtime_executable()
            numbers = len(executable.get_parameter_layouts()), len(executable.get_output_layouts())
            if numbers != (len(jax.tree.leaves(compiled.args_info)), len(jax.tree.leaves(result))):
                return
            header = {"name": name, "circumstances": self._circumstances, "result": _described(result)}
            payload = executable.client.serialize_executable(executable)
            self._folder.write(self._key(name), json.dumps(header).encode() + b"\n" + payload)

    def prune(self) -> None:
        """Remove the files unused for the longest time until the rest fits."""
        self._folder.prune()

    def _key(self, name: str) -> str:
        return f"{self._circumstances} {name}"


def _described(result: Any) -> Any:
    """Describe a result's tree in JSON."""
    kind = type(result)
    if result is None:
        return None
    if kind is jax.ShapeDtypeStruct:
        if jnp.dtype(str(result.dtype)) != result.dtype:
            raise TypeError(f"{result.dtype} is not known by its name")
        return ["array", str(result.dtype), *result.shape]
    if kind in (list, tuple):
        return [kind.__name__, *map(_described, result)]
    if kind is dict:
        return ["dict", {key: _described(value) for key, value in result.items()}]
    if _RECORDS.get(kind.__name__) is kind:
        return [kind.__name__, *(_described(getattr(result, field.name)) for field in dataclasses.fields(kind))]
    raise TypeError(f"expected lists, tuples, dictionaries, and {', '.join(_RECORDS)} in a result, got {kind.__name__}")


def _restored(description: Any) -> Any:
    """Restore a result's tree from its description."""
    if description is None:
        return None
    kind, *rest = description
    if kind == "array":
        return jax.ShapeDtypeStruct(tuple(rest[1:]), jnp.dtype(rest[0]))
    if kind == "dict":
        return {key: _restored(value) for key, value in rest[0].items()}
    parts = map(_restored, rest)
    return _RECORDS[kind](*parts) if kind in _RECORDS else {"list": list, "tuple": tuple}[kind](parts)


def _circumstances() -> str:
    """Everything that an executable's code depends on beside its name."""
    sources = hashlib.sha256()
    for path in sorted(Path(wct_jax.__file__).parent.rglob("*.py")):
        sources.update(path.read_bytes())
    settings = sorted((name, value) for name, value in os.environ.items() if name.startswith(("JAX_", "XLA_")))
    machine = jax.default_backend(), cores(), processor()
    versions = jax.__version__, jaxlib.version.__version__, library.identity()
    return repr((sources.hexdigest(), versions, settings, machine))


@functools.cache
def _know_lapack() -> None:
    # JAX registers the LAPACK functions that executables call when it first lowers something that needs them.
    jax.jit(jnp.linalg.eigh).lower(jax.ShapeDtypeStruct((1, 1), jnp.float32))
