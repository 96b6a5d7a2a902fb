"""What earlier outputs hold of a catalog's images: which rows can be carried forward, and which images vanished.

Works on: the manifests and the meshes of earlier outputs, and a run's shards. Knows nothing about how the rest is
converted. Memory does not grow with the outputs: their rows are looked up in a temporary file, in which a row is
some digests and the place where it can be read again.
"""

import functools
import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, TypeVar

import pyarrow as pa

from cluster.errors import RequestError, RunError
from cluster.store import StoreError, Stores, join
from jobs import manifest, scratch
from jobs.catalog import Item
from jobs.manifest import Row
from jobs.run import Request
from jobs.worklist import Shard
from workers.failure import ErrorCode
from workers.views import fingerprint

_READERS = 8  # parts of earlier manifests that are read at once, to fill the index
_HEADS = 32  # requests at once for the ETags that a table does not have: they wait for the network
_PARTS_KEPT = 8  # parts in memory: neighbours in a listing were neighbours before
_CACHE_KIB = 64 * 1024  # of the index in memory; SQLite keeps the rest in a temporary file
# All that is read of a row to fill the index.
_COLUMNS = (
    "item_id", "source_uri", "etag", "category", "status", "error_code",
    "mesh_uri", "mesh_bytes", "format", "resolution", "precision", "size_m", "weights_digest", "lods",
)  # fmt: skip
# Rows of the catalog that were no images.
_NO_IMAGE = {ErrorCode.BAD_CATALOG_ROW.value, ErrorCode.DUPLICATE_ID.value}

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Kind(Enum):
    """What an image is to a run that follows earlier ones."""

    NEW = "new"  # no earlier output has it
    CHANGED = "changed"  # one has it, but it must be made again: see `Previous`
    CARRIED = "carried"
    UNUSABLE = "unusable"  # its catalog row is wrong, or there are no weights for its category


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a row lies: which of the request's previous outputs, which part, which row of it."""

    output: int
    part: int
    row: int


