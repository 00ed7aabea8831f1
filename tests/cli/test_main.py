"""The command `wct-jax` and its verbs."""

import subprocess
import sys

import jax
import jaxlib.version
import pytest

from wct_jax.cli.main import _VERBS, main


@pytest.mark.parametrize("verb", _VERBS)
def test_a_verb_is_the_command(run, verb):
    status, out, err = run(main, verb, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: wct-jax {verb} ")
    status, _, err = run(main, verb, "--nonsense")
    assert status == 2
    assert err.startswith(f"wct-jax {verb}: error: ")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "wct-jax: error: the following arguments are required: VERB"),
        (["paint"], 2, "wct-jax: error: argument VERB: invalid choice: 'paint'"),
        (["--help"], 0, "repaint photos in the style of pictures"),
        (["--version"], 0, "wct_jax 0"),
        (["--version", "-v"], 0, f"\njax {jax.__version__}, jaxlib {jaxlib.version.__version__}, "),
        (["--verbose", "--version"], 0, "native code"),
        (["-v"], 2, "wct-jax: error: the following arguments are required: VERB"),
    ],
)
def test_without_a_verb(run, arguments, status, said):
    got, out, err = run(main, *arguments)
    assert got == status
    assert said in out + err


def test_as_a_module_it_is_the_command(few, tmp_path):
    output = tmp_path / "out.png"
    command = [sys.executable, "-m", "wct_jax", "stylize", *few, "--output", output]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{output}: 24 x 17 pixels, ")
