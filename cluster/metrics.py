"""The series that Isofleet's processes tell Prometheus, each with what it means.

Works on: counts, seconds and bytes. Knows nothing about how they came about, nor how they are served or pushed.
Actors return what they counted, and the driver counts what is committed, so that its numbers equal the manifest's.
Names follow Prometheus: base units, `_total` for counters, and no label whose values grow with the catalog. Which
run, node and role a series comes from is said by service discovery (`cluster.discovery`), not by the series.
`docs/reference/metrics.md` (`make docs`) comes from the declarations here and in `cluster.exporter`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

# Seconds. A fetch or a mesh takes milliseconds; an exact 1024³ field on a CPU takes minutes.
STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

ImageOutcome = Literal["ok", "failed", "carried"]
Stage = Literal["fetch", "encode", "decode", "mesh", "upload"]
Queue = Literal["waiting", "reconstruct", "mesh_waiting", "mesh"]
Tick = Literal["submitted", "skipped", "missed", "failed"]
# What the pool and the store say of deaths and requests; tests compare these with them.
RESTART_REASONS = ("died", "preempted", "timed_out", "node_died", "out_of_memory", "memory_limit")
STORE_OPERATIONS = ("list", "get", "head", "put")
STORE_OUTCOMES = ("ok", "not_found", "already_exists", "access_denied", "too_large", "unavailable", "error")

# Without this every counter and histogram has a second series with the time of its birth: twice the series for a
# question that nobody asks. The setting is one of the whole process.
disable_created_metrics()


class Requests(Protocol):
    """`count` store requests of one operation with one outcome, the bytes that they moved, and the repetitions."""

    @property
    def operation(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def received(self) -> int: ...
    @property
    def sent(self) -> int: ...
    @property
    def retries(self) -> int: ...


@dataclass(frozen=True)
class Series:
    """A metric as docs/reference/metrics.md lists it; `labels` has what each label's values are."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: Mapping[str, str]


class Metrics:
    """The series of one process, in a registry of their own. Methods may be called from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.series: list[Series] = []

    def render(self) -> str:
        """All series in Prometheus's text format."""
        return generate_latest(self.registry).decode()

    def _counter(self, name: str, meaning: str, **labels: str) -> Counter:
        self.series.append(Series(name, "counter", meaning, labels))
        return Counter(name, meaning, list(labels), registry=self.registry)

    def _gauge(self, name: str, meaning: str, **labels: str) -> Gauge:
        self.series.append(Series(name, "gauge", meaning, labels))
        return Gauge(name, meaning, list(labels), registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], **labels: str) -> Histogram:
        self.series.append(Series(name, "histogram", meaning, labels))
        return Histogram(name, meaning, list(labels), buckets=buckets, registry=self.registry)


