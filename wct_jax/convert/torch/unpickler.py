"""A reader of pickles that makes tensors, containers and plain values, and nothing else.

The standard library's `pickletools` parses the operations without running them, and this module carries them out. It
never imports or calls a name in a pickle, but looks it up in a small table.
"""

import functools
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, TypeVar

import ml_dtypes
import numpy as np

from wct_jax.convert.checkpoint import CheckpointError
from wct_jax.networks.tensor_file import FLOATING

_T = TypeVar("_T")


@dataclass(eq=False)
class Storage:
    """A flat block of a PyTorch file.

    Attributes:
        dtype: The dtype of its elements; None if the tensors state it.
        nbytes: Its length in bytes.
        read: A function that returns its bytes; None where they are missing. In legacy files they follow the pickle.
        byteorder: "<" or ">".
    """

    dtype: np.dtype | None
    nbytes: int
    read: Callable[[], bytes | memoryview] | None = None
    byteorder: str = "<"

    @functools.cached_property
    def data(self) -> bytes | memoryview:
        """The bytes, read once."""
        if self.read is None:
            raise CheckpointError("it is cut short or damaged: a tensor's values are missing")
        return self.read()


class Tensor(NamedTuple):
    """A tensor as the pickle describes it, not yet checked against its storage."""

    storage: Storage
    dtype: np.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _StorageType(NamedTuple):
    dtype: np.dtype | None


_NAMES = {
    **dict(Double="float64", Float="float32", Half="float16", BFloat16="bfloat16", Bool="bool"),
    **dict(Long="int64", Int="int32", Short="int16", Char="int8", Byte="uint8"),
}
_DTYPES = {name: np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name) for name in _NAMES.values()}


def _ordered_dict(pairs: list | None = None) -> dict:
    made: dict = {}
    for key, value in pairs or []:
        _set(made, key, value)
    if pairs is not None:
        # Python 2 wrote the pairs for this one use. Without this, a pickle could have them copied again and again.
        pairs.clear()
    return made


def _size(dimensions: tuple) -> tuple:
    if type(dimensions) is not tuple:
        raise TypeError("torch.Size of no tuple")
    return dimensions


def _tensor(storage: Storage, offset: int, size: tuple, stride: tuple, *_: object) -> Tensor:
    if storage.dtype is None:
        raise TypeError("a tensor without a dtype")
    return Tensor(storage, storage.dtype, offset, size, stride)


def _typed_tensor(
    storage: Storage, offset: int, size: tuple, stride: tuple, grad: object, hooks: object, dtype: np.dtype, *_: object
) -> Tensor:
    return Tensor(storage, dtype, offset, size, stride)


def _content(value: object, *_: object) -> object:
    """Unwrap a plain value: a parameter's tensor, a counter's dictionary, a device's name."""
    return value


# The names allowed in a pickle: functions to call, then values.
_FUNCTIONS: dict[str, Callable] = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _content,
    "torch._utils._rebuild_parameter_with_state": _content,
    "torch.nn.parameter.Parameter": _content,
    "collections.Counter": _content,
    "torch.device": _content,
}
_GLOBALS: dict[str, object] = {
    **_FUNCTIONS,
    **{f"torch.{cuda}{kind}Storage": _StorageType(_DTYPES[_NAMES[kind]]) for kind in _NAMES for cuda in ("", "cuda.")},
    **{f"torch.{name}": dtype for name, dtype in _DTYPES.items()},
    "torch.storage.UntypedStorage": _StorageType(None),
    "torch.UntypedStorage": _StorageType(None),
}

# Dtypes that we do not read: float8_e4m3fn, complex64, uint16, quantized ones.
_OTHER_DTYPE = re.compile(r"torch\.((float|complex|u?int|qu?int|bits)\w*\d\w*|(cuda\.)?\w+Storage)")

