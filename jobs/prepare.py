"""From any collection of shapes to a dataset that training reads: a job like the main one, with a row a shape.

Works on: one source, its frozen work list, and a pool of preparers. Knows nothing about file formats, or what is made
of a shape. Shards are committed one by one; the same call goes on where an earlier one was stopped.
"""

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cluster.config import Config
from cluster.errors import RequestError, RunError
from cluster.pool import ActorPool, Failed, Finished, InputLost, Outcome, Raised, Task, wait
from cluster.session import ActorNeed, Session, session
from cluster.store import StoreError, Stores, canonical
from jobs import budget, run
from jobs.catalog import Item
from jobs.ledger import Ledger
from jobs.progress import Progress
from jobs.shapes import Asked, Shapes, options_of, request_for
from jobs.stop import Stop
from jobs.training import dataset as datasets
from jobs.training import shards as rows
from jobs.training.failure import ShapeCode
from jobs.training.preparation import Prepared
from jobs.training.preparer import Order, Preparer, Spoilt
from jobs.training.shards import Counts, Row, split_for
from jobs.training.sources import Source
from jobs.worklist import Shard, plan

_WAIT_SECONDS = 1.0  # how long the loop sleeps at most, so that progress is reported
_AHEAD = 2  # shards that are open beyond what the preparers hold: one that waits for its last shape holds up no other

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """How a preparation ended; the counts are those of the dataset. `within_budget` decides the exit status.

    `splits` counts the good shapes by split and category, `categories` all shapes.
    """

    dataset_id: str
    dataset: str
    kind: str
    shapes: int
    ok: int
    failed: int
    errors: dict[str, int]
    categories: dict[str, int]
    splits: dict[str, dict[str, int]]
    shards: int
    shards_resumed: int
    seconds: float
    within_budget: bool


@dataclass(frozen=True)
class Estimate:
    """What a preparation would do. `bytes` are those of the shapes' files, as far as the listing says."""

    kind: str
    shapes: int
    categories: dict[str, int]
    shards: int
    done: int
    unusable: int
    bytes: int


def prepare(
    source_uri: str,
    dataset: str,
    config: Config,
    asked: Asked | None = None,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop: Stop | None = None,
) -> Result:
    """Prepare every shape of a collection and commit one row for each under `dataset`; resume what is there.

    When `stop` is asked for, nothing more is taken up, the shards that what is in flight completes are committed
    within `prepare.stop_seconds`, and RunError follows.

    Raises RequestError for a request that cannot be carried out; RunError when the job cannot go on. What was
    committed stays, and the same call resumes it.
    """
    started = time.monotonic()
    stop = stop or Stop()
    stores = Stores(config.store)
    try:
        request = request_for(source_uri, config, asked or Asked(), stores)
        collection = Shapes(request, stores)
        if not datasets.exists(stores, dataset):
            next(collection.items())  # before a record is written
        record = datasets.begin(stores, dataset, request)
    except StoreError as error:
        raise RequestError(f"the preparation cannot begin: {error}.") from error
    try:
        before = _total(stores, dataset)
        resumed = rows.committed(stores, dataset)
        planned = plan(collection, dataset, stores, request.shard_size)
        left = (shard for shard in planned if shard.index not in resumed)
        job = _Job(
            config, dataset, request, collection.source, stores,
            lambda progress: on_progress(replace(progress, before=before.shapes)), stop,
        )  # fmt: skip
        job.run(left)
        total = _total(stores, dataset)
        return _conclude(config, stores, dataset, record, total, len(resumed), started)
    except StoreError as error:
        raise RunError(f"{error}; what was committed stays, and the same command resumes it.") from error


