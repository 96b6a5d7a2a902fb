"""The main job: a catalog of images in, checked meshes and a manifest out.

Works on: one request, from its record to its totals. Knows nothing about how a surface is found, or which actor
does what: `jobs.driver` does the work.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from cluster.config import Config
from cluster.errors import RequestError, RunError
from cluster.metrics import DriverMetrics
from cluster.session import session
from cluster.store import StoreError, Stores, canonical
from jobs import budget, manifest, run
from jobs.catalog import open_catalog, plan
from jobs.driver import Driver, Progress


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
) -> Result:
    """Convert every image of `catalog` and commit one row for each under `output`; resume what is there.

    Raises RequestError for a request that cannot be carried out; RunError when the run cannot go on. What was
    committed stays, and the same call resumes it.
    """
    started = time.monotonic()
    metrics = metrics or DriverMetrics()
    stores = Stores(config.store, metrics.store_request)
    try:
        request = run.request_for(catalog, config.reconstruct, stores)
        source = open_catalog(catalog, stores, category=request.category, limit=request.limit)
        if not run.exists(stores, output):
            next(source.items())  # an empty or unreadable catalog raises before anything is written
        record = run.begin(stores, output, request)
    except StoreError as error:
        raise RequestError(f"the run cannot begin: {error}.") from error
    try:
        committed = manifest.committed(stores, output)
        shards = (shard for shard in plan(source, output, stores, request.shard_size) if shard.index not in committed)
        first = next(shards, None)
        if first is not None:
            with session(config.ray) as cluster:
                Driver(config, output, record, stores, metrics, cluster, on_progress).drive(first, shards)
        return _conclude(stores, output, record, config, len(committed), started, metrics)
    except StoreError as error:
        raise RunError(f"{error}; what was committed stays, and the same command resumes it.") from error


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
