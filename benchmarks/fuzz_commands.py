"""Commands on special files, with random options, and with a damaged cache; see `fuzz.py`."""

import itertools
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mutations import mutate_bytes
from PIL import Image
from seeds import write_model

_ROOT = Path(__file__).resolve().parents[1]
# Each starts JAX.
_MOST_SECONDS = 30


def _run(arguments: list, environment: dict[str, str] | None = None, **options) -> str:
    """Run a command, and return how it ended."""
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MOST_SECONDS,
            check=False,
            **options,
        )
    except subprocess.TimeoutExpired:
        return "hung"
    said = done.stderr.decode(errors="replace")
    if done.returncode == 0:
        return "done" if "Traceback" not in said else f"done with a traceback: {said[-300:]}"
    if done.returncode == 2 and "error: " in said.splitlines()[-1] and "Traceback" not in said:
        return "refused"
    return f"ended with {done.returncode} after {time.perf_counter() - began:.1f} s: {said[-300:]}"


_STYLIZE = "stylize.py --model {home}/model.safetensors --layers relu1_1 --overwrite -o {home}/o.png"
_PAIR = f"{_STYLIZE} --content {{home}}/photo.png --style {{home}}/style.png"
_CONVERT = "convert_vgg.py -o {home}/m.safetensors --overwrite"
# The arguments for which commands take a file.
_ROLES = {
    "content": f"{_STYLIZE} --content {{bad}} --style {{home}}/style.png",
    "style": f"{_STYLIZE} --content {{home}}/photo.png --style {{bad}}",
    "mask": f"{_PAIR} --mask {{bad}}",
    "map": f"{_PAIR} --alpha-map {{bad}}",
    "model": f"{_PAIR} --model {{bad}}",
    "output": f"{_PAIR} -o {{bad}}",
    "sheet": f"{_PAIR} --sheet {{bad}}",
    "one of the photos": f"{_STYLIZE} --content {{place}} --style {{home}}/style.png -o {{home}}/out",
    "source": f"{_CONVERT} {{bad}}",
    "decoder": f"{_CONVERT} {{home}}/model.safetensors --decoder {{bad}}",
    "data": "train.py --layer relu1_1 --model {home}/model.safetensors --overwrite --steps 1 --batch-size 1 --crop 16 "
    "--data {place} --out {place}/run",
}


_SPECIAL = {
    "fifo": os.mkfifo,
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "null": lambda path: path.symlink_to("/dev/null"),
    "memory": lambda path: path.symlink_to("/proc/self/mem"),
    "folder": Path.mkdir,
    "dangling": lambda path: path.symlink_to("nowhere"),
    "loop": lambda path: path.symlink_to(path.name),
}


def fuzz_special(count: int, rng: random.Random, folder: Path) -> Iterator[tuple[str, Path]]:
    """Give a command a special file for each of its files in turn."""
    home = folder / "special"
    photo = _pictures_for_commands(home)
    suffixes = {"model": ".safetensors", "source": ".pth", "decoder": ".pth"}
    cases = list(itertools.product(_SPECIAL, _ROLES))
    rng.shuffle(cases)
    for number, (kind, role) in enumerate(cases[:count]):
        place = home / f"case{number}"
        place.mkdir()
        bad = place / f"bad{suffixes.get(role, '.png')}"
        _SPECIAL[kind](bad)
        shutil.copy(photo, place / "good.png")
        script, *words = _ROLES[role].split()
        names = {"bad": bad, "place": place, "home": home}
        yield f"{_run([_ROOT / script, *(word.format(**names) for word in words)])} ({kind} as {role})", bad


def _pictures_for_commands(home: Path) -> Path:
    home.mkdir()
    write_model(home / "model.safetensors")
    for name in ("photo", "style", "mask"):
        noise = np.random.default_rng(len(name)).integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(noise).save(home / f"{name}.png")
    return home / "photo.png"


