"""What a person points at, as a stream of items.

Works on: folders and prefixes of images, and tables of addresses. Knows nothing about pixels, shapes or Ray, or how
the items are frozen: see `worklist`. Memory does not grow with the number of images: only a table's temporary files do.
"""

import contextlib
import functools
import hashlib
import itertools
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from os.path import splitext
from pathlib import PurePosixPath
from typing import IO, TypeVar, cast

from cluster.errors import RequestError
from cluster.store import NotFound, StoreError, Stores, TooLarge, canonical, join
from jobs import scratch, table
from jobs.objects import COLUMN as OBJECT
from jobs.objects import Groups, Numbered
from workers.failure import ErrorCode
from workers.images import EXTENSIONS
from workers.views import MAX_VIEWS

DEFAULT_CATEGORY = "object"

# A table is fetched whole before its first row is read. 1 GiB holds some ten million addresses.
_MAX_TABLE_BYTES = 1 << 30
# Of an object that a picture shows, in metres. Slips lie beyond, and float32 serves all between.
SMALLEST_M, LARGEST_M = 1e-6, 1e6
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NOT_TEXT = re.compile("[\0-\x1f\x7f\ud800-\udfff]")  # the surrogates stand for bytes that are not UTF-8

# With the mesh's suffix, a component stays below the 255 bytes of a file name and a key below S3's 1,024.
_MAX_ID, _MAX_COMPONENT, _MAX_READABLE = 400, 120, 80
_HIDDEN = re.compile(r"\.(?!\.?$)")  # but "." and "..", which S3 keys may hold, hide nothing
_COMPONENT = re.compile(rf"\w[\w.-]{{0,{_MAX_COMPONENT - 1}}}", re.ASCII)
_LEVEL = re.compile(r".*\.lod\d+", re.ASCII | re.IGNORECASE)  # as another item's level of detail is called
_MESH_SUFFIXES = (".glb", ".obj", ".ply", ".stl")


