"""Parquet and CSV files as rows of text, read in a stream.

Works on: a local file and the cells of its columns `uri`, `id`, `category`, `size_m` and `object`. Knows nothing about
what they mean: whether a cell is usable is for its reader to say.

Arrow's reader is a large C++ program, and a Parquet page of some kilobytes may hold gigabytes. So it works in a
process of its own, with bounded memory: `python -m jobs.table PATH URI` writes batches of rows as lines of JSON. What
a stranger's file crashes, fills or blocks is that process, and the answer is one sentence.
"""

import codecs
import csv
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster import memory
from cluster.errors import RequestError

SUFFIXES = (".parquet", ".csv")

# A row's cells by column. Bytes that are not UTF-8 appear as surrogates, numbers in decimal.
Cells = Mapping[str, str | None]

_COLUMNS = ("uri", "id", "category", "size_m", "object")  # the first is required, others are ignored
MAX_CELL = 4096  # characters: an S3 key has at most 1,024 bytes and a Linux path 4,096. Longer cells may come cut.
_MAX_ROWS = 100_000_000  # ten times what 1 GiB of addresses holds; a few bytes of Parquet can claim any number
_MAX_LINE = 1 << 20  # characters, so that a file without line ends is not read at once
_BATCH_ROWS = 1024
_READER_BYTES = 2 << 30  # a row group of honest addresses takes some hundred megabytes
_READER_SECONDS = 120.0  # without a batch
_BYTE_ORDERS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)  # UTF-32-LE begins like UTF-16-LE


def rows(path: str, uri: str) -> Iterator[Cells | str]:
    """Row by row, the cells, or half a sentence ("has 1 cells where …") on why this row has none.

    `uri` is where the file came from: its suffix tells the format, and messages name it.
    Raises RequestError: not such a file, no column `uri`, a column of the wrong type, or more than 100 million rows.
    """
    read = _from_reader if uri.lower().endswith(".parquet") else _csv_rows
    for number, row in enumerate(read(path, uri)):
        if number == _MAX_ROWS:
            raise RequestError(f"{uri} has more than {_MAX_ROWS} rows; split it into several catalogs")
        yield row


def _from_reader(path: str, uri: str) -> Iterator[Cells]:
    """The rows of a Parquet file, from a process that reads it."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    reader = subprocess.Popen(
        [sys.executable, "-m", "jobs.table", path, uri],
        env=os.environ | {"PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C is the run's to answer
    )
    assert reader.stdout is not None
    try:
        while True:
            clock = threading.Timer(_READER_SECONDS, reader.kill)
            clock.start()
            line = reader.stdout.readline()
            clock.cancel()
            answer: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {"end": False}
            if "error" in answer:
                raise RequestError(answer["error"])
            if "end" in answer:
                if not answer["end"]:
                    raise RequestError(f"{uri} ends or blocks the process that reads it; is it Parquet? Write it again")
                return
            for cells in answer["rows"]:
                yield dict(zip(answer["columns"], cells, strict=True))
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()


def _read_here(path: str, uri: str) -> Iterable[dict[str, Any]]:
    """What the reading process says: batches of rows, then `end` or `error`."""
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            columns = _wanted(schema.names, uri)
            for name in columns:
                _check_type(name, schema.field(name).type, uri)
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                cells = [_texts(batch.column(name)) for name in columns]
                yield {"columns": columns, "rows": list(zip(*cells, strict=True))}
        yield {"end": True}
    except RequestError as error:
        yield {"error": str(error)}
    except MemoryError:
        bound = f"{_READER_BYTES >> 30} GiB"
        yield {"error": f"{uri} takes more than {bound} of memory to read; write it in smaller row groups"}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a column's name
        reason = "".join(letter if letter.isprintable() else " " for letter in str(error).partition("\n")[0][:200])
        yield {"error": f"{uri} is not a readable Parquet file ({reason}); write it again"}


def _csv_rows(path: str, uri: str) -> Iterator[Cells | str]:
    with open(path, "rb") as beginning:
        if beginning.read(4).startswith(_BYTE_ORDERS):
            raise RequestError(f"{uri} is UTF-16 or UTF-32; save it as UTF-8")
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
    integer, number = pa.types.is_integer(kind), pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if not text and not (name in ("id", "object") and integer) and not (name == "size_m" and number):
        wanted = {"id": "text or integers", "object": "text or integers", "size_m": "text or numbers"}.get(name, "text")
        raise RequestError(f"the column {name!r} of {uri} holds {kind}; make it {wanted}")


def _texts(column: pa.Array) -> list[str | None]:
    if pa.types.is_dictionary(column.type):  # cut before it is spread out: each row may point to the same long one
        short = _cut(column.dictionary.cast(pa.large_binary()))
        cells = pa.DictionaryArray.from_arrays(column.indices, short).dictionary_decode()
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        cells = column.cast(pa.string()).cast(pa.large_binary())
    else:
        cells = _cut(column.cast(pa.large_binary()))
    return [None if cell is None else _decoded(cell) for cell in cells.to_pylist()]


def _cut(cells: pa.Array) -> pa.Array:
    """Cells of bytes, none much longer than the longest that is used."""
    return pc.binary_slice(cells, 0, 4 * MAX_CELL + 4)


def _decoded(cell: bytes) -> str:
    # What was cut may end in the middle of a character, but is too long before that.
    return cell.decode("utf-8", "surrogateescape")[: MAX_CELL + 1]


def _main() -> None:
    memory.limit(_READER_BYTES)
    for answer in _read_here(*sys.argv[1:]):
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main()
