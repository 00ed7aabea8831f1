"""The library's terms as flags of the command line."""

import re
import sys


def in_flags(error: Exception) -> str:
    """The sentence of a library's error, with flags in place of terms in backticks such as `style_mask`."""
    text = re.sub(r"`([a-z_]+)`", lambda match: "--" + match[1].replace("_", "-"), str(error))
    # Only where an error can be one of these, since a Python without Pillow has errors, too.
    decoding = sys.modules.get("wct_jax.pictures.decoding")
    if decoding and isinstance(error, decoding.PixelLimitError):
        text += f" (--max-megapixels {-(-error.pixels // 10**6)})"
    if decoding and isinstance(error, decoding.MemoryLimitError):
        text += ": expected a larger --memory or a smaller picture"
    return text