class Previous:
    """The rows of a request's previous outputs.

    An image's row is carried forward if it is `ok`, of the same id, source URI, category, ETag (of an object, the
    `fingerprint` of its views) and size in metres, made with the same weights, resolution, format, `exact`,
    `refine` and mesh options, and its mesh and levels of detail are still there with their sizes. Of several such rows
    the one in the last-named output is taken. An ETag that is not known equals no other.

    Without previous outputs all images are new, and nothing is read or kept.
    """

    def __init__(self, stores: Stores, request: Request) -> None:
        self._stores = stores
        self._request = request
        self._part = functools.lru_cache(_PARTS_KEPT)(self._read_part)
        self._filled = not request.previous
        self._heads = ThreadPoolExecutor(_HEADS, "head")
        self._index = scratch.database(
            f"PRAGMA cache_size = -{_CACHE_KIB}",
            # `same` and `etag` are null where the row is not to be carried, whatever the image is now.
            "CREATE TABLE rows (item BLOB, same BLOB, etag BLOB, mesh BLOB, size INT, output INT, part INT, row INT)",
            "CREATE TABLE meshes (mesh BLOB, size INT)",
            "CREATE TABLE lods (mesh BLOB, lod BLOB, size INT)",
            "CREATE TABLE present (item BLOB)",
        )

    def close(self) -> None:
        """Give the temporary file back."""
        self._heads.shutdown(cancel_futures=True)
        self._index.close()

    def fill(self) -> None:
        """Read the rows of the previous outputs and list their meshes, once; whatever is asked first does so, too.

        Raises RequestError, naming what is missing or damaged.
        """
        if self._filled:
            return
        roots: set[str] = set()
        try:
            for number, used in enumerate(self._request.previous):
                read = functools.partial(manifest.read_part, self._stores, used.uri, columns=_COLUMNS)
                asked = self._request
                carry = (used.exact, used.refine, used.mesh) == (asked.exact, asked.refine, asked.mesh)
                for part, table in _ahead(_READERS, read, used.indices()):
                    roots |= self._add(number, part, table, carry)
            self._index.execute("CREATE INDEX rows_by_item ON rows (item)")
            for root in sorted(roots):
                infos = self._stores.open(root).list(join(root, "meshes"))
                found = ((_digest(info.uri), info.size) for info in infos)
                self._index.executemany("INSERT INTO meshes VALUES (?, ?)", found)
        except (RunError, StoreError) as error:
            raise RequestError(f"a previous output cannot be read: {error}.") from error
        self._index.execute("CREATE INDEX meshes_by_name ON meshes (mesh, size)")
        self._index.execute("CREATE INDEX lods_by_mesh ON lods (mesh)")
        self._filled = True

    def _add(self, output: int, part: int, table: pa.Table, carry: bool) -> set[str]:
        """Enter one part's rows; the outputs in which the meshes lie that could be carried."""
        roots = set()
        rows: list[tuple[bytes | int | None, ...]] = []
        for number, row in enumerate(table.to_pylist()):
            if row["error_code"] in _NO_IMAGE:
                continue
            root = _root(row) if carry and self._agrees(row) else None
            if root is None:
                rows.append((_digest(row["item_id"]), None, None, None, None, output, part, number))
                continue
            roots.add(root)
            same = _digest(row["source_uri"], row["category"], row["weights_digest"], str(row["size_m"]))
            mesh = _digest(row["mesh_uri"])
            known = _digest(row["item_id"]), same, _digest(row["etag"]), mesh, row["mesh_bytes"]
            rows.append((*known, output, part, number))
            lods = [(mesh, _digest(level["uri"]), level["bytes"]) for level in row["lods"] or ()]
            self._index.executemany("INSERT INTO lods VALUES (?, ?, ?)", lods)
        self._index.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return roots

    def _agrees(self, row: dict[str, Any]) -> bool:
        options = self._request.resolution, self._request.format
        return (
            row["status"] == "ok"
            and bool(row["etag"])
            and (row["resolution"], row["format"]) == options
            and self._request.precision in ("auto", row["precision"])
        )

    def see(self, shard: Shard) -> None:
        """Note the images of a shard: those of no shard have vanished."""
        if self._request.previous:
            self.fill()
            items = ((_digest(item.item_id),) for item in shard.items)
            self._index.executemany("INSERT INTO present VALUES (?)", items)

    def classify(self, shard: Shard) -> dict[str, tuple[Kind, Place | None]]:
        """What each item is, and where the row lies that is carried.

        An image without an ETag in the catalog is asked for it where an earlier row is otherwise the same.
        """
        self.fill()
        kinds: dict[str, tuple[Kind, Place | None]] = {}
        candidates: dict[str, list[tuple[bytes, Place]]] = {}
        for item in shard.items:
            digest = self._request.digest_for(item.category)
            if item.error_code is not None or digest is None:
                kinds[item.item_id] = Kind.UNUSABLE, None
                continue
            earlier = self._earlier(item.item_id)
            same = _digest(item.source_uri, item.category, digest, str(item.size_m))
            kinds[item.item_id] = (Kind.CHANGED if earlier else Kind.NEW), None
            fit = [(etag, place) for made_of, etag, place in earlier if made_of == same]
            if fit:
                candidates[item.item_id] = fit
        for item_id, now in self._etags([item for item in shard.items if item.item_id in candidates]):
            place = next((place for etag, place in candidates[item_id] if etag == now), None)
            if place:
                kinds[item_id] = Kind.CARRIED, place
        return kinds

    def _etags(self, items: Sequence[Item]) -> Iterator[tuple[str, bytes]]:
        """The digests of the items' ETags, as far as these can be known."""
        unknown = [uri for item in items if item.etag is None for uri in item.views or (item.source_uri,)]
        asked = self._heads.map(self._head, unknown)
        for item in items:
            etag = item.etag
            if etag is None:
                found = [(uri, next(asked)) for uri in item.views or (item.source_uri,)]
                if all(tag for _, tag in found):
                    etag = fingerprint(found) if item.views else found[0][1]
            if etag:
                yield item.item_id, _digest(etag)

    def _earlier(self, item_id: str) -> list[tuple[bytes | None, bytes, Place]]:
        """All rows of an image, those of later outputs first; without their content where the mesh is gone."""
        if not self._request.previous:
            return []
        found = self._index.execute(
            "SELECT CASE WHEN meshes.mesh IS NULL OR EXISTS (SELECT 1 FROM lods LEFT JOIN meshes AS there "
            "ON there.mesh = lods.lod AND there.size = lods.size WHERE lods.mesh = rows.mesh AND there.mesh IS NULL) "
            "THEN NULL ELSE same END, etag, output, part, row FROM rows "
            "LEFT JOIN meshes ON meshes.mesh = rows.mesh AND meshes.size = rows.size "
            "WHERE item = ? ORDER BY rows.rowid DESC",
            (_digest(item_id),),
        )
        return [(same, etag, Place(*place)) for same, etag, *place in found]

    def _head(self, uri: str) -> str | None:
        try:
            return self._stores.open(uri).head(uri).etag
        except (StoreError, RequestError):
            return None  # whoever converts it meets the same, and gives it its row

    def carry(self, shard: Shard, run_id: str) -> dict[str, Row]:
        """The rows of a shard's images that need not be made again, as rows of the run `run_id`.

        Raises RunError or StoreError when a part is gone or has other rows since the index was filled.
        """
        if not self._request.previous:
            return {}
        places = {place: item_id for item_id, (_, place) in self.classify(shard).items() if place}
        rows = {}
        for (output, part), group in _by_part(sorted(places)):
            found = self._part(output, part).take([place.row for place in group]).to_pylist()
            for place, row in zip(group, found, strict=True):
                if row["item_id"] != places[place]:
                    uri = self._request.previous[output].uri
                    raise RunError(f"the manifest of {uri} has changed during this run; leave previous outputs alone")
                row |= {"run_id": run_id, "shard": shard.index, "carried_from": row["carried_from"] or row["run_id"]}
                rows[row["item_id"]] = Row(**row)
        return rows

    def _read_part(self, output: int, part: int, columns: Sequence[str] | None = None) -> pa.Table:
        return manifest.read_part(self._stores, self._request.previous[output].uri, part, columns=columns)

    def vanished(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Some columns of the last rows of the images that were in no shard seen, in the order of outputs and rows."""

        def read(entry: tuple[tuple[int, int], list[Place]]) -> list[dict[str, Any]]:
            (output, part), group = entry
            rows: list[dict[str, Any]] = self._read_part(output, part, columns).take([p.row for p in group]).to_pylist()
            return rows

        for _, rows in _ahead(_READERS, read, _by_part(self._vanished_places())):
            yield from rows

    def count_vanished(self) -> int:
        """How many rows `vanished` has, without reading them."""
        return sum(1 for _ in self._vanished_places())

    def _vanished_places(self) -> Iterator[Place]:
        if not self._request.previous:
            return
        self.fill()
        self._index.execute("CREATE INDEX IF NOT EXISTS present_by_item ON present (item)")
        found = self._index.execute(
            "SELECT output, part, row FROM rows WHERE NOT EXISTS (SELECT 1 FROM present WHERE item = rows.item) "
            "AND NOT EXISTS (SELECT 1 FROM rows AS later WHERE later.item = rows.item AND later.rowid > rows.rowid) "
            "ORDER BY rows.rowid"
        )
        yield from (Place(*place) for place in found)


assert set(_COLUMNS) <= {column.name for column in fields(Row)}


def _by_part(places: Iterable[Place]) -> Iterator[tuple[tuple[int, int], list[Place]]]:
    """Sorted places by their output and part."""
    for key, group in itertools.groupby(places, key=lambda place: (place.output, place.part)):
        yield key, list(group)


def _root(row: dict[str, Any]) -> str | None:
    """The output below which a row's mesh lies; None if it does not lie where a run of ours puts it."""
    uri, suffix = row["mesh_uri"], f"/meshes/{row['category']}/{row['item_id']}.{row['format']}"
    return uri.removesuffix(suffix) if uri.endswith(suffix) else None


def _digest(*texts: str) -> bytes:
    """16 bytes that stand for some texts: among ten million, two alike would be a matter of 10⁻²⁴."""
    total = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        total.update(len(data).to_bytes(4, "little") + data)
    return total.digest()


def _ahead(threads: int, function: Callable[[_In], _Out], values: Iterable[_In]) -> Iterator[tuple[_In, _Out]]:
    """Values and their results in order, a few worked out ahead; an executor's `map` would take in all values."""
    with ThreadPoolExecutor(threads) as pool:
        queue: deque[tuple[_In, Future[_Out]]] = deque()
        for value in values:
            queue.append((value, pool.submit(function, value)))
            if len(queue) > 2 * threads:
                first, result = queue.popleft()
                yield first, result.result()
        while queue:
            first, result = queue.popleft()
            yield first, result.result()
