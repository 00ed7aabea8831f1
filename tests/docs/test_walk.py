"""Everything that the pages tell a reader to type is typed."""

import contextlib
import os
import re
import subprocess
from pathlib import Path

import filelock
import pytest
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
]
FENCE = re.compile(r"(?ms)^ *```+(?P<kind>[^\n`]*)\n.*?^ *```+$")
# More than wct_jax itself.
INSTALLS = re.compile(r"(?m)^pip install (?!(-q )?(-e \.|wct_jax)$)")
WALKED = {"sh", "python"}
# Only shown.
SHOWN = {"bat", "console", "html", "js", "json", "text", "yaml"}


def read(page):
    return (ROOT / page).read_text()


def kinds(page):
    return {fence["kind"] for fence in FENCE.finditer(read(page))}


@pytest.mark.parametrize("page", PAGES)
def test_snippets_are_walked_or_only_shown(page):
    # Those in braces are Sphinx's directives; it runs the notebooks itself.
    assert {kind for kind in kinds(page) if not kind.startswith("{")} <= WALKED | SHOWN
    # Without a fence they would not be run.
    assert not re.search(r"(?m)^ {4,}(pip|python|ray|wct-\w+) ", FENCE.sub("", read(page)))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if kinds(page) & WALKED])
def test_walk(page, folder, home, environment, wheel, together, request, subtests):
    if "s3://" in read(page):
        request.getfixturevalue("store")
    # Without what the tests set for themselves.
    ours = {"XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"}
    reader = environment(INSTALLS.search(read(page)) is not None)
    variables = {name: value for name, value in os.environ.items() if name not in ours} | {
        "HOME": str(home),
        "WCT_JAX_HOME": str(home / "models"),
        "WCT_JAX_WHEEL": str(wheel),
        "VIRTUAL_ENV": str(reader),
        "PATH": os.pathsep.join([str(reader / "bin"), os.environ["PATH"]]),
        "UV_CACHE_DIR": subprocess.check_output([find_uv_bin(), "cache", "dir"], text=True).strip(),
    }
    # Two pages do not serve at one address at once.
    serves = "<!-- background:" in read(page)
    with filelock.FileLock(together / "served.lock") if serves else contextlib.nullcontext():
        process = subprocess.run(
            [reader / "bin" / "python", Path(__file__).with_name("walk.py"), ROOT / page],
            cwd=folder(ROOT / page),
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    print(process.stdout)
    assert process.returncode == 0
    for place, reason in re.findall(r"(?m)^(\S+:\d+) not run: (.*)$", process.stdout):
        with subtests.test(place):
            pytest.skip(f"{place}: {reason}")
