"""The frozen work list of a run: its catalog's items in shards, which no later change of the catalog touches.

Works on: catalogs and `OUTPUT/catalog/`. Knows nothing about where items come from, or what becomes of them.
"""

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from operator import attrgetter

import pyarrow as pa

from cluster.errors import RequestError, RunError
from cluster.store import AlreadyExists, NotFound, ObjectStore, Stores, canonical, join
from jobs import parquet
from jobs.catalog import Catalog, Item, Position
from workers.failure import ErrorCode

_SHARD = re.compile(r"shard-(\d{5,})\.parquet")
# What `item_id_for` and the ids of bad rows look like; shards that hold anything else are refused.
_ANY_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*(~[0-9a-f]{16}){0,2}", re.ASCII)
_ANY_CATEGORY = re.compile(r"\w[\w.-]*(~[0-9a-f]{16})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shard:
    """A piece of the frozen work list; `final` says that none follows, `end` where the next one starts."""

    index: int
    items: tuple[Item, ...]
    end: Position
    final: bool
    version: str | None


def plan(catalog: Catalog, output: str, stores: Stores, shard_size: int, *, write: bool = True) -> Iterator[Shard]:
    """Freeze the catalog into `OUTPUT/catalog/`, yielding each shard as soon as it is written.

    Shards tile the catalog exactly once, whoever writes them: each is put only if absent and carries the
    position at which the next one starts, so a driver that resumes or loses a race goes on from what stands
    there. The last one says so itself; `_index.json` (shards, items) follows, and from then on nothing is
    listed again. Without `write`, the shards are those that would be frozen.

    Raises RequestError: nothing to do, an unreadable table, or a table that changed before all was frozen.
    RunError: a shard is missing or damaged. StoreError: the store failed.
    """
    folder = join(canonical(output), "catalog")
    store = stores.open(folder)
    index_uri = join(folder, "_index.json")
    planned = _exists(store, index_uri)

    last: Shard | None = None
    fresh: Iterator[Shard] | None = None
    while last is None or not last.final:
        index = last.index + 1 if last else 0
        uri = shard_uri(folder, index)
        shard = _read_shard(store, uri, index) if fresh is None else None
        if shard is None:
            if planned:
                raise RunError(f"{uri} is missing though the run was planned; restore it or choose another OUTPUT")
            if fresh is None:
                if last is not None and last.version != catalog.version:
                    raise RequestError(f"{catalog.uri} has changed since {folder} was begun; choose another OUTPUT")
                fresh = _cut(catalog, last.end if last else None, index, shard_size)
            shard = next(fresh)
            try:
                if write:
                    store.put(uri, _shard_bytes(shard), if_absent=True)
            except AlreadyExists:
                ours, shard = shard, _read_shard(store, uri, index)
                if shard is None:
                    raise RunError(f"{uri} vanished; leave OUTPUT alone during a run") from None
                if (shard.end, shard.final, shard.version) != (ours.end, ours.final, ours.version):
                    fresh = None  # the other driver saw another catalog: go on from where theirs ends
        yield shard
        last = shard
    if write and not planned:
        totals = json.dumps({"shards": last.index + 1, "items": last.end.count}).encode()
        # The final shard, and so the totals, are the same for every driver.
        with contextlib.suppress(AlreadyExists):
            store.put(index_uri, totals, if_absent=True, content_type="application/json")


def frozen(stores: Stores, output: str) -> Iterator[Shard]:
    """The shards frozen so far, in order; the last one is `final` once the whole catalog is.

    Raises RunError for a shard that is damaged, StoreError.
    """
    folder = join(canonical(output), "catalog")
    store = stores.open(folder)
    for index in itertools.count():
        shard = _read_shard(store, shard_uri(folder, index), index)
        if shard is None:
            return
        yield shard
        if shard.final:
            return


def planned(stores: Stores, output: str) -> tuple[int, int, bool]:
    """How many shards and items are frozen so far, and whether that is the whole catalog; the items are not read.

    Raises RunError for a damaged shard, StoreError.
    """
    folder = join(canonical(output), "catalog")
    store = stores.open(folder)
    try:
        totals = json.loads(store.get(join(folder, "_index.json"), max_bytes=1 << 20).data)
        return int(totals["shards"]), int(totals["items"]), True
    except NotFound:
        pass  # not yet
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder}/_index.json cannot be read; delete it and run again") from error
    last = max(shard_indices(store, folder), default=None)
    if last is None:
        return 0, 0, False
    uri = shard_uri(folder, last)
    end, final, _ = _facts(parquet.notes(store, uri)[1], uri)
    return last + 1, end.count, final


