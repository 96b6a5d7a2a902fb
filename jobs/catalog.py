"""What a person points at, as a stream of items and as the frozen shards of a run.

Works on: folders and prefixes of images, tables of addresses, and `OUTPUT/catalog/`. Knows nothing about
pixels, shapes or Ray. Memory does not grow with the number of images: only a table's temporary files do.
"""

import contextlib
import functools
import hashlib
import itertools
import json
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from os.path import splitext
from pathlib import PurePosixPath
from typing import IO, cast

import pyarrow as pa

from cluster.errors import RequestError, RunError
from cluster.store import AlreadyExists, NotFound, ObjectStore, StoreError, Stores, TooLarge, canonical, join
from jobs import parquet, scratch, table
from workers.failure import ErrorCode
from workers.images import EXTENSIONS

DEFAULT_CATEGORY = "object"

# A table is fetched whole before its first row is read. 1 GiB holds some ten million addresses.
_MAX_TABLE_BYTES = 1 << 30
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NOT_TEXT = re.compile("[\0-\x1f\x7f\ud800-\udfff]")  # the surrogates stand for bytes that are not UTF-8

# With the mesh's suffix, a component stays below the 255 bytes of a file name and a key below S3's 1,024.
_MAX_ID, _MAX_COMPONENT, _MAX_READABLE = 400, 120, 80
_HIDDEN = re.compile(r"\.(?!\.?$)")  # but "." and "..", which S3 keys may hold, hide nothing
_COMPONENT = re.compile(rf"\w[\w.-]{{0,{_MAX_COMPONENT - 1}}}", re.ASCII)
_MESH_SUFFIXES = (".glb", ".obj", ".ply", ".stl")
_SHARD = re.compile(r"shard-(\d{5,})\.parquet")
# What `item_id_for` and the ids of bad rows look like; shards that hold anything else are refused.
_ANY_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*(~[0-9a-f]{16}){0,2}", re.ASCII)
_ANY_CATEGORY = re.compile(r"\w[\w.-]*(~[0-9a-f]{16})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a catalog. `item_id` and `category` are safe as paths; `size` is in bytes.

    With an `error_code` the row was wrong from the start: nothing is fetched, and it fails with that code.
    """

    item_id: str
    source_uri: str
    category: str
    etag: str | None = None
    size: int | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a catalog: how many items lie before it, and in a listing the key of the last of them."""

    count: int
    key: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A piece of the frozen work list; `final` says that none follows, `end` where the next one starts."""

    index: int
    items: tuple[Item, ...]
    end: Position
    final: bool
    version: str | None


class Catalog(ABC):
    """A stream of items that can be resumed. `uri` is absolute."""

    def __init__(self, uri: str, stores: Stores, category: str | None, limit: int | None) -> None:
        self.uri = uri
        self._stores = stores
        self._category = category
        self._limit = limit

    @property
    def version(self) -> str | None:
        """The ETag of a table; None for a listing, which has none. Raises RequestError as `items` does."""
        return None

    def items(self, after: Position | None = None) -> Iterator[tuple[Position, Item]]:
        """Items strictly after a position, each with its own.

        Raises RequestError: no images at all, or a table that cannot be read.
        """
        count = after.count if after else 0
        for key, item in self._rows(after):
            if self._limit is not None and count >= self._limit:
                return
            count += 1
            yield Position(count, key), item
        if count == 0:
            raise RequestError(self._nothing())

    @abstractmethod
    def _rows(self, after: Position | None) -> Iterator[tuple[str, Item]]:
        """Keys and items strictly after a position."""

    @abstractmethod
    def _nothing(self) -> str:
        """The sentence for a catalog without images."""


def open_catalog(uri: str, stores: Stores, *, category: str | None, limit: int | None) -> Catalog:
    """The catalog at a folder, an `s3://` prefix, or a `.parquet` or `.csv` file.

    Nothing is read until its items are. `category` holds for all items; without it, a table's column, else
    the top folder in which the image lies, else "object" does. `limit` bounds the number of items.
    Raises RequestError for an address that no store serves.
    """
    kind = _Table if splitext(uri)[1].lower() in table.SUFFIXES else _Listing
    return kind(canonical(uri), stores, category, limit)


def item_id_for(key: str) -> str:
    """A readable id that is safe as a path on S3 and on disks, and differs for different keys.

    A key that is safe already is its own id. Any other becomes a readable part, `~` and 64 bits of the exact
    key's SHA-256; safe keys have no `~`. A folder named like a mesh is not safe: it could collide with one.
    """
    *folders, name = key.split("/")
    safe = len(key) <= _MAX_ID and all(_COMPONENT.fullmatch(component) for component in (*folders, name))
    if safe and not any(folder.lower().endswith(_MESH_SUFFIXES) for folder in folders):
        return key
    return _hashed(key)


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
        uri = join(folder, f"shard-{index:05d}.parquet")
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
        shard = _read_shard(store, join(folder, f"shard-{index:05d}.parquet"), index)
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
    numbers = (_SHARD.fullmatch(info.key) for info in store.list(folder))
    last = max((int(number[1]) for number in numbers if number), default=None)
    if last is None:
        return 0, 0, False
    uri = join(folder, f"shard-{last:05d}.parquet")
    end, final, _ = _facts(parquet.notes(store, uri)[1], uri)
    return last + 1, end.count, final


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
        pa.field("error_code", pa.string()),
        pa.field("error_message", pa.string()),
    ]
)
assert _SHARD_SCHEMA.names == [field.name for field in fields(Item)]
_METADATA_KEY = b"isofleet.shard"


def _shard_bytes(shard: Shard) -> bytes:
    columns = zip(*map(astuple, shard.items), strict=True) if shard.items else [[] for _ in _SHARD_SCHEMA]
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
    content = parquet.from_bytes(data, _SHARD_SCHEMA, uri)
    end, final, version = _facts(content.schema.metadata, uri)
    items = tuple(Item(**row) for row in content.to_pylist())
    for item in items:
        # These become paths: whoever can write to OUTPUT must not thereby choose where meshes go.
        if not _ANY_ID.fullmatch(item.item_id) or not _ANY_CATEGORY.fullmatch(item.category):
            raise RunError(f"{uri} has an id or a category that is unsafe as a path; choose another OUTPUT")
        if item.error_code is not None and item.error_code not in set(ErrorCode):
            raise RunError(f"{uri} has the unknown error code {item.error_code!r}; choose another OUTPUT")
    return Shard(index, items, end, final, version)


class _Listing(Catalog):
    """The images below a folder or prefix: names with an image's extension, nothing hidden."""

    def _rows(self, after: Position | None) -> Iterator[tuple[str, Item]]:
        listing = self._stores.open(self.uri).list(self.uri, after=after.key if after else None)
        for info in listing:
            path = PurePosixPath(info.key)
            # macOS puts a hidden `._name.png` beside `name.png` on foreign disks: an image by name only.
            if path.suffix.lower() not in EXTENSIONS or any(_HIDDEN.match(part) for part in path.parts):
                continue
            top = info.key.partition("/")[0] if "/" in info.key else DEFAULT_CATEGORY
            item_id, category = item_id_for(info.key), _category_for(self._category or top)
            yield info.key, Item(item_id, info.uri, category, etag=info.etag, size=info.size)

    def _nothing(self) -> str:
        kinds = " ".join(sorted(EXTENSIONS))
        return f"there are no images ({kinds}) below {self.uri}; name a folder that has some"


class _Table(Catalog):
    """A file with one image a row. A wrong row becomes an item with an error code; rows count from 1."""

    @functools.cached_property
    def _file(self) -> tuple[IO[bytes], str]:
        """The table in a temporary file, and its ETag."""
        try:
            fetched = self._stores.open(self.uri).get(self.uri, max_bytes=_MAX_TABLE_BYTES)
        except NotFound as error:
            raise RequestError(f"there is no catalog at {self.uri}; name a file that exists") from error
        except TooLarge as error:
            bound = f"{_MAX_TABLE_BYTES >> 20} MiB"
            raise RequestError(f"{self.uri} is larger than {bound}; split it into several catalogs") from error
        file = tempfile.NamedTemporaryFile(prefix="isofleet-catalog-")  # noqa: SIM115  (lives with the catalog)
        file.write(fetched.data)
        file.flush()
        return cast(IO[bytes], file), fetched.info.etag

    @property
    def version(self) -> str | None:
        return self._file[1]

    def _rows(self, after: Position | None) -> Iterator[tuple[str, Item]]:
        skip = after.count if after else 0
        ids = scratch.database("CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID")
        with contextlib.closing(ids) as seen:
            for number, cells in enumerate(table.rows(self._file[0].name, self.uri), start=1):
                item = self._item(number, cells)
                if item.error_code is None:
                    added = seen.execute("INSERT OR IGNORE INTO ids VALUES (?)", (item.item_id,)).rowcount
                    if not added:
                        item = _duplicate(number, item)
                if number > skip:
                    yield "", item

    def _item(self, number: int, cells: table.Cells | str) -> Item:
        if isinstance(cells, str):
            return self._bad(number, None, cells)
        uri = cells["uri"]
        if not uri:
            return self._bad(number, None, "has no uri")
        for name, cell in cells.items():
            if cell and _NOT_TEXT.search(cell):
                return self._bad(number, uri, f"has control characters or bytes that are not UTF-8 in {name!r}")
            if cell and len(cell) > table.MAX_CELL:
                return self._bad(number, uri, f"has more than {table.MAX_CELL} characters in {name!r}")
        relative = not (uri.startswith("/") or _SCHEME.match(uri))
        try:
            source = canonical(join(self.uri[: self.uri.rindex("/") + 1], uri) if relative else uri)
        except (RequestError, StoreError) as error:
            return self._bad(number, uri, f"has an unusable uri: {error}")
        top = uri.partition("/")[0] if relative and "/" in uri else DEFAULT_CATEGORY
        category = _category_for(self._category or cells.get("category") or top)
        return Item(item_id_for(cells.get("id") or uri), source, category)

    def _bad(self, number: int, uri: str | None, reason: str) -> Item:
        # No cell holds NUL, so no good row has this id.
        item_id = _hashed(f"row {number}\0")
        shown = _NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", uri or "")[: table.MAX_CELL]
        category = _category_for(self._category or DEFAULT_CATEGORY)
        message = f"Row {number} of {self.uri} {_NOT_TEXT.sub(' ', reason)[: _MAX_READABLE * 4]}."
        return Item(
            item_id,
            shown,
            category,
            error_code=ErrorCode.BAD_CATALOG_ROW.value,
            error_message=message,
        )

    def _nothing(self) -> str:
        return f"the table {self.uri} has no rows; name one that has some"


def _duplicate(number: int, item: Item) -> Item:
    return Item(
        f"{item.item_id}~{_digest(item.item_id + chr(0) + str(number))}",
        item.source_uri,
        item.category,
        error_code=ErrorCode.DUPLICATE_ID.value,
        error_message=f"Row {number} has the id {item.item_id}, as an earlier row has: give it another.",
    )


def _category_for(name: str) -> str:
    """A category as one component of a path: with a `/`, it could run into another category's items."""
    return _hashed(name) if "/" in name else item_id_for(name)


def _hashed(key: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", key)[-_MAX_READABLE:].strip("._-") or "item"
    return f"{readable}~{_digest(key)}"


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
