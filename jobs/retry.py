"""Failed images of a finished run, tried again: a further generation of its manifest.

Works on: the outputs `OUTPUT/retries/00001`, `00002`, …, each the output of a run like any other, whose catalog is
the one that OUTPUT froze. Knows nothing about how images are converted. What stood before is only read: rows that
are not tried again are repeated in the new generation, and their meshes stay where they lie.
"""

import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from itertools import count

import pyarrow as pa

from cluster.config import Config
from cluster.discovery import Targets
from cluster.errors import RequestError, RunError
from cluster.metrics import DriverMetrics
from cluster.store import StoreError, Stores, canonical, join
from jobs import manifest, run
from jobs.catalog import Catalog, Item, Position
from jobs.manifest import Row
from jobs.previous import Previous
from jobs.progress import Progress
from jobs.reconstruct import Job, Result, convert
from jobs.stop import Stop
from jobs.worklist import Shard, frozen, plan
from workers.failure import ErrorCode
from workers.messages import Encoded

# A part is wanted when its shard is planned, one shard ahead, and again when its rows are kept. Two would not do: the
# part that is planned next would drive out the one whose rows are kept next.
PARTS_KEPT = 3
_GENERATION = re.compile(r"(.*)/retries/\d{5}")
# What trying again cannot change: these come from the frozen catalog and from the weights that the run was given.
SETTLED = frozenset({ErrorCode.BAD_CATALOG_ROW, ErrorCode.DUPLICATE_ID, ErrorCode.UNKNOWN_CATEGORY})


def retry_failed(
    output: str,
    config: Config,
    codes: Collection[str] = (),
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    metrics: DriverMetrics | None = None,
    targets: Targets | None = None,
    stop: Stop | None = None,
) -> Result | None:
    """Try the failed images of `output` again, those with `codes` or all; None if there are none.

    A generation that was begun and not finished is resumed. The weights and options are those of `output`; of
    `config` only what says where and how to run counts. An image is read as it is now, whatever its ETag was; but where
    `output` was made from latents, these are what is tried again.

    Raises RequestError for codes that do not exist or cannot change, for an output that is no run or is not finished;
    RunError as `jobs.reconstruct` does.
    """
    started = time.monotonic()
    metrics = metrics or DriverMetrics()
    stores = Stores(config.store, metrics.store_request)
    chosen = _chosen(codes)
    try:
        before, generation = _generations(stores, output)
        base = run.read(stores, before)
        again = run.Again(uri=before, run_id=base.run_id, codes=chosen)
        request = base.request.model_copy(update={"previous": (), "again": again})
        if not run.exists(stores, generation):
            _check_finished(stores, before)
            failed = manifest.summary(stores, before).errors
            if not any(code in failed for code in chosen):
                return None
        record = run.begin(stores, generation, request)
    except StoreError as error:
        raise RequestError(f"{output} cannot be tried again: {error}.") from error
    part = lru_cache(PARTS_KEPT)(lambda index: manifest.read_part(stores, before, index))
    shards = plan(_Again(before, stores, chosen, part), generation, stores, request.shard_size)
    job = Job(generation, config, record, stores, on_progress, metrics, targets, stop or Stop(), started)

    def known(shard: Shard, run_id: str) -> dict[str, Row | Encoded]:
        return _known(part(shard.index), chosen, shard, run_id, pictures=request.remesh is None)

    with closing(Previous(stores, request)) as nothing:
        return convert(job, shards, nothing, known)


def newest(stores: Stores, output: str) -> str:
    """Where the newest finished generation of `output` lies: itself if it has none, or is one."""
    output = canonical(output).rstrip("/")
    return output if _GENERATION.fullmatch(output) else _generations(stores, output)[0]


def _chosen(codes: Collection[str]) -> tuple[str, ...]:
    for code in codes:
        if code not in set(ErrorCode):
            raise RequestError(f"--code {code}: there is no such error code; docs/reference/errors.md lists them.")
        if code in SETTLED:
            raise RequestError(
                f"--code {code}: trying again cannot change it; correct the catalog or the weights, and run with "
                "--previous OUTPUT into another output."
            )
    return tuple(sorted(code.value for code in ErrorCode if (code in codes if codes else code not in SETTLED)))


def _generations(stores: Stores, output: str) -> tuple[str, str]:
    """Where the newest finished generation lies, and where the next one is, begun or not."""
    root = canonical(output).rstrip("/")
    if inner := _GENERATION.fullmatch(root):
        raise RequestError(f"{output} is itself a generation of {inner[1]}; name that.")
    before = root
    for number in count(1):
        generation = join(root, "retries", f"{number:05d}")
        if not run.exists(stores, generation) or not manifest.finished(stores, generation):
            return before, generation
        before = generation
    raise AssertionError("count does not end")


def _check_finished(stores: Stores, output: str) -> None:
    if not manifest.finished(stores, output):
        raise RequestError(f"{output} is not finished: run the command that began it again, then retry what failed.")


class _Again(Catalog):
    """The items that an output froze. Those to be tried again have no ETag: their images may have been mended."""

    def __init__(self, output: str, stores: Stores, codes: Collection[str], part: Callable[[int], pa.Table]) -> None:
        super().__init__(output, stores, category=None, limit=None)
        self._codes = codes
        self._part = part

    def _rows(self, after: Position | None) -> Iterator[tuple[str, Item]]:
        skip = after.count if after else 0
        for shard in frozen(self._stores, self.uri):
            if shard.end.count <= skip:
                continue
            table = self._part(shard.index).select(["item_id", "error_code"])
            failed = {row["item_id"] for row in table.to_pylist() if row["error_code"] in self._codes}
            for number, item in enumerate(shard.items, start=shard.end.count - len(shard.items) + 1):
                if number > skip:
                    yield "", replace(item, etag=None, size=None) if item.item_id in failed else item

    def _nothing(self) -> str:
        return f"{self.uri} has no images; there is nothing to try again"


def _known(
    table: pa.Table, codes: Collection[str], shard: Shard, run_id: str, pictures: bool
) -> dict[str, Row | Encoded]:
    """The rows of a shard that are not tried again, as rows of the run `run_id`; without `pictures` also the latents
    of the others, as far as they have one."""
    if table["item_id"].to_pylist() != [item.item_id for item in shard.items]:
        raise RunError(
            f"part {shard.index} of the generation before has other items than its catalog; see isofleet verify"
        )
    rows: dict[str, Row | Encoded] = {}
    for row in table.to_pylist():
        if row["error_code"] in codes:
            encoded = None if pictures else manifest.encoded(row)
            if encoded:
                rows[row["item_id"]] = encoded
            continue
        if row["status"] == "ok":
            row["carried_from"] = row["carried_from"] or row["run_id"]
        rows[row["item_id"]] = Row(**row | {"run_id": run_id})
    return rows
