"""Schedules: each tick of each is submitted, skipped or missed, once, however many schedulers look after it.

Works on: schedules, a clock, the records in the store and the cluster's jobs. Knows nothing about what a job does.

A tick is decided by a record that is put if absent, whichever scheduler puts it; then carried out by any of them, from
that record alone, under a submission id made of schedule and tick, which the cluster takes once; then concluded by a
second record. Killed between any two steps, a scheduler leaves what the next look takes up. A schedule's ticks are
decided in order, each when the one before is concluded.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Literal, Protocol

from cluster.config import SchedulerSettings
from cluster.errors import RequestError, RunError
from cluster.metrics import SchedulerMetrics, Tick
from cluster.store import NotFound, StoreError, Stores, join
from jobs.run import SUCCESS
from jobs.schedule import Schedule
from jobs.schedule_state import Decision, Entry, FirstSeen, Job, Outcome, ScheduleState, Submission, Success
from jobs.ticks import tick_id

_FAILURES = (StoreError, RequestError, RunError)  # of the store and the cluster: said, counted, and tried again
ACTIVE = ("PENDING", "RUNNING")
# Of ticks missed at a stretch, so many at the end get records of their own. A scheduler that was suspended between
# its look at the clock and its record can only collide with a record that counts many if it slept for more ticks.
_LISTED = 20
_COUNTED = 10_000  # ticks that one record stands for at most, so that a step stays short
_STOPPING_SECONDS = 2.0  # until a job that was told to stop is looked at again

log = logging.getLogger(__name__)


class ClusterError(RunError):
    """The cluster does not answer, or refuses."""


class Cluster(Protocol):
    """What is asked of the cluster. Every method raises ClusterError."""

    def submit(self, submission: Submission) -> None:
        """Start the job, unless the cluster knows its id."""

    def state(self, submission_id: str) -> str | None:
        """The Jobs API's word for its state, such as RUNNING; None when the cluster does not know it."""

    def stop(self, submission_id: str) -> None:
        """Tell the job to end. It may take its time."""


@dataclass(frozen=True)
class Standing:
    """Where a schedule stands. `job_state` and `succeeded` are the last tick's; None where nothing was submitted, or
    where the cluster does not know the job."""

    schedule: Schedule
    first_seen: datetime | None
    last: Entry | None
    job_state: str | None
    succeeded: bool | None
    last_success: Success | None
    next: list[datetime]


