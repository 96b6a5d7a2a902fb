"""The manifest: one row per image, one Parquet file per shard, whose conditional PUT is the shard's commit.

Works on: rows and `OUTPUT/manifest/`. Knows nothing about how a mesh came to be or why an image failed.
`Row` is the one declaration of the columns: the schema and `docs/reference/manifest.md` (`make docs`) come
from it.
"""

import json
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from cluster.errors import RunError
from cluster.metrics import ImageOutcome
from cluster.store import AlreadyExists, ObjectInfo, Stores, canonical, join
from jobs import parquet
from jobs.parquet import always, maybe
from jobs.worklist import Shard, planned, shard_indices, shard_uri
from workers.failure import ErrorCode
from workers.messages import Encoded, Reading
from workers.views import ViewFailure

_MAX_MESSAGE = 500  # characters: a sentence, not a log
# Columns that parts of earlier versions lack.
_LATER = (
    "carried_from", "face_budget", "volume_change", "lods", "up_axis", "size_m", "view_uris", "views_used",
    "views_failed",
)  # fmt: skip
_COUNTS_KEY = b"isofleet.part"  # in a part's key-value metadata: its Counts, as JSON
_READERS = 16  # requests for the ends of parts at once: small ones, which wait for the store and not for a CPU


def _list(kind: pa.DataType, length: int = -1) -> pa.DataType:
    return pa.list_(pa.field("element", kind, nullable=False), length)


_VIEW_FAILED = pa.struct([pa.field(name, pa.string(), False) for name in ("uri", "error_code", "error_message")])


