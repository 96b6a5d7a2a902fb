"""How far a run is, from what lies in its output: the cluster is not asked, and may be gone.

Works on: the record, the frozen catalog, and the ends of the manifest's parts. Knows nothing about Ray, and reads no
row: memory does not grow with the output.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Literal

from cluster.errors import RunError
from cluster.store import NotFound, StoreError, Stores, canonical, join
from jobs import manifest, run, worklist
from jobs.manifest import Counts

# planning: nothing is committed, and the catalog is not frozen to its end; unfinished: running or interrupted, which a
# store cannot tell; committed: every shard is, but the run did not end well, or is about to; finished: _SUCCESS.json.
State = Literal["planning", "unfinished", "committed", "finished"]

_LATEST = 64  # commits that the rate is taken from: what was hours ago says little about what is now
# A pause so many times as long as the others was an interruption, and no work.
_PAUSE = 10
_SHORTEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Status:
    """Times are UTC in ISO 8601. `planned` is whether the catalog is frozen to its end; until then `shards_planned`
    and `images_planned` are those so far. What cannot be known is None."""

    run_id: str
    output: str
    state: State
    created_at: str
    code_version: str
    planned: bool
    shards_planned: int
    images_planned: int
    shards: int
    images: int
    ok: int
    failed: int
    carried: int
    errors: dict[str, int]
    mesh_bytes: int
    points_evaluated: int
    last_commit_at: str | None
    seconds_since_last_commit: float | None
    images_per_second: float | None
    seconds_left: float | None
    estimated_end: str | None


@dataclass(frozen=True, slots=True, order=True)
class _Commit:
    at: float  # seconds since 1970
    images: int


def status(stores: Stores, output: str, now: datetime) -> Status:
    """How far the run in `output` is. Raises RequestError when there is none, RunError when the store fails."""
    try:
        return _status(stores, output, now)
    except StoreError as error:
        raise RunError(f"{output} cannot be read: {error}.") from error


def _status(stores: Stores, output: str, now: datetime) -> Status:
    record = run.read(stores, output)
    total, shards = Counts(), 0
    latest: list[_Commit] = []  # a heap
    for info, counts in manifest.counted(stores, output):
        total, shards = total + counts, shards + 1
        if info.modified is not None:
            heapq.heappush(latest, _Commit(info.modified, counts.images))
            if len(latest) > _LATEST:
                heapq.heappop(latest)
    shards_planned, images_planned, planned = worklist.planned(stores, output)
    state: State = "unfinished" if shards else "planning"
    if _exists(stores, join(canonical(output), run.SUCCESS)):
        state = "finished"
    elif planned:
        state = "committed" if shards == shards_planned else "unfinished"
    commits = sorted(latest)
    last = commits[-1].at if commits else None
    rate = _rate(commits)
    left = None
    if planned and state == "unfinished" and rate:
        left = (images_planned - total.images) / rate
    end = last + left if last is not None and left is not None else None
    return Status(
        run_id=record.run_id, output=canonical(output), state=state, created_at=record.created_at,
        code_version=record.code_version, planned=planned, shards_planned=shards_planned,
        images_planned=images_planned, shards=shards, images=total.images, ok=total.ok, failed=total.failed,
        carried=total.carried, errors=total.errors, mesh_bytes=total.mesh_bytes,
        points_evaluated=total.points_evaluated, last_commit_at=None if last is None else _iso(last),
        seconds_since_last_commit=None if last is None else round(max(0.0, now.timestamp() - last), 1),
        images_per_second=rate and round(rate, 3), seconds_left=left and round(left, 1),
        # An end that is past says that the run does not go on: there is none to expect.
        estimated_end=_iso(end) if end is not None and end >= now.timestamp() else None,
    )  # fmt: skip


def _rate(commits: Sequence[_Commit]) -> float | None:
    """Images per second between the latest commits since the last interruption; None without two that differ in time.

    The first commit's own images were made before it, so they do not count.
    """
    pauses = [after.at - before.at for before, after in pairwise(commits)]
    if not pauses:
        return None
    bound = max(_SHORTEST_PAUSE_SECONDS, _PAUSE * median(pauses))
    first = max((place + 1 for place, pause in enumerate(pauses) if pause > bound), default=0)
    seconds = commits[-1].at - commits[first].at
    return sum(commit.images for commit in commits[first + 1 :]) / seconds if seconds > 0 else None


def _exists(stores: Stores, uri: str) -> bool:
    try:
        stores.open(uri).head(uri)
    except NotFound:
        return False
    return True


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
