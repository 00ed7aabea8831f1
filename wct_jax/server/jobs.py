"""Jobs: work that waits for a worker, what has come of it, and for how long that is kept."""

import asyncio
import contextlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from wct_jax.server.bounds import Bounds
from wct_jax.server.refusal import Refused
from wct_jax.studio.progress import Cancelled, Progress

Status = Literal["queued", "running", "done", "failed", "cancelled"]
QUEUED: Status = "queued"
RUNNING: Status = "running"
DONE: Status = "done"
FAILED: Status = "failed"
CANCELLED: Status = "cancelled"
_REMEMBERED = 10000


@dataclass(frozen=True)
class Result:
    """A finished picture or film.

    Attributes:
        content: Its bytes, or the file that holds them.
        media: Its MIME type.
        width: Columns.
        height: Rows.
        seconds: Time that it took.
        dispose: Called when it is no longer needed.
    """

    content: bytes | Path = field(repr=False)
    media: str
    width: int
    height: int
    seconds: float
    dispose: Callable[[], None] = lambda: None

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return len(self.content) if isinstance(self.content, bytes) else 0


Work = Callable[[Any, Progress, Callable[[], bool]], Result]
"""Called in a worker's thread with a session, a function to report progress to, and one that asks whether to stop."""


class Job:
    """One piece of work. Its state changes in the event loop's thread alone, in which it was made."""

    def __init__(
        self, name: str, work: Work, client: str, seconds: float, ended: "Callable[[Job], None]" = lambda job: None
    ) -> None:
        """Make a job that has not been queued.

        Args:
            name: The name of the result's file.
            work: The work.
            client: Who asked for it.
            seconds: The most that it may take.
            ended: Called when nothing more will happen.
        """
        self.id = secrets.token_urlsafe(16)
        self.name, self.client = name, client
        self.status: Status = QUEUED
        self.stage, self.steps = "", (0, 0)
        self.refusal: Refused | None = None
        self.result: Result | None = None
        self.began = 0.0
        self.ended: float | None = None
        self._work, self._seconds, self._ended = work, seconds, ended
        self._stop, self._deadline = threading.Event(), float("inf")
        self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.status not in (QUEUED, RUNNING)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it is done, estimated from the steps so far."""
        done, total = self.steps
        if self.status != RUNNING or not done:
            return None
        return round((time.monotonic() - self.began) * (total - done) / done, 1)

    def cancel(self) -> None:
        """Say that nobody waits any more; the work stops when it next asks."""
        self._stop.set()
        self.end(CANCELLED)

    async def change(self) -> None:
        """Wait until something changes."""
        changed = self._changed
        await changed.wait()

    async def wait(self) -> Result:
        """Wait for the result.

        Raises:
            Refused: The work failed, or was cancelled.
        """
        while not self.finished:
            await self.change()
        if self.result is None:
            raise self.refusal or Refused(503, "the work was cancelled", 1)
        return self.result

    def end(self, status: Status, result: Result | None = None, refusal: Refused | None = None) -> None:
        """Say what has come of it."""
        if self.finished:
            if result:
                result.dispose()
            return
        self.result, self.refusal, self.ended = result, refusal, time.time()
        self._work = _nothing  # It holds the pictures.
        total = max(1, self.steps[1])
        self._change(status=status, steps=(total, total) if result else self.steps)
        self._ended(self)

    def do(self, session: Any, fail: Callable[[Exception], Refused]) -> None:
        """Do the work, in a worker's thread.

        Args:
            session: The worker's session.
            fail: Says why a client is refused that caused an exception.
        """
        self.began = time.monotonic()
        self._deadline = self.began + self._seconds
        self._tell(lambda: self._change(status=RUNNING))
        try:
            if self._stop.is_set():
                raise Cancelled
            result = self._work(session, self._progress, self._stopped)
        except Cancelled:
            refusal = None
            if not self._stop.is_set():
                refusal = Refused(504, f"the work took longer than {self._seconds:g} seconds, the most that it may")
            status = FAILED if refusal else CANCELLED
            self._tell(lambda: self.end(status, refusal=refusal))
        except Exception as error:
            failure = fail(error)
            self._tell(lambda: self.end(FAILED, refusal=failure))
        else:
            self._tell(lambda: self.end(DONE, result))

    def _stopped(self) -> bool:
        return self._stop.is_set() or time.monotonic() > self._deadline

    def _progress(self, stage: str, done: int, total: int) -> None:
        self._tell(lambda: self._change(stage=stage, steps=(done, total)))

    def _tell(self, change: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # The loop has ended, and nobody waits any more.
            self._loop.call_soon_threadsafe(change)

    def _change(self, **state: Any) -> None:
        if self.finished:
            return
        vars(self).update(state)
        self._changed.set()
        self._changed = asyncio.Event()


def _nothing(session: Any, progress: Progress, cancel: Callable[[], bool]) -> Result:
    raise Cancelled


class Jobs:
    """The jobs whose clients come back for them, by unguessable ids, for some time."""

    def __init__(self, bounds: Bounds) -> None:
        """Start without jobs."""
        self._bounds = bounds
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._expired: OrderedDict[str, None] = OrderedDict()

    def add(self, job: Job) -> None:
        """Keep a job."""
        self.sweep()
        self._jobs[job.id] = job

    def get(self, id: str) -> Job:
        """The job of an id.

        Raises:
            Refused: There is none, or there is none any more.
        """
        self.sweep()
        if id in self._jobs:
            return self._jobs[id]
        if id in self._expired:
            raise Refused(410, "this job has expired: its result is no longer kept")
        raise Refused(404, "there is no such job")

    def forget(self, id: str) -> None:
        """Cancel a job and forget it."""
        job = self.get(id)
        del self._jobs[id]
        _dispose(job)

    def expires(self, job: Job) -> str:
        """When a job will be forgotten, in ISO 8601."""
        ended = datetime.fromtimestamp(job.ended or time.time(), UTC)
        return (ended + timedelta(seconds=self._bounds.kept)).isoformat(timespec="seconds")

    def sweep(self) -> None:
        """Forget the finished jobs that are old, and the oldest ones of those whose results are too large together."""
        ended = [job for job in self._jobs.values() if job.ended]
        size, now = sum(job.result.size for job in ended if job.result), time.time()
        for job in sorted(ended, key=lambda job: job.ended or 0):
            if size <= self._bounds.results and now - (job.ended or now) < self._bounds.kept:
                break
            size -= job.result.size if job.result else 0
            del self._jobs[job.id]
            self._expired[job.id] = None
            _dispose(job)
        while len(self._expired) > _REMEMBERED:
            self._expired.popitem(last=False)

    def close(self) -> None:
        """Cancel and forget all jobs."""
        for id in list(self._jobs):
            _dispose(self._jobs.pop(id))


def _dispose(job: Job) -> None:
    job.cancel()
    if job.result:
        job.result.dispose()