class DriverMetrics(Metrics):
    """One run's series, as its driver tells them."""

    def __init__(self) -> None:
        super().__init__()
        self._images = self._counter(
            "isofleet_images_total",
            "Images whose manifest row is committed, whoever committed it: equal to the manifest's rows at the "
            "run's end. `ok` counts those computed in this run, `carried` those taken over from an earlier one.",
            outcome=_values(ImageOutcome),
        )
        self._images_planned = self._gauge(
            "isofleet_images_planned", "Images in the catalog, as far as it has been listed."
        )
        self._vanished = self._gauge(
            "isofleet_images_vanished", "Images that earlier runs converted and the catalog no longer has."
        )
        self._in_flight = self._gauge("isofleet_images_in_flight", "Images taken up that have no row yet.")
        self._queues = self._gauge(
            "isofleet_queue_depth",
            "Where the images in flight are; the sum over the queues is isofleet_images_in_flight.",
            queue="`waiting` for a batch, with the reconstructors (`reconstruct`), as fields that wait for a mesher "
            "(`mesh_waiting`), with the meshers (`mesh`)",
        )
        self._shards = self._counter(
            "isofleet_shards_committed_total", "Shards whose manifest part is committed, whoever committed it."
        )
        self._shards_planned = self._gauge(
            "isofleet_shards_planned", "Shards of the catalog, as far as it has been listed."
        )
        self._stages = self._histogram(
            "isofleet_stage_seconds",
            "Time that one image spent in a stage. Work of this driver's actors; one that resumes begins at 0.",
            STAGE_BUCKETS,
            stage=_values(Stage),
        )
        self._points = self._counter(
            "isofleet_decoder_points_total",
            "Points that the decoder evaluated. Work of this driver's actors; one that resumes begins at 0.",
        )
        self._points_shared = self._counter(
            "isofleet_decoder_points_shared_total",
            "Those of these points that an idle reconstructor evaluated for a busy one. Work, as the points are.",
        )
        self._actors = self._gauge(
            "isofleet_actors",
            "Actors of the run that have not been given up, ready or starting.",
            pool="`reconstructor` or `mesher`",
        )
        self._restarts = self._counter(
            "isofleet_actor_restarts_total", "Deaths of actors.", reason=_words(RESTART_REASONS)
        )
        self._requests = self._counter(
            "isofleet_store_requests_total",
            "Requests to the object store, by the driver and its actors. What an actor asked for since it last "
            "finished a call is lost when it dies.",
            operation=_words(STORE_OPERATIONS),
            outcome=_words(STORE_OUTCOMES),
        )
        self._retries = self._counter(
            "isofleet_store_retries_total",
            "Further attempts at requests to the object store, after one that failed in a way that may pass; counted "
            "as the requests are.",
            operation=_words(STORE_OPERATIONS),
        )
        self._bytes = self._counter(
            "isofleet_store_bytes_total",
            "Bytes moved from and to the object store, counted as the requests are.",
            direction="`received` or `sent`",
        )
        self._info = self._gauge(
            "isofleet_run_info",
            "Always 1: what the run is.",
            run_id="the run's id, as in the manifest",
            output="where it writes to",
            code_version="version of isofleet",
            resolution="samples along an axis of the lattice",
            format="`glb`, `obj`, `ply` or `stl`",
        )
        self._started = self._gauge(
            "isofleet_run_started_timestamp_seconds", "Unix time at which this driver took the run up."
        )
        self._last_commit = self._gauge(
            "isofleet_last_commit_timestamp_seconds", "Unix time at which this driver last saw a shard committed; or 0."
        )
        self._last_success = self._gauge(
            "isofleet_last_success_timestamp_seconds",
            "Unix time at which the run ended within its error budget; 0 if it has not.",
        )
        self._budget = self._gauge(
            "isofleet_error_budget_ratio",
            "The share of failed images above which the run fails (reconstruct.max_failed_percent / 100); 1 if none.",
        )
        # Present from the start at 0: a rate over a series that appears with its first event misses that event.
        for outcome in get_args(ImageOutcome):
            self._images.labels(outcome)
        for queue in get_args(Queue):
            self._queues.labels(queue)
        for stage in get_args(Stage):
            self._stages.labels(stage)
        for pool in ("reconstructor", "mesher"):
            self._actors.labels(pool)
        for reason in RESTART_REASONS:
            self._restarts.labels(reason)
        for operation in STORE_OPERATIONS:
            self._retries.labels(operation)
            for result in STORE_OUTCOMES:
                self._requests.labels(operation, result)
        for direction in ("received", "sent"):
            self._bytes.labels(direction)

    def begun(
        self,
        run_id: str,
        output: str,
        code_version: str,
        resolution: int,
        format: str,
        max_failed_percent: float | None,
    ) -> None:
        """The run is known, and this driver has taken it up, now."""
        self._info.labels(run_id, output, code_version, str(resolution), format).set(1)
        self._started.set_to_current_time()
        self._budget.set(1.0 if max_failed_percent is None else max_failed_percent / 100)

    def planned(self, images: int) -> None:
        """One more shard of the catalog is known, with so many images."""
        self._shards_planned.inc()
        self._images_planned.inc(images)

    def committed_before(self, shards: int, images: Mapping[ImageOutcome, int]) -> None:
        """What stood in the store when this driver began."""
        self._shards.inc(shards)
        for outcome, count in images.items():
            self._images.labels(outcome).inc(count)

    def shard_committed(self, images: Mapping[ImageOutcome, int]) -> None:
        """A shard's rows, so many of each outcome, stand in the manifest from now on."""
        self.committed_before(1, images)
        self._last_commit.set_to_current_time()

    def vanished(self, images: int) -> None:
        """So many images of earlier runs are no longer in the catalog."""
        self._vanished.set(images)

    def stage(self, stage: Stage, seconds: float) -> None:
        """An image went through a stage."""
        self._stages.labels(stage).observe(seconds)

    def points(self, count: int) -> None:
        """The decoder evaluated so many points."""
        self._points.inc(count)

    def points_shared(self, count: int) -> None:
        """So many of the points were evaluated by an actor that was lent to the image's own."""
        self._points_shared.inc(count)

    def in_flight(self, queues: Mapping[Queue, int]) -> None:
        """How many images are where, of those that have been taken up and have no row yet."""
        for queue in get_args(Queue):
            self._queues.labels(queue).set(queues.get(queue, 0))
        self._in_flight.set(sum(queues.values()))

    def actors(self, pool: str, count: int) -> None:
        """The pool of `reconstructor`s or `mesher`s has so many actors."""
        self._actors.labels(pool).set(count)

    def actor_restarted(self, reason: str) -> None:
        """An actor died for one of the pool's reasons and was replaced or given up."""
        self._restarts.labels(reason).inc()

    def store_request(self, operation: str, outcome: str, received: int, sent: int, retries: int) -> None:
        """One request of the driver's own: the observer that `cluster.store.Stores` takes. Sizes in bytes."""
        self._count(operation, outcome, 1, received, sent, retries)

    def store_requests(self, requests: Iterable[Requests]) -> None:
        """What an actor's requests added up to."""
        for of in requests:
            self._count(of.operation, of.outcome, of.count, of.received, of.sent, of.retries)

    def _count(self, operation: str, outcome: str, count: int, received: int, sent: int, retries: int) -> None:
        self._requests.labels(operation, outcome).inc(count)
        self._retries.labels(operation).inc(retries)
        self._bytes.labels("received").inc(received)
        self._bytes.labels("sent").inc(sent)

    def succeeded(self) -> None:
        """The run ended within its error budget, now."""
        self._last_success.set_to_current_time()