def shard_uri(folder: str, index: int) -> str:
    """Where a shard, or what became of it, lies in its folder."""
    return join(folder, f"shard-{index:05d}.parquet")


def shard_indices(store: ObjectStore, folder: str) -> set[int]:
    """The shards that lie in a folder. Raises StoreError."""
    matches = (_SHARD.fullmatch(info.key) for info in store.list(folder))
    return {int(match[1]) for match in matches if match}


def _cut(catalog: Catalog, after: Position | None, first: int, size: int) -> Iterator[Shard]:
    """Unwritten shards from a position on; at least one, because the catalog may have shrunk since."""
    rows = catalog.items(after)
    ahead = next(rows, None)  # one item ahead, to know which shard is final
    end = after or Position(0, "")
    for index in itertools.count(first):
        batch = [ahead, *itertools.islice(rows, size - 1)] if ahead else []
        ahead = next(rows, None)
        end = batch[-1][0] if batch else end
        yield Shard(index, tuple(item for _, item in batch), end, ahead is None, catalog.version)
        if ahead is None:
            return


def _exists(store: ObjectStore, uri: str) -> bool:
    try:
        store.head(uri)
    except NotFound:
        return False
    return True


_SHARD_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("source_uri", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("etag", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("size_m", pa.float64()),
        pa.field("error_code", pa.string()),
        pa.field("error_message", pa.string()),
        pa.field("views", pa.list_(pa.field("element", pa.string(), nullable=False)), nullable=False),
    ]
)
assert _SHARD_SCHEMA.names == [field.name for field in fields(Item)]
_METADATA_KEY = b"isofleet.shard"
_LATER = ("views",)  # columns that shards of earlier versions lack


def _shard_bytes(shard: Shard) -> bytes:
    columns = [list(map(attrgetter(name), shard.items)) for name in _SHARD_SCHEMA.names]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SHARD_SCHEMA, strict=True)]
    facts = {"end": astuple(shard.end), "final": shard.final, "version": shard.version}
    schema = _SHARD_SCHEMA.with_metadata({_METADATA_KEY: json.dumps(facts).encode()})
    return parquet.to_bytes(pa.Table.from_arrays(arrays, schema=schema))


def _facts(metadata: Mapping[bytes, bytes] | None, uri: str) -> tuple[Position, bool, str | None]:
    """Where a shard ends, whether it is final, and the version of its table."""
    try:
        facts = json.loads((metadata or {})[_METADATA_KEY])
        count, key = facts["end"]
        return Position(int(count), str(key)), bool(facts["final"]), facts["version"]
    except (TypeError, KeyError, ValueError) as error:
        raise RunError(f"{uri} does not say where it ends; choose another OUTPUT") from error


def _read_shard(store: ObjectStore, uri: str, index: int) -> Shard | None:
    try:
        data = store.get(uri).data
    except NotFound:
        return None
    content = parquet.from_bytes(data, _SHARD_SCHEMA, uri, later=_LATER)
    end, final, version = _facts(content.schema.metadata, uri)
    items = tuple(Item(**row | {"views": tuple(row["views"] or ())}) for row in content.to_pylist())
    for item in items:
        # These become paths: whoever can write to OUTPUT must not thereby choose where meshes go.
        if not _ANY_ID.fullmatch(item.item_id) or not _ANY_CATEGORY.fullmatch(item.category):
            raise RunError(f"{uri} has an id or a category that is unsafe as a path; choose another OUTPUT")
        if item.error_code is not None and item.error_code not in set(ErrorCode):
            raise RunError(f"{uri} has the unknown error code {item.error_code!r}; choose another OUTPUT")
    return Shard(index, items, end, final, version)
