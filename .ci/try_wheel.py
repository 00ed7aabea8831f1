"""Look into the wheel and the sdist, then convert and stylize with the installed commands, far from the checkout.

python .ci/try_wheel.py DIST SCRATCH, in an environment where only the wheel is installed.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

dist, scratch = (Path(argument).resolve() for argument in sys.argv[1:])
(wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
with zipfile.ZipFile(wheel) as archive:
    tops = {name.split("/")[0].split("-")[0] for name in archive.namelist()}
    (metadata,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
assert tops == {"wct_jax"}, f"the wheel installs {tops}"
relative = re.findall(r"\]\((?!https://|#)[^)]*\)", metadata)
assert not relative, f"the description has links that lead nowhere outside of the checkout: {relative}"
# One wheel for all versions of Python, and where there is a compiler, for one platform.
compiled = sys.platform != "win32" and shutil.which(os.environ.get("CXX", "c++")) is not None
assert "-py3-none-" in wheel.name, wheel.name
assert compiled != wheel.name.endswith("-any.whl"), wheel.name
with tarfile.open(sdist) as archive:
    names = {name.partition("/")[2] for name in archive.getnames()}
expected = {
    "stylize.py",
    "convert_vgg.py",
    "train.py",
    "tests/conftest.py",
    "setup.py",
    "wct_jax/kernels/native/kernels.cc",
    "wct_jax/py.typed",
    "wct_jax/networks/compact.safetensors",
    "wct_jax/server/styles/waves.jpg",
    "examples/content.jpg",
    "LICENSE",
    "CITATION.cff",
    "examples/wct_jax.ipynb",
}
assert expected <= names, f"the sdist lacks {expected - names}"

rng = np.random.default_rng(0)
encoder = {"block1_conv1/kernel": rng.normal(size=(3, 3, 3, 8)), "block1_conv1/bias": rng.normal(size=8)}
np.savez(scratch / "encoder.npz", **{name: array.astype(np.float32) for name, array in encoder.items()})
decoder = {"0.weight": rng.normal(size=(3, 8, 3, 3)), "0.bias": rng.normal(size=3)}
save_file({name: array.astype(np.float32) for name, array in decoder.items()}, scratch / "decoder.safetensors")
for name in ("photo", "picture"):
    Image.fromarray(rng.integers(0, 256, (33, 47, 3), np.uint8)).save(scratch / f"{name}.png")


def command(name: str, *arguments: str) -> str:
    """Run an installed command in the scratch folder, and return what it prints."""
    command = [Path(sys.executable).with_name(name), *arguments]
    return subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.PIPE, text=True).stdout


versions = command("wct-jax", "--version", "-v")
assert ("native code for" in versions) == compiled, versions
command("wct-convert-vgg", "encoder.npz", "--decoder", "decoder.safetensors", "--output", "model.safetensors")
command("wct-stylize", "--content", "photo.png", "--style", "picture.png", "--model", "model.safetensors")
assert Image.open(scratch / "photo__picture.png").size == (47, 33)
command("wct-stylize", "--content", "photo.png", "--style", "picture.png", "--output", "compact.png")
assert Image.open(scratch / "compact.png").size == (47, 33)
training = subprocess.run(
    [Path(sys.executable).with_name("wct-train"), "--layer", "relu1_1", "--model", "model.safetensors", "--data", "."],
    cwd=scratch,
    capture_output=True,
    text=True,
    check=False,
)
assert training.returncode == 2, training.stderr
assert "pip install 'wct_jax[train]'" in training.stderr, training.stderr
print("the wheel installs, converts and stylizes")