class SchedulerMetrics(Metrics):
    """The series of one scheduler process. Times are Unix times in seconds."""

    def __init__(self) -> None:
        super().__init__()
        name = "the schedule's name in ray_config.yaml"
        self._ticks = self._counter(
            "isofleet_schedule_ticks_total",
            "Ticks by what became of them. Of several schedulers, the one that wrote the record counts the tick.",
            schedule=name,
            outcome="`submitted`; `skipped` because an earlier run was going on; `missed` by more than the grace; "
            "`failed` to be submitted",
        )
        self._errors = self._counter(
            "isofleet_schedule_errors_total",
            "Errors of the store or the cluster, after which the scheduler looks again.",
            schedule=name,
        )
        self._last_tick = self._gauge(
            "isofleet_schedule_last_tick_timestamp_seconds",
            "The last tick that is decided, and submitted if it was to be; 0 if none.",
            schedule=name,
        )
        self._next_tick = self._gauge(
            "isofleet_schedule_next_tick_timestamp_seconds",
            "When the tick after that is due, its jitter included: in the past while it cannot be settled.",
            schedule=name,
        )
        self._last_success = self._gauge(
            "isofleet_schedule_last_success_timestamp_seconds",
            "When a run of the schedule last ended within its error budget; 0 if none has.",
            schedule=name,
        )
        self._interval = self._gauge(
            "isofleet_schedule_interval_seconds", "From the tick before now to the one after.", schedule=name
        )
        self._created = self._gauge(
            "isofleet_schedule_created_timestamp_seconds",
            "When a scheduler first saw the schedule with its present cron expression and time zone.",
            schedule=name,
        )
        self._heartbeat = self._gauge(
            "isofleet_scheduler_heartbeat_timestamp_seconds", "When the scheduler last looked at its schedules."
        )

    def known(self, schedule: str) -> None:
        """There is such a schedule."""
        for outcome in get_args(Tick):
            self._ticks.labels(schedule, outcome)
        self._errors.labels(schedule)
        self._last_success.labels(schedule)

    def tick(self, schedule: str, outcome: Tick, ticks: int = 1) -> None:
        """So many ticks came to this."""
        self._ticks.labels(schedule, outcome).inc(ticks)

    def error(self, schedule: str) -> None:
        """The store or the cluster failed, and the scheduler will look again."""
        self._errors.labels(schedule).inc()

    def between(self, schedule: str, created: float, last_tick: float, next_tick: float, interval: float) -> None:
        """Where the schedule stands, first seen at `created`; `interval` is in seconds."""
        self._created.labels(schedule).set(created)
        self._last_tick.labels(schedule).set(last_tick)
        self._next_tick.labels(schedule).set(next_tick)
        self._interval.labels(schedule).set(interval)

    def succeeded(self, schedule: str, at: float) -> None:
        """Its latest success ended then."""
        self._last_success.labels(schedule).set(at)

    def looked(self, at: float) -> None:
        """The scheduler has been through its schedules."""
        self._heartbeat.set(at)


def _values(literal: object) -> str:
    return _words(get_args(literal))


def _words(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)
