"""Tables that are larger than memory should be, for as long as one command takes.

Works on: SQL. Knows nothing about what the tables hold.
"""

import sqlite3


def database(*statements: str) -> sqlite3.Connection:
    """A private database that SQLite keeps in a temporary file and deletes by itself, after `statements` and within a
    transaction that nobody needs to end. Any thread may use it, one at a time."""
    # An iterator that is dropped half-way is closed by whichever thread collects it.
    made = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for statement in ("PRAGMA journal_mode = OFF", *statements, "BEGIN"):
        made.execute(statement)
    return made
