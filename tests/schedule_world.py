"""A simulated world for schedulers: time, a cluster, and deaths, around the real store and the real scheduler.

The cluster is a table of jobs that keeps the rules of the Jobs API: an id is taken once, a job that is told to stop
takes its time, and what has ended may be forgotten.
"""

import math
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cluster.config import Config, StoreSettings
from cluster.errors import RunError
from cluster.metrics import SchedulerMetrics
from cluster.store import Stores, Unavailable, join
from jobs.schedule import schedules
from jobs.schedule_state import Submission
from jobs.scheduler import Scheduler

START = datetime(2026, 10, 23, 20, 0, 30, tzinfo=UTC)  # a day and a half before Berlin's clocks are set back
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# How long a schedule's jobs run, in minutes.
DURATIONS = {"forbidding": (3, 15, 50, 95), "replacing": (3, 15, 50, 95), "allowing": (20, 200), "nightly": (300,)}


class Clock:
    """The time, which only moves when it is told to."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Run:
    """A job, from when the cluster took it to when it ends; what becomes of it is settled from the start."""

    submission: Submission
    start: datetime
    end: datetime
    good: bool
    stopped: bool = False


class Table:
    """The cluster's jobs."""

    def __init__(self, clock: Clock, stores: Stores, duration: Callable[[str], timedelta]) -> None:
        self.clock = clock
        self.stores = stores
        self.duration = duration
        self.jobs: dict[str, Run] = {}
        self.forgotten: set[str] = set()
        self.starts: Counter[str] = Counter()
        self.succeeded: dict[str, datetime] = {}  # by output
        self.down = lambda: False

    def submit(self, submission: Submission) -> None:
        self._answer()
        if submission.submission_id in self.jobs:
            return
        self.starts[submission.submission_id] += 1
        end = self.clock.now + self.duration(submission.submission_id)
        good = int.from_bytes(submission.submission_id.encode()) % 7 != 0
        self.jobs[submission.submission_id] = Run(submission, self.clock.now, end, good)

    def state(self, submission_id: str) -> str | None:
        self._answer()
        job = self.jobs.get(submission_id)
        if job is None or submission_id in self.forgotten:
            return None
        if self.clock.now < job.end:
            return "RUNNING" if self.clock.now > job.start + timedelta(seconds=20) else "PENDING"
        return "STOPPED" if job.stopped else "SUCCEEDED" if job.good else "FAILED"

    def stop(self, submission_id: str) -> None:
        self._answer()
        job = self.jobs[submission_id]
        if self.clock.now < job.end and not job.stopped:
            job.stopped, job.end = True, min(job.end, self.clock.now + timedelta(seconds=5))

    def pass_time(self) -> None:
        """Finish what has ended: a job that succeeds leaves its mark in its output, and may then be forgotten."""
        for submission_id, job in self.jobs.items():
            output = job.submission.output
            if job.end <= self.clock.now and job.good and not job.stopped and output not in self.succeeded:
                uri = join(output, "_SUCCESS.json")
                self.stores.open(uri).put(uri, b"{}")
                self.succeeded[output] = job.end
                if len(self.succeeded) % 2:
                    self.forgotten.add(submission_id)

    def _answer(self) -> None:
        if self.down():
            raise RunError("http://127.0.0.1:8265 does not answer")


class Killed(BaseException):
    """What a SIGKILL is to a thread: nothing that the code under test catches."""


