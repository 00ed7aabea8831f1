import configparser
import contextlib
import doctest
import functools
import importlib
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest

import wct_jax

ROOT = Path(__file__).resolve().parents[1]


def modules_after(code):
    """The top-level modules that an interpreter has loaded after running some code."""
    code += "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(process.stdout.splitlines()[-1]))


@pytest.mark.core
@pytest.mark.parametrize(
    ("code", "absent"),
    [
        (
            "import sys; from wct_jax import wct; assert 'jax' in sys.modules",
            "flax tensorflow_datasets tensorflow grain orbax optax torch PIL h5py safetensors rich",
        ),
        (
            "from wct_jax import Session, extract_style, load_model, read_image, stylize, write_image",
            "flax tensorflow_datasets tensorflow grain orbax optax torch h5py scipy",
        ),
        (
            "from wct_jax import Decoder, Encoder",
            "tensorflow_datasets tensorflow grain torch h5py",  # Flax itself loads optax and orbax, where they are.
        ),
        ("import wct_jax.networks.vgg", "jax numpy flax PIL"),
    ],
    ids=["transform", "painting", "modules", "table"],
)
def test_no_more_is_loaded_than_is_needed(code, absent):
    assert not modules_after(code) & set(absent.split())


@pytest.mark.core
@pytest.mark.parametrize("script", ["stylize.py", "convert_vgg.py", "train.py"])
def test_help_is_answered_before_anything_heavy_is_loaded(script):
    loaded = modules_after(
        "import runpy, sys\n"
        f"sys.argv = ['{script}', '--help']\n"
        "try:\n"
        f"    runpy.run_path('{script}', run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert stop.code == 0"
    )
    assert "wct_jax" in loaded
    assert not loaded & {"jax", "PIL", "numpy", "flax", "rich", "h5py", "grain", "orbax", "optax"}


@pytest.mark.parametrize("name", wct_jax.__all__)
def test_public_names_resolve_and_say_what_they_are(name):
    value = getattr(wct_jax, name)
    if name != "__version__":
        summary = value.__doc__.splitlines()[0]
        assert summary.endswith((".", ":"))
        # A dataclass without a docstring of its own gets its signature.
        assert not summary.startswith(f"{name}(")


# The names whose docstrings must have an example.
SHOWN = {
    *("wct", "whiten", "whiten_color", "moments", "merge", "load_model", "extract_style", "mix_styles", "stylize"),
    *("stylize_tiled", "synthesize", "preserve_color", "style_swap", "read_image", "write_image", "Options", "Session"),
}


def examples_of(value, name, module=None):
    return doctest.DocTestFinder().find(value, name, module=module, globs={})


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_main_names_have_an_example(name):
    assert any(each.examples for each in examples_of(getattr(wct_jax, name), name, False))


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [path for path in sorted((ROOT / "wct_jax").rglob("*.py")) if ">>> " in path.read_text()],
    ids=lambda path: path.stem,
)
def test_examples_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    names = {"np": np, "jax": jax, "jnp": jax.numpy} | {name: getattr(wct_jax, name) for name in wct_jax.__all__}
    for each in examples_of(module, module.__name__, module):
        each.globs = vars(module) | names
        told = []
        doctest.DocTestRunner().run(each, out=told.append)
        assert not told, "".join(told)


def test_public_names_are_listed_once_and_in_order():
    stub = (ROOT / "wct_jax" / "__init__.pyi").read_text()
    names = re.findall(r"(?m)^from wct_jax\.\S+ import (\w+) as \1$", stub)
    assert len(set(names)) == len(names)
    # As ruff sorts them: classes, then the rest.
    assert wct_jax.__all__ == sorted([*names, "__version__"], key=lambda name: (not name[0].isupper(), name))
    assert set(wct_jax.__all__) < set(dir(wct_jax))


@pytest.mark.parametrize("path", sorted((ROOT / "wct_jax").rglob("[a-z]*.py")), ids=lambda path: path.stem)
def test_modules_resolve(path):
    _, *names = path.relative_to(ROOT).with_suffix("").parts
    assert functools.reduce(getattr, names, wct_jax).__name__ == ".".join(["wct_jax", *names])


def test_modules_need_no_import():
    """As the README writes it, in a new process."""
    assert "flax" not in modules_after("import wct_jax\nwith wct_jax.kernels.conv.algorithm('direct'): pass")
    for name in ("_conv", "algorithm"):
        code = f"import wct_jax\nassert not hasattr(wct_jax, {name!r}) and not hasattr(wct_jax.kernels, {name!r})"
        assert "jax" not in modules_after(code)
    assert {"conv", "canvas"} < set(dir(wct_jax.kernels))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'whitening'"):
        _ = wct_jax.whitening


def test_the_metadata_takes_its_version_from_the_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["name"] == "wct_jax"
    assert config["metadata"]["version"] == "attr: wct_jax.__version__"
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        assert importlib.metadata.version("wct_jax") == wct_jax.__version__


def test_pyproject_holds_the_build_system_and_checkers_only():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project) == {"build-system", "tool"}
    assert set(project["tool"]) == {"repo-review", "ruff"}


def test_rooms_are_empty_and_described():
    rooms = list((ROOT / "wct_jax").glob("*/__init__.py"))
    assert not any(room.read_bytes() for room in (ROOT / "wct_jax").glob("*/**/__init__.py"))
    described = re.findall(r"(?m)^- `(\w+)`: ", wct_jax.__doc__)
    assert sorted(described) == sorted(room.parent.name for room in rooms)
    assert set(described) < set(dir(wct_jax))
    assert not set(described) & set(wct_jax.__all__)
