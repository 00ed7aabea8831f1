"""Text from files, made safe to print."""


def printable(text: object, limit: int = 200) -> str:
    """Put untrusted text on one line of at most `limit` characters that cannot control a terminal.

    Escapes, line breaks, marks that reverse the direction of writing, and lone surrogates become spaces.
    """
    whole = text if isinstance(text, str) else str(text)
    # Cut first, since a file may hold megabytes of it.
    short = whole if len(whole) <= limit else f"{whole[: limit - 3]}..."
    return "".join(character if character.isprintable() else " " for character in short)
