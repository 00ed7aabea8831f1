"""Attacks by pickles. Python's own unpickler runs, or would run, each of them."""

import builtins
import collections
import functools
import io
import os
import pickle
import struct
import subprocess
import tracemalloc

import pytest
import torch

from wct_jax.convert.checkpoint import CheckpointError
from wct_jax.convert.torch.unpickler import Unpickler


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def attacks(marker):
    touch = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, touch),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "open": Call(open, str(marker), "w"),
        "subprocess": Call(subprocess.check_call, ["touch", str(marker)]),
        "partial": Call(functools.partial, os.system, touch),
        "nested": Call(list, [Call(map, os.system, [touch])]),
        "within OrderedDict": Call(collections.OrderedDict, [["x", Call(os.system, touch)]]),
        "getattr": Call(getattr, Call(__import__, "os"), "system"),
        "as an argument of a tensor": Call(torch._utils._rebuild_parameter, Call(os.system, touch), True, {}),
    }


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", attacks(None))
def test_attack_in_a_checkpoint(tmp_path, refusal, name, protocol, is_zip):
    marker, path = tmp_path / "marker", tmp_path / "network.pth"
    state = {"0.weight": torch.ones(3, 3, 1, 1), "0.bias": torch.ones(3), "payload": attacks(marker)[name]}
    torch.save(state, path, _use_new_zipfile_serialization=is_zip, pickle_protocol=protocol)
    sentence = refusal(path)
    assert "network.pth: its pickle asks for '" in sentence
    assert "save the network's state_dict" in sentence
    assert not marker.exists()


def test_the_attack_is_real(tmp_path):
    pickle.loads(pickle.dumps(attacks(tmp_path / "marker")["os.system"]))
    assert (tmp_path / "marker").exists()


