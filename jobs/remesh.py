"""Meshes at another resolution, or in another format, from the latents that a finished run's manifest holds.

Works on: the manifest of one output, and the run in another that is made from it: a run like any other, whose work
list is that manifest. Knows nothing about how a surface is found. No picture is read. A shard is a part of that
manifest, which is read once, when the shard is planned: memory does not grow with the manifest.
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from cluster.config import Config
from cluster.discovery import Targets
from cluster.errors import RequestError, RunError
from cluster.metrics import DriverMetrics
from cluster.store import StoreError, Stores, canonical
from jobs import manifest, retry, run
from jobs.catalog import Catalog, Item, Position
from jobs.estimate import Estimate, with_rates
from jobs.manifest import Row
from jobs.previous import Previous
from jobs.progress import Progress
from jobs.reconstruct import Job, Result, convert
from jobs.stop import Stop
from jobs.worklist import Shard, plan, planned
from workers.failure import ErrorCode
from workers.messages import Encoded

_FIXED = frozenset({"category", "shard_size", "previous"})  # the work list is the manifest as it is, part for part
_ITEM = ["item_id", "source_uri", "category", "etag", "source_bytes", "size_m"]
_VIEWS = ["view_uris", "views_used", "views_failed"]


def remesh(
    output: str,
    new_output: str,
    config: Config,
    asked: Collection[str] = (),
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    metrics: DriverMetrics | None = None,
    targets: Targets | None = None,
    stop: Stop | None = None,
) -> Result:
    """Mesh every latent that the newest finished generation of `output` holds, and commit the rows below `new_output`;
    resume what is there.

    A mesh is the one that a run over the pictures would have made. What decides that is as it was in `output`, except
    for the keys that were `asked` for, such as `reconstruct.resolution`: these are as in `config`. A row without a
    latent becomes a failed one, `no_latent`, which the error budget does not count.

    Raises RequestError for an output that is no run, is not finished or is `new_output`, for a key that cannot be
    asked for, and for weights that are not those of `output`; RunError as `jobs.reconstruct` does.
    """
    started = time.monotonic()
    metrics = metrics or DriverMetrics()
    stores = Stores(config.store, metrics.store_request)
    try:
        source, request = _request(output, new_output, config, asked, stores)
        record = run.begin(stores, new_output, request)
    except StoreError as error:
        raise RequestError(f"{output} cannot be meshed again: {error}.") from error
    shards = plan(source, new_output, stores, request.shard_size)
    job = Job(new_output, config, record, stores, on_progress, metrics, targets, stop or Stop(), started)
    with closing(Previous(stores, request)) as nothing:
        return convert(job, shards, nothing, source.known)


def estimate(
    output: str, new_output: str, config: Config, asked: Collection[str] = (), price: float | None = None
) -> Estimate:
    """What `remesh` would do with the same arguments; nothing is written. `unusable` are the rows without a latent.
    Raises RequestError as `remesh` does."""
    stores = Stores(config.store)
    try:
        source, request = _request(output, new_output, config, asked, stores)
        committed: set[int] = set()
        if run.exists(stores, new_output):
            run.resumed(stores, new_output, request)
            committed = manifest.committed(stores, new_output)
        done = latents = without = shards = 0
        for shard in plan(source, new_output, stores, request.shard_size, write=False):
            shards += 1
            if shard.index in committed:
                done += len(shard.items)
                continue
            found = sum(isinstance(known, Encoded) for known in source.known(shard, "").values())
            latents, without = latents + found, without + len(shard.items) - found
    except StoreError as error:
        raise RequestError(f"the run cannot be estimated: {error}.") from error
    counts = Estimate(
        images=done + latents + without,
        new=latents,
        changed=0,
        carried=0,
        vanished=0,
        unusable=without,
        done=done,
        compute=latents,
        shards=shards,
        bytes=0,
        sizes_unknown=0,
        resolution=request.resolution,
    )
    return with_rates(counts, stores, request, price)


def _request(
    output: str, new_output: str, config: Config, asked: Collection[str], stores: Stores
) -> tuple["_Latents", run.Request]:
    """The work list, and what is asked of it."""
    source, target = canonical(output).rstrip("/"), canonical(new_output).rstrip("/")
    if f"{target}/".startswith(f"{source}/"):
        raise RequestError(f"NEW_OUTPUT {new_output} is OUTPUT or lies inside it; choose a place beside it.")
    source = retry.newest(stores, source)
    base = run.read(stores, source)
    if not manifest.finished(stores, source):
        raise RequestError(f"{output} is not finished: run the command that began it again, then mesh its latents.")
    request = run.request_for(base.request.catalog, new_output, _config(config, asked, base.request), stores)
    if _digests(request) != _digests(base.request):
        raise RequestError(
            f"the weights {_shown(request)} are not those that made the latents of {source}, {_shown(base.request)}; "
            "give --weights the ones that did."
        )
    request = request.model_copy(update={"remesh": run.Origin(uri=source, run_id=base.run_id)})
    return _Latents(source, stores, request), request


def _config(config: Config, asked: Collection[str], base: run.Request) -> Config:
    """Those of `config` that were asked for, and else what `base` asked."""
    settings = config.reconstruct
    changes: dict[str, Any] = {"previous": []}
    for name in settings.__class__.model_fields.keys() & run.Request.model_fields.keys():
        if f"reconstruct.{name}" not in asked:
            changes.setdefault(name, getattr(base, name))
        elif name in _FIXED:
            raise RequestError(f"reconstruct.{name} cannot be asked for here: it is as it was in OUTPUT.")
    if "reconstruct.weights" not in asked:
        changes["weights"] = {category: used.uri for category, used in base.weights.items()}
    kept = {name: value for name, value in asdict(base.mesh).items() if f"mesh.{name}" not in asked}
    kept |= {"lod": list(base.mesh.lod)} if "lod" in kept else {}
    return config.model_copy(
        update={"reconstruct": settings.model_copy(update=changes), "mesh": config.mesh.model_copy(update=kept)}
    )


def _digests(request: run.Request) -> dict[str, str]:
    return {category: used.digest for category, used in request.weights.items()}


def _shown(request: run.Request) -> str:
    return ", ".join(f"{used.uri} ({used.digest[:12]}…)" for used in request.weights.values())


class _Latents(Catalog):
    """The rows of a manifest as a work list, and what they know of its items. A shard is a part, or its first rows."""

    def __init__(self, output: str, stores: Stores, request: run.Request) -> None:
        super().__init__(output, stores, category=None, limit=request.limit)
        self._request = request
        self._part = lru_cache(retry.PARTS_KEPT)(lambda index: manifest.read_part(stores, output, index))

    def _rows(self, after: Position | None) -> Iterator[tuple[str, Item]]:
        first, skip = divmod(after.count if after else 0, self._request.shard_size)
        for index in range(first, planned(self._stores, self.uri)[0]):
            for row in self._part(index).select([*_ITEM, "view_uris"]).to_pylist()[skip:]:
                item_id, source_uri, category, etag, size, size_m = (row[name] for name in _ITEM)
                views = tuple(row["view_uris"] or ())
                yield "", Item(item_id, source_uri, category, etag, size, size_m, views=views)
            skip = 0

    def _nothing(self) -> str:
        return f"{self.uri} has no images; there is nothing to mesh"

    def known(self, shard: Shard, run_id: str) -> dict[str, Row | Encoded]:
        """The latents of a shard's items, and for each that has none its row of the run `run_id`.

        Raises RunError where the part has changed, or was made with other weights than its record says.
        """
        table = self._part(shard.index)[: len(shard.items)] if shard.items else manifest.SCHEMA.empty_table()
        uri = manifest.part_uri(self.uri, shard.index)
        if table["item_id"].to_pylist() != [item.item_id for item in shard.items]:
            raise RunError(f"{uri} has other items than when they were frozen; see isofleet verify")
        known: dict[str, Row | Encoded] = {}
        for row in table.to_pylist():
            encoded = manifest.encoded(row)
            if encoded and row["weights_digest"] != self._request.digest_for(row["category"]):
                raise RunError(f"{uri}: {row['item_id']} was not made with the weights of its run; see isofleet verify")
            known[row["item_id"]] = encoded or self._without(row, shard.index, run_id)
        return known

    def _without(self, row: dict[str, Any], shard: int, run_id: str) -> Row:
        why = f"It has no latent in {self.uri}"
        if row["error_code"]:
            why += f", where it failed ({row['error_code']}): {row['error_message']}"
        same = {name: row[name] for name in (*_ITEM, *_VIEWS, "width", "height", "weights_digest")}
        return Row(
            run_id=run_id, shard=shard, status="failed", error_code=ErrorCode.NO_LATENT.value, error_message=why,
            attempts=0, code_version=run.code_version(), **same,
        )  # fmt: skip


if __name__ == "__main__":
    from jobs.cli import main

    main(["remesh"])
