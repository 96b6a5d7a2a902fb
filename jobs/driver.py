"""The driver's loop: shards of items in, committed rows out.

Works on: shards of items, two pools of actors and the rows that come back. Knows nothing about how a surface is
found, or how an actor is restarted. The driver holds the open shards and nothing else: memory does not grow with
the catalog.

    catalog → shards → Reconstructor (picture → sparse field) → Mesher (field → mesh in the store) → rows → commit
"""

import itertools
import logging
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cluster.config import Config
from cluster.errors import RequestError, RunError
from cluster.metrics import DriverMetrics, ImageOutcome, Queue
from cluster.pool import ActorPool, Failed, Finished, InputLost, Outcome, Raised, Task, wait
from cluster.session import ActorNeed, Session
from cluster.store import Stores, canonical, join
from jobs import manifest, run
from jobs.catalog import Item
from jobs.estimate import Measured, Meter
from jobs.ledger import Ledger
from jobs.manifest import Row
from jobs.progress import Progress
from jobs.sizing import actor_needs, check_explicit
from jobs.stop import Stop
from jobs.worklist import Shard
from workers.failure import ErrorCode
from workers.mesher import Meshed, Mesher, Order, Shipment
from workers.messages import CALLS_AT_ONCE, Batch, Encoded, Failure, Reading, Reconstruction, Source
from workers.reconstructor import Reconstructor

# What earlier runs have of a shard's images: rows that need not be made again, as rows of the run with this id, or
# what a picture became, which then need not be read.
Carry = Callable[[Shard, str], Mapping[str, Row | Encoded]]

ACTORS = (Reconstructor.__name__, Mesher.__name__)

_LOST_INPUT_TRIES = 5  # a field that is lost this often with its node says that the cluster is going away
_MOST_ROWS = 16_384  # in open shards, some 10 kB each: few images to convert among many carried keep many open
_WAIT_SECONDS = 1.0  # how long the loop sleeps at most, so that progress is reported

logger = logging.getLogger(__name__)


@dataclass
class _Pending:
    """An image that has no row yet."""

    item: Item
    shard: int
    source: Source
    attempts: int = 0
    reconstruction: Reconstruction | None = None


