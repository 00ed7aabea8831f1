"""The library's terms, said as the flags of the command line."""

import re


def in_flags(error: Exception) -> str:
    """What an error says, with the flags that its terms are called by.

    Args:
        error: One of the library's, with terms such as `style_mask` in backticks.
    """
    from wct_jax.pictures.decoding import MemoryLimitError, PixelLimitError

    text = re.sub(r"`([a-z_]+)`", lambda match: "--" + match[1].replace("_", "-"), str(error))
    if isinstance(error, PixelLimitError):
        text += f" (--max-megapixels {-(-error.pixels // 10**6)})"
    if isinstance(error, MemoryLimitError):
        text += ": expected a larger --memory or a smaller picture"
    return text