def fuzz_commands(count: int, rng: random.Random, folder: Path) -> Iterator[tuple[str, Path]]:
    """Combine options and values at random."""
    home = folder / "commands"
    photo = _pictures_for_commands(home)
    words = ["", "0", "1", "-1", "0.5", "2", "nan", "1e400", "9" * 30, "none", "relu1_1", "relu5_1", "relu9_9", "zca"]
    words += ["ot", "adain", "4GB", "4", "10x10", "0x0", "99999x99999", "luminance", "*", "[", "~", "--", "-", "é☃"]
    names = ("photo.png", "style.png", "mask.png", "model.safetensors", "none", ".", "*.png")
    words += ["\udcff", *(str(home / name) for name in names)]
    scripts = {script: _options(script) for script in ("stylize.py", "convert_vgg.py", "train.py")}
    few = ["--model", home / "model.safetensors", "--content", photo, "--style", home / "style.png"]
    few += ["-o", "o.png", "--overwrite"]
    for number in range(count):
        script = rng.choice(("stylize.py", "stylize.py", "stylize.py", "convert_vgg.py", "train.py"))
        options = scripts[script]
        line = [_ROOT / script, *(few if script == "stylize.py" and rng.random() < 0.7 else [])]
        for _ in range(rng.randrange(1, 5)):
            line += [rng.choice(options), *(rng.choice(words) for _ in range(rng.choice((0, 1, 1, 1, 2, 3))))]
        place = home / f"case{number}"
        place.mkdir()
        said = _run(line, cwd=place)
        yield f"{said} ({' '.join(map(str, line[1:]))!r})" if said not in ("done", "refused") else said, place


def _options(script: str) -> list[str]:
    helped = subprocess.run([sys.executable, _ROOT / script, "--help"], capture_output=True, text=True, check=True)
    return sorted(set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", helped.stdout)))


def fuzz_cache(count: int, rng: random.Random, folder: Path) -> Iterator[tuple[str, Path]]:
    """Damage or remove files that are kept between runs."""
    home = folder / "home"
    photo = _pictures_for_commands(folder / "cache")
    model, style = (folder / "cache" / name for name in ("model.safetensors", "style.png"))
    output = folder / "cache" / "o.png"
    line = [_ROOT / "stylize.py", "--content", photo, "--style", style, "--model", model, "-o", output, "--overwrite"]
    line += ["--layers", "relu1_1"]
    environment = {"WCT_JAX_HOME": str(home), "XDG_CACHE_HOME": str(folder / "xdg"), "HOME": str(folder / "user")}
    if _run(line, environment) != "done":
        raise SystemExit("the plain command fails")
    expected = output.read_bytes()
    paths = (path for place in ("home", "xdg", "user") for path in (folder / place).rglob("*"))
    kept = {path: path.read_bytes() for path in paths if path.is_file()}
    for _ in range(count):
        for path, data in kept.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.is_symlink() or not path.is_file():
                path.unlink(missing_ok=True)
            path.write_bytes(data)
        changed = rng.sample(list(kept), rng.choice((1, 1, 3, len(kept))))
        state = rng.choice((*["mutated"] * 3, "swapped", "empty", "fifo", "folder", "zero", "open to all", "gone"))
        for path in changed:
            match state:
                case "mutated":
                    path.write_bytes(bytes(mutate_bytes(bytearray(kept[path]), rng)))
                case "swapped":
                    path.write_bytes(kept[rng.choice(list(kept))])
                case "empty":
                    path.write_bytes(b"")
                case "open to all":
                    path.parent.chmod(0o777)
                case _:
                    path.unlink()
                    if state != "gone":
                        _SPECIAL[state](path)
        said = _run(line, environment)
        if said == "done" and output.read_bytes() != expected:
            said = "made another picture"
        for path in changed:
            path.parent.chmod(0o700)
        yield f"{said} ({state})" if said != "done" else said, home
    print(f"    {len(kept)} files kept")
