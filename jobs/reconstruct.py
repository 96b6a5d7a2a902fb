"""The main job: a catalog of images in, checked meshes and a manifest out.

Works on: one request, from its record to its totals. Knows nothing about how a surface is found, or which actor
does what: `jobs.driver` does the work.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cluster.config import Config
from cluster.discovery import Targets
from cluster.errors import RequestError, RunError
from cluster.exporter import exporters
from cluster.metrics import DriverMetrics
from cluster.pushgateway import push
from cluster.session import session
from cluster.store import StoreError, Stores, canonical
from jobs import budget, manifest, run
from jobs.catalog import Shard, open_catalog, plan
from jobs.driver import ACTORS, Driver, Progress
from jobs.stop import Stop


@dataclass(frozen=True)
class Result:
    """How a run ended; the counts are those of the manifest. `within_budget` decides the exit status."""

    run_id: str
    output: str
    images: int
    ok: int
    failed: int
    errors: dict[str, int]
    shards: int
    shards_resumed: int
    mesh_bytes: int
    points_evaluated: int
    seconds: float
    within_budget: bool


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
        request = run.request_for(catalog, config.reconstruct, stores)
        source = open_catalog(catalog, stores, category=request.category, limit=request.limit)
        if not run.exists(stores, output):
            next(source.items())  # an empty or unreadable catalog raises before anything is written
        record = run.begin(stores, output, request)
    except StoreError as error:
        raise RequestError(f"the run cannot begin: {error}.") from error
    metrics.begun(
        record.run_id, run.code_version(), request.resolution, request.format, config.reconstruct.max_failed_percent
    )
    try:
        committed = manifest.committed(stores, output)
        before = manifest.summary(stores, output, committed)
        metrics.committed_before(before.shards, before.outcomes)
        if targets is not None:
            targets.begin(record.run_id)  # not earlier: to Prometheus, what stood in the store would be a burst of work
        shards = (
            shard
            for shard in _told(plan(source, output, stores, request.shard_size), metrics)
            if shard.index not in committed
        )
        first = next(shards, None)
        if first is not None:
            with session(config.ray) as cluster, exporters(config.metrics, targets, ACTORS):
                driver = Driver(config, output, record, stores, metrics, cluster, on_progress)
                with stop.watched():
                    driver.drive(first, shards, stop)
        return _conclude(stores, output, record, config, len(committed), started, metrics)
    except StoreError as error:
        raise RunError(f"{error}; what was committed stays, and the same command resumes it.") from error
    finally:
        if config.metrics.pushgateway:
            push(config.metrics.pushgateway, record.run_id, metrics.registry)


def _told(shards: Iterator[Shard], metrics: DriverMetrics) -> Iterator[Shard]:
    """The shards as they are listed, each told to the metrics."""
    for shard in shards:
        metrics.planned(len(shard.items))
        yield shard


def _conclude(
    stores: Stores,
    output: str,
    record: run.RunRecord,
    config: Config,
    resumed: int,
    started: float,
    metrics: DriverMetrics,
) -> Result:
    totals = manifest.summary(stores, output)
    within = budget.exceeded(config.reconstruct, totals.failed, totals.images) is None
    result = Result(
        run_id=record.run_id,
        output=canonical(output),
        images=totals.images,
        ok=totals.ok,
        failed=totals.failed,
        errors=totals.errors,
        shards=totals.shards,
        shards_resumed=resumed,
        mesh_bytes=totals.mesh_bytes,
        points_evaluated=totals.points_evaluated,
        seconds=round(time.monotonic() - started, 3),
        within_budget=within,
    )
    if within:
        counts = (
            "run_id",
            "images",
            "ok",
            "failed",
            "errors",
            "shards",
            "mesh_bytes",
            "points_evaluated",
            "seconds",
        )
        run.finish(stores, output, {name: getattr(result, name) for name in counts})
        metrics.succeeded()
    return result


if __name__ == "__main__":
    from jobs.cli import main

    main(["reconstruct"])
