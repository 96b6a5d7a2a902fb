"""The rows of the shards that are open: each image gets one, and a shard that has all of its is committed.

Works on: shards, rows and counts of them. Knows nothing about how a row comes about.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from cluster.config import ReconstructSettings
from cluster.errors import RunError
from cluster.metrics import DriverMetrics, ImageOutcome
from cluster.store import Stores
from jobs import budget, manifest
from jobs.manifest import Row
from jobs.worklist import Shard
from workers.failure import ErrorCode

logger = logging.getLogger(__name__)


@dataclass
class _OpenShard:
    shard: Shard
    rows: dict[str, Row] = field(default_factory=dict)


class Ledger:
    """What one driver has entered. Rows leave memory with their shard's commit."""

    def __init__(self, stores: Stores, output: str, metrics: DriverMetrics) -> None:
        self._stores = stores
        self._output = output
        self._metrics = metrics
        self._open: dict[int, _OpenShard] = {}
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
            self._commit(shard.index)

    def enter(self, row: Row) -> None:
        """Put a row into its shard, and commit the shard if it was the last. Raises StoreError."""
        self._outcomes[row.status] += 1
        if row.error_code is not None:
            self._errors[row.error_code] += 1
        shard = self._open[row.shard]
        shard.rows[row.item_id] = row
        if len(shard.rows) == len(shard.shard.items):
            self._commit(row.shard)

    def check_budget(self, settings: ReconstructSettings) -> None:
        """Raises RunError as soon as the rows so far say that the run has failed."""
        untried = self._errors[ErrorCode.NO_LATENT.value]
        if why := budget.hopeless(settings, self.failed - untried, self.done - untried):
            most, count = (self._errors - Counter({ErrorCode.NO_LATENT.value: untried})).most_common(1)[0]
            raise RunError(
                f"the error budget is exceeded: {why}; the most frequent code is {most} ({count}). What was committed "
                "stays: mend the cause or raise the bound, and the same command goes on"
            )

    def _commit(self, index: int) -> None:
        shard = self._open.pop(index)
        rows = list(shard.rows.values())
        if manifest.write_part(self._stores, self._output, shard.shard, rows):
            outcomes: Mapping[ImageOutcome, int] = Counter(
                "carried" if row.carried_from else row.status for row in rows
            )
        else:
            logger.warning("Shard %d was committed by another driver; its rows stand.", index)
            outcomes = manifest.summary(self._stores, self._output, {index}).outcomes
        self._metrics.shard_committed(outcomes)