_LOD = pa.struct(
    [pa.field(name, pa.string(), False) for name in ("uri", "sha256")]
    + [pa.field(name, pa.int64(), False) for name in ("bytes", "vertices", "faces", "face_budget")]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one image, or of one object of several. Raises ValueError where `status` disagrees with others."""

    run_id: str = always(pa.string(), "the run that wrote the row")
    shard: int = always(pa.int32(), "index of the shard, from 0")
    item_id: str = always(pa.string(), "the image's id, unique in the catalog and safe as a path")
    source_uri: str = always(pa.string(), "where the image lies; of an object, its first picture")
    etag: str | None = maybe(
        pa.string(), "the image's ETag when it was read, else in the catalog; of an object, one for all"
    )
    source_bytes: int | None = maybe(pa.int64(), "size of the image file; of an object, of all", "B")
    width: int | None = maybe(pa.int32(), "width of the upright image; of an object, of its first", "px")
    height: int | None = maybe(pa.int32(), "height of the upright image; of an object, of its first", "px")
    view_uris: Sequence[str] | None = maybe(
        _list(pa.string()), "the pictures of an object, sorted; null for an image by itself"
    )
    views_used: int | None = maybe(pa.int32(), "how many of them the mesh was made of; null if none was read")
    views_failed: Sequence[Mapping[str, str]] | None = maybe(
        _list(_VIEW_FAILED), "those that could not be used, and why: each a code below and a sentence"
    )
    category: str = always(pa.string(), "category of the object, which chose the weights")
    status: Literal["ok", "failed"] = always(pa.string(), "`ok` or `failed`")
    error_code: str | None = maybe(pa.string(), "why it failed: one of the codes below")
    error_message: str | None = maybe(pa.string(), "the same as a sentence, at most 500 characters")
    attempts: int = always(
        pa.int32(), "how often the image was tried; 0 if its catalog row was wrong, or it had no latent"
    )
    carried_from: str | None = maybe(pa.string(), "the run that made the mesh, if it was not this one")
    mesh_uri: str | None = maybe(pa.string(), "where the mesh lies; a carried row's below an earlier output")
    mesh_bytes: int | None = maybe(pa.int64(), "size of the mesh file", "B")
    mesh_sha256: str | None = maybe(pa.string(), "SHA-256 of the mesh file, hexadecimal")
    format: str | None = maybe(pa.string(), "`glb`, `obj`, `ply` or `stl`")
    vertices: int | None = maybe(pa.int64(), "vertices of the mesh")
    faces: int | None = maybe(pa.int64(), "triangles of the mesh")
    watertight: bool | None = maybe(pa.bool_(), "every edge has exactly two triangles")
    volume: float | None = maybe(
        pa.float64(), "enclosed volume; a training shape's bounding box has diagonal 1", "diagonal³ or, with size_m, m³"
    )
    bounds: Sequence[float] | None = maybe(
        _list(pa.float32(), 6), "min x, y, z, max x, y, z in the file's axes", "diagonal or, with size_m, m"
    )
    euler_number: int | None = maybe(pa.int64(), "vertices − edges + faces: 2 for a sphere, 0 for a torus")
    face_budget: int | None = maybe(
        pa.int64(), "triangles asked for; where `faces` is more, no closed mesh of so few was found"
    )
    volume_change: float | None = maybe(
        pa.float64(), "by which share smoothing and simplification changed the volume; 0.01 is 1 % more"
    )
    lods: Sequence[Mapping[str, Any]] | None = maybe(
        _list(_LOD), "the levels of detail beside the mesh; the other columns are of the mesh itself"
    )
    up_axis: str | None = maybe(pa.string(), "which way is up in the file: `y` (front +Z) or `z` (front −Y)")
    size_m: float | None = maybe(
        pa.float64(), "the catalog's size of the object: the longest side of the mesh's bounding box", "m"
    )
    resolution: int | None = maybe(pa.int32(), "samples along an axis of the lattice")
    points_evaluated: int | None = maybe(pa.int64(), "points at which the decoder was asked")
    precision: str | None = maybe(pa.string(), "what the decoder computed in: `float32` or `bfloat16`")
    latent: Sequence[float] | None = maybe(
        _list(pa.float32()), "the image's latent vector: search, deduplicate or re-mesh with it, without the image"
    )
    weights_digest: str | None = maybe(pa.string(), "SHA-256 of the weights' bundle, hexadecimal")
    code_version: str = always(pa.string(), "version of isofleet that made the mesh, or failed to")
    fetch_ms: float | None = maybe(pa.float32(), "reading the image from the store", "ms")
    encode_ms: float | None = maybe(pa.float32(), "image to latent: its share of the batch", "ms")
    decode_ms: float | None = maybe(pa.float32(), "latent to field", "ms")
    mesh_ms: float | None = maybe(pa.float32(), "field to checked mesh file", "ms")
    upload_ms: float | None = maybe(pa.float32(), "writing the mesh to the store", "ms")

    def __post_init__(self) -> None:
        if self.status == "ok":
            agrees = self.error_code is None and self.mesh_uri is not None
        else:
            agrees = self.error_code in set(ErrorCode) and self.mesh_uri is None and self.carried_from is None
        if not agrees:
            raise ValueError(f"row {self.item_id} is {self.status} with error {self.error_code}, mesh {self.mesh_uri}")


SCHEMA = parquet.schema_of(Row)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows there are of each kind; `errors` has the failed ones by code.

    `carried` rows are `ok` too. Bytes and points are those of the rows that the run computed itself.
    """

    images: int = 0
    ok: int = 0
    failed: int = 0
    carried: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    mesh_bytes: int = 0
    points_evaluated: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        errors = Counter(self.errors) + Counter(other.errors)
        sums = {name: getattr(self, name) + getattr(other, name) for name in _NUMBERS}
        return Counts(errors=dict(sorted(errors.items())), **sums)

    @property
    def outcomes(self) -> dict[ImageOutcome, int]:
        """The images by what became of them, each under one outcome: here `carried` rows are not `ok`."""
        return {"ok": self.ok - self.carried, "failed": self.failed, "carried": self.carried}


_NUMBERS = [column.name for column in fields(Counts) if column.name != "errors"]


@dataclass(frozen=True, slots=True)
class Summary(Counts):
    """Counts over all the committed parts."""

    shards: int = 0


def encoded(row: Mapping[str, Any]) -> Encoded | None:
    """What the pictures of a row became; None where it did not come so far."""
    if row["latent"] is None:
        return None
    failed = tuple(ViewFailure(**view) for view in row["views_failed"] or ())
    known = row["etag"], row["source_bytes"], row["width"], row["height"]
    reading = Reading(*known, views_used=row["views_used"], views_failed=failed)
    return Encoded(reading, np.array(row["latent"], np.float32))


def write_part(stores: Stores, output: str, shard: Shard, rows: Sequence[Row]) -> bool:
    """Commit a shard: put its rows, in the order of its items, if no part is there yet.

    True: these rows stand. False: another driver committed the shard first, and its rows stand.
    Raises ValueError unless every item has exactly one row; StoreError.
    """
    by_id = {row.item_id: row for row in rows}
    order = [item.item_id for item in shard.items]
    if len(rows) != len(order) or by_id.keys() != set(order):
        raise ValueError(f"shard {shard.index} has {len(order)} items, but {len(rows)} rows or other ids")
    records = [_record(by_id[item_id]) for item_id in order]
    schema = SCHEMA.with_metadata({_COUNTS_KEY: json.dumps(asdict(_count(rows))).encode()})
    data = parquet.to_bytes(pa.Table.from_pylist(records, schema=schema))
    uri = part_uri(output, shard.index)
    try:
        stores.open(uri).put(uri, data, if_absent=True)
    except AlreadyExists:
        return False
    return True


def committed(stores: Stores, output: str) -> set[int]:
    """The indices of the shards whose parts exist. Raises StoreError."""
    folder = _folder(output)
    return shard_indices(stores.open(folder), folder)


def finished(stores: Stores, output: str) -> bool:
    """Whether the whole catalog is frozen, and every shard of it committed. Raises RunError, StoreError."""
    shards, _, whole = planned(stores, output)
    return whole and set(range(shards)) <= committed(stores, output)


def read_part(stores: Stores, output: str, shard_index: int, *, columns: Sequence[str] | None = None) -> pa.Table:
    """One shard's rows, with `SCHEMA` or some of its columns.

    Raises RunError for a damaged part, StoreError (NotFound) for none.
    """
    uri = part_uri(output, shard_index)
    return parquet.from_bytes(stores.open(uri).get(uri).data, SCHEMA, uri, columns=columns, later=_LATER)


def parts(stores: Stores, output: str) -> Iterator[pa.Table]:
    """The committed parts by shard, one in memory at a time. Raises as `read_part` does."""
    for index in sorted(committed(stores, output)):
        yield read_part(stores, output, index)


def read(stores: Stores, output: str) -> pa.Table:
    """The whole manifest in memory: about 1 kB an image. Raises as `read_part` does."""
    return pa.concat_tables([SCHEMA.empty_table(), *parts(stores, output)])


def counted(stores: Stores, output: str, shards: Collection[int] | None = None) -> Iterator[tuple[ObjectInfo, Counts]]:
    """The committed parts by shard, what the store says of each and what it counts, without reading any rows.

    All parts, or those of `shards`. One ranged request a part, several at once. Raises RunError for a damaged part,
    StoreError.
    """
    folder = _folder(output)
    store = stores.open(folder)

    def read(uri: str) -> tuple[ObjectInfo, Counts]:
        info, notes = parquet.notes(store, uri)
        try:
            return info, Counts(**json.loads(notes[_COUNTS_KEY]))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{uri} does not say what it counts; delete it and run again") from error

    with ThreadPoolExecutor(_READERS) as readers:
        ahead: deque[Future[tuple[ObjectInfo, Counts]]] = deque()
        for index in sorted(committed(stores, output) if shards is None else shards):
            if len(ahead) >= 2 * _READERS:  # so that memory does not grow with the manifest
                yield ahead.popleft().result()
            ahead.append(readers.submit(read, part_uri(output, index)))
        while ahead:
            yield ahead.popleft().result()


def summary(stores: Stores, output: str, shards: Collection[int] | None = None) -> Summary:
    """Counts over the committed parts, all or those of `shards`, in constant memory. Raises as `counted` does."""
    count, total = 0, Counts()
    for _, counts in counted(stores, output, shards):
        count, total = count + 1, total + counts
    return Summary(shards=count, **asdict(total))


def _record(row: Row) -> dict[str, Any]:
    if row.error_message is not None:
        row = replace(row, error_message=_sentence(row.error_message))
    if row.views_failed:
        failed = [view | {"error_message": _sentence(view["error_message"])} for view in map(dict, row.views_failed)]
        row = replace(row, views_failed=failed)
    return {column.name: getattr(row, column.name) for column in fields(Row)}


def _sentence(message: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in message)[:_MAX_MESSAGE]


def _count(rows: Sequence[Row]) -> Counts:
    outcomes = Counter(row.status for row in rows)
    errors = Counter(row.error_code for row in rows if row.error_code is not None)
    computed = [row for row in rows if row.carried_from is None]
    return Counts(
        images=len(rows),
        ok=outcomes["ok"],
        failed=outcomes["failed"],
        carried=len(rows) - len(computed),
        errors=dict(sorted(errors.items())),
        mesh_bytes=sum(row.mesh_bytes or 0 for row in computed),
        points_evaluated=sum(row.points_evaluated or 0 for row in computed),
    )


def _folder(output: str) -> str:
    return join(canonical(output), "manifest")


def part_uri(output: str, shard_index: int) -> str:
    """Where the rows of a shard lie, once it is committed."""
    return shard_uri(_folder(output), shard_index)
