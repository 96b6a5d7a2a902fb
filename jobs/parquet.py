"""Small Parquet tables as bytes, because stores take and give bytes.

Works on: pyarrow tables with a fixed schema, how a schema is declared, and the ends of their files. Knows nothing about
what the columns mean.
"""

import struct
from collections.abc import Collection, Sequence
from dataclasses import field, fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import RunError
from cluster.store import ObjectInfo, ObjectStore

# Our footers have some 11 KiB, of which the columns' descriptions are the most: one request fetches one whole.
_TAIL = 32 * 1024
_END = struct.Struct("<I4s")  # the footer's length and "PAR1" (Apache Parquet, "File Format")


def always(kind: pa.DataType, description: str, unit: str = "") -> Any:
    """A dataclass's field that is a column without nulls."""
    return field(metadata={"type": kind, "nullable": False, "description": description, "unit": unit})


def maybe(kind: pa.DataType, description: str, unit: str = "") -> Any:
    """A dataclass's field that is a column with nulls, and null by default."""
    column = {"type": kind, "nullable": True, "description": description, "unit": unit}
    return field(default=None, metadata=column)


def schema_of(row: type) -> pa.Schema:
    """The columns that a dataclass of `always` and `maybe` declares, with what they mean as field metadata."""
    return pa.schema(
        [
            pa.field(
                column.name,
                column.metadata["type"],
                nullable=column.metadata["nullable"],
                metadata={key: column.metadata[key] for key in ("description", "unit") if column.metadata[key]},
            )
            for column in fields(row)
        ]
    )


def to_bytes(table: pa.Table) -> bytes:
    """The table as a Parquet file; equal tables give equal bytes under one version of pyarrow."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def from_bytes(
    data: bytes, schema: pa.Schema, uri: str, *, columns: Sequence[str] | None = None, later: Collection[str] = ()
) -> pa.Table:
    """The table in a Parquet file that this project wrote, or some of its `columns`.

    `later` names columns that files of earlier versions lack: there they are null. The table keeps the file's own
    schema metadata. Raises RunError, naming `uri`, for anything that is not Parquet, that is damaged, or that has
    other columns than `schema`.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        stored = set(file.schema_arrow.names)
        table = file.read(columns if columns is None else [name for name in columns if name in stored])
        table.validate(full=True)  # offsets and UTF-8, which reading alone does not check
        expected = file.schema_arrow.equals(
            pa.schema([field for field in schema if field.name in stored or field.name not in later])
        )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a column's name
        reason = str(error).partition("\n")[0]
        raise RunError(f"{uri} is not a readable Parquet file ({reason}); delete it and run again") from error
    if not expected:
        raise RunError(f"{uri} has other columns than this version of isofleet writes; choose another OUTPUT")
    for index, name in enumerate(schema.names if columns is None else columns):
        if name not in stored:
            table = table.add_column(index, schema.field(name), pa.nulls(len(table), schema.field(name).type))
    return table


def notes(store: ObjectStore, uri: str) -> tuple[ObjectInfo, dict[bytes, bytes]]:
    """A Parquet file's key-value metadata, read from its end without its rows, and what the store says of it.

    Raises RunError, naming `uri`, where the end is not that of a Parquet file; StoreError.
    """
    tail = store.get_tail(uri, _TAIL)
    try:
        needed = _END.size + _END.unpack(tail.data[-_END.size :])[0]
        if len(tail.data) < needed <= tail.info.size:
            tail = store.get_tail(uri, needed)
        metadata = pq.read_metadata(pa.BufferReader(tail.data)).metadata
    except (struct.error, pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(f"{uri} is not a readable Parquet file ({reason}); delete it and run again") from error
    return tail.info, metadata or {}
