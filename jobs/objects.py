"""A table's rows, those that show the same object brought together.

Works on: rows as `table` reads them, and their cell `object`. Knows nothing about what else is in them. Memory does not
grow with the rows: a table whose objects stand apart is sorted in a temporary file.
"""

import functools
import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import blake2b
from operator import itemgetter

from jobs import scratch
from jobs.table import Cells

COLUMN = "object"

# A row's number, counted from 1, and what `table.rows` says of it.
Numbered = tuple[int, Cells | str]


class Groups:
    """The rows of a table in groups: those of one object, or one row that names none.

    A group stands where its first row does, and its rows are in the order of the table. That is the same whether the
    table has them together, and is streamed, or not, and is sorted first. A group must be used up before the next.
    """

    def __init__(self, read: Callable[[], Iterator[Cells | str]]) -> None:
        """`read` begins to read the table anew. What it raises, `__iter__` does."""
        self._read = read

    def __iter__(self) -> Iterator[Iterator[Numbered]]:
        rows = self._read()
        head = list(itertools.islice(rows, 1))
        grouped = any(isinstance(row, str) or COLUMN in row for row in head)
        if grouped and self._sorted is not None:
            placed = _together(self._sorted)
        else:
            placed = _streamed(itertools.chain(head, rows))
        for _, group in itertools.groupby(placed, key=itemgetter(0)):
            yield (numbered for _, numbered in group)

    @functools.cached_property
    def _sorted(self) -> sqlite3.Connection | None:
        """The rows sorted by groups; None where the table itself is."""
        return None if _is_together(self._read()) else _sort(self._read())


def _streamed(rows: Iterator[Cells | str]) -> Iterator[tuple[int, Numbered]]:
    """Rows, each after the number of its group's first."""
    first, before = 0, None
    for number, row in enumerate(rows, start=1):
        name = _object(row)
        if name is None or name != before:
            first, before = number, name
        yield first, (number, row)


def _is_together(rows: Iterator[Cells | str]) -> bool:
    """Whether no object comes again after other rows."""
    with closing(scratch.database("CREATE TABLE objects (name BLOB PRIMARY KEY) WITHOUT ROWID")) as seen:
        before = None
        for row in rows:
            name = _object(row)
            if name is not None and name != before:
                added = seen.execute("INSERT OR IGNORE INTO objects VALUES (?)", (name,)).rowcount
                if not added:
                    return False
            before = name
    return True


def _sort(rows: Iterator[Cells | str]) -> sqlite3.Connection:
    database = scratch.database(
        "CREATE TABLE objects (name BLOB PRIMARY KEY, first INT) WITHOUT ROWID",
        "CREATE TABLE rows (first INT, number INT, content TEXT)",
    )
    for number, row in enumerate(rows, start=1):
        name, first = _object(row), number
        if name is not None:
            (first,) = database.execute(
                "INSERT INTO objects VALUES (?, ?) ON CONFLICT DO UPDATE SET first = first RETURNING first",
                (name, number),
            ).fetchone()
        database.execute("INSERT INTO rows VALUES (?, ?, ?)", (first, number, json.dumps(row)))
    database.execute("DROP TABLE objects")
    database.execute("CREATE TABLE grouped AS SELECT first, number, content FROM rows ORDER BY first, number")
    database.execute("DROP TABLE rows")
    return database


def _together(database: sqlite3.Connection) -> Iterator[tuple[int, Numbered]]:
    for first, number, content in database.execute("SELECT first, number, content FROM grouped ORDER BY rowid"):
        yield first, (number, json.loads(content))


def _object(row: Cells | str) -> bytes | None:
    """16 bytes that stand for the row's object; cells of strangers may be long, or no Unicode."""
    name = None if isinstance(row, str) else row.get(COLUMN)
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest() if name else None
