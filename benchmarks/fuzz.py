"""Search for files, command lines and cache states that make the program crash, hang, or take memory without bound.

    python benchmarks/fuzz.py [KIND ...] [--scale 1.0] [--seed 0] [--keep DIR]

Makes small valid files of every kind, damages them (see `mutations.py`) and reads each in a process that is watched;
then runs `stylize.py`, `convert_vgg.py` and `train.py` on special files, on random command lines, and with cache
folders in every state. Each case must end within ten seconds (a command within thirty, because it starts JAX),
successfully or with one sentence and exit status 2. KIND is one of models, styles, checkpoints, images, special,
commands and cache; by default all. Prints the outcomes of each kind, and exits with status 1 if a case failed; `--keep`
saves the files that failed.
"""

import argparse
import collections
import multiprocessing
import random
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from fuzz_commands import fuzz_cache, fuzz_commands, fuzz_special
from memory import megabytes
from mutations import mutate
from seeds import write_seeds

_COUNTS = dict(models=300, styles=100, checkpoints=300, images=400, special=40, commands=100, cache=60)
_MOST_SECONDS = 10
# MB that reading a file of some KB may add to the memory of a process.
_MOST_MEMORY = 630


def _reader(kind: str) -> Callable[[Path], object]:
    if kind == "models":
        from wct_jax.networks.model_file import load_model

        return load_model
    if kind == "styles":
        from wct_jax.painting.style_file import load_style

        return load_style
    if kind == "checkpoints":
        from wct_jax.convert.reading import read_checkpoint

        return read_checkpoint
    from wct_jax.pictures.images import read_picture

    return read_picture


def _serve(kind: str, seeds: list[Path], pipe: Connection) -> None:
    """Read files as their paths come, and report for each how it ended and how many MB it added."""
    read = _reader(kind)
    for seed in seeds:
        read(seed)
    pipe.send("ready")
    while True:
        path = pipe.recv()
        Path("/proc/self/clear_refs").write_text("5")  # Resets the peak.
        before = megabytes("VmRSS")
        try:
            read(path)
            outcome = "read"
        except ValueError as error:
            text = str(error)
            clean = text.isprintable() and len(text) < 2000
            outcome = "refused" if clean else f"refused with a text that no terminal should be given: {text[:80]!r}"
        except BaseException as error:
            outcome = f"raised {type(error).__name__}: {str(error)[:200]}"
        pipe.send((outcome, megabytes("VmHWM") - before))


def fuzz_files(kind: str, count: int, rng: random.Random, folder: Path) -> Iterator[tuple[str, Path]]:
    """Read mutated files, and yield how each ended and its path."""
    seeds = write_seeds(kind, folder / kind)
    context = multiprocessing.get_context("spawn")
    process = None
    for number in range(count):
        seed = seeds[number % len(seeds)]
        path = folder / f"{kind}{number}{seed.suffix}"
        path.write_bytes(mutate(seed.read_bytes(), rng))
        if process is None:
            pipe, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(kind, seeds, theirs), daemon=True)
            process.start()
            theirs.close()
            assert pipe.recv() == "ready"
        pipe.send(path)
        try:
            outcome, memory = pipe.recv() if pipe.poll(_MOST_SECONDS) else ("hung", 0)
        except EOFError:
            process.join()
            outcome, memory = f"crashed with {process.exitcode}", 0
        if memory > _MOST_MEMORY:
            outcome = f"took {memory:.0f} MB"
        if outcome == "hung" or outcome.startswith("crashed"):
            process.kill()
            process = None
        yield outcome, path
    if process:
        process.kill()


def main() -> None:
    """Fuzz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", default=list(_COUNTS))
    parser.add_argument("--scale", type=float, default=1.0, help="times as many cases (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to save files that failed")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    failed = 0
    for kind in arguments.kinds:
        count, rng = round(arguments.scale * _COUNTS[kind]), random.Random(f"{kind} {arguments.seed}")
        commands = {"special": fuzz_special, "commands": fuzz_commands, "cache": fuzz_cache}
        with tempfile.TemporaryDirectory(prefix="wct_jax-fuzz-") as name:
            folder = Path(name)
            cases = commands[kind](count, rng, folder) if kind in commands else fuzz_files(kind, count, rng, folder)
            outcomes: collections.Counter[str] = collections.Counter()
            for outcome, path in cases:
                good = outcome.split(" (")[0] in ("read", "refused", "done")
                outcomes[outcome.split(" (")[0] if good else outcome] += 1
                if not good and arguments.keep and path.is_file():
                    arguments.keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, arguments.keep)
                failed += not good
        print(
            f"{kind}: {count} cases, {', '.join(f'{n} {outcome}' for outcome, n in outcomes.most_common())}", flush=True
        )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
