"""What a scheduler has decided, in the object store: one decision a tick, then what became of it.

Works on: records under `STATE/SCHEDULE/`. Knows nothing about cron, jobs or policy.

    STATE/SCHEDULE/20261124T0130Z.json            the decision: put if absent, never changed
    STATE/SCHEDULE/20261124T0130Z.outcome.json    of a tick to be submitted: submitted or failed
    STATE/SCHEDULE/_since-DIGEST.json             when this cron expression and zone were first seen

Keys sort as ticks do, and each decision carries forward what the next one must know (the jobs that may still run, the
last success). So a scheduler reads from the last decision on, however many years lie before it.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.errors import RequestError
from cluster.store import AlreadyExists, NotFound, Stores, canonical, join
from jobs.ticks import from_id, tick_id

_DECISION = re.compile(r"(\d{8}T\d{4}Z)\.json")
_MAX_BYTES = 1 << 20
_R = TypeVar("_R", bound="_Record")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Job(_Record):
    """A job that a tick asked for."""

    tick: str
    submission_id: str
    output: str


class Success(_Record):
    """The latest run of a schedule that succeeded."""

    tick: str
    output: str
    at: datetime


class Submission(_Record):
    """All that is needed to submit, so that whoever carries a decision out does the same."""

    submission_id: str
    catalog: str
    output: str
    options: list[str]
    stop: list[str]  # submission ids of earlier jobs that are to end first
    not_after: datetime


class Decision(_Record):
    """What is to become of a tick. `ticks` is how many a miss stands for: this one and those just before it."""

    decision: Literal["submit", "skip", "miss"]
    at: datetime
    manual: bool = False
    reason: str = ""
    ticks: int = 1
    submission: Submission | None = None
    running: list[Job]  # earlier jobs not known to have ended
    last_success: Success | None = None


class FirstSeen(_Record):
    """Since when a schedule has had its expression and zone: no tick before that is its business."""

    cron: str
    time_zone: str
    at: datetime


class Outcome(_Record):
    """What became of a tick that was to be submitted."""

    outcome: Literal["submitted", "failed"]
    at: datetime
    reason: str = ""


@dataclass(frozen=True)
class Entry:
    """A tick with its decision and, once there is one, its outcome."""

    tick: datetime
    decision: Decision
    outcome: Outcome | None = None

    @property
    def pending(self) -> bool:
        """Whether it is still to be submitted."""
        return self.decision.submission is not None and self.outcome is None

    @property
    def what(self) -> str:
        """What became of it, in a word: submitted, pending, failed, skipped or missed."""
        if self.decision.submission is None:
            return {"skip": "skipped", "miss": "missed"}[self.decision.decision]
        return self.outcome.outcome if self.outcome else "pending"

    @property
    def job(self) -> Job | None:
        """The job that it asked for, if any: it may run even though its outcome says failed, or nothing yet."""
        asked = self.decision.submission
        return Job(tick=tick_id(self.tick), submission_id=asked.submission_id, output=asked.output) if asked else None


class ScheduleState:
    """The records of one schedule. Every method raises StoreError; RequestError at a record that is damaged."""

    def __init__(self, stores: Stores, state: str, schedule: str) -> None:
        self._root = join(canonical(state), schedule)
        self._store = stores.open(self._root)
        # The latest scheduled tick known to be decided; "" when a look has found none.
        self._cursor: str | None = None
        self._read: dict[tuple[str, str], _Record] = {}  # by key and ETag

    def first_seen(self, cron: str, time_zone: str) -> FirstSeen | None:
        """When a scheduler first saw the schedule with this expression and zone; None if none has."""
        try:
            return self._get(_since_key(cron, time_zone), FirstSeen)
        except NotFound:
            return None

    def see(self, cron: str, time_zone: str, now: datetime) -> FirstSeen:
        """The same, `now` if none has."""
        self._put_once(_since_key(cron, time_zone), FirstSeen(cron=cron, time_zone=time_zone, at=now))
        return self._get(_since_key(cron, time_zone), FirstSeen)

    def recent(self, now: datetime, interval: timedelta) -> list[Entry]:
        """The latest scheduled tick that is decided and the manual ones after it, in order.

        `interval` is the usual time between ticks: the first look goes back by some of them, then by more and more.
        """
        if self._cursor is not None:
            return self._entries(self._cursor)
        reach = 32 * interval
        while reach < timedelta(days=3660):
            entries = self._entries(tick_id(now - reach))
            if self._cursor is not None:
                return entries
            reach *= 8
        self._cursor = ""
        return self._entries("")

    def decide(self, tick: datetime, decision: Decision) -> bool:
        """Write the decision about a tick. False when there is one already, which then stands."""
        return self._put_once(f"{tick_id(tick)}.json", decision)

    def conclude(self, tick: datetime, outcome: Outcome) -> bool:
        """Write what became of a tick. False when that is known already: submitted stands above failed, the first
        of two alike above the second."""
        key = f"{tick_id(tick)}.outcome.json"
        if self._put_once(key, outcome):
            return True
        if outcome.outcome == "failed" or self._get(key, Outcome).outcome == "submitted":
            return False
        uri = join(self._root, key)
        self._store.put(uri, _json(outcome), content_type="application/json")
        return True

    def _entries(self, after: str) -> list[Entry]:
        found = {info.key: info.etag for info in self._store.list(self._root, after=after or None)}
        self._read = {(key, etag): record for (key, etag), record in self._read.items() if found.get(key) == etag}
        entries: list[Entry] = []
        for key in sorted(found, reverse=True):
            match = _DECISION.fullmatch(key)
            if not match:
                continue
            tick = match[1]
            concluded = f"{tick}.outcome.json"
            entry = Entry(
                from_id(tick),
                self._get(key, Decision, found[key]),
                self._get(concluded, Outcome, found[concluded]) if concluded in found else None,
            )
            entries.insert(0, entry)
            if not entry.decision.manual:
                self._cursor = tick  # listing goes on after it, and so from its own keys
                break
        return entries

    def _get(self, key: str, kind: type[_R], etag: str | None = None) -> _R:
        known = self._read.get((key, etag)) if etag else None
        if isinstance(known, kind):
            return known
        uri = join(self._root, key)
        found = self._store.get(uri, max_bytes=_MAX_BYTES)
        try:
            record = kind.model_validate_json(found.data)
        except ValidationError as error:
            raise RequestError(f"{uri} is not a record of this version's scheduler; move it away.") from error
        if etag:
            self._read[key, etag] = record
        return record

    def _put_once(self, key: str, record: _Record) -> bool:
        uri = join(self._root, key)
        try:
            self._store.put(uri, _json(record), if_absent=True, content_type="application/json")
        except AlreadyExists:
            return False
        return True


def _since_key(cron: str, time_zone: str) -> str:
    digest = hashlib.sha256(f"{' '.join(cron.split())} {time_zone}".encode()).hexdigest()
    return f"_since-{digest[:12]}.json"


def _json(record: _Record) -> bytes:
    return (record.model_dump_json(indent=2) + "\n").encode()
