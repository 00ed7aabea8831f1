"""Stands for pip where pages are walked: fails unless what they install is installed, and leaves the environment alone.

python tests/docs/installed.py install [-q] [-e] REQUIREMENT ...
"""

import sys
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def check(requirement: Requirement) -> None:
    """Raise an error if a requirement or something that it needs is not there, or not in the version asked for."""
    found = distribution(requirement.name)
    assert found.version in requirement.specifier, f"{requirement} is there as {found.version}"
    provided = {canonicalize_name(extra) for extra in found.metadata.get_all("Provides-Extra", ())}
    for extra in requirement.extras:
        assert canonicalize_name(extra) in provided, f"{requirement.name} has no extra {extra!r}"
        for needed in map(Requirement, found.requires or ()):
            plain = needed.marker is None or needed.marker.evaluate({"extra": ""})
            if not plain and needed.marker.evaluate({"extra": extra}):
                check(needed)


if __name__ == "__main__":
    assert sys.argv[1] == "install", sys.argv
    for argument in sys.argv[2:]:
        if not argument.startswith("-"):
            check(Requirement("wct_jax" + argument[1:] if argument.startswith(".") else argument))
