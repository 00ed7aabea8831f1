"""Mutations of files: flipped bits, other lengths, moved pieces, numbers in headers, JSON values."""

import json
import random


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change a file somewhere."""
    if (data.startswith(b"{") or data[8:9] == b"{") and rng.random() < 0.6:  # safetensors
        return _mutate_header(data, rng)
    return bytes(mutate_bytes(bytearray(data), rng))


def mutate_bytes(content: bytearray, rng: random.Random) -> bytearray:
    # Half of the time in the header, where damage does the most.
    span = len(content) if rng.random() < 0.5 else min(len(content), 400)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 30))):
        at = rng.randrange(max(1, span))
        match rng.randrange(8):
            case 0 | 1:
                content[at : at + 1] = bytes([(content[at] if at < len(content) else 0) ^ 1 << rng.randrange(8)])
            case 2:
                content[at : at + 4] = rng.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)))
            case 3:
                del content[at:]
            case 4:
                content[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
            case 5:
                content[at : at + 8] = rng.randbytes(8)
            case 6:
                del content[at : at + rng.choice((1, 4, 50))]
            case 7:
                piece = content[at : at + rng.choice((4, 32, 200))]
                other = rng.randrange(max(1, len(content)))
                content[other : other + len(piece)] = piece
    return content


_VALUES = (
    *(None, True, -1, 0, 1, 2.5, 10**9, 10**400),
    *("", "x", "\x1b]0;x\x07\x1b[31m", "\ud800", [], [[]], [None], {}, {"a": [1]}),
)


def _mutate_header(data: bytes, rng: random.Random) -> bytes:
    """Change values in the JSON of a safetensors file, or in the JSON within its metadata."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header.get("__metadata__", {})
    if metadata and rng.random() < 0.8:
        key = rng.choice(list(metadata))
        document = json.loads(metadata[key])
        _change(document, rng)
        metadata[key] = json.dumps(document) if rng.random() < 0.95 else "[" * 100_000
    else:
        _change(header, rng)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _change(tree: dict, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 4))):
        branch = tree
        while isinstance(branch, dict) and branch:
            key = rng.choice(list(branch))
            if isinstance(branch[key], dict) and rng.random() < 0.7:
                branch = branch[key]
                continue
            match rng.randrange(4):
                case 0:
                    branch[str(rng.choice(_VALUES))] = branch.pop(key)
                case 1:
                    del branch[key]
                case _:
                    branch[key] = rng.choice((*_VALUES, "y" * 3_000_000) if rng.random() < 0.1 else _VALUES)
            break
