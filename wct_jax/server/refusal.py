"""The refusal of a request."""

_LONGEST = 500


class Refused(Exception):  # noqa: N818 (a client's error, not ours)
    """A request that is not served.

    Attributes:
        status: The HTTP status.
        sentence: One sentence that says why.
        retry: Seconds after which the client may ask again, or None.
    """

    def __init__(self, status: int, sentence: str, retry: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.retry = status, _shortened(sentence), retry

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        more = {} if self.retry is None else {"Retry-After": str(self.retry)}
        return more | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


def _shortened(sentence: str) -> str:
    # It may quote what the client sent.
    return sentence if len(sentence) <= _LONGEST else sentence[: _LONGEST - 1] + "…"