class Watch:
    """One schedule, its records and its jobs."""

    def __init__(
        self,
        schedule: Schedule,
        state: ScheduleState,
        stores: Stores,
        cluster: Cluster,
        metrics: SchedulerMetrics,
        clock: Callable[[], datetime],
    ) -> None:
        self.schedule = schedule
        self._state = state
        self._stores = stores
        self._cluster = cluster
        self._metrics = metrics
        self._clock = clock
        self._seen: FirstSeen | None = None
        self.trouble = ""  # why the last look went wrong
        metrics.known(schedule.name)

    def look(self, stopping: threading.Event) -> datetime:
        """Decide, carry out and conclude what is due. Returns when to look again.

        Raises StoreError, RequestError or RunError; what was not done is done by the next look.
        """
        while not stopping.is_set():
            again = self._step()
            if again is not None:
                return again
        return self._clock()

    def _step(self) -> datetime | None:
        """Take one tick one step on. When to look again, if there is none to take."""
        settings, cron = self.schedule.settings, self.schedule.cron
        now = self._clock()
        if self._seen is None:
            self._seen = self._state.see(settings.cron, settings.time_zone, now)
        entries = self.recent(now)
        pending = next((entry for entry in entries if entry.pending), None)
        decided = max((entry.tick for entry in entries if not entry.decision.manual), default=self._seen.at)
        after = max(decided, self._seen.at)
        tick = next(cron.after(after))
        self._report(entries, now, tick)
        if pending is not None:
            return None if self._carry_out(pending) else now + timedelta(seconds=_STOPPING_SECONDS)
        if self.schedule.due(tick) > now:
            self.trouble = ""
            self._report_success(entries)
            return self.schedule.due(tick)
        late = takewhile(lambda tick: self.schedule.not_after(tick) < now, cron.after(after))
        if missed := list(islice(late, _COUNTED)):
            self._miss(missed, entries)
        else:
            self._decide(tick, entries)
        return None

    def recent(self, now: datetime) -> list[Entry]:
        """The last decision about a scheduled tick and the manual ones after it."""
        return self._state.recent(now, self._interval(now))

    def standing(self, ticks: int, with_cluster: bool) -> Standing:
        """Where it stands, with so many of its next ticks. Only reads; raises as `look` does."""
        settings, now = self.schedule.settings, self._clock()
        seen = self._state.first_seen(settings.cron, settings.time_zone)
        entries = self.recent(now)
        last = max(entries, key=lambda entry: entry.decision.at, default=None)
        jobs, latest = self._jobs(entries)
        for job in jobs:
            latest = _later(latest, self.success_of(job))
        asked = last.job if last else None
        return Standing(
            schedule=self.schedule,
            first_seen=seen.at if seen else None,
            last=last,
            job_state=self._cluster.state(asked.submission_id) if asked and with_cluster else None,
            succeeded=self.success_of(asked) is not None if asked else None,
            last_success=latest,
            next=list(islice(self.schedule.cron.after(now), ticks)),
        )

    def success_of(self, job: Job) -> Success | None:
        """How the job's run succeeded, if it has: from its output alone."""
        uri = join(job.output, SUCCESS)
        try:
            written = self._stores.open(uri).head(uri).modified
        except NotFound:
            return None
        at = self._clock() if written is None else datetime.fromtimestamp(written, UTC)
        return Success(tick=job.tick, output=job.output, at=at)

    def run_now(self, wait: Callable[[float], object]) -> Entry:
        """Submit a tick of this minute, beside those of the cron expression but under the same overlap.

        Raises RunError when it cannot be, or is skipped; StoreError and RequestError.
        """
        name = self.schedule.name
        self.look(threading.Event())
        now = self._clock()
        tick = now.replace(second=0, microsecond=0)
        if next(self.schedule.cron.after(tick - timedelta(minutes=1))) == tick:
            raise RunError(f"schedules.{name} has a tick of its own at this minute; see isofleet schedule list.")
        if not self._decide(tick, self.recent(now), manual=True):
            raise RunError(f"schedules.{name} was run at this minute already; see isofleet schedule list.")
        while True:
            entry = next(entry for entry in self.recent(now) if entry.tick == tick)
            if entry.decision.decision == "skip":
                raise RunError(f"schedules.{name} was not run: {entry.decision.reason}.")
            if entry.outcome is not None:
                return entry
            if not self._carry_out(entry):
                wait(_STOPPING_SECONDS)

    def _interval(self, now: datetime) -> timedelta:
        cron = self.schedule.cron
        following = next(cron.after(now))
        return following - (cron.last(now) or now)

    def _jobs(self, entries: list[Entry]) -> tuple[list[Job], Success | None]:
        """The jobs that may still run, and the latest success that is on record."""
        jobs = [job for entry in entries for job in (*entry.decision.running, entry.job) if job is not None]
        latest = None
        for entry in entries:
            latest = _later(latest, entry.decision.last_success)
        return list({job.submission_id: job for job in jobs}.values()), latest

    def _settle(self, entries: list[Entry]) -> tuple[list[Job], Success | None]:
        """The jobs that run, and the latest success: asks the outputs, then the cluster."""
        jobs, latest = self._jobs(entries)
        running = []
        for job in jobs:
            success = self.success_of(job)
            if success is not None:
                latest = _later(latest, success)
            elif self._cluster.state(job.submission_id) in ACTIVE:
                running.append(job)
        return running, latest

    def _decide(self, tick: datetime, entries: list[Entry], manual: bool = False) -> bool:
        running, latest = self._settle(entries)
        overlap = self.schedule.settings.overlap
        ids = [job.submission_id for job in running]
        kind: Literal["submit", "skip"] = "submit"
        reason = ""
        submission = None
        if running and overlap == "forbid":
            kind, reason = "skip", f"{' and '.join(ids)} still {'run' if len(ids) > 1 else 'runs'}"
        else:
            stop = ids if overlap == "replace" else []
            submission = self.schedule.submission(tick, stop, latest, manual)
        decision = Decision(
            decision=kind,
            at=self._clock(),
            manual=manual,
            reason=reason,
            submission=submission,
            running=running,
            last_success=latest,
        )
        won = self._state.decide(tick, decision)
        if won and kind == "skip":
            self._count(tick, "skipped", reason)
        return won

    def _miss(self, late: list[datetime], entries: list[Entry]) -> None:
        count = max(len(late) - _LISTED, 1)
        tick = late[count - 1]
        jobs, latest = self._jobs(entries)  # whether they still run is for the next one that is submitted to ask
        reason = self.trouble or "no scheduler was at work within the grace"
        decision = Decision(
            decision="miss", at=self._clock(), reason=reason, ticks=count, running=jobs, last_success=latest
        )
        if self._state.decide(tick, decision):
            self._count(tick, "missed", reason, count)

    def _carry_out(self, entry: Entry) -> bool:
        """Submit it and conclude. False while it waits for earlier jobs to stop."""
        asked = entry.decision.submission
        assert asked is not None
        outcome: Literal["submitted", "failed"] = "submitted"
        reason = ""
        if self._clock() > asked.not_after:
            # It may have been submitted by one that was killed before it could say so.
            job = entry.job
            assert job is not None
            if self.success_of(job) is None and self._cluster.state(asked.submission_id) is None:
                outcome, reason = "failed", self.trouble or "it was not submitted within the grace"
        else:
            stopping = [other for other in asked.stop if self._cluster.state(other) in ACTIVE]
            if stopping:
                for other in stopping:
                    self._cluster.stop(other)
                self.trouble = f"{' and '.join(stopping)} did not stop"
                return False
            self._cluster.submit(asked)
        if self._state.conclude(entry.tick, Outcome(outcome=outcome, at=self._clock(), reason=reason)):
            self._count(entry.tick, outcome, reason or f"as {asked.submission_id}")
        return True

    def _count(self, tick: datetime, outcome: Tick, why: str, ticks: int = 1) -> None:
        self._metrics.tick(self.schedule.name, outcome, ticks)
        many = f" and {ticks - 1} before it" if ticks > 1 else ""
        level = logging.INFO if outcome == "submitted" else logging.WARNING
        log.log(level, "schedule %s: tick %s%s %s: %s", self.schedule.name, tick_id(tick), many, outcome, why)

    def _report(self, entries: list[Entry], now: datetime, tick: datetime) -> None:
        assert self._seen is not None
        scheduled = [entry for entry in entries if not entry.decision.manual]
        settled = [entry.tick for entry in scheduled if not entry.pending]
        waiting = [entry.tick for entry in scheduled if entry.pending]
        self._metrics.between(
            self.schedule.name,
            created=self._seen.at.timestamp(),
            last_tick=max(settled).timestamp() if settled else 0,
            next_tick=self.schedule.due(min(waiting, default=tick)).timestamp(),
            interval=self._interval(now).total_seconds(),
        )

    def _report_success(self, entries: list[Entry]) -> None:
        jobs, latest = self._jobs(entries)
        for job in jobs:
            latest = _later(latest, self.success_of(job))
        if latest is not None:
            self._metrics.succeeded(self.schedule.name, latest.at.timestamp())