_Value = TypeVar("_Value", str, float)


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of a catalog, or one object of which it has several. `item_id` and `category` are safe as paths;
    `size` is the file's in bytes, `size_m` the object's: its longest side in metres.

    `views` are the addresses of an object's pictures, sorted; `source_uri` is then the first. A picture by itself has
    none. With an `error_code` the row was wrong from the start: nothing is fetched, and it fails with that code.
    """

    item_id: str
    source_uri: str
    category: str
    etag: str | None = None
    size: int | None = None
    size_m: float | None = None
    error_code: str | None = None
    error_message: str | None = None
    views: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a catalog: how many items lie before it, and in a listing the key of the last of them."""

    count: int
    key: str


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

    def count(self) -> int:
        """How many items there are: the whole list is read for it. Raises what `items` does."""
        return max(position.count for position, _ in self.items())

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
    key's SHA-256; safe keys have no `~`. A folder named like a mesh is not safe, nor is a
    name like a level of detail: they could collide with one.
    """
    *folders, name = key.split("/")
    safe = (
        len(key) <= _MAX_ID
        and not _LEVEL.fullmatch(name)
        and all(_COMPONENT.fullmatch(component) for component in (*folders, name))
    )
    if safe and not any(folder.lower().endswith(_MESH_SUFFIXES) for folder in folders):
        return key
    return _hashed(key)


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
    """A file with one image a row, in which a column `object` may say which of them show the same.

    A wrong row becomes an item with an error code; rows count from 1.
    """

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

    @functools.cached_property
    def _groups(self) -> Groups:
        return Groups(lambda: table.rows(self._file[0].name, self.uri))

    def _rows(self, after: Position | None) -> Iterator[tuple[str, Item]]:
        skip = after.count if after else 0
        ids = scratch.database("CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID")
        with contextlib.closing(ids) as seen:
            items = itertools.chain.from_iterable(map(self._items, self._groups))
            for count, (number, item) in enumerate(items, start=1):
                if item.error_code is None:
                    added = seen.execute("INSERT OR IGNORE INTO ids VALUES (?)", (item.item_id,)).rowcount
                    if not added:
                        item = _duplicate(number, item)
                if count > skip:
                    yield "", item

    def _items(self, rows: Iterator[Numbered]) -> Iterator[tuple[int, Item]]:
        """What rows of one object, or one row of none, stand for, with the numbers of rows: the wrong ones first."""
        views: _Views | None = None
        for number, cells in rows:
            item = self._item(number, cells)
            if isinstance(cells, str) or item.error_code is not None or not (name := cells.get(OBJECT)):
                yield number, item
                continue
            views = views or _Views(number, name, self.uri)
            if not views.add(item, said=bool(self._category or cells.get("category"))):
                yield number, self._bad(number, item.source_uri, "names a picture that its object has: remove it")
        if views:
            yield views.first, views.item()

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
        try:
            size_m = _metres(cells.get("size_m"))
        except ValueError:
            return self._bad(
                number, uri, f"has a size_m that is no number of metres from {SMALLEST_M:g} to {LARGEST_M:g}"
            )
        return Item(item_id_for(cells.get("id") or uri), source, category, size_m=size_m)

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


class _Views:
    """The pictures of one object, as its rows come. No more is kept of them than an object may have."""

    def __init__(self, first: int, name: str, table_uri: str) -> None:
        """`first` is the number of its first row."""
        self.first = first
        self._name = name
        self._table = table_uri
        self._uris: set[str] = set()
        self._said: set[str] = set()
        self._lain: set[str] = set()
        self._sizes: set[float] = set()
        self._least = ""

    def add(self, item: Item, *, said: bool) -> bool:
        """Take a row's picture, whose category the row itself said or not; False if it was there before."""
        _keep_two(self._said if said else self._lain, item.category)
        if item.size_m is not None:
            _keep_two(self._sizes, item.size_m)
        self._least = min(self._least or item.source_uri, item.source_uri)
        if item.source_uri in self._uris:
            return False
        if len(self._uris) <= MAX_VIEWS:
            self._uris.add(item.source_uri)
        return True

    def item(self) -> Item:
        """The object. What it is made of does not depend on the order of its rows."""
        categories = sorted(self._said or self._lain)
        if len(self._uris) > MAX_VIEWS:
            return self._bad(f"has more than {MAX_VIEWS} pictures, which are the most: leave some out")
        if len(categories) > 1:
            both = " and ".join(map(repr, categories))
            return self._bad(f"has the categories {both}: give all its rows one in a column 'category'")
        if len(self._sizes) > 1:
            both = " and ".join(f"{size:g}" for size in sorted(self._sizes))
            return self._bad(f"has the sizes {both} m: give all its rows one in the column 'size_m'")
        views = tuple(sorted(self._uris))
        size_m = next(iter(self._sizes), None)
        return Item(item_id_for(self._name), views[0], categories[0], size_m=size_m, views=views)

    def _bad(self, reason: str) -> Item:
        item_id = _hashed(f"object {self._name}\0")  # as of a bad row: no good one has it
        message = f"The object {self._name[:_MAX_READABLE]} of {self._table} {reason}."
        code = ErrorCode.BAD_CATALOG_ROW.value
        return Item(item_id, self._least, DEFAULT_CATEGORY, error_code=code, error_message=message)


def _keep_two(values: set[_Value], value: _Value) -> None:
    """Add a value to what contradicts itself if there are two of them: the least two are enough to be named."""
    values.add(value)
    if len(values) > 2:
        values.remove(max(values))


def _duplicate(number: int, item: Item) -> Item:
    return Item(
        f"{item.item_id}~{_digest(item.item_id + chr(0) + str(number))}",
        item.source_uri,
        item.category,
        error_code=ErrorCode.DUPLICATE_ID.value,
        error_message=f"Row {number} has the id {item.item_id}, as an earlier row has: give it another.",
    )


def _metres(cell: str | None) -> float | None:
    """Raises ValueError."""
    if not cell or not cell.strip():
        return None
    metres = float(cell)
    if not SMALLEST_M <= metres <= LARGEST_M:
        raise ValueError
    return metres


def _category_for(name: str) -> str:
    """A category as one component of a path: with a `/`, it could run into another category's items."""
    return _hashed(name) if "/" in name else item_id_for(name)


def _hashed(key: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", key)[-_MAX_READABLE:].strip("._-") or "item"
    return f"{readable}~{_digest(key)}"


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
