"""The command `wct-jax` and its verbs."""

import importlib
import os
import shlex
import shutil
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


@pytest.mark.parametrize("columns", [80, 100, 300])
@pytest.mark.parametrize("verb", ["", *_VERBS])
def test_help_fits_the_terminal_and_a_hundred_columns(run, monkeypatch, verb, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    status, out, _ = run(main, *filter(None, [verb, "--help"]))
    assert status == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= min(columns, 100)
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("verb", _VERBS)
def test_help_begins_with_examples_that_can_be_given(run, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "100")
    _, out, _ = run(main, verb, "--help")
    headings = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert (headings[0], headings[-1]) == ("examples:", "about the command:")
    program = f"    wct-jax {verb}"
    examples = [line for line in out.splitlines() if line.startswith(program)]
    assert 2 <= len(examples) <= 4
    parser = importlib.import_module(f"wct_jax.cli.{_VERBS[verb][0]}").make_parser()
    for example in examples:
        parser.parse_args(shlex.split(example.removeprefix(program)))


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["sty"], {"stylize"}),
        (["stylize", "--meth"], {"--method"}),
        (["stylize", "--method", ""], {"cascade", "one-pass", "gatys", "elad-milanfar"}),
        (["train", "--layer", "relu4"], {"relu4_1"}),
        (["stylize", "--content", "ph"], {"photo.jpg"}),
        (["bulk", "pho"], {"photo.jpg"}),
        (["evaluate", "--results", ""], {"results"}),
        (["--print-completion", "b"], {"bash"}),
    ],
    ids=lambda value: " ".join(sorted(value)),
)
def test_bash_completes_verbs_options_choices_and_files(run, tmp_path, words, completed):
    if not (bash := shutil.which("bash")) or os.name != "posix":
        pytest.skip("needs bash")
    status, script, err = run(main, "--print-completion", "bash")
    assert (status, err) == (0, "")
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "results").mkdir()
    asked = f"""{script}
        COMP_WORDS=(wct-jax {shlex.join(words)}) COMP_CWORD={len(words)}
        $(complete -p wct-jax | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run([bash, "-c", asked], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""
    assert set(done.stdout.split()) == completed


@pytest.mark.parametrize("shell", ["zsh", "fish", "powershell", "tcsh"])
def test_other_shells_have_a_script(run, shell):
    status, script, err = run(main, "--print-completion", shell)
    assert (status, err) == (0, "")
    assert all(word in script for word in ("stylize", "elad-milanfar"))


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
        (["--print-completion", "ksh"], 2, "wct-jax: error: argument --print-completion: invalid choice: 'ksh'"),
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
