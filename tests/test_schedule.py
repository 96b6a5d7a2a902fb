"""Schedules: each tick once, whatever happens to the schedulers, the store and the cluster.

The store is real; time is simulated where hours must pass, and so is the cluster then (tests/schedule_world.py).
"""

import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import S3
from prometheus_client.parser import text_string_to_metric_families
from schedule_world import HOUR, MINUTE, START, Clock, Table, World

from cluster.config import Config, load
from cluster.errors import RequestError, RunError
from cluster.metrics import SchedulerMetrics
from cluster.store import LocalStore, ObjectInfo, Stores
from jobs.schedule import schedules
from jobs.schedule_state import Decision, Outcome, ScheduleState
from jobs.scheduler import Scheduler
from jobs.ticks import from_id, jitter, tick_id, time_zone

BERLIN = time_zone("Europe/Berlin")
# What the cron expressions below mean, said without them: minute by minute, and once where Berlin's clock shows a
# time of day twice.
MEANT: dict[str, Callable[[datetime], bool]] = {
    "forbidding": lambda at: at.minute == 0,
    "replacing": lambda at: at.minute % 30 == 0,
    "allowing": lambda at: (local := at.astimezone(BERLIN)).hour % 2 == 0 and local.minute == 15 and not local.fold,
    "nightly": lambda at: (local := at.astimezone(BERLIN)).hour == 2 and local.minute == 30 and not local.fold,
}


def configured(root: str, folder: Path, **sections: Any) -> Config:
    """Four schedules in Berlin, with their state and outputs below `root`."""
    of = {"time_zone": "Europe/Berlin", "catalog": f"{root}/photos", "grace_seconds": 7200.0}
    tree = {
        "scheduler": {"state": f"{root}/state", "poll_seconds": 1800},
        "schedules": {
            "forbidding": of | {"cron": "0 * * * *", "overlap": "forbid", "incremental": True},
            "replacing": of | {"cron": "*/30 * * * *", "overlap": "replace"},
            "allowing": of | {"cron": "15 */2 * * *", "overlap": "allow", "jitter_seconds": 600},
            "nightly": of | {"cron": "30 2 * * *", "reconstruct": {"resolution": 32, "weights": {"chair": "/w"}}},
        },
        **sections,
    }
    for name, schedule in tree["schedules"].items():
        schedule.setdefault("output", f"{root}/meshes/{name}/{{tick:%Y-%m-%dT%H%M%z}}")
    path = folder / "ray_config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return load(path, {}, {})


def records(config: Config) -> dict[str, dict[datetime, tuple[Decision, Outcome | None]]]:
    """All that is on record: by schedule and tick."""
    root = config.scheduler.state
    assert root is not None
    store = Stores(config.store).open(root)
    texts = {info.key: store.get(info.uri).data for info in store.list(root)}
    found: dict[str, dict[datetime, tuple[Decision, Outcome | None]]] = {}
    for key, text in texts.items():
        if match := re.fullmatch(r"(.+)/(\d{8}T\d{4}Z)\.json", key):
            outcome = texts.get(f"{match[1]}/{match[2]}.outcome.json")
            found.setdefault(match[1], {})[from_id(match[2])] = (
                Decision.model_validate_json(text),
                Outcome.model_validate_json(outcome) if outcome else None,
            )
    return found


def first_seen(config: Config, name: str) -> datetime:
    """Since when the schedule's ticks count: soon after the start, but for an outage of the store."""
    of = config.schedules[name]
    seen = ScheduleState(Stores(config.store), str(config.scheduler.state), name).first_seen(of.cron, of.time_zone)
    assert seen is not None
    assert seen.at < START + 2 * HOUR
    return seen.at


