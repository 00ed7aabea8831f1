"""The service: what all requests share, and how an order becomes a result."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import Request

from wct_jax.server.bounds import Bounds
from wct_jax.server.jobs import DONE, QUEUED, Job, Jobs, Result, Work
from wct_jax.server.metrics import Metrics
from wct_jax.server.order import FILES, TEXTS, Order, order_of, styles_of, uploads_of
from wct_jax.server.painting import paint
from wct_jax.server.refusal import Refused
from wct_jax.server.styles import Styles
from wct_jax.server.uploads import Form, Headers, Upload, read_form
from wct_jax.server.workers import Workers
from wct_jax.studio.progress import Progress
from wct_jax.system.recent import Recent
from wct_jax.system.scratch import scratch_folder

_T = TypeVar("_T")
_SWEEPING = 30.0


class Service:
    """What all requests share. Its methods are called in the event loop's thread."""

    def __init__(self, workers: Workers, bounds: Bounds) -> None:
        """Take the workers.

        Args:
            workers: Workers that were started, or will be.
            bounds: The most that clients may take.
        """
        self.workers, self.bounds = workers, bounds
        # Films take minutes, for which nobody should wait with a photo.
        self.films = Workers(workers.wait, lambda session: iter(()), bounds.queue, devices=1)
        self._folder: Path | None = None
        self._scratch = contextlib.ExitStack()
        self.jobs, self.styles, self.headers = Jobs(bounds), Styles(bounds), Headers(bounds)
        self.answers: Recent[str, Result] = Recent(bounds.answers, lambda result: result.size)
        self.failed: Callable[[], None] = lambda: None
        """Called in another thread if the workers cannot paint."""
        self.metrics = Metrics()
        self.metrics.values |= {
            "ready": lambda: workers.ready,
            "jobs_unfinished": lambda: len(self.unfinished()),
            "jobs_running": lambda: len(workers.running),
            "styles_bytes": lambda: self.styles.size,
        }
        # Pictures that are looked at, and decoded for thumbnails: one at a time, beside those that are painted.
        self._readers = ThreadPoolExecutor(1, "reader")

    async def reading(self, read: Callable[..., _T], *given: object) -> _T:
        """Read something in another thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, read, *given)

    async def look_at(self, uploads: Iterable[Upload]) -> None:
        """Look at the headers of pictures.

        Raises:
            Refused: One cannot be read, or is too large.
        """
        new = [upload for upload in uploads if not self.headers.known(upload)]
        if new:
            await self.reading(lambda: [self.headers.size(upload) for upload in new])

    async def order(self, request: Request) -> Order:
        """Read a request for a picture.

        Raises:
            Refused: It is not served.
            ValueError: It contradicts itself.
        """
        form = await read_form(request, FILES, TEXTS, self.bounds)
        styles = self.styles_in(form)
        await self.look_at([*uploads_of(form, styles)])
        return order_of(form, styles, self.headers.size, self.bounds)

    def styles_in(self, form: Form) -> tuple[Upload | None, ...]:
        """The styles of a form."""
        return styles_of(form, lambda id: self.styles.get(id).picture)

    def start(self, order: Order, client: str, urgent: bool) -> Job:
        """Have an order carried out, or find what came of the same one before.

        Args:
            order: The order.
            client: Who asks.
            urgent: Whether somebody waits for it.

        Raises:
            Refused: There is too much to do.
        """
        key = order.digest
        if (known := self.answers.get(key)) is not None:
            self.metrics.counted["cache_hits"] += 1
            job = Job(order.name, functools.partial(_known, known), client, self.bounds.seconds)
            job.end(DONE, known)
            return job

        def work(session: Any, progress: Progress, cancel: Callable[[], bool]) -> Result:
            result = paint(order, session, progress, cancel)
            self.answers.add(key, result)
            self.answers.trim(keep=0)
            return result

        return self.queue(order.name, work, client, urgent)

    def queue(self, name: str, work: Work, client: str, urgent: bool, film: bool = False) -> Job:
        """Queue work.

        Args:
            name: The name of the result's file.
            work: The work.
            client: Who asks.
            urgent: Whether somebody waits for it.
            film: Whether it is about a film.

        Raises:
            Refused: There is too much to do.
        """
        if sum(job.client == client for job in self.unfinished()) >= self.bounds.jobs:
            raise Refused(429, f"{self.bounds.jobs} pictures of yours are not finished yet: expected fewer", 1)
        if film and not self.films.started:
            self.films.start()
        job = Job(name, work, client, self.bounds.film_seconds if film else self.bounds.seconds, self._ended)
        (self.films if film else self.workers).add(job, urgent)
        return job

    def unfinished(self) -> list[Job]:
        """The jobs that wait or are worked on."""
        return [*self.workers.unfinished(), *self.films.unfinished()]

    def position(self, job: Job) -> int:
        """The place of a job among those that wait, from 1; 0 for one that does not wait."""
        return self.workers.position(job) or self.films.position(job)

    def _ended(self, job: Job) -> None:
        self.metrics.counted[f"jobs_{job.status}"] += 1
        if job.result:
            self.metrics.painted(job.result.seconds)

    async def finished(self, job: Job, request: Request) -> Result | None:
        """Wait for a result while its client waits, too.

        Returns:
            The result, or None if the client has gone, and the job was cancelled.

        Raises:
            Refused: The job failed.
        """
        gone = asyncio.ensure_future(_gone(request))
        done = asyncio.ensure_future(job.wait())
        try:
            await asyncio.wait({gone, done}, return_when=asyncio.FIRST_COMPLETED)
            return done.result() if done.done() else None
        finally:
            gone.cancel()
            done.cancel()
            job.cancel()

    async def living(self) -> AsyncIterator[None]:
        """Start the workers, and at the end cancel and forget everything."""
        self._loop = asyncio.get_running_loop()
        self.workers.start(self.failed)
        sweeping = asyncio.create_task(self._sweep())
        yield
        sweeping.cancel()
        self.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEPING)
            self.jobs.sweep()

    def end(self, seconds: float) -> None:
        """Take no more work, cancel what waits, and what is being painted unless it is done in some seconds.

        Called in a thread of its own.
        """
        self._close()
        with contextlib.suppress(RuntimeError):  # The loop may have ended meanwhile.
            self._loop.call_soon_threadsafe(self._cancel, False)
            if not self.join(seconds):
                self._loop.call_soon_threadsafe(self._cancel, True)

    def join(self, seconds: float) -> bool:
        """Wait until the workers have ended, for some seconds; return whether they have."""
        end = time.monotonic() + seconds
        return self.workers.join(seconds) & self.films.join(end - time.monotonic())

    def _close(self) -> None:
        self.workers.close()
        self.films.close()

    def _cancel(self, running: bool) -> None:
        for job in self.unfinished():
            if running or job.status == QUEUED:
                job.cancel()

    def close(self) -> None:
        """Cancel and forget everything."""
        self._close()
        self._cancel(True)
        self.jobs.close()
        self._readers.shutdown(wait=False, cancel_futures=True)

    @property
    def folder(self) -> Path:
        """A private folder for films, which `tidy` removes."""
        if self._folder is None:
            self._folder = self._scratch.enter_context(scratch_folder())
        return self._folder

    def tidy(self) -> None:
        """Remove the private folder, at the very end."""
        self._scratch.close()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _known(result: Result, *_: object) -> Result:
    return result
