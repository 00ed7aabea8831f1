"""Build the native code, if there is a C++ compiler; setup.cfg describes the rest of the package."""

import hashlib
import importlib.util
import os
import platform
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

NATIVE = Path("wct_jax/kernels/native")
SOURCES = sorted(path for path in NATIVE.iterdir() if path.suffix in (".cc", ".h"))
# By machine, the instruction sets that the kernels are compiled for, each with its flags.
INSTRUCTIONS = {
    "x86_64": {
        "x86-64-v2": ["-march=x86-64-v2"],
        "x86-64-v3": ["-march=x86-64-v3"],
        "x86-64-v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    },
    "arm64": {"arm64": []},
    "aarch64": {"arm64": []},
}
# Where the README's relative links and pictures are for readers of the package's page.
PROJECT = "https://github.com/wct-jax/wct_jax"
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=fast", "-Wall"]


class Build(build_ext):
    """Build a shared library for `ctypes`, which does not depend on the version of Python."""

    def get_ext_filename(self, fullname: str) -> str:
        """Name the library, without a tag for Python's version."""
        return os.path.join(*fullname.split(".")) + (".dylib" if sys.platform == "darwin" else ".so")

    def build_extension(self, ext: Extension) -> None:
        """Compile the objects in parallel and link them."""
        library = Path(self.get_ext_fullpath(ext.name))
        library.unlink(missing_ok=True)  # An old one must not be packed if this fails.
        try:
            self._link(library)
        except (OSError, CompileError) as error:
            # Setuptools prints this as one line and goes on, because the extension is optional.
            raise CompileError(f"{error}; there is no native code, everything works by XLA") from None

    def _link(self, library: Path) -> None:
        machine = self.plat_name.rpartition("-")[2].replace("universal2", platform.machine())
        if machine not in INSTRUCTIONS or sys.platform == "win32":
            raise CompileError(f"there are no kernels for {self.plat_name}")
        jaxlib = importlib.util.find_spec("jaxlib")
        if jaxlib is None:
            raise CompileError("expected jaxlib, which has XLA's headers, where this is built")
        compiler = [*shlex.split(os.environ.get("CXX", "c++")), *FLAGS, *shlex.split(os.environ.get("CXXFLAGS", ""))]
        scratch = Path(self.build_temp)
        scratch.mkdir(parents=True, exist_ok=True)
        library.parent.mkdir(parents=True, exist_ok=True)

        digest = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()
        include = Path(next(iter(jaxlib.submodule_search_locations)), "include")
        jobs = {"library.o": [NATIVE / "library.cc", f"-isystem{include}", f'-DWCT_SOURCES="{digest}"']}
        for instructions, flags in INSTRUCTIONS[machine].items():
            names = [f"-DWCT_ISA={instructions.replace('-', '_')}", f'-DWCT_INSTRUCTIONS="{instructions}"']
            for source in SOURCES:
                if source.suffix == ".cc" and source.stem != "library":
                    jobs[f"{source.stem}-{instructions}.o"] = [source, *names, *flags]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            run = [pool.submit(_run, *compiler, "-c", *job, "-o", scratch / name) for name, job in jobs.items()]
        for compilation in run:
            compilation.result()
        _run(*compiler, "-shared", *(scratch / name for name in jobs), *_linking(compiler), "-o", library)


class Wheel(bdist_wheel):
    """Build one wheel for all versions of Python: for this platform if it has the library, otherwise for all."""

    def get_tag(self) -> tuple[str, str, str]:
        """Name the platform only if there is a library; Python's version and ABI never."""
        self.root_is_pure = not any(map(os.path.exists, self.get_finalized_command("build_ext").get_outputs()))
        return "py3", "none", super().get_tag()[2]


def _run(*command: object) -> None:
    if subprocess.run(list(map(str, command)), check=False).returncode:
        raise CompileError(f"{command[0]} failed")


def _linking(compiler: list[str]) -> list[str]:
    """Export only our C functions; on Linux, link the C++ library statically where it is installed in that form."""
    if sys.platform == "darwin":
        return ["-Wl,-exported_symbol,_wct_*"]
    found = subprocess.run([*compiler, "-print-file-name=libstdc++.a"], stdout=subprocess.PIPE, text=True, check=False)
    static = ["-static-libstdc++"] if "/" in found.stdout else []
    return [f"-Wl,--version-script={NATIVE / 'library.map'}", "-Wl,--gc-sections", *static]


def _description() -> str:
    """The README with absolute links."""
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:)", rf"\1{PROJECT}/raw/main/", Path("README.md").read_text("utf-8"))
    return re.sub(r"(\]\()(?!https?:|#)", rf"\1{PROJECT}/blob/main/", text)


setup(
    long_description=_description(),
    long_description_content_type="text/markdown",
    ext_modules=[
        Extension(
            "wct_jax.kernels.native.libwct_jax",
            [str(path) for path in SOURCES if path.suffix == ".cc"],
            depends=[str(path) for path in (*SOURCES, NATIVE / "library.map") if path.suffix != ".cc"],
            optional=True,
        )
    ],
    cmdclass={"build_ext": Build, "bdist_wheel": Wheel},
)
