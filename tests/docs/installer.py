"""Stands for pip where pages are walked: installs with uv, which keeps packages, and from the wheel, not a checkout.

python tests/docs/installer.py install [-q] [-e] REQUIREMENT ...
"""

import os
import re
import sys

from uv import find_uv_bin

ours = re.compile(r"^(\.|wct_jax)(?=\[|$)")
wheel = os.environ["WCT_JAX_WHEEL"]
arguments = [ours.sub(lambda _: wheel, argument) for argument in sys.argv[1:] if argument != "-e"]
os.execv(find_uv_bin(), ["uv", "pip", *arguments])
