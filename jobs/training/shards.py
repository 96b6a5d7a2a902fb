"""The rows of a dataset: one a shape, one Parquet file a shard, whose conditional PUT is the shard's commit.

Works on: rows and `DATASET/shards/`. Knows nothing about how a shape is prepared, or how its row is used. `Row` is the
one declaration of the columns: the schema and docs/reference/dataset.md (`make docs`) come from it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import pyarrow as pa

from cluster.errors import RunError
from cluster.store import AlreadyExists, ObjectInfo, Stores, canonical, join
from jobs import parquet
from jobs.parquet import always, maybe
from jobs.training.failure import ShapeCode
from jobs.training.sources.source import Split
from jobs.worklist import Shard, shard_indices, shard_uri

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_HELD_BACK = 0.1  # of a collection: each of the shares for validation and for testing
_MAX_MESSAGE = 500  # characters: a sentence, not a log
_COUNTS_KEY = b"isofleet.dataset"


def split_for(entry_id: str, given: Split | None) -> Split:
    """Where a shape belongs, by a hash of its id: 80 % train, 10 % validation, 10 % test.

    What a source says stands, but that a tenth of what it gives for training is taken for validation, of which the
    usual collections have none.
    """
    if given in ("validation", "test"):
        return given
    place = int.from_bytes(hashlib.sha256(entry_id.encode()).digest()[:8], "big") / 2**64
    if place < _HELD_BACK:
        return "validation"
    return "test" if place < 2 * _HELD_BACK and given is None else "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one shape. Raises ValueError where `status` disagrees with others."""

    shard: int = always(pa.int32(), "index of the shard, from 0")
    item_id: str = always(pa.string(), "the shape's id, unique in the dataset")
    category: str = always(pa.string(), "its category")
    split: Split = always(pa.string(), "`train`, `validation` or `test`")
    source_uri: str = always(
        pa.string(), "where the shape lies; after `!/` its place in an archive, after `#` its row in an HDF5 file"
    )
    etag: str | None = maybe(pa.string(), "the file's or archive's ETag when the collection was listed")
    status: Literal["ok", "failed"] = always(pa.string(), "`ok` or `failed`")
    error_code: str | None = maybe(pa.string(), "why it failed: one of the codes below")
    error_message: str | None = maybe(pa.string(), "the same as a sentence, at most 500 characters")
    faces: int | None = maybe(pa.int64(), "triangles that it was prepared from; null from an HDF5 file")
    share: float | None = maybe(pa.float64(), "how much of the cube is inside: its volume", "diagonal³")
    views: Sequence[bytes] | None = maybe(
        pa.list_(pa.field("element", pa.binary(), nullable=False)),
        "24 PNG files of 137 × 137 pixels, transparent where nothing is",
    )
    voxels: bytes | None = maybe(
        pa.binary(), "bits of occupancy at the samples of the 64³ lattice, x slowest, the highest bit first"
    )
    points: bytes | None = maybe(
        pa.binary(),
        "float16[8192, 3], little-endian, in random order: a quarter anywhere in the cube, the rest near the surface",
    )
    inside: bytes | None = maybe(pa.binary(), "a bit for each of the points, the highest first: whether it is inside")

    def __post_init__(self) -> None:
        filled = all(value is not None for value in (self.views, self.voxels, self.points, self.inside))
        if self.status == "ok":
            agrees = self.error_code is None and filled
        else:
            agrees = self.error_code in set(ShapeCode) and self.views is None
        if not agrees:
            raise ValueError(f"row {self.item_id} is {self.status} with error {self.error_code}")


SCHEMA = parquet.schema_of(Row)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows there are: `ok` by split and category, `failed` by code, and all by category."""

    shapes: int = 0
    ok: dict[str, dict[str, int]] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: "Counts") -> "Counts":
        ok: dict[str, dict[str, int]] = {
            split: _sum(self.ok.get(split, {}), other.ok.get(split, {})) for split in SPLITS
        }
        failed, categories = _sum(self.failed, other.failed), _sum(self.categories, other.categories)
        return Counts(self.shapes + other.shapes, ok, failed, categories)


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return dict(sorted((Counter(one) + Counter(other)).items()))


def write(stores: Stores, dataset: str, shard: Shard, rows: Sequence[Row]) -> bool:
    """Commit a shard: put its rows, in the order of its items, if nobody has.

    True: these rows stand. False: another driver committed the shard first. Raises ValueError unless every item has
    exactly one row; StoreError.
    """
    by_id = {row.item_id: row for row in rows}
    order = [item.item_id for item in shard.items]
    if len(rows) != len(order) or by_id.keys() != set(order):
        raise ValueError(f"shard {shard.index} has {len(order)} items, but {len(rows)} rows or other ids")
    records = [_record(by_id[item_id]) for item_id in order]
    schema = SCHEMA.with_metadata({_COUNTS_KEY: json.dumps(asdict(_count(rows))).encode()})
    uri = shard_uri(_folder(dataset), shard.index)
    try:
        stores.open(uri).put(uri, parquet.to_bytes(pa.Table.from_pylist(records, schema=schema)), if_absent=True)
    except AlreadyExists:
        return False
    return True


def committed(stores: Stores, dataset: str) -> set[int]:
    """The indices of the shards that are there. Raises StoreError."""
    folder = _folder(dataset)
    return shard_indices(stores.open(folder), folder)


def counted(stores: Stores, dataset: str) -> Iterator[tuple[int, ObjectInfo, Counts]]:
    """The committed shards in order, what the store says of each and what it counts, without reading any rows.

    Raises RunError for a damaged one, StoreError.
    """
    for index in sorted(committed(stores, dataset)):
        uri = shard_uri(_folder(dataset), index)
        info, notes = parquet.notes(stores.open(uri), uri)
        try:
            yield index, info, Counts(**json.loads(notes[_COUNTS_KEY]))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{uri} does not say what it counts; delete it and run again") from error


def read(stores: Stores, dataset: str, index: int) -> pa.Table:
    """One shard's rows. Raises RunError for a damaged shard, StoreError (NotFound) for none."""
    uri = shard_uri(_folder(dataset), index)
    return parquet.from_bytes(stores.open(uri).get(uri).data, SCHEMA, uri)


def _folder(dataset: str) -> str:
    return join(canonical(dataset), "shards")


def _record(row: Row) -> dict[str, Any]:
    record = {column.name: getattr(row, column.name) for column in fields(Row)}
    if row.error_message is not None:
        message = "".join(letter if letter.isprintable() else " " for letter in row.error_message)
        record["error_message"] = message[:_MAX_MESSAGE]
    return record


def _count(rows: Sequence[Row]) -> Counts:
    total = Counts()
    for row in rows:
        good = row.status == "ok"
        total += Counts(
            1,
            {str(row.split): {row.category: 1}} if good else {},
            {} if good else {str(row.error_code): 1},
            {row.category: 1},
        )
    return total
