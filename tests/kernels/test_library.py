"""The native library: it is built and loaded, with the instructions asked for; without it there is a reason."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numpy.linalg import _umath_linalg

from wct_jax.kernels.native import library
from wct_jax.system.processor import processor

ROOT = Path(__file__).resolve().parents[2]
NATIVE = Path("wct_jax/kernels/native")
# What tells that a processor has the instructions.
TELLING = {"x86-64-v2": "sse4_2", "x86-64-v3": "avx2", "x86-64-v4": "avx512vl", "arm64": "asimd"}


@pytest.fixture(scope="module")
def native():
    if library.instructions() is None:
        pytest.skip(library.reason())


@pytest.fixture
def forget():
    """Make this process load the library again, in this test and after it."""
    library._load.cache_clear()
    yield
    library._load.cache_clear()


def state(path=library._PATH, **environment):
    """Load the library at a path in a new process, which prints instructions, 1.5 + 1.5 by JAX, and the reason."""
    code = (
        "from pathlib import Path\n"
        "from wct_jax.kernels.native import library\n"
        f"library._PATH = Path({str(path)!r})\n"
        "library._FOLDER = library._PATH.parent\n"
        "print(library.instructions(), end=' ')\n"
        "import jax\n"
        "print(jax.jit(lambda x: x + x)(1.5), library.reason())"
    )
    environment = {**os.environ, "WCT_JAX_NATIVE": "", **environment}
    command = [sys.executable, "-W", "error", "-c", code]
    process = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert process.stderr == ""
    return process.stdout.strip()


@pytest.mark.core
@pytest.mark.parametrize("name", TELLING)
def test_the_environment_chooses_instructions(native, name):
    if TELLING[name] not in processor():
        pytest.skip(f"this processor has no {name}")
    assert state(WCT_JAX_NATIVE=name) == f"{name} 3.0"


@pytest.mark.core
def test_the_environment_turns_it_off(native):
    assert state(WCT_JAX_NATIVE="0") == "None 3.0 WCT_JAX_NATIVE is 0"
    best = ([name for name, telling in TELLING.items() if telling in processor()] or ["arm64"])[-1]
    for value in ("", "1"):
        assert state(WCT_JAX_NATIVE=value) == f"{best} 3.0"


@pytest.mark.parametrize("name", ["v3", "x86-64-v9", "off"])
def test_instructions_that_the_processor_lacks_are_refused(native, forget, monkeypatch, name):
    monkeypatch.setenv("WCT_JAX_NATIVE", name)
    with pytest.raises(ValueError, match=rf"^expected WCT_JAX_NATIVE to be 0, 1 or instructions .*, got '{name}'$"):
        library.instructions()


@pytest.mark.core
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "it was not built"),
        (lambda path: path.write_text("nothing that can be loaded"), "it cannot be loaded: "),
        (lambda path: path.write_bytes(path.read_bytes()[:30]), "it cannot be loaded: "),
        (lambda path: shutil.copy(_umath_linalg.__file__, path), "it cannot be loaded: "),
        (
            lambda path: path.with_name("kernels.h").write_text("// Newer."),
            "its sources have changed since it was built",
        ),
    ],
    ids=["missing", "text", "half", "another", "stale"],
)
def test_without_it_there_is_a_reason(native, tmp_path, damage, reason):
    path = shutil.copytree(ROOT / NATIVE, tmp_path / "native") / library._PATH.name
    damage(path)
    assert state(path).startswith(f"None 3.0 {reason}")


def test_executables_know_what_they_call(native, forget, monkeypatch):
    ours = library.identity()
    assert ours == library.identity()
    assert ours.startswith(f"{library.instructions()} ")
    monkeypatch.setenv("WCT_JAX_NATIVE", "0")
    library._load.cache_clear()
    assert library.identity() not in ours


@pytest.fixture
def build(tmp_path):
    """Build the library from a copy of its sources: what was printed, and its path."""
    pytest.importorskip("setuptools")
    shutil.copytree(ROOT / NATIVE, tmp_path / NATIVE, ignore=shutil.ignore_patterns(library._PATH.name))
    for name in ("setup.py", "README.md"):
        shutil.copy(ROOT / name, tmp_path)

    def build(**environment):
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        environment = {**os.environ, **environment}
        process = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        return process.stdout + process.stderr, tmp_path / NATIVE / library._PATH.name

    return build


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_one_line_says_so(build, compiler):
    said, path = build(CXX=compiler)
    assert "; there is no native code, everything works by XLA" in said
    assert said.strip().count("\n") == 0
    assert not path.exists()


@pytest.mark.slow
def test_a_library_for_another_xla_leaves_jax_as_it_is(build, tmp_path):
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    source = tmp_path / NATIVE / "library.cc"
    version = "#undef XLA_FFI_API_MINOR\n#define XLA_FFI_API_MINOR 999\n"
    source.write_text(f'#include "xla/ffi/api/c_api.h"\n{version}{source.read_text()}')
    _, path = build()
    assert state(path).startswith("None 3.0 JAX does not take it: INVALID_ARGUMENT: XLA FFI handler registration")
