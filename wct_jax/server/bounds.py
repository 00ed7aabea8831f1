"""Bounds: the most that clients may take from a server."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The most that clients may take.

    Attributes:
        pixels: Pixels of a picture; all pictures of a request together may have twice as many.
        upload: Bytes of a request's body; all bodies on their way may have four times as many.
        files: Files of a request, and its text fields.
        queue: Jobs that wait for a worker.
        jobs: Unfinished jobs of one client.
        requests: Requests of one client that are answered at the same time.
        rate: Requests of one client per second, on average over a few seconds.
        seconds: Seconds that a picture may be worked on.
        film_seconds: Seconds that a film may be worked on.
        kept: Seconds for which a finished job is kept.
        results: Bytes of finished jobs.
        answers: Bytes of answers that are kept in case the same is asked again.
        styles: Bytes of styles that clients keep here.
        idle: Seconds within which a client must send more of a request.
        body: Seconds within which a client must have sent a request.
    """

    pixels: int = 100 * 10**6
    upload: int = 100 * 10**6
    files: int = 40
    queue: int = 32
    jobs: int = 24
    requests: int = 48
    rate: float = 100.0
    seconds: float = 900.0
    film_seconds: float = 14400.0
    kept: float = 900.0
    results: int = 2**28
    answers: int = 2**25
    styles: int = 2**28
    idle: float = 15.0
    body: float = 300.0
