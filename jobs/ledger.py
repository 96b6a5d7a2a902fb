"""The rows of the shards that are open: each item gets one, and a shard that has all of its is committed.

Works on: shards, rows and counts of them. Knows nothing about how a row comes about.
"""

from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from cluster.errors import RunError
from jobs import budget
from jobs.worklist import Shard
from workers.failure import ErrorCode


class Entered(Protocol):
    """What a ledger looks at in a row."""

    @property
    def shard(self) -> int: ...
    @property
    def item_id(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def error_code(self) -> str | None: ...


Row = TypeVar("Row", bound=Entered)


@dataclass
class _OpenShard(Generic[Row]):
    shard: Shard
    rows: dict[str, Row] = field(default_factory=dict)


class Ledger(Generic[Row]):
    """What one driver has entered. Rows leave memory with their shard's commit, which `commit` is to make."""

    def __init__(self, commit: Callable[[Shard, list[Row]], None]) -> None:
        self._commit = commit
        self._open: dict[int, _OpenShard[Row]] = {}
        self._outcomes: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    @property
    def open_shards(self) -> Set[int]:
        """The indices of the shards that are not committed yet."""
        return self._open.keys()

    @property
    def rows_held(self) -> int:
        """Rows in memory: those of open shards."""
        return sum(len(shard.rows) for shard in self._open.values())

    @property
    def done(self) -> int:
        """Rows entered so far."""
        return self._outcomes.total()

    @property
    def failed(self) -> int:
        """Rows entered so far that are `failed`."""
        return self._outcomes["failed"]

    def open(self, shard: Shard) -> None:
        """Take rows for a shard from now on. One without items is committed at once. Raises StoreError."""
        self._open[shard.index] = _OpenShard(shard)
        if not shard.items:
            self._close(shard.index)

    def enter(self, row: Row) -> None:
        """Put a row into its shard, and commit the shard if it was the last. Raises StoreError."""
        self._outcomes[row.status] += 1
        if row.error_code is not None:
            self._errors[row.error_code] += 1
        shard = self._open[row.shard]
        shard.rows[row.item_id] = row
        if len(shard.rows) == len(shard.shard.items):
            self._close(row.shard)

    def check_budget(self, settings: budget.Bounds) -> None:
        """Raises RunError as soon as the rows so far say that the run has failed."""
        untried = self._errors[ErrorCode.NO_LATENT.value]
        if why := budget.hopeless(settings, self.failed - untried, self.done - untried):
            most, count = (self._errors - Counter({ErrorCode.NO_LATENT.value: untried})).most_common(1)[0]
            raise RunError(
                f"the error budget is exceeded: {why}; the most frequent code is {most} ({count}). What was committed "
                "stays: mend the cause or raise the bound, and the same command goes on"
            )

    def _close(self, index: int) -> None:
        shard = self._open.pop(index)
        self._commit(shard.shard, list(shard.rows.values()))
