"""The main job: a catalog of images in, checked meshes and a manifest out.

Works on: one request, from its record to its totals. Knows nothing about how a surface is found, or which actor
does what: `jobs.driver` does the work.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from cluster.config import Config
from cluster.discovery import Targets
from cluster.errors import RequestError, RunError
from cluster.exporter import exporters
from cluster.metrics import DriverMetrics
from cluster.pushgateway import push
from cluster.session import session
from cluster.store import StoreError, Stores, canonical
from jobs import budget, manifest, run, vanished
from jobs.catalog import Catalog, open_catalog
from jobs.driver import ACTORS, Carry, Driver
from jobs.estimate import Measured
from jobs.previous import Previous
from jobs.progress import Progress
from jobs.stop import Stop
from jobs.worklist import Shard, plan
from workers.failure import ErrorCode


@dataclass(frozen=True)
class Result:
    """How a run ended; the counts are those of the manifest. `within_budget` decides the exit status.

    images = ok + failed = carried + computed; `carried` are among the `ok`, and `vanished` among none of them.
    `mesh_bytes` and `points_evaluated` are those of the rows that were not carried.
    """

    run_id: str
    output: str
    images: int
    ok: int
    failed: int
    carried: int
    computed: int
    vanished: int
    errors: dict[str, int]
    shards: int
    shards_resumed: int
    mesh_bytes: int
    points_evaluated: int
    seconds: float
    within_budget: bool


# What `_SUCCESS.json` repeats of a result; `measured` is beside them.
_LASTING = (
    "run_id", "images", "ok", "failed", "carried", "computed", "vanished", "errors", "shards", "mesh_bytes",
    "points_evaluated", "seconds",
)  # fmt: skip


def reconstruct(
    catalog: str,
    output: str,
    config: Config,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    metrics: DriverMetrics | None = None,
    targets: Targets | None = None,
    stop: Stop | None = None,
) -> Result:
    """Convert every image of `catalog` and commit one row for each under `output`; resume what is there.

    Images that are as they were in one of `reconstruct.previous` keep the row and the mesh that they have there. Ray
    is joined or started only if an image is to be converted.

    `metrics` are told of what happens, and `targets`, where somebody serves them, of the nodes' exporters. When `stop`
    is asked for, nothing more is taken up, the shards that what is in flight completes are committed within
    `reconstruct.stop_seconds`, and RunError follows.

    Raises RequestError for a request that cannot be carried out; RunError when the run cannot go on. What was
    committed stays, and the same call resumes it.
    """
    started = time.monotonic()
    metrics = metrics or DriverMetrics()
    stop = stop or Stop()
    stores = Stores(config.store, metrics.store_request)
    try:
        record, source, previous = _begin(catalog, output, config, stores)
    except StoreError as error:
        raise RequestError(f"the run cannot begin: {error}.") from error
    with closing(previous):
        planned = plan(source, output, stores, record.request.shard_size)
        job = Job(output, config, record, stores, on_progress, metrics, targets, stop, started)
        return convert(job, planned, previous, previous.carry)


@dataclass(frozen=True)
class Job:
    """A run that has its record: where it goes, what it uses, and whom it tells of its progress."""

    output: str
    config: Config
    record: run.RunRecord
    stores: Stores
    on_progress: Callable[[Progress], None]
    metrics: DriverMetrics
    targets: Targets | None
    stop: Stop
    started: float  # on time.monotonic's clock


def convert(job: Job, planned: Iterator[Shard], previous: Previous, carry: Carry) -> Result:
    """Commit the shards of `planned` that are not, and conclude. `carry` has the rows that need not be made again,
    `previous` tells what vanished. Raises RunError as `reconstruct` does."""
    output, config, record, stores, metrics = job.output, job.config, job.record, job.stores, job.metrics
    metrics.begun(
        record.run_id,
        canonical(output),
        run.code_version(),
        record.request.resolution,
        record.request.format,
        config.reconstruct.max_failed_percent,
    )
    try:
        committed = manifest.committed(stores, output)
        before = manifest.summary(stores, output, committed)
        metrics.committed_before(before.shards, before.outcomes)
        if job.targets is not None:
            # Not earlier: to Prometheus, what stood in the store would be a burst of work.
            job.targets.begin(record.run_id)
        gone = vanished.count(stores, output) if record.request.previous else 0
        if gone is None:
            previous.fill()
        shards = _open_shards(planned, committed, previous if gone is None else None, metrics)
        driver = Driver(
            config, output, record, stores, metrics, carry,
            lambda progress: job.on_progress(replace(progress, before=before.images)),
        )  # fmt: skip
        measured = None
        with job.stop.watched():
            converting = driver.settle(shards, job.stop)
        if converting:
            with session(config.ray) as cluster, exporters(config.metrics, job.targets, ACTORS):
                measured = driver.drive(cluster, shards, job.stop)
        if gone is None:
            gone = vanished.write(stores, output, previous.vanished(vanished.SCHEMA.names))
        metrics.vanished(gone)
        return _conclude(job, len(committed), gone, measured)
    except StoreError as error:
        raise RunError(f"{error}; what was committed stays, and the same command resumes it.") from error
    finally:
        if config.metrics.pushgateway:
            push(config.metrics.pushgateway, record.run_id, metrics.registry)


def _begin(catalog: str, output: str, config: Config, stores: Stores) -> tuple[run.RunRecord, Catalog, Previous]:
    """The run's record, its catalog and what went before; whatever is wrong with them raises before a record is
    written."""
    request = run.request_for(catalog, output, config, stores)
    source = open_catalog(catalog, stores, category=request.category, limit=request.limit)
    previous = Previous(stores, request)
    try:
        if not run.exists(stores, output):
            next(source.items())
            previous.fill()
        record = run.begin(stores, output, request)
        if record.request.previous != request.previous:  # an earlier start saw less of a run that was going on
            previous.close()
            previous = Previous(stores, record.request)
    except BaseException:
        previous.close()
        raise
    return record, source, previous


def _open_shards(
    planned: Iterator[Shard], committed: set[int], previous: Previous | None, metrics: DriverMetrics
) -> Iterator[Shard]:
    """The shards that are not committed. The metrics are told of all, and `previous` sees all, so as to know in the
    end which images vanished."""
    for shard in planned:
        metrics.planned(len(shard.items))
        if previous:
            previous.see(shard)
        if shard.index not in committed:
            yield shard


def _conclude(job: Job, resumed: int, gone: int, measured: Measured | None) -> Result:
    totals = manifest.summary(job.stores, job.output)
    untried = totals.errors.get(ErrorCode.NO_LATENT, 0)
    within = budget.exceeded(job.config.reconstruct, totals.failed - untried, totals.images - untried) is None
    result = Result(
        run_id=job.record.run_id,
        output=canonical(job.output),
        images=totals.images,
        ok=totals.ok,
        failed=totals.failed,
        carried=totals.carried,
        computed=totals.images - totals.carried,
        vanished=gone,
        errors=totals.errors,
        shards=totals.shards,
        shards_resumed=resumed,
        mesh_bytes=totals.mesh_bytes,
        points_evaluated=totals.points_evaluated,
        seconds=round(time.monotonic() - job.started, 3),
        within_budget=within,
    )
    if within:
        lasting = {name: getattr(result, name) for name in _LASTING}
        run.finish(job.stores, job.output, lasting | {"measured": measured.model_dump() if measured else None})
        job.metrics.succeeded()
    return result


if __name__ == "__main__":
    from jobs.cli import main

    main(["reconstruct"])