class Instance:
    """A scheduler in a thread that runs only when it is its turn, from one request to the next."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.turn, self.yielded = threading.Semaphore(0), threading.Semaphore(0)
        self.wake = world.clock.now
        self.over = False
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.live, daemon=True)
        self.thread.start()

    def live(self) -> None:
        """Be started, work, be killed, be started again."""
        try:
            while True:
                self.sleep_until(self.wake)
                try:
                    self.world.scheduler(self).run(self)  # type: ignore[arg-type]
                    return
                except Killed:
                    self.world.kills += 1
                    self.wake = self.world.clock.now + MINUTE * self.world.random.choice([0, 0, 1, 10, 25])
        except BaseException as error:
            self.error = error
        finally:
            self.over = True
            self.yielded.release()

    def gate(self) -> None:
        """Wait for the next turn, or die."""
        self.yielded.release()
        self.turn.acquire()
        if self.world.random.random() < self.world.danger:
            raise Killed

    # As the event that stops it, on which it sleeps.

    def is_set(self) -> bool:
        return self.world.clock.now >= self.world.end

    def wait(self, seconds: float) -> None:
        self.sleep_until(self.world.clock.now + timedelta(seconds=seconds))

    def sleep_until(self, wake: datetime) -> None:
        self.wake = wake
        self.yielded.release()
        self.turn.acquire()

    def step(self) -> None:
        """Give it a turn, and wait until it has had it."""
        self.turn.release()
        self.yielded.acquire()


class Gated:
    """Something whose every call can be the last: killed before it, or after it was carried out."""

    def __init__(self, inner: Any, instance: Instance) -> None:
        self.inner, self.instance = inner, instance

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.instance.gate()
            if self.instance.world.store_is_down() and hasattr(self.inner, "put"):
                raise Unavailable("the store does not answer", "s3://state")
            result = getattr(self.inner, name)(*arguments, **options)
            result = list(result) if name == "list" else result
            self.instance.gate()
            return result

        return call


class GatedStores(Stores):
    """The real stores, through gates."""

    def __init__(self, settings: StoreSettings, instance: Instance) -> None:
        super().__init__(settings)
        self.instance = instance

    def open(self, uri: str) -> Any:
        return Gated(super().open(uri), self.instance)


class World:
    """Two schedulers of one configuration, a store, a cluster and a clock; all chance comes from one seed."""

    def __init__(self, config: Config, seed: int, length: timedelta, danger: float) -> None:
        self.config = config
        self.schedules = schedules(config)
        self.random = random.Random(seed)
        self.clock = Clock()
        self.end = self.clock.now + length
        self.danger = danger
        self.kills = 0
        stores = Stores(config.store)
        self.table = Table(self.clock, stores, self.duration)
        self.table.down, self.store_is_down = self.outages(length), self.outages(length)

    def outages(self, length: timedelta) -> Callable[[], bool]:
        """Twenty minutes now and then, about as often as every fifteenth hour."""
        starts = [self.clock.now + length * self.random.random() for _ in range(math.ceil(length / (15 * HOUR)))]
        return lambda: any(at < self.clock.now < at + 20 * MINUTE for at in starts)

    def duration(self, submission_id: str) -> timedelta:
        schedule = submission_id.removeprefix("isofleet-").rpartition("-")[0]
        return MINUTE * random.Random(submission_id).choice(DURATIONS[schedule])

    def scheduler(self, instance: Instance) -> Scheduler:
        return Scheduler(
            self.schedules,
            self.config.scheduler,
            GatedStores(self.config.store, instance),
            Gated(self.table, instance),
            SchedulerMetrics(),
            self.clock,
        )

    def run(self) -> None:
        instances = [Instance(self), Instance(self)]
        for instance in instances:
            instance.yielded.acquire()
        while not all(instance.over for instance in instances):
            ready = [
                one for one in instances if not one.over and (one.wake <= self.clock.now or self.clock.now >= self.end)
            ]
            if ready:
                self.random.choice(ready).step()
                # A request takes a moment; now and then the whole machine stands still.
                self.clock.now += timedelta(seconds=self.random.choice([0, 0, 0.1, 1, 2, 40]))
            else:
                self.clock.now = min(one.wake for one in instances if not one.over)
            self.table.pass_time()
        for instance in instances:
            instance.thread.join()
            if instance.error is not None:
                raise instance.error
