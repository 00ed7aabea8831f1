"""The library's terms as flags of the command line."""

import re


def in_flags(error: Exception) -> str:
    """The sentence of a library's error, with flags in place of terms in backticks such as `style_mask`."""
    from wct_jax.pictures.decoding import MemoryLimitError, PixelLimitError

    text = re.sub(r"`([a-z_]+)`", lambda match: "--" + match[1].replace("_", "-"), str(error))
    if isinstance(error, PixelLimitError):
        text += f" (--max-megapixels {-(-error.pixels // 10**6)})"
    if isinstance(error, MemoryLimitError):
        text += ": expected a larger --memory or a smaller picture"
    return text
