"""Repainting a collection on the workers of a cluster."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from wct_jax.bulk.address import place_of
from wct_jax.bulk.attempts import Attempts, Remote
from wct_jax.bulk.cluster import Workers, cluster, workers_of
from wct_jax.bulk.collection import Collection, Item, Note, collect
from wct_jax.bulk.kit import Kit
from wct_jax.bulk.manifest import Manifest
from wct_jax.bulk.painter import DONE, FAILED, Painter
from wct_jax.studio.progress import Progress
from wct_jax.studio.session import Session
from wct_jax.system.scratch import scratch_folder

# So many results in a row that cannot be written are no accident: the disk is full, or a permission gone.
_MOST_UNWRITTEN = 20
# How often the rest is begun again where Ray itself gives up.
_ROUNDS = 5


@dataclass
class Report:
    """What was done.

    Attributes:
        photos: Number of photos in the source.
        results: Number of results that they should have.
        skipped: Number of results that were there before.
        done: Number of results made.
        failed: Addresses of photos without a result, and why; one for each result.
        megapixels: Millions of pixels in the results made.
        seconds: Time from the first block to the last result.
        workers: Number of workers.
        notes: Sentences that a person should know about the files.
    """

    photos: int
    results: int
    skipped: int
    done: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    megapixels: float = 0.0
    seconds: float = 0.0
    workers: int = 0
    notes: list[str] = field(default_factory=list)


def stylize_bulk(
    source: str,
    target: str,
    kit: Kit,
    *,
    image_column: str | None = None,
    workers: int | None = None,
    cores_per_worker: int | None = None,
    address: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    note: Note = lambda text: None,
) -> Report:
    """Repaint the photos of a folder or bucket on all machines of a Ray cluster.

    A result that is there is left: its name has a hash of the options, model and styles. So a run that was broken off
    goes on where it was, and one with other options makes results of its own. What was done is in `manifest.parquet`.

    Args:
        source: A folder, or an address such as `s3://bucket/photos`.
        target: A folder, or an address, outside the source. Folders must be shared by all machines.
        kit: How the photos are painted.
        image_column: The column of encoded pictures in Parquet files in the source; None to leave out such files.
        workers: Number of workers; None for one per GPU or, without GPUs, one per `cores_per_worker`.
        cores_per_worker: Cores of each; None for 1, or with GPUs up to 4.
        address: Ray's address of the cluster, or `local` to start one of this machine alone; None for `RAY_ADDRESS`, or
            `local` without it.
        dry_run: Whether to count only.
        progress: Called with "results", the number of results done or failed in this run, and the number to make.
        note: Told sentences as they come up, also those of the report.

    Raises:
        ValueError: The request contradicts itself, a place cannot be read or written, or no cluster can be joined.
    """
    photos, results = place_of(source), place_of(target)
    if f"{results.uri.rstrip('/')}/".startswith(f"{photos.uri.rstrip('/')}/"):
        raise ValueError(f"the output {target} is inside {source}, whose files are read: expected another place")
    kit.requests()
    manifest = Manifest(results, note)
    collection = collect(photos, results, kit, image_column, manifest)
    for text in collection.notes:
        note(text)
    numbers = collection.missing
    total = len(collection.items)
    report = Report(collection.photos, total, total - len(numbers), notes=collection.notes)
    if dry_run or not numbers:
        return report
    with contextlib.ExitStack() as stack:
        stack.enter_context(results.alone())
        manifest.write()  # Now, to find out whether anything can be.
        ray = stack.enter_context(cluster(address, sum(map(len, kit.files.values()))))
        _check_there(ray, kit)
        run = _Run(ray, collection, kit, manifest, report, photos.address)
        run.team = workers_of(ray, workers, cores_per_worker)
        report.workers = min(run.team.count, len(numbers))
        named = {"source": photos.uri, "target": results.uri, "image_column": image_column or "image"}
        try:
            run.make(numbers, named, progress)
        finally:
            run.close()
    return report


def _check_there(ray: Any, kit: Kit) -> None:
    """Find out before the cluster is busy whether model, styles and options go together."""
    try:
        # Not in this process: it needs no JAX, which could take the memory of a GPU from its worker.
        ray.get(ray.remote(num_cpus=0, max_calls=1)(_check).remote(kit))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ValueError):
            raise ValueError(str(error.cause)) from None
        raise ValueError(f"the workers cannot paint: {_reason(error)}") from None


def _check(kit: Kit) -> None:
    import jax

    jax.config.update("jax_platforms", "cpu")
    with scratch_folder() as folder:
        moved = kit.unpack(folder)
        try:
            session = Session(moved.model, kit.limits)
            for request in moved.requests():
                session.check(request)
        except ValueError as error:
            raise ValueError(kit.said(error, folder)) from None


class _Run:
    """Hands out blocks and takes in rows."""

    def __init__(
        self, ray: Any, collection: Collection, kit: Kit, manifest: Manifest, report: Report, address: Any
    ) -> None:
        self._ray, self._collection, self._manifest, self._report = ray, collection, manifest, report
        self._address, self._unwritten = address, 0
        self._kit, self._styles = ray.put(kit), [_style_of(kit, number) for number in range(len(kit.looks))]
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._attempts = ray.remote(num_cpus=0, scheduling_strategy=here)(Attempts).remote()
        self.team = Workers(1, 1, 0)

    def make(self, numbers: list[int], named: dict[str, Any], progress: Progress | None) -> None:
        """Make results, whatever happens to workers and nodes on the way."""
        began, left = time.monotonic(), dict.fromkeys(numbers)
        for last in [False] * (_ROUNDS - 1) + [True]:
            before = len(left)
            try:
                for rows in self._rows(list(left), named):
                    self._take([row for row in rows if row["row"] in left])
                    for row in rows:
                        left.pop(row["row"], None)
                    self._report.seconds = time.monotonic() - began
                    if progress:
                        progress("results", len(numbers) - len(left), len(numbers))
            except self._ray.exceptions.RayError as error:
                # Ray gave up, as when the object store is lost with its node. The rest is begun again.
                if last or len(left) == before:
                    raise ValueError(f"Ray gave up with {len(left)} results to make: {_reason(error)}") from None
            if not left:
                return
        for number in left:
            self._fail(self._collection.items[number], "no worker returned it, though none said why")

    def _rows(self, numbers: list[int], named: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        import pyarrow

        items, team = self._collection.items, self.team
        tables = []
        for block in self._collection.blocks(numbers, team.count):
            each = [(number, items[number]) for number in block]
            columns = {name: [getattr(item, name) for _, item in each] for name in ("source", "target", "look")}
            tables.append(pyarrow.table(columns | {"row": block, "once": [not item.stale for _, item in each]}))
        data = self._ray.data
        context = data.DataContext.get_current()
        # A film may take longer than that, and a node may be lost while a worker starts on it.
        context.execution_no_progress_timeout_s = 10**9
        context.max_consecutive_actor_init_deaths = 10
        painted = data.from_arrow(tables).map_batches(
            Painter,
            fn_constructor_kwargs={
                "style": self._kit,
                "attempts": Remote(self._attempts),
                "cores": team.cores,
                **named,
            },
            batch_size=None,
            # The next block is at hand when one ends; they are still painted one after the other.
            compute=data.ActorPoolStrategy(
                size=min(team.count, len(tables)), max_tasks_in_flight_per_actor=2, max_concurrent_calls_per_actor=2
            ),
            num_cpus=team.cores,
            num_gpus=team.gpus,
        )
        for batch in painted.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield batch.to_pylist()

    def _take(self, rows: Sequence[dict[str, Any]]) -> None:
        report, kept = self._report, []
        for row in rows:
            item = self._collection.items[row["row"]]
            if row["status"] == FAILED:
                report.failed.append((self._address(item.source), row["error"]))
                self._unwritten = self._unwritten + 1 if row["error"].startswith("cannot write") else 0
            else:
                self._unwritten = 0
                report.done += 1
                report.megapixels += row["width"] * row["height"] / 1e6
            kept.append(row | self._known(item))
        try:
            self._manifest.add(kept)
        except ValueError as error:
            self._unwritten += 1
            if self._unwritten < _MOST_UNWRITTEN:
                return
            raise ValueError(f"stopped, since results cannot be written: {error}") from None
        if self._unwritten >= _MOST_UNWRITTEN:
            raise ValueError(f"stopped, since results cannot be written: {rows[-1]['error']}")

    def _fail(self, item: Item, reason: str) -> None:
        self._report.failed.append((self._address(item.source), reason))
        self._manifest.add([{"status": FAILED, "error": reason} | self._known(item)])

    def _known(self, item: Item) -> dict[str, Any]:
        named = {name: getattr(item, name) for name in ("source", "target", "modified")}
        return named | {"style": self._styles[item.look], "settings": item.key}

    def close(self) -> None:
        """Write the manifest, and count as a failure if that cannot be done."""
        for item in self._collection.items:
            if item.there and item.target not in self._manifest.rows:
                # A run that was killed made it.
                self._manifest.rows[item.target] = {"status": DONE} | self._known(item)
        try:
            self._manifest.write()
        except ValueError as error:
            self._report.failed.append(("manifest.parquet", str(error)))


def _style_of(kit: Kit, number: int) -> str:
    return "+".join(str(path) for path in kit.looks[number].files) or "white"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