def load(content):
    def storage(*arguments):
        raise AssertionError("no storage in these")

    return Unpickler(storage).load(io.BytesIO(content))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"cposix\nsystem\n(S'id'\ntR.", "posix.system"),
        (b"cos\nsystem\n.", "os.system"),
        (b"c__builtin__\neval\n.", "__builtin__.eval"),
        (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
        (b"ccopyreg\n_reconstructor\n.", "copyreg._reconstructor"),
        (b"ccopy_reg\n_reconstructor\n.", "copy_reg._reconstructor"),
        (b"ccollections\nOrderedDict.__init__.__globals__\n.", "collections.OrderedDict.__init__.__globals__"),
        (b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.", "torch._utils._rebuild_tensor_v2.__globals__"),
        (b"ctorch\nload\n.", "torch.load"),
        (b"ctorch.hub\nload\n.", "torch.hub.load"),
        (b"\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"(ios\nsystem\n.", "INST os system"),
        (b"(cos\nsystem\nS'id'\no.", "os.system"),
        (b"(ccollections\nOrderedDict\no.", "OBJ"),
        (b"ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
        (b"ccollections\nOrderedDict\n)}\x92.", "NEWOBJ_EX"),
        (b"\x82\x01.", "EXT1 1"),
        (b"\x83\x01\x01.", "EXT2 257"),
        (b"\x84\x01\x01\x01\x01.", "EXT4 16843009"),
        (b"Pid\n.", "PERSID id"),
        (b"\x97.", "NEXT_BUFFER"),
        (b"\x8f.", "EMPTY_SET"),
        (b"(K\1\x91.", "FROZENSET"),
        (b"\x96\xff\xff\xff\xff\0\0\0\0.", None),
        (b"X\x06\0\0\0module}}}\x87Q.", None),
        (b"(X\x06\0\0\0module}NtQ.", "module"),
    ],
)
def test_operations_and_names_that_are_refused(content, named):
    expected = CheckpointError if named else Exception
    with pytest.raises(expected) as error:
        load(content)
    if named:
        assert f"its pickle asks for {named!r}, which no tensor needs" in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        *(b"]}b.", b"K\1}b.", b"ccollections\nOrderedDict\n}b."),  # A state for a list, a number, a function.
        # Calls of what stands for itself.
        *(b"ctorch\nFloatStorage\n)R.", b"ctorch\nfloat32\n)R.", b"X\1\0\0\0a)R."),
        *(b"ccollections\nOrderedDict\n]R.", b"ccollections\nOrderedDict\nK\1\x85R."),  # Arguments that are no tuple.
        *(b"ctorch\nSize\n](K\1K\2e\x85R.", b"ctorch._utils\n_rebuild_tensor_v2\n)R."),
        *(b"}K\1a.", b"]K\1K\2s."),  # A list's operation on a dict, and the reverse.
        *(b"})K\1s.", b"}(])K\1u.", b"}(K\1u."),  # Keys that are no plain values, or without a value.
        *(b"t.", b"\x85.", b"h\1.", b"q\1.", b"a.", b"R.", b".", b"", b"K\1", b"\xff.", b"((("),
        b"X\xff\xff\xff\xffab.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffab.",
        b"\x8b\xff\xff\xff\x7f.",
    ],
)
def test_nonsense_is_an_error_and_no_crash(content):
    with pytest.raises((ValueError, TypeError, IndexError, KeyError, AttributeError)):
        load(content)


def test_state_of_a_state_dict_is_dropped():
    assert load(b"ccollections\nOrderedDict\n)R}X\x05\0\0\0itemsK\1sb.") == {}


def test_names_in_a_message_are_cut(tmp_path, refusal):
    path = tmp_path / "network.pth"
    torch.save({"0.weight": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes().replace(b"torch._utils\n", b"x" * 5000 + b"\x1b[31m\n")
    path.write_bytes(content)
    sentence = refusal(path)
    assert "its pickle asks for 'xxx" in sentence
    assert len(sentence) < 500 + len(str(path))
    assert "\x1b" not in sentence


def test_memo_numbers_take_no_memory():
    # C's unpickler allocates a table up to the largest number.
    tracemalloc.start()
    assert load(b"]r\xff\xff\xff\xff.") == []
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_repeated_copies_take_no_memory():
    # One list of pairs, made an OrderedDict again and again.
    pairs = b"](" + b"".join(b"](K" + bytes([number % 256]) + b"K\0e" for number in range(1000)) + b"eq\0"
    calls = b"ccollections\nOrderedDict\nq\1" + b"](" + b"h\1h\0\x85R" * 1000 + b"e."
    made = load(pairs + calls)
    assert len(made[0]) == 256
    assert not any(made[1:])


@pytest.mark.slow
def test_deep_nesting_is_no_crash():
    value = load(b"]" + b"]" * 100_000 + b"a" * 100_000 + b".")
    assert isinstance(value, list)
    with pytest.raises(TypeError):
        load(b"}" + b")" + b"\x85" * 200_000 + b"K\1s.")


def test_plain_values():
    value = {"a": [1, -5, 2.5, None, True, False, 300, 70_000, 2**70], "b": (1, (2, 3, 4), (), ("x", "y")), 3: "é"}
    for protocol in (2, 3, 4, 5):
        assert load(pickle.dumps(value, protocol)) == value
    long = {str(number): [number] * 3 for number in range(3000)}
    assert load(pickle.dumps(long, 4)) == long


def test_one_pickle_after_another():
    stream = io.BytesIO(pickle.dumps([1], 2) + pickle.dumps("x", 4) + b"rest")
    unpickler = Unpickler(lambda *_: None)
    assert [unpickler.load(stream), unpickler.load(stream), stream.read()] == [[1], "x", b"rest"]


def test_length_of_a_string_is_checked():
    with pytest.raises(ValueError, match="expected 1073741824 bytes"):
        load(b"X" + struct.pack("<I", 2**30) + b"abc.")


def test_builtins_are_untouched():
    before = dict(vars(builtins))
    with pytest.raises(CheckpointError):
        load(b"cbuiltins\nsetattr\n(cbuiltins\nint\nX\1\0\0\0xK\1tR.")
    assert dict(vars(builtins)) == before


# Small pickles that would take all memory, or all time


def doubled(kind):
    """A tuple or list that holds the one before it twice, sixty times: 2^60 numbers, if anyone looks at all of them."""
    content = b"K\1q\0"
    for number in range(60):
        get, put = b"h" + bytes([number]), b"q" + bytes([number + 1])
        content += (get * 2 + b"\x86" if kind is tuple else b"](" + get * 2 + b"e") + put
    return content


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"}", b"K\1s."),  # A key.
        (b"(", b"tQ."),  # A reference to a storage.
        (b"(X\7\0\0\0storagectorch\nFloatStorage\n", b"X\3\0\0\0cpuK\1tQ."),  # A storage's key.
        (b"ccollections\nOrderedDict\n](](", b"K\1ee\x85R."),  # A key of an OrderedDict.
        (b"cos\n", b"\n."),
    ],
)
def test_what_is_doubled_without_end_is_not_looked_at(kind, before, after):
    with pytest.raises((CheckpointError, TypeError, ValueError)):
        load(b"\x80\2" + before + doubled(kind) + after)


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("place", range(4))
def test_legacy_files_with_what_is_doubled(tmp_path, refusal, kind, place):
    # The magic number, the protocol, the system, the state dict, the keys of the storages.
    pickles = [b"\x80\2\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", b"\x80\2M\xe9\3.", b"\x80\2}.", b"\x80\2}.", b"\x80\2]."]
    pickles[place + 1] = b"\x80\2" + doubled(kind) + b"."
    if place == 3:
        pickles[4] = b"\x80\2](" + doubled(kind) + b"e."
    path = tmp_path / "network"
    path.write_bytes(b"".join(pickles))
    assert len(refusal(path)) < 500


def test_a_pickle_of_nothing_but_objects(monkeypatch):
    monkeypatch.setattr("wct_jax.convert.torch.unpickler._MOST_OPERATIONS", 20_000)
    content = b"\x80\2" + b"}" * 3_000_000 + b"."
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="its pickle has more than 20000 operations"):
        load(content)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


def test_long_keys_used_again_and_again(tmp_path, refusal):
    state = {}
    key = "k" * 3_000_000
    for _ in range(300):
        state = {key: state}
    path = tmp_path / "network"
    torch.save(state | {"a": {"0.weight": torch.ones(2)}, "b": {"0.weight": torch.ones(2)}}, path)
    assert "it holds 2 state dicts, under 'a and b'" in refusal(path)
