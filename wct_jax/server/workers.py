"""Workers: a thread for each device, which paints what a bounded queue holds."""

import contextlib
import gc
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from wct_jax.pictures.decoding import MemoryLimitError, PixelLimitError
from wct_jax.server.jobs import QUEUED, Job
from wct_jax.server.refusal import Refused
from wct_jax.system.shortage import is_out_of_memory

if TYPE_CHECKING:
    from wct_jax.studio.session import Session


class Workers:
    """Threads that paint, each with a session on a device of its own, and the queue that feeds them.

    Attributes:
        failure: Why the sessions could not be opened, or None.
    """

    def __init__(
        self,
        opened: "Callable[[], Session]",
        warm: "Callable[[Session], Iterator[None]]",
        most: int,
        devices: int = sys.maxsize,
    ) -> None:
        """Describe the workers; `start` starts them.

        Args:
            opened: Opens a session, on the device that is JAX's default at that time.
            warm: Warms a session: up to the first step before it takes work, then whenever there is none.
            most: The most jobs that wait.
            devices: The most devices to work on.
        """
        self._opened, self._warm, self._most, self._most_devices = opened, warm, most, devices
        self._urgent: deque[Job] = deque()
        self._patient: deque[Job] = deque()
        self._waiting = threading.Condition()
        self._sessions: list[Session] = []
        self._threads: list[threading.Thread] = []
        self._closed, self._devices = False, 0
        self._mean = 1.0  # Seconds that a job takes.
        self.running: set[Job] = set()
        self.failure: Exception | None = None

    def start(self, failed: Callable[[], None] = lambda: None) -> None:
        """Load JAX and open the sessions, in other threads; call `failed` in one of them if that is not possible."""
        self._thread(lambda: self._begin(failed))

    @property
    def ready(self) -> bool:
        """Whether all sessions are open and warm."""
        return 0 < self._devices == len(self._sessions)

    @property
    def started(self) -> bool:
        """Whether the workers were started."""
        return bool(self._threads)

    def wait(self) -> "Session":
        """Wait for a session.

        Raises:
            Refused: There will be none.
        """
        with self._waiting:
            self._waiting.wait_for(lambda: self._sessions or self._closed)
        if not self._sessions:
            raise Refused(503, "the server is ending", 5)
        return self._sessions[0]

    @property
    def session(self) -> "Session | None":
        """A session, once there is one."""
        return self._sessions[0] if self._sessions else None

    def add(self, job: Job, urgent: bool) -> None:
        """Queue a job, before all that are not urgent if it is.

        Raises:
            Refused: The queue is full, or nobody works any more.
        """
        with self._waiting:
            self._tidy()
            waiting = len(self._urgent) + len(self._patient)
            if self._closed:
                raise Refused(503, "the server is ending", 5)
            if waiting >= self._most:
                seconds = min(60, max(1, round(waiting * self._mean / max(1, self._devices))))
                raise Refused(503, f"{waiting} pictures wait already: expected to be asked again later", seconds)
            (self._urgent if urgent else self._patient).append(job)
            self._waiting.notify()

    def position(self, job: Job) -> int:
        """The place of a job among those that wait, from 1; 0 for one that does not wait."""
        if job.status != QUEUED:
            return 0
        with self._waiting:
            self._tidy()
            queue = [*self._urgent, *self._patient]
            return queue.index(job) + 1 if job in queue else 0

    def unfinished(self) -> list[Job]:
        """The jobs that wait or are worked on."""
        with self._waiting:
            self._tidy()
            return [*self._urgent, *self._patient, *self.running]

    def close(self) -> None:
        """Take no more work."""
        with self._waiting:
            self._closed = True
            self._waiting.notify_all()

    def join(self, seconds: float) -> bool:
        """Wait until the threads have ended, for some seconds; return whether they have."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _tidy(self) -> None:
        for queue in (self._urgent, self._patient):
            for job in [job for job in queue if job.finished]:
                queue.remove(job)

    def _thread(self, target: Callable[[], None]) -> None:
        # A daemon, since a step that takes long must not keep the process from ending.
        thread = threading.Thread(target=target, daemon=True, name="worker")
        self._threads.append(thread)
        thread.start()

    def _begin(self, failed: Callable[[], None]) -> None:
        try:
            import jax

            # Python would look through all that was imported for garbage, again and again while JAX traces.
            gc.freeze()
            devices = jax.local_devices()
        except Exception as error:
            self.failure = error
            failed()
            return
        if devices[0].platform == "cpu":
            devices = devices[:1]  # More of them would only share the cores.
        devices = devices[: self._most_devices]
        self._devices = len(devices)
        for device in devices[1:]:
            self._thread(lambda device=device: self._work(device, failed))  # type: ignore[misc]
        self._work(devices[0], failed)

    def _work(self, device: Any, failed: Callable[[], None]) -> None:
        import jax

        with jax.default_device(device):
            try:
                session = self._opened()
                warming = _continued(self._warm(session))
            except Exception as error:
                self.failure = self.failure or error
                failed()
                return
            with self._waiting:
                self._sessions.append(session)
                self._waiting.notify_all()
            while not self._closed:
                job = self._next(wait=warming is None)
                if job is None:
                    try:
                        warming = warming and _continued(warming)
                    except Exception as error:
                        warming = None
                        why(error)
                    continue
                start = time.monotonic()
                try:
                    job.do(session, why)
                finally:
                    with self._waiting:
                        self.running.discard(job)
                self._mean += 0.2 * (time.monotonic() - start - self._mean)
                del job

    def _next(self, wait: bool) -> Job | None:
        with self._waiting:
            while not self._closed:
                self._tidy()
                if queue := self._urgent or self._patient:
                    job = queue.popleft()
                    self.running.add(job)
                    return job
                if not wait:
                    return None
                self._waiting.wait()
        return None


def _continued(steps: Iterator[None]) -> Iterator[None] | None:
    """The steps after one more has been done; None if there are none left."""
    for _ in steps:
        return steps
    return None


def why(error: Exception) -> Refused:
    """Why a client is refused whose work raised an exception."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, PixelLimitError | MemoryLimitError):
        return Refused(413, str(error))
    if isinstance(error, ValueError):
        return Refused(422, str(error))
    if is_out_of_memory(error):
        return Refused(413, "there is not enough memory for a picture of this size: expected a smaller one")
    with contextlib.suppress(OSError, ValueError):
        traceback.print_exception(error, file=sys.stderr)
    return Refused(500, "the server failed to do this, and has written down why")
