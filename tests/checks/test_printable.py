import pytest

from wct_jax.checks.printable import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CC BY 4.0, Université", "CC BY 4.0, Université"),
        ("a\nb\r\tc", "a b  c"),
        ("\x1b[31mred\x1b]0;title\x07", " [31mred ]0;title "),
        ("a\u202egpj.exe\u2066", "a gpj.exe "),
        ("nul\0 del\x7f c1\x9b31m", "nul  del  c1 31m"),
        ("lone \ud800 surrogate", "lone   surrogate"),
        (12, "12"),
        (ValueError("x\ny"), "x y"),
        ("", ""),
    ],
)
def test_what_steers_a_terminal_becomes_spaces(text, expected):
    assert printable(text) == expected
    printable(text).encode()


def test_long_text_is_cut():
    assert printable("x" * 200) == "x" * 200
    assert printable("x" * 201) == "x" * 197 + "..."
    assert printable("x" * 5_000_000, 10) == "x" * 7 + "..."