class Driver:
    """One run's loop. Each image is in exactly one place: waiting, with a pool, or in its shard's rows."""

    def __init__(
        self,
        config: Config,
        output: str,
        record: run.RunRecord,
        stores: Stores,
        metrics: DriverMetrics,
        carry: Carry,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._config = config
        self._output = canonical(output)
        self._record = record
        self._stores = stores
        self._metrics = metrics
        self._carry = carry
        self._meter = Meter()
        self._on_progress = on_progress
        self._ledger: Ledger[Row] = Ledger(self._commit)
        self._pending: dict[str, _Pending] = {}
        self._waiting: dict[str, deque[Source]] = defaultdict(deque)  # by weights: a batch shares them
        self._to_mesh: deque[Task[Order]] = deque()
        self._suspended: deque[Task[Source]] = deque()  # to be tried again one by one
        self._planned = False

    def settle(self, shards: Iterator[Shard], stop: Stop) -> bool:
        """Commit shards as long as no image in them needs an actor; True when one does, and `drive` must go on.

        Raises RunError when it is asked to stop.
        """
        for shard in shards:
            self._admit(shard)
            self._show()
            if self._pending:
                return True
            if stop.by:
                raise _stopped(stop)
        return False

    def drive(self, cluster: Session, shards: Iterator[Shard], stop: Stop) -> Measured | None:
        """Run on `cluster` until every shard is committed; returns what that took.

        Raises RunError: the run cannot go on, or is asked to stop.
        """
        needs = self._needs(cluster)
        started = time.monotonic()
        self._reconstructors, self._meshers = self._pools(needs)
        try:
            with stop.watched():
                self._run(shards, stop)
            return self._meter.measured(self._record.request, needs, time.monotonic() - started)
        finally:
            self._reconstructors.close()
            self._meshers.close()
            self._measure(at_work=False)

    def _run(self, shards: Iterator[Shard], stop: Stop) -> None:
        while not stop.by:
            more = self._feed(shards)
            if not self._ledger.open_shards and self._planned:
                self._report()
                return
            # Near the end of the catalog some actors are left without images: they help with the others'.
            self._reconstructors.lending = self._planned and not any(self._waiting.values())
            self._collect(0 if more else _WAIT_SECONDS)
            self._ledger.check_budget(self._config.reconstruct)
        self._wind_down()
        raise _stopped(stop)

    def _collect(self, seconds: float) -> None:
        """Wait until something is done, and take it in."""
        for pool, outcome in wait([self._reconstructors, self._meshers], seconds):
            match outcome:
                case Failed(_, items, reason, message, deaths):
                    for work in items:
                        self._pending[work.item_id].attempts += deaths - 1
                        self._fail(work.item_id, ErrorCode(reason), message)
                case Raised(_, RequestError() as error):  # weights or a store are gone: no picture's or mesh's fault
                    raise RunError(f"{error}; what was committed stays, and the same command resumes it") from error
                case _ if pool is self._reconstructors:
                    self._reconstructed(outcome)
                case _:
                    self._meshed(outcome)
        self._report()

    def _wind_down(self) -> None:
        """Commit the shards whose images are all with the pools, as far as the time to stop allows."""
        end = time.monotonic() + self._config.reconstruct.stop_seconds
        while (left := end - time.monotonic()) > 0:
            not_begun = [source for queue in self._waiting.values() for source in queue]
            not_begun += [source for task in self._suspended for source in task.items]
            if self._ledger.open_shards <= {self._pending[source.item_id].shard for source in not_begun}:
                return
            self._feed_meshers()
            self._collect(min(left, _WAIT_SECONDS))

    def _needs(self, cluster: Session) -> tuple[ActorNeed, ActorNeed]:
        """What the actors need, once the cluster is known to have room for it or to be about to."""
        actors, patience = self._config.actors, self._config.ray.wait_for_nodes_seconds
        if patience:
            check_explicit(actors)
        needs = actor_needs(actors, cluster.resources())
        if not patience:
            cluster.require(needs)
        return needs

    def _pools(self, needs: tuple[ActorNeed, ActorNeed]) -> tuple[ActorPool[Source], ActorPool[Order]]:
        actors, request = self._config.actors, self._record.request
        recipe = request.recipe()
        used = {bundle.digest: bundle.uri for bundle in request.weights.values()}
        threads = max(1, int(actors.cpus_per_reconstructor))

        def pool(
            name: str,
            actor_class: type,
            arguments: tuple[Any, ...],
            need: ActorNeed,
            at_once: int,
            assist: str | None = None,
        ) -> Any:
            return ActorPool(
                name,
                actor_class,
                arguments,
                need.count,
                cpus=need.cpus,
                gpus=need.gpus,
                concurrency=at_once,
                queue_depth=actors.queue_depth,
                max_deaths_per_item=actors.max_deaths_per_item,
                max_consecutive_deaths=actors.max_consecutive_deaths,
                item_timeout_seconds=self._config.reconstruct.item_timeout_seconds,
                memory_limit_bytes=None if need.gpus else actors.memory_limit_bytes,
                first_ready_seconds=self._config.ray.wait_for_nodes_seconds or math.inf,
                key=_item_id,
                assist=assist,
                on_restart=self._metrics.actor_restarted,
            )

        held = (self._config.store, self._config.images, used, recipe, threads)
        return (
            pool("reconstructor", Reconstructor, held, needs[0], CALLS_AT_ONCE, Reconstructor.assist.__name__),
            pool("mesher", Mesher, (self._config.store, recipe), needs[1], 1),
        )

    # --- from the catalog to the pools

    def _admit(self, shard: Shard) -> None:
        """Take a shard's items into the run; those that are wrong from the start, or that an earlier run has
        converted, get their rows at once."""
        self._ledger.open(shard)
        request = self._record.request
        carried = self._carry(shard, self._record.run_id)
        for item in shard.items:
            known = carried.get(item.item_id)
            if isinstance(known, Row):
                self._ledger.enter(known)
                continue
            digest = request.digest_for(item.category)
            mesh_uri = join(self._output, "meshes", item.category, f"{item.item_id}.{request.format}")
            source = Source(
                item.item_id, item.source_uri, item.etag, digest or "", mesh_uri, views=item.views, encoded=known
            )
            self._pending[item.item_id] = _Pending(item, shard.index, source)
            if item.error_code:
                self._fail(item.item_id, ErrorCode(item.error_code), item.error_message or "")
            elif digest is None:
                served = ", ".join(sorted(request.weights))
                message = f"There are no weights for the category {item.category!r}; there are for {served}."
                self._fail(item.item_id, ErrorCode.UNKNOWN_CATEGORY, message)
            else:
                self._waiting[digest].append(source)

    def _feed_meshers(self) -> None:
        while self._to_mesh and self._meshers.free:
            self._meshers.submit(self._to_mesh.popleft())

    def _feed(self, shards: Iterator[Shard]) -> bool:
        """Keep the pools full, opening a shard only when what is open cannot do so. True: there may be more to open,
        one at a time, since a shard of which all is carried gives the actors nothing while outcomes wait."""
        self._feed_meshers()
        # Fields wait in the object store: no more of them than the meshers will take soon.
        while self._reconstructors.free and len(self._to_mesh) <= self._meshers.alive:
            if self._suspended:
                self._submit(self._suspended.popleft())
                continue
            if not self._planned and not self._enough():
                shard = next(shards, None)
                if shard is None:
                    self._planned = True
                else:
                    self._admit(shard)
                    return True
            batch = self._next_batch()
            if not batch:
                return False
            self._submit(Task("reconstruct", batch, num_returns=2))
        return False

    def _enough(self) -> bool:
        """Whether what is open fills the actors' next batches, or memory as far as it should."""
        ready = sum(map(len, self._waiting.values()))
        return ready >= self._look_ahead() or self._ledger.rows_held > _MOST_ROWS

    def _look_ahead(self) -> int:
        return self._config.reconstruct.batch_size * CALLS_AT_ONCE * max(1, self._reconstructors.alive)

    def _next_batch(self) -> tuple[Source, ...]:
        """Sources of one bundle: a full batch, or near the end of the catalog an even share for each actor. They have
        no more pictures than a batch either, unless one object alone has."""
        if not any(self._waiting.values()):
            return ()
        queue = max(self._waiting.values(), key=len)
        share = math.ceil(len(queue) / max(1, self._reconstructors.alive))
        most = self._config.reconstruct.batch_size
        size = min(most, share if self._planned else len(queue))
        pictures = itertools.accumulate(len(source.pictures) for source in itertools.islice(queue, size))
        fit = sum(1 for count in pictures if count <= most)
        return tuple(queue.popleft() for _ in range(max(1, fit)))

    def _submit(self, task: Task[Source]) -> None:
        for source in task.items:
            self._pending[source.item_id].attempts += 1
        self._reconstructors.submit(task)

    # --- from the pools to the rows

    def _reconstructed(self, outcome: Outcome[Source]) -> None:
        match outcome:
            case Finished(task, Batch(results, requests, device, shared), refs, deaths):
                self._meter.images(len(results), device)
                self._metrics.points_shared(shared)
                self._metrics.store_requests(requests)
                orders = []
                for result in results:
                    pending = self._pending[result.item_id]
                    pending.attempts += deaths
                    if isinstance(result, Failure):
                        self._fail(result.item_id, result.code, result.message, result.reading)
                    else:
                        pending.reconstruction = result
                        orders.append(self._order(pending, result.field))
                if orders:
                    self._to_mesh.append(Task("mesh", tuple(orders), args=refs))
            case Raised(task, error):
                self._isolate(task, error)
            case InputLost(task):
                raise RunError("a reconstructor lost an input, though its calls have none")  # pragma: no cover

    def _meshed(self, outcome: Outcome[Order]) -> None:
        match outcome:
            case Finished(_, Shipment(results, requests), _, deaths):
                self._metrics.store_requests(requests)
                for result in results:
                    self._pending[result.item_id].attempts += deaths
                    if isinstance(result, Failure):
                        self._fail(result.item_id, result.code, result.message)
                    else:
                        self._succeed(result)
            case Raised(task, error):
                for order in task.items:
                    self._fail(order.item_id, ErrorCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
            case InputLost(task):
                for order in task.items:  # the node that held the field is gone: make it again
                    pending = self._pending[order.item_id]
                    pending.reconstruction = None
                    if pending.attempts >= _LOST_INPUT_TRIES:
                        message = f"Its field was lost with its node {pending.attempts} times."
                        self._fail(order.item_id, ErrorCode.KILLED_WORKER, message)
                    else:
                        self._waiting[pending.source.weights_digest].append(pending.source)

    def _order(self, pending: _Pending, field: int) -> Order:
        item, request, extras = pending.item, self._record.request, None
        if request.mesh.metadata:
            extras = {
                "item": item.item_id, "category": item.category, "source": item.source_uri, "etag": item.etag,
                "run": self._record.run_id, "weights": pending.source.weights_digest,
                "resolution": request.resolution, "code_version": run.code_version(),
            }  # fmt: skip
        return Order(item.item_id, pending.source.mesh_uri, field, item.size_m, extras)

    def _isolate(self, task: Task[Source], error: Exception) -> None:
        """A call that raised, which actors do not do for one picture's sake: find out whose fault it was."""
        if len(task.items) > 1:
            self._suspended.extend(Task(task.method, (source,), num_returns=2) for source in task.items)
        else:
            source = task.items[0]
            self._fail(source.item_id, ErrorCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}")

    def _fail(self, item_id: str, code: ErrorCode, message: str, reading: Reading | None = None) -> None:
        pending = self._pending[item_id]
        known = pending.reconstruction or pending.source.encoded
        read = reading or (known.reading if known else Reading())
        self._finish(pending, read, status="failed", error_code=code.value, error_message=message)

    def _succeed(self, meshed: Meshed) -> None:
        pending = self._pending[meshed.item_id]
        made = pending.reconstruction
        assert made is not None
        request, report = self._record.request, meshed.report
        self._finish(
            pending, made.reading, status="ok",
            mesh_uri=pending.source.mesh_uri, mesh_bytes=meshed.mesh_bytes, mesh_sha256=meshed.mesh_sha256,
            format=request.format, vertices=report.vertices, faces=report.faces, watertight=report.watertight,
            volume=report.volume, bounds=report.bounds, euler_number=report.euler_number,
            face_budget=request.mesh.faces, volume_change=meshed.volume_change,
            lods=[asdict(level) for level in meshed.levels] or None,
            up_axis=request.mesh.up_axis, resolution=request.resolution,
            mesh_ms=meshed.mesh_ms, upload_ms=meshed.upload_ms,
        )  # fmt: skip
        self._metrics.stage("mesh", meshed.mesh_ms / 1000)
        self._metrics.stage("upload", meshed.upload_ms / 1000)

    def _finish(self, pending: _Pending, read: Reading, **columns: Any) -> None:
        """Give an image its one row."""
        made = pending.reconstruction
        if known := pending.source.encoded:
            columns["latent"] = known.latent
        if made:
            columns |= {"latent": made.latent, "points_evaluated": made.points_evaluated, "precision": made.precision}
            columns |= {"encode_ms": made.encode_ms, "decode_ms": made.decode_ms}
            if made.encode_ms is not None:
                self._metrics.stage("encode", made.encode_ms / 1000)
            self._metrics.stage("decode", made.decode_ms / 1000)
            self._metrics.points(made.points_evaluated)
            self._meter.points(made.points_evaluated)
        if read.fetch_ms is not None:
            self._meter.bytes(read.source_bytes or 0)
            self._metrics.stage("fetch", read.fetch_ms / 1000)
        row = Row(
            run_id=self._record.run_id, shard=pending.shard, item_id=pending.item.item_id,
            source_uri=pending.item.source_uri, category=pending.item.category, attempts=pending.attempts,
            etag=read.etag or pending.item.etag,
            source_bytes=pending.item.size if read.source_bytes is None else read.source_bytes,
            width=read.width, height=read.height, fetch_ms=read.fetch_ms, size_m=pending.item.size_m,
            view_uris=pending.item.views or None, views_used=read.views_used,
            views_failed=None if read.views_used is None else [asdict(view) for view in read.views_failed],
            weights_digest=pending.source.weights_digest or None, code_version=run.code_version(), **columns,
        )  # fmt: skip
        del self._pending[row.item_id]
        self._ledger.enter(row)

    def _commit(self, shard: Shard, rows: list[Row]) -> None:
        if manifest.write_part(self._stores, self._output, shard, rows):
            outcomes: Mapping[ImageOutcome, int] = Counter(
                "carried" if row.carried_from else row.status for row in rows
            )
        else:
            logger.warning("Shard %d was committed by another driver; its rows stand.", shard.index)
            outcomes = manifest.summary(self._stores, self._output, {shard.index}).outcomes
        self._metrics.shard_committed(outcomes)

    def _measure(self, at_work: bool = True) -> None:
        """Tell the metrics where the images are that have no row yet, and how many actors work on them."""
        waiting = sum(map(len, self._waiting.values())) + len(self._suspended)
        queues: dict[Queue, int] = {
            "waiting": waiting,
            "reconstruct": self._reconstructors.items,
            "mesh_waiting": sum(len(task.items) for task in self._to_mesh),
            "mesh": self._meshers.items,
        }
        self._metrics.in_flight(queues if at_work else {})
        for pool in (self._reconstructors, self._meshers):
            self._metrics.actors(pool.name, pool.alive)

    def _report(self) -> None:
        self._measure()
        self._show()

    def _show(self) -> None:
        done, failed = self._ledger.done, self._ledger.failed
        images = done + len(self._pending) if self._planned else None
        self._on_progress(Progress(done, failed, images, len(self._pending)))


def _stopped(stop: Stop) -> RunError:
    return RunError(f"stopped by {stop.by}; what was committed stays, and the same command resumes it.")


def _item_id(work: Source | Order) -> str:
    return work.item_id