def meant(name: str, start: datetime, end: datetime) -> list[datetime]:
    """The ticks of a schedule within a time."""
    first = start.replace(second=0, microsecond=0) + MINUTE
    minutes = (first + step * MINUTE for step in range((end - first) // MINUTE + 1))
    return [minute for minute in minutes if MEANT[name](minute)]


@pytest.fixture(params=["local-1", "local-2", "s3-3"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """Two schedulers that are killed before or after every fiftieth request: for two and a half days in which Berlin's
    clocks are set back; on S3, for eight hours."""
    kind, seed = request.param.split("-")
    if kind == "local":
        return World(configured(str(tmp_path), tmp_path), int(seed), 60 * HOUR, danger=0.01)
    s3: S3 = request.getfixturevalue("s3")
    config = configured(f"s3://{s3.bucket}/of", tmp_path, store={"s3": {"endpoint_url": s3.endpoint_url}})
    return World(config, int(seed), 8 * HOUR, danger=0.01)


def test_two_schedulers_that_are_killed_at_any_moment_do_each_tick_once(world: World) -> None:
    world.run()
    on_record = records(world.config)
    long = world.end - START == 60 * HOUR
    assert sum(map(len, on_record.values())) > (200 if long else 20)
    assert world.kills > (100 if long else 5)
    until = world.end - 2 * HOUR  # the last ones are left as a death would leave them
    for name in MEANT:
        decided = {tick: both for tick, both in on_record[name].items() if tick <= until}
        assert list(decided) == meant(name, first_seen(world.config, name), until)
        for tick, (decision, outcome) in decided.items():
            assert decision.decision in ("submit", "skip")  # no outage is longer than the grace
            assert decision.at >= tick + jitter(name, tick, world.config.schedules[name].jitter_seconds)
            starts = world.table.starts[f"isofleet-{name}-{tick_id(tick)}"]
            assert starts == (decision.decision == "submit")
            assert (outcome is not None and outcome.outcome == "submitted") == (decision.decision == "submit")
    assert max(world.table.starts.values()) == 1
    if long:
        check_overlaps(world, on_record)


def check_overlaps(world: World, on_record: dict[str, dict[datetime, tuple[Decision, Outcome | None]]]) -> None:
    """What ran together, what was skipped or stopped, and what a run went on from."""
    runs = {
        name: [run for run in world.table.jobs.values() if f"-{name}-" in run.submission.submission_id]
        for name in MEANT
    }
    for name, of in runs.items():
        together = sum(one.start < other.start < one.end for one in of for other in of)
        assert (together > 0) == (name == "allowing")
        assert any(run.stopped for run in of) == (name == "replacing")
    skipped = [decision for decision, _ in on_record["forbidding"].values() if decision.decision == "skip"]
    assert len(skipped) > 3
    for decision in skipped:
        (job,) = decision.running
        run = world.table.jobs[job.submission_id]
        assert run.start < decision.at < run.end + 5 * MINUTE
        assert decision.reason == f"{job.submission_id} still runs"
    assert {
        decision.decision for name in MEANT if name != "forbidding" for decision, _ in on_record[name].values()
    } == {"submit"}

    # What is converted incrementally goes on from the latest success: in time, as far as it can have been known.
    for run in runs["forbidding"]:
        before = [(at, output) for output, at in world.table.succeeded.items() if "/forbidding/" in output]
        decided_at = on_record["forbidding"][from_id(run.submission.submission_id.rpartition("-")[2])][0].at
        known = max((one for one in before if one[0] <= decided_at - 5 * MINUTE), default=None)
        at_most = max((one for one in before if one[0] <= decided_at), default=None)
        allowed = [[f"--previous={one[1]}"] if one else [] for one in (known, at_most)]
        assert run.submission.options in allowed
    assert sum(bool(run.submission.options) for run in runs["forbidding"]) > 10
    options = {tuple(run.submission.options) for run in runs["nightly"]}
    assert options == {('--set=reconstruct.weights={"chair": "/w"}', "--set=reconstruct.resolution=32")}


# One scheduler, step by step.


@dataclass
class Alone:
    """One schedule named s, its scheduler, and a cluster and clock to play with."""

    config: Config
    clock: Clock = field(default_factory=Clock)
    minutes: dict[str, float] = field(default_factory=dict)  # of a job by its submission id; 10 where it says nothing

    def __post_init__(self) -> None:
        self.stores = Stores(self.config.store)
        self.table = Table(self.clock, self.stores, lambda submission_id: self.minutes.get(submission_id, 10) * MINUTE)
        self.restart()

    def restart(self) -> None:
        """Another process takes over."""
        self.metrics = SchedulerMetrics()
        found = schedules(self.config)
        self.scheduler = Scheduler(found, self.config.scheduler, self.stores, self.table, self.metrics, self.clock)

    def look(self, at: datetime | None = None) -> bool:
        """Let time pass and the scheduler look, once; whether it could settle all."""
        self.clock.now = at or self.clock.now
        self.table.pass_time()
        return self.scheduler.look(threading.Event())[1]

    def became(self) -> dict[str, str]:
        """What became of each tick, by its day and time."""
        return {
            f"{tick:%dT%H%M}": decision.decision if outcome is None else outcome.outcome
            for tick, (decision, outcome) in records(self.config).get("s", {}).items()
        }

    def series(self) -> dict[tuple[str, ...], float]:
        """The metrics, by name without `isofleet_schedule_` and labels other than the schedule."""
        return {
            (
                sample.name.removeprefix("isofleet_schedule_"),
                *(v for k, v in sample.labels.items() if k != "schedule"),
            ): sample.value
            for family in text_string_to_metric_families(self.metrics.render())
            for sample in family.samples
        }


@pytest.fixture
def alone(tmp_path: Path) -> Callable[..., Alone]:
    def make(**schedule: Any) -> Alone:
        output = f"{tmp_path}/out/{{tick:%Y-%m-%dT%H%M}}"
        of = {"cron": "0 * * * *", "catalog": str(tmp_path / "photos"), "output": output}
        return Alone(configured(str(tmp_path), tmp_path, schedules={"s": of | schedule}))

    return make


def at(day: int, hour: int, minute: int = 0, second: int = 5) -> datetime:
    return datetime(2026, 10, day, hour, minute, second, tzinfo=UTC)


def test_nothing_runs_that_was_due_before_the_schedule_was_first_seen(
    alone: Callable[..., Alone], tmp_path: Path
) -> None:
    one = alone(grace_seconds=86_400, overlap="allow")
    one.look(at(23, 20, 0, 30))
    assert one.became() == {}
    one.look(at(23, 22))
    assert one.became() == {"23T2100": "submitted", "23T2200": "submitted"}
    # Nor by another expression, whose ticks were not announced then: only from now on.
    other = Alone(
        configured(
            str(tmp_path),
            tmp_path,
            schedules={"s": one.config.schedules["s"].model_dump(exclude_unset=True) | {"cron": "*/20 * * * *"}},
        ),
        one.clock,
    )
    other.look(at(23, 23, 30))
    assert len(other.became()) == 2
    other.look(at(23, 23, 40))
    assert list(other.became())[2:] == ["23T2340"]


def test_after_a_long_absence_what_is_within_the_grace_runs_and_the_rest_is_missed(alone: Callable[..., Alone]) -> None:
    one = alone(cron="*/10 * * * *", grace_seconds=1800, overlap="allow")
    one.look(at(1, 0))
    one.look(at(1, 0, 10))
    one.restart()
    one.look(at(8, 0, 5))  # after 7 days
    became = one.became()
    assert [tick for tick, what in became.items() if what == "submitted"] == [
        "01T0010",
        "07T2340",
        "07T2350",
        "08T0000",
    ]
    missed = {tick: decision for tick, (decision, _) in records(one.config)["s"].items() if decision.decision == "miss"}
    assert [decision.ticks for decision in missed.values()] == [984] + [1] * 20
    assert min(missed) == at(7, 20, 10, 0)  # the last of those that share a record
    assert {decision.reason for decision in missed.values()} == {"no scheduler was at work within the grace"}
    series = one.series()
    assert series["ticks_total", "missed"] == 7 * 144 - 1 - 3
    assert series["ticks_total", "submitted"] == 3
    assert set(one.table.starts.values()) == {1}


def test_an_outage_of_the_cluster_is_waited_out_as_long_as_the_grace(
    alone: Callable[..., Alone], caplog: pytest.LogCaptureFixture
) -> None:
    one = alone(grace_seconds=1800, overlap="allow")
    one.look(at(23, 20, 30))
    one.table.down = lambda: True
    for minute in (0, 10, 20):
        assert not one.look(at(23, 21, minute))
    assert one.became() == {"23T2100": "submit"}
    assert one.series()["errors_total",] == 3
    assert one.series()["next_tick_timestamp_seconds",] == at(23, 21, 0, 0).timestamp()
    assert [record.message for record in caplog.records] == [
        "schedule s: http://127.0.0.1:8265 does not answer; the next look tries again"
    ]
    one.table.down = lambda: False
    assert one.look(at(23, 21, 29))
    assert one.became() == {"23T2100": "submitted"}
    assert one.series()["last_tick_timestamp_seconds",] == at(23, 21, 0, 0).timestamp()
    # The next one outlasts the grace; while it lasts nobody can know whether a tick was submitted.
    one.table.down = lambda: True
    one.look(at(23, 22))
    assert not one.look(at(24, 0, 20))
    one.table.down = lambda: False
    one.look(at(24, 0, 25))
    assert one.became() == {"23T2100": "submitted", "23T2200": "failed", "23T2300": "miss", "24T0000": "submitted"}
    _, outcome = records(one.config)["s"][at(23, 22, 0, 0)]
    assert outcome is not None
    assert outcome.reason == "http://127.0.0.1:8265 does not answer"
    assert one.series()["ticks_total", "failed"] == 1
    assert sum(one.table.starts.values()) == 2


def test_one_that_was_killed_after_it_submitted_is_believed_later(alone: Callable[..., Alone]) -> None:
    """It could not say so before the grace had passed, and the cluster may have forgotten the job since."""
    for hour, forgotten in ((21, False), (22, True)):
        one = alone(grace_seconds=600)
        one.look(at(23, hour - 1, 30))
        one.scheduler.watches[0]._state.conclude = lambda *_: sys.exit()  # type: ignore[method-assign]
        with pytest.raises(SystemExit):
            one.look(at(23, hour))
        assert one.became()[f"23T{hour}00"] == "submit"
        one.table.pass_time()
        if forgotten:
            one.table.forgotten.update(one.table.jobs)
        one.restart()
        one.clock.now += 30 * MINUTE
        one.look()
        assert one.became()[f"23T{hour}00"] == "submitted"
        assert set(one.table.starts.values()) == {1}


def test_what_the_cluster_has_forgotten_is_read_from_the_output(alone: Callable[..., Alone]) -> None:
    one = alone(incremental=True)
    one.look(at(23, 20, 30))
    one.look(at(23, 21))
    one.clock.now += 15 * MINUTE
    one.table.pass_time()
    one.table.forgotten.update(one.table.jobs)
    one.look(at(23, 22))
    first, second = one.table.jobs.values()
    assert first.submission.options == []
    assert second.submission.options == [f"--previous={first.submission.output}"]
    # Lost with its cluster, it neither runs nor succeeded: the next goes on from the one before.
    one.table.forgotten.update(one.table.jobs)
    one.minutes["isofleet-s-20261023T2200Z"] = 1000
    second.end += 1000 * MINUTE
    one.restart()
    one.look(at(23, 23))
    assert list(one.became().values()) == ["submitted"] * 3
    assert list(one.table.jobs.values())[2].submission.options == [f"--previous={first.submission.output}"]


def test_an_earlier_job_that_does_not_stop_holds_its_replacement_up(alone: Callable[..., Alone]) -> None:
    one = alone(overlap="replace", grace_seconds=600)
    one.minutes = {"isofleet-s-20261023T2100Z": 500}
    one.look(at(23, 20, 30))
    one.look(at(23, 21))
    stubborn = one.table.jobs["isofleet-s-20261023T2100Z"]
    one.table.stop = lambda submission_id: None  # type: ignore[method-assign]
    one.look(at(23, 22))
    one.look(at(23, 22, 9))
    assert one.became() == {"23T2100": "submitted", "23T2200": "submit"}
    one.look(at(23, 22, 11))
    assert one.became()["23T2200"] == "failed"
    assert records(one.config)["s"][at(23, 22, 0, 0)][1].reason == "isofleet-s-20261023T2100Z did not stop"  # type: ignore[union-attr]
    # Two ticks later it is still known, and stopped.
    del one.table.stop
    one.look(at(23, 23))
    assert stubborn.stopped
    one.look(at(23, 23, 0, 20))
    assert one.became()["23T2300"] == "submitted"


def test_years_of_ticks_are_not_read_again(alone: Callable[..., Alone], monkeypatch: pytest.MonkeyPatch) -> None:
    one = alone(cron="*/5 * * * *", grace_seconds=600, overlap="allow")
    one.look(at(1, 0))
    one.look(at(1, 0, 5))
    folder = Path(str(one.config.scheduler.state)) / "s"
    (like,) = folder.glob("2*Z.json")
    decision = like.read_bytes()
    outcome = like.with_name(like.name.replace(".json", ".outcome.json")).read_bytes()
    for number in range(6000):  # three weeks
        tick = tick_id(at(1, 0, 10) + 5 * number * MINUTE)
        (folder / f"{tick}.json").write_bytes(decision)
        (folder / f"{tick}.outcome.json").write_bytes(outcome)
    last = at(1, 0, 10) + 5 * 5999 * MINUTE
    requests: Counter[str] = Counter()
    listed = 0

    class Counting(LocalStore):
        def list(self, prefix_uri: str, after: str | None = None) -> Iterator[ObjectInfo]:
            nonlocal listed
            for info in super().list(prefix_uri, after):
                listed += 1
                yield info

    monkeypatch.setattr("cluster.store.LocalStore", Counting)
    one.stores = Stores(one.config.store, lambda operation, *_: requests.update([operation]))
    one.restart()
    one.look(last + 7 * MINUTE)
    assert listed < 150  # of 12,000: some intervals back, and then only what is new
    assert requests["get"] < 15
    before = listed
    one.look(last + 8 * MINUTE)
    assert listed - before <= 3
    assert one.became()[f"{last + 5 * MINUTE:%dT%H%M}"] == "submitted"


def test_a_run_by_hand_stands_beside_the_schedules_own(alone: Callable[..., Alone]) -> None:
    one = alone(incremental=True)
    one.look(at(23, 20, 30))
    one.look(at(23, 21))
    (watch,) = one.scheduler.watches
    one.clock.now = at(23, 21, 5)
    with pytest.raises(RunError, match="not run: isofleet-s-20261023T2100Z still runs"):
        watch.run_now(lambda seconds: None)
    one.clock.now = at(23, 21, 30)
    one.table.pass_time()
    one.minutes["isofleet-s-20261023T2130Z"] = 40
    entry = watch.run_now(lambda seconds: None)
    assert entry.job is not None
    assert entry.job.submission_id == "isofleet-s-20261023T2130Z"
    assert entry.job.output.endswith("/out/2026-10-23T2130-20261023T2130Z")
    run = one.table.jobs[entry.job.submission_id]
    assert run.submission.options[0].endswith("/out/2026-10-23T2100")
    with pytest.raises(RunError, match="was run at this minute already"):
        watch.run_now(lambda seconds: None)
    one.look(at(23, 22))  # it still runs
    one.look(at(23, 23))
    assert one.became() == {
        "23T2100": "submitted",
        "23T2105": "skip",
        "23T2130": "submitted",
        "23T2200": "skip",
        "23T2300": "submitted",
    }
    assert one.table.jobs["isofleet-s-20261023T2300Z"].submission.options == [f"--previous={entry.job.output}"]
    one.clock.now = at(24, 0)
    with pytest.raises(RunError, match="has a tick of its own at this minute"):
        watch.run_now(lambda seconds: None)


def test_it_stops_between_two_steps(alone: Callable[..., Alone]) -> None:
    one = alone(cron="*/10 * * * *", grace_seconds=86_400, overlap="allow")
    one.look(at(23, 20, 5))
    stopping = threading.Event()
    submit = one.table.submit
    one.table.submit = lambda submission: (submit(submission), stopping.set())  # type: ignore[assignment,method-assign,func-returns-value]
    one.clock.now = at(23, 23)
    one.scheduler.run(stopping)
    assert one.became() == {"23T2010": "submitted"}
    one.restart()
    one.look()
    assert len(one.became()) == 18
    assert set(one.table.starts.values()) == {1}


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"cron": "0 25 * * *"}, "schedules.s.cron: '0 25 * * *' is no cron expression: bad hour."),
        ({"time_zone": "Berlin"}, "schedules.s.time_zone: 'Berlin' is no IANA time zone; did you mean Europe/Berlin?."),
        ({"output": "s3://shop/{tick:%Y}"}, "schedules.s.output: gives the ticks 2025-01-10 01:00 +0000 and"),
        ({"output": "ftp://shop/{tick:%Y-%m-%dT%H}"}, "schedules.s.output: 'ftp://shop/"),
        ({"catalog": "ftp://shop"}, "schedules.s.catalog: 'ftp://shop' has an unknown scheme"),
        ({"jitter_seconds": 3600}, "schedules.s.jitter_seconds: must be less than the 3600 seconds between two ticks"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_in_one_sentence(
    alone: Callable[..., Alone], schedule: dict[str, Any], said: str
) -> None:
    with pytest.raises(RequestError) as caught:
        alone(**schedule)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