# Operations whose argument is the value itself, those of Python 2's strings included.
_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
# VGG-19 takes two thousand; a thousand layers with their optimizer's state take a few hundred thousand.
_MOST_OPERATIONS = 500_000
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Unpickler:
    """Reads the pickles of one PyTorch file.

    Args:
        storage: A function that makes each storage that a pickle refers to from its dtype (None if untyped), its key,
            and the rest of the reference: location, number of elements and, in old files, a view.
    """

    def __init__(self, storage: Callable[..., Storage]) -> None:
        self._storage = storage

    def load(self, stream: BinaryIO) -> object:
        """Read the pickle at which the stream stands, and leave the stream after it.

        Returns:
            A value made of dicts, lists, tuples, `Tensor`, `Storage` and plain values.

        Raises:
            CheckpointError: The pickle asks for anything else; damaged ones raise other errors too.
        """
        stack: list = []
        marks: list[int] = []
        memo: dict[int, object] = {}
        for number, (operation, argument, _) in enumerate(pickletools.genops(stream)):
            if number == _MOST_OPERATIONS:
                raise CheckpointError(f"its pickle has more than {_MOST_OPERATIONS} operations, far beyond a network's")
            name = operation.name
            if name in _VALUES:
                stack.append(argument)
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            elif name in _TUPLES:
                stack.append(_cut(stack, len(stack) - _TUPLES[name]))
            elif name == "MARK":
                marks.append(len(stack))
            elif name == "TUPLE":
                stack.append(_cut(stack, marks.pop()))
            elif name == "EMPTY_LIST":
                stack.append([])
            elif name == "EMPTY_DICT":
                stack.append({})
            elif name in ("APPEND", "APPENDS"):
                items = _cut(stack, marks.pop() if name == "APPENDS" else len(stack) - 1)
                _expect(stack[-1], list).extend(items)
            elif name in ("SETITEM", "SETITEMS"):
                items = _cut(stack, marks.pop() if name == "SETITEMS" else len(stack) - 2)
                for key, value in zip(items[::2], items[1::2], strict=True):
                    _set(_expect(stack[-1], dict), key, value)
            elif name in ("BINPUT", "LONG_BINPUT"):
                memo[_expect(argument, int)] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[_expect(argument, int)])
            elif name == "GLOBAL":
                stack.append(_named(_expect(argument, str).replace(" ", ".", 1)))
            elif name == "STACK_GLOBAL":
                module, attribute = _cut(stack, len(stack) - 2)
                stack.append(_named(f"{_expect(module, str)}.{_expect(attribute, str)}"))
            elif name == "REDUCE":
                function, arguments = _cut(stack, len(stack) - 2)
                if not any(function is known for known in _FUNCTIONS.values()):
                    raise TypeError("a call of what is no function")
                stack.append(function(*_expect(arguments, tuple)))
            elif name == "BUILD":
                # Drop a state dict's attributes, which are module versions.
                stack.pop()
                _expect(stack[-1], dict)
            elif name == "BINPERSID":
                stack.append(self._persistent(*_expect(stack.pop(), tuple)))
            elif name == "STOP":
                break
            elif name not in ("PROTO", "FRAME"):
                raise _refusal(name if argument is None else f"{name} {argument}")
        return stack.pop()

    def _persistent(self, kind: object, storage_type: object, *rest: object) -> Storage:
        if kind != "storage":
            raise _refusal(kind if isinstance(kind, str) else type(kind).__name__)
        # A key of another type could be nested too deep to be hashed.
        key, *rest_of_it = rest
        return self._storage(_expect(storage_type, _StorageType).dtype, _expect(key, str), *rest_of_it)


def _cut(stack: list, start: int) -> tuple:
    """Take everything from `start` on off the stack."""
    if not 0 <= start <= len(stack):
        raise IndexError("the stack is too short")
    items = tuple(stack[start:])
    del stack[start:]
    return items


def _set(target: dict, key: object, value: object) -> None:
    # Any other key could be nested so deep that hashing it overflows the interpreter's stack.
    if not isinstance(key, str | int | float | bytes | None):
        raise TypeError("a key that is no plain value")
    target[key] = value


def _named(name: str) -> object:
    if name in _GLOBALS:
        return _GLOBALS[name]
    if _OTHER_DTYPE.fullmatch(name):
        raise CheckpointError(
            f"its pickle asks for {name[:60]!r}, expected values of {', '.join(FLOATING[:-1])} or {FLOATING[-1]}"
        )
    raise _refusal(name)


def _expect(value: object, kind: type[_T]) -> _T:
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} in the place of {kind.__name__}")
    return value


def _refusal(what: str) -> CheckpointError:
    return CheckpointError(
        f"its pickle asks for {what[:100]!r}, which no tensor needs and which was not run; "
        "save the network's state_dict() instead, with torch.save(network.state_dict(), path)"
    )
