import configparser
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import wct_jax

ROOT = Path(__file__).resolve().parents[1]


def modules_after(code):
    """The top-level modules that an interpreter has loaded after running some code."""
    code += "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(process.stdout.splitlines()[-1]))


@pytest.mark.core
def test_the_transform_needs_jax_alone():
    loaded = modules_after("from wct_jax import wct")
    assert "jax" in loaded
    assert not loaded & {
        *("flax", "tensorflow_datasets", "tensorflow", "grain", "orbax", "optax", "torch"),
        *("PIL", "h5py", "safetensors", "rich"),
    }


def test_stylizing_from_python_needs_no_training_and_no_conversion():
    names = "extract_style, load_model, read_image, stylize, write_image, Decoder, Encoder"
    loaded = modules_after(f"from wct_jax import {names}")
    # Flax itself loads optax and orbax, where they are installed.
    assert not loaded & {"tensorflow_datasets", "tensorflow", "grain", "torch", "h5py"}


def test_the_package_and_its_table_of_layers_load_nothing():
    assert not modules_after("import wct_jax.vgg") & {"jax", "numpy", "flax", "PIL"}


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


def test_public_names_are_listed_once_and_in_order():
    # As ruff sorts them: classes, then the rest.
    assert wct_jax.__all__ == sorted(wct_jax.__all__, key=lambda name: (not name[0].isupper(), name))
    assert len(set(wct_jax.__all__)) == len(wct_jax.__all__)
    assert set(wct_jax.__all__) < set(dir(wct_jax))
    assert set(wct_jax._HOME) == set(wct_jax.__all__) - {"__version__"}


@pytest.mark.parametrize("path", sorted((ROOT / "wct_jax").glob("*.py")), ids=lambda path: path.stem)
def test_modules_resolve(path):
    if path.stem != "__init__":
        assert importlib.util.find_spec(f"wct_jax.{path.stem}")
        assert getattr(wct_jax, path.stem).__name__ == f"wct_jax.{path.stem}"


def test_modules_need_no_import():
    """As the README writes it, in a new process."""
    assert "flax" not in modules_after("import wct_jax\nwith wct_jax.conv.algorithm('direct'): pass")
    code = "import wct_jax\nassert not hasattr(wct_jax, '_conv') and not hasattr(wct_jax, 'algorithm')"
    assert "jax" not in modules_after(code)
    assert {"conv", "canvas", "maps", "swap"} < set(dir(wct_jax))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'whitening'"):
        _ = wct_jax.whitening


def test_the_metadata_takes_its_version_from_the_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["name"] == "wct_jax"
    assert config["metadata"]["version"] == "attr: wct_jax.__version__"


def test_the_installed_version_is_that_of_the_package():
    try:
        version = importlib.metadata.version("wct_jax")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("wct_jax is not installed here")
    assert version == wct_jax.__version__


def test_pyproject_holds_the_build_system_and_ruff_only():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project) == {"build-system", "tool"}
    assert set(project["tool"]) == {"ruff"}
