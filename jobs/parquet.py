"""Small Parquet tables as bytes, because stores take and give bytes.

Works on: pyarrow tables with a fixed schema. Knows nothing about what the columns mean.
"""

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import RunError


def to_bytes(table: pa.Table) -> bytes:
    """The table as a Parquet file; equal tables give equal bytes under one version of pyarrow."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def from_bytes(data: bytes, schema: pa.Schema, uri: str) -> pa.Table:
    """The table in a Parquet file that this project wrote.

    The table keeps the file's own schema metadata. Raises RunError, naming `uri`, for anything that is not
    Parquet, that is damaged, or that has other columns than `schema`.
    """
    try:
        table = pq.read_table(pa.BufferReader(data))
        table.validate(full=True)  # offsets and UTF-8, which reading alone does not check
        expected = table.schema.equals(schema)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a column's name
        reason = str(error).partition("\n")[0]
        raise RunError(f"{uri} is not a readable Parquet file ({reason}); delete it and run again") from error
    if not expected:
        raise RunError(f"{uri} has other columns than this version of isofleet writes; choose another OUTPUT")
    return table
