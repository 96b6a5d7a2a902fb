"""The manifest: one row per image, one Parquet file per shard, whose conditional PUT is the shard's commit.

Works on: rows and `OUTPUT/manifest/`. Knows nothing about how a mesh came to be or why an image failed.
`Row` is the one declaration of the columns: the schema and `docs/manifest.md` (`python -m jobs.manifest`)
come from it.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from cluster.store import AlreadyExists, Stores, canonical, join
from jobs import parquet
from jobs.catalog import Shard
from workers.failure import ErrorCode

_MAX_MESSAGE = 500  # characters: a sentence, not a log
_LATER = ("carried_from",)  # columns that parts of earlier versions lack
_PART = re.compile(r"shard-(\d{5,})\.parquet")


def _always(kind: pa.DataType, description: str, unit: str = "") -> Any:
    return field(metadata={"type": kind, "nullable": False, "description": description, "unit": unit})


def _maybe(kind: pa.DataType, description: str, unit: str = "") -> Any:
    column = {"type": kind, "nullable": True, "description": description, "unit": unit}
    return field(default=None, metadata=column)


def _floats(length: int = -1) -> pa.DataType:
    return pa.list_(pa.field("element", pa.float32(), nullable=False), length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one image. Raises ValueError where `status` and the other columns disagree."""

    run_id: str = _always(pa.string(), "the run that wrote the row")
    shard: int = _always(pa.int32(), "index of the shard, from 0")
    item_id: str = _always(pa.string(), "the image's id, unique in the catalog and safe as a path")
    source_uri: str = _always(pa.string(), "where the image lies")
    etag: str | None = _maybe(pa.string(), "the image's ETag when it was read, else in the catalog")
    source_bytes: int | None = _maybe(pa.int64(), "size of the image file", "B")
    width: int | None = _maybe(pa.int32(), "width of the upright image", "px")
    height: int | None = _maybe(pa.int32(), "height of the upright image", "px")
    category: str = _always(pa.string(), "category of the object, which chose the weights")
    status: Literal["ok", "failed"] = _always(pa.string(), "`ok` or `failed`")
    error_code: str | None = _maybe(pa.string(), "why it failed: one of the codes below")
    error_message: str | None = _maybe(pa.string(), "the same as a sentence, at most 500 characters")
    attempts: int = _always(pa.int32(), "how often the image was tried; 0 if its catalog row was wrong")
    carried_from: str | None = _maybe(pa.string(), "the run that made the mesh, if it was not this one")
    mesh_uri: str | None = _maybe(pa.string(), "where the mesh lies; a carried row's below an earlier output")
    mesh_bytes: int | None = _maybe(pa.int64(), "size of the mesh file", "B")
    mesh_sha256: str | None = _maybe(pa.string(), "SHA-256 of the mesh file, hexadecimal")
    format: str | None = _maybe(pa.string(), "`glb`, `obj`, `ply` or `stl`")
    vertices: int | None = _maybe(pa.int64(), "vertices of the mesh")
    faces: int | None = _maybe(pa.int64(), "triangles of the mesh")
    watertight: bool | None = _maybe(pa.bool_(), "every edge has exactly two triangles")
    volume: float | None = _maybe(
        pa.float64(), "enclosed volume; a training shape's bounding box has diagonal 1", "diagonal³"
    )
    bounds: Sequence[float] | None = _maybe(
        _floats(6), "min x, y, z, max x, y, z; right-handed, +Y up, front −Z", "diagonal"
    )
    euler_number: int | None = _maybe(pa.int64(), "vertices − edges + faces: 2 for a sphere, 0 for a torus")
    resolution: int | None = _maybe(pa.int32(), "samples along an axis of the lattice")
    points_evaluated: int | None = _maybe(pa.int64(), "points at which the decoder was asked")
    latent: Sequence[float] | None = _maybe(
        _floats(), "the image's latent vector: search, deduplicate or re-mesh with it, without the image"
    )
    weights_digest: str | None = _maybe(pa.string(), "SHA-256 of the weights' bundle, hexadecimal")
    code_version: str = _always(pa.string(), "version of isofleet that made the mesh, or failed to")
    fetch_ms: float | None = _maybe(pa.float32(), "reading the image from the store", "ms")
    encode_ms: float | None = _maybe(pa.float32(), "image to latent: its share of the batch", "ms")
    decode_ms: float | None = _maybe(pa.float32(), "latent to field", "ms")
    mesh_ms: float | None = _maybe(pa.float32(), "field to checked mesh file", "ms")
    upload_ms: float | None = _maybe(pa.float32(), "writing the mesh to the store", "ms")

    def __post_init__(self) -> None:
        if self.status == "ok":
            agrees = self.error_code is None and self.mesh_uri is not None
        else:
            agrees = self.error_code in set(ErrorCode) and self.mesh_uri is None and self.carried_from is None
        if not agrees:
            raise ValueError(f"row {self.item_id} is {self.status} with error {self.error_code}, mesh {self.mesh_uri}")


