"""Parquet and CSV files as rows of text, read in a stream.

Works on: a local file and the cells of its columns `uri`, `id` and `category`. Knows nothing about what the
addresses mean: whether a cell is usable is for its reader to say.
"""

import csv
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import RequestError

SUFFIXES = (".parquet", ".csv")

# A row's cells by column. Bytes that are not UTF-8 appear as surrogates, integers as decimal digits.
Cells = Mapping[str, str | None]

_COLUMNS = ("uri", "id", "category")  # the first is required, others are ignored
_MAX_LINE = 1 << 20  # characters, so that a file without line ends is not read at once
_BATCH_ROWS = 4096


def rows(path: str, uri: str) -> Iterator[Cells | str]:
    """Row by row, the cells, or half a sentence ("has 1 cells where …") on why this row has none.

    `uri` is where the file came from: its suffix tells the format, and messages name it.
    Raises RequestError: not such a file, no column `uri`, or a column of the wrong type.
    """
    return (_parquet_rows if uri.lower().endswith(".parquet") else _csv_rows)(path, uri)


def _parquet_rows(path: str, uri: str) -> Iterator[Cells | str]:
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            columns = _wanted(schema.names, uri)
            for name in columns:
                _check_type(name, schema.field(name).type, uri)
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                cells = [_texts(batch.column(name)) for name in columns]
                for row in zip(*cells, strict=True):
                    yield dict(zip(columns, row, strict=True))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a column's name
        reason = str(error).partition("\n")[0][:200]
        raise RequestError(f"{uri} is not a readable Parquet file ({reason}); write it again") from error


def _csv_rows(path: str, uri: str) -> Iterator[Cells | str]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:

        def lines() -> Iterator[str]:
            while line := file.readline(_MAX_LINE):
                if len(line) == _MAX_LINE:
                    raise RequestError(f"{uri} has a line of more than {_MAX_LINE} characters; is it CSV?")
                yield line

        reader = csv.reader(lines())  # which refuses cells of more than csv.field_size_limit(), 131,072
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise RequestError(f"{uri} has no CSV header ({error}); write it again") from error
        places = {name: header.index(name) for name in _wanted(header, uri)}
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield f"is not CSV: {error} (is a quote left open?)"
                continue
            if len(row) == len(header):
                yield {name: row[place] for name, place in places.items()}
            elif row:  # an empty line is no row
                yield f"has {len(row)} cells where the header has {len(header)}"


def _wanted(names: list[str], uri: str) -> list[str]:
    if "uri" not in names:
        found = ", ".join(repr(name[:40]) for name in names[:8]) or "none"
        raise RequestError(f"{uri} has no column 'uri' (its columns: {found}); name one so")
    for name in _COLUMNS:
        if names.count(name) > 1:
            raise RequestError(f"{uri} has several columns named {name!r}; keep one")
    return [name for name in _COLUMNS if name in names]


def _check_type(name: str, kind: pa.DataType, uri: str) -> None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not text and not (name == "id" and pa.types.is_integer(kind)):
        wanted = "text or integers" if name == "id" else "text"
        raise RequestError(f"the column {name!r} of {uri} holds {kind}; make it {wanted}")


def _texts(column: pa.Array) -> list[str | None]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    cells = column.cast(pa.large_binary()).to_pylist()
    return [None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in cells]