def estimate(source_uri: str, dataset: str, config: Config, asked: Asked | None = None) -> Estimate:
    """What `prepare` would do with the same arguments; nothing is written. Raises RequestError as it does."""
    stores = Stores(config.store)
    try:
        request = request_for(source_uri, config, asked or Asked(), stores)
        done: set[int] = set()
        if datasets.exists(stores, dataset):
            datasets.resumed(stores, dataset, request)
            done = rows.committed(stores, dataset)
        categories: Counter[str] = Counter()
        shapes_done = unusable = size = count = 0
        for shard in plan(Shapes(request, stores), dataset, stores, request.shard_size, write=False):
            count += 1
            shapes_done += len(shard.items) * (shard.index in done)
            categories.update(item.category for item in shard.items)
            unusable += sum(item.error_code is not None for item in shard.items)
            size += sum(item.size or 0 for item in shard.items)
    except StoreError as error:
        raise RequestError(f"the preparation cannot be estimated: {error}.") from error
    return Estimate(
        request.kind, categories.total(), dict(sorted(categories.items())), count, shapes_done, unusable, size
    )


@dataclass
class _Pending:
    """A shape that has no row yet."""

    item: Item
    shard: int
    begun: bool = False


class _Job:
    """One driver's loop. Each shape is in exactly one place: waiting, with the pool, or in its shard's rows."""

    def __init__(
        self,
        config: Config,
        dataset: str,
        request: datasets.Request,
        source: Source,
        stores: Stores,
        on_progress: Callable[[Progress], None],
        stop: Stop,
    ) -> None:
        self._config = config
        self._dataset = dataset
        self._request = request
        self._source = source
        self._stores = stores
        self._on_progress = on_progress
        self._stop = stop
        self._ledger: Ledger[Row] = Ledger(self._commit)
        self._pending: dict[str, _Pending] = {}
        self._waiting: deque[Order] = deque()
        self._planned = False

    def run(self, shards: Iterator[Shard]) -> None:
        """Commit every shard. Ray is joined or started only if there is one. Raises RunError, StoreError."""
        first = next(shards, None)
        if first is None:
            return
        self._admit(first)
        with session(self._config.ray) as cluster:
            pool = self._pool(cluster)
            try:
                with self._stop.watched():
                    self._loop(pool, shards)
            finally:
                pool.close()

    def _loop(self, pool: ActorPool[Order], shards: Iterator[Shard]) -> None:
        while not self._stop.by:
            self._feed(pool, shards)
            if self._planned and not self._ledger.open_shards:
                self._show()
                return
            self._collect(pool, _WAIT_SECONDS)
            self._ledger.check_budget(self._config.prepare)
        end = time.monotonic() + self._config.prepare.stop_seconds
        while (left := end - time.monotonic()) > 0:
            not_begun = {pending.shard for pending in self._pending.values() if not pending.begun}
            if self._ledger.open_shards <= not_begun:
                break
            self._collect(pool, min(left, _WAIT_SECONDS))
        raise RunError(f"stopped by {self._stop.by}; what was committed stays, and the same command resumes it.")

    def _feed(self, pool: ActorPool[Order], shards: Iterator[Shard]) -> None:
        most = _AHEAD + math.ceil(pool.alive * self._config.actors.queue_depth / self._request.shard_size)
        while pool.free:
            while not self._waiting and not self._planned and len(self._ledger.open_shards) < most:
                shard = next(shards, None)
                if shard is None:
                    self._planned = True
                else:
                    self._admit(shard)
            if not self._waiting:
                return
            order = self._waiting.popleft()
            self._pending[order.item_id].begun = True
            pool.submit(Task("prepare", (order,)))

    def _admit(self, shard: Shard) -> None:
        self._ledger.open(shard)
        for item in shard.items:
            pending = self._pending[item.item_id] = _Pending(item, shard.index)
            if item.error_code:
                self._fail(pending, ShapeCode(item.error_code), item.error_message or "")
            else:
                self._waiting.append(Order(item.item_id, item.source_uri))

    def _collect(self, pool: ActorPool[Order], seconds: float) -> None:
        for _, outcome in wait([pool], seconds):
            self._take(outcome)
        self._show()

    def _take(self, outcome: Outcome[Order]) -> None:
        match outcome:
            case Finished(task, results, _, _):
                for order, result in zip(task.items, results, strict=True):
                    pending = self._pending[order.item_id]
                    if isinstance(result, Spoilt):
                        self._fail(pending, result.code, result.message)
                    else:
                        self._succeed(pending, result)
            case Failed(_, orders, reason, message, _):
                for order in orders:
                    self._fail(self._pending[order.item_id], ShapeCode(reason), message)
            case Raised(_, RequestError() as error):
                raise RunError(f"{error}; what was committed stays, and the same command resumes it") from error
            case Raised(task, error):
                for order in task.items:
                    message = f"{type(error).__name__}: {error}"
                    self._fail(self._pending[order.item_id], ShapeCode.INTERNAL_ERROR, message)
            case InputLost():
                raise RunError("a preparer lost an input, though its calls have none")  # pragma: no cover

    def _fail(self, pending: _Pending, code: ShapeCode, message: str) -> None:
        self._enter(pending, status="failed", error_code=code.value, error_message=message)

    def _succeed(self, pending: _Pending, made: Prepared) -> None:
        self._enter(
            pending, status="ok", faces=made.faces, share=made.share,
            views=made.views, voxels=made.voxels, points=made.points, inside=made.inside,
        )  # fmt: skip

    def _enter(self, pending: _Pending, **columns: Any) -> None:
        item = pending.item
        row = Row(
            shard=pending.shard, item_id=item.item_id, category=item.category, source_uri=item.source_uri,
            etag=item.etag, split=split_for(item.item_id, self._source.split(item.source_uri)), **columns,
        )  # fmt: skip
        del self._pending[item.item_id]
        self._ledger.enter(row)

    def _commit(self, shard: Shard, entered: Sequence[Row]) -> None:
        if not rows.write(self._stores, self._dataset, shard, entered):
            logger.warning("Shard %d was committed by another driver; its rows stand.", shard.index)

    def _pool(self, cluster: Session) -> ActorPool[Order]:
        actors, settings, request = self._config.actors, self._config.prepare, self._request
        patience = self._config.ray.wait_for_nodes_seconds
        if patience and actors.preparers is None:
            raise RequestError(
                "ray.wait_for_nodes_seconds needs actors.preparers to be set: nodes that are yet to come do not say "
                "how many actors they hold"
            )
        count = actors.preparers or max(1, int(cluster.resources()["CPU"] / max(actors.cpus_per_preparer, 0.01)))
        need = ActorNeed("preparers", count, actors.cpus_per_preparer, 0)
        if not patience:
            cluster.require([need])
        return ActorPool(
            "preparer",
            Preparer,
            (self._config.store, request.source, request.kind, options_of(request), request.seed),
            need.count,
            cpus=need.cpus,
            gpus=0,
            queue_depth=actors.queue_depth,
            max_deaths_per_item=actors.max_deaths_per_item,
            max_consecutive_deaths=actors.max_consecutive_deaths,
            item_timeout_seconds=settings.item_timeout_seconds,
            memory_limit_bytes=actors.memory_limit_bytes,
            first_ready_seconds=patience or math.inf,
            key=lambda order: order.item_id,
            on_restart=lambda reason: None,
        )

    def _show(self) -> None:
        done, failed = self._ledger.done, self._ledger.failed
        shapes = done + len(self._pending) if self._planned else None
        self._on_progress(Progress(done, failed, shapes, len(self._pending)))


def _total(stores: Stores, dataset: str) -> Counts:
    return sum((counts for _, _, counts in rows.counted(stores, dataset)), Counts())


def _conclude(
    config: Config, stores: Stores, dataset: str, record: datasets.Record, total: Counts, resumed: int, started: float
) -> Result:
    failed = sum(total.failed.values())
    within = budget.exceeded(config.prepare, failed, total.shapes) is None
    result = Result(
        dataset_id=record.dataset_id,
        dataset=canonical(dataset).rstrip("/"),
        kind=record.request.kind,
        shapes=total.shapes,
        ok=total.shapes - failed,
        failed=failed,
        errors=total.failed,
        categories=total.categories,
        splits=total.ok,
        shards=len(rows.committed(stores, dataset)),
        shards_resumed=resumed,
        seconds=round(time.monotonic() - started, 3),
        within_budget=within,
    )
    if within:
        names = ("dataset_id", "kind", "shapes", "ok", "failed", "errors", "categories", "splits", "shards", "seconds")
        run.finish(stores, dataset, {name: getattr(result, name) for name in names})
    return result


if __name__ == "__main__":
    from jobs.cli import main

    main(["prepare"])
