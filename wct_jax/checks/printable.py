"""Text from a file on its way to a terminal."""


def printable(text: object, limit: int = 200) -> str:
    """Put text that somebody else wrote on one short line that cannot steer a terminal.

    Escapes, line breaks, marks that reverse the direction of writing, and lone surrogates become spaces.

    Args:
        text: What a file says: a name, a licence, a number in the place of one.
        limit: The longest result, in characters; three dots end what was longer.
    """
    # Cut first: a file may hold megabytes of it.
    whole = text if isinstance(text, str) else str(text)
    short = whole if len(whole) <= limit else f"{whole[: limit - 3]}..."
    return "".join(character if character.isprintable() else " " for character in short)