class Scheduler:
    """All the schedules of a configuration."""

    def __init__(
        self,
        found: list[Schedule],
        settings: SchedulerSettings,
        stores: Stores,
        cluster: Cluster,
        metrics: SchedulerMetrics,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Raises RequestError when the settings name no state."""
        if settings.state is None:
            raise RequestError("scheduler.state is not set; name the folder or s3:// prefix that keeps the decisions.")
        self.watches = [
            Watch(
                schedule,
                ScheduleState(stores, settings.state, schedule.name),
                stores,
                cluster,
                metrics,
                clock,
            )
            for schedule in found
        ]
        self._poll = timedelta(seconds=settings.poll_seconds)
        self._metrics = metrics
        self._clock = clock

    def look(self, stopping: threading.Event) -> tuple[datetime, bool]:
        """Look at each schedule once. When to look again, and whether all of them could be settled."""
        again = self._clock() + self._poll
        good = True
        for watch in self.watches:
            try:
                again = min(again, watch.look(stopping))
            except _FAILURES as error:
                good = False
                trouble = str(error).rstrip(".")
                self._metrics.error(watch.schedule.name)
                if trouble != watch.trouble:  # an outage is said once, and counted at every look
                    log.warning("schedule %s: %s; the next look tries again", watch.schedule.name, trouble)
                watch.trouble = trouble
        self._metrics.looked(self._clock().timestamp())
        return again, good

    def once(self, stopping: threading.Event) -> bool:
        """Settle what is due now. Whether all of it could be."""
        while not stopping.is_set():
            again, good = self.look(stopping)
            pause = (again - self._clock()).total_seconds()
            if not good or pause > _STOPPING_SECONDS:
                return good
            stopping.wait(max(pause, 0))
        return False

    def run(self, stopping: threading.Event) -> None:
        """Look again and again until `stopping` is set, which ends it between two steps."""
        while not stopping.is_set():
            again, _ = self.look(stopping)
            stopping.wait(max((again - self._clock()).total_seconds(), 0))


def _later(one: Success | None, other: Success | None) -> Success | None:
    """The success of the later tick."""
    return max(filter(None, (one, other)), key=lambda success: success.tick, default=None)