SCHEMA = pa.schema(
    [
        pa.field(
            column.name,
            column.metadata["type"],
            nullable=column.metadata["nullable"],
            metadata={key: column.metadata[key] for key in ("description", "unit") if column.metadata[key]},
        )
        for column in fields(Row)
    ]
)


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over the committed parts of a manifest; `errors` has the failed rows by code.

    `carried` rows are `ok` too. Bytes and points are those of the rows that the run computed itself.
    """

    shards: int
    images: int
    ok: int
    failed: int
    carried: int
    errors: dict[str, int]
    mesh_bytes: int
    points_evaluated: int


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
    data = parquet.to_bytes(pa.Table.from_pylist(records, schema=SCHEMA))
    uri = part_uri(output, shard.index)
    try:
        stores.open(uri).put(uri, data, if_absent=True)
    except AlreadyExists:
        return False
    return True


def committed(stores: Stores, output: str) -> set[int]:
    """The indices of the shards whose parts exist. Raises StoreError."""
    folder = _folder(output)
    matches = (_PART.fullmatch(info.key) for info in stores.open(folder).list(folder))
    return {int(match[1]) for match in matches if match}


def read_part(stores: Stores, output: str, shard_index: int) -> pa.Table:
    """One shard's rows, with `SCHEMA`. Raises RunError for a damaged part, StoreError (NotFound) for none."""
    uri = part_uri(output, shard_index)
    return parquet.from_bytes(stores.open(uri).get(uri).data, SCHEMA, uri, later=_LATER)


def parts(stores: Stores, output: str) -> Iterator[pa.Table]:
    """The committed parts by shard, one in memory at a time. Raises as `read_part` does."""
    for index in sorted(committed(stores, output)):
        yield read_part(stores, output, index)


def read(stores: Stores, output: str) -> pa.Table:
    """The whole manifest in memory: about 1 kB an image. Raises as `read_part` does."""
    return pa.concat_tables([SCHEMA.empty_table(), *parts(stores, output)])


def summary(stores: Stores, output: str) -> Summary:
    """Counts over the committed parts, in constant memory. Raises as `read_part` does."""
    shards, outcomes, errors, carried, mesh_bytes, points = 0, Counter[str](), Counter[str](), 0, 0, 0
    for table in parts(stores, output):
        shards += 1
        outcomes.update(table["status"].to_pylist())
        errors.update(table["error_code"].drop_null().to_pylist())
        carried += len(table) - table["carried_from"].null_count
        table = table.filter(pc.is_null(table["carried_from"]))
        mesh_bytes += pc.sum(table["mesh_bytes"], min_count=0).as_py()
        points += pc.sum(table["points_evaluated"], min_count=0).as_py()
    return Summary(
        shards,
        outcomes.total(),
        outcomes["ok"],
        outcomes["failed"],
        carried,
        dict(sorted(errors.items())),
        mesh_bytes,
        points,
    )


_MANUAL = """# The manifest

<!-- Written by `python -m jobs.manifest`: edit jobs/manifest.py or workers/failure.py instead. -->

`OUTPUT/manifest/` is a folder of Parquet files, one per shard of the catalog. Every image of the catalog has
exactly one row, whatever happened to it. pandas, Polars and DuckDB read the folder as it is:

```sql
SELECT error_code, count(*) FROM 'OUTPUT/manifest/*.parquet' WHERE status = 'failed' GROUP BY ALL;
```

A shard's file appears at once and whole. From then on the shard is done: resuming the run skips it.
The meanings below are also in each file's field metadata (`description`, `unit`).

## Columns

| column | type | unit | null | meaning |
|---|---|---|---|---|
{columns}

## Error codes

| code | meaning |
|---|---|
{codes}
"""


def markdown() -> str:
    """The text of docs/manifest.md."""
    columns = []
    for column in SCHEMA:
        kind = re.sub("element: | not null", "", str(column.type))
        notes = {key.decode(): value.decode() for key, value in column.metadata.items()}
        cells = f"`{column.name}`", kind, notes.get("unit", ""), "" if column.nullable else "never"
        columns.append(f"| {' | '.join(cells)} | {notes['description']} |")
    codes = [f"| `{code.value}` | {code.meaning} |" for code in ErrorCode]
    return _MANUAL.format(columns="\n".join(columns), codes="\n".join(codes))


def _record(row: Row) -> dict[str, Any]:
    if row.error_message is not None:
        printable = "".join(letter if letter.isprintable() else " " for letter in row.error_message)
        row = replace(row, error_message=printable[:_MAX_MESSAGE])
    return {column.name: getattr(row, column.name) for column in fields(Row)}


def _folder(output: str) -> str:
    return join(canonical(output), "manifest")


def part_uri(output: str, shard_index: int) -> str:
    """Where the rows of a shard lie, once it is committed."""
    return join(_folder(output), f"shard-{shard_index:05d}.parquet")


if __name__ == "__main__":
    Path(__file__).parent.parent.joinpath("docs", "manifest.md").write_text(markdown(), encoding="utf-8")
