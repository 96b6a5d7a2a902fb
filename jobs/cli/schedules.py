"""The commands that run conversions on a schedule: `schedule`, `schedule list`, `schedule run`.

Works on: their options. Knows nothing about how anything is decided.
"""

import json
import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.config import DEFAULT_PATH, Config
from cluster.errors import RequestError, RunError
from jobs.cli.operate import AddressOption
from jobs.cli.options import ConfigOption, JsonOption, SetOption, configuration
from jobs.ticks import from_id

if TYPE_CHECKING:
    from cluster.metrics import SchedulerMetrics
    from jobs.scheduler import Scheduler, Standing

_MINUTE = "%Y-%m-%d %H:%M %z"


def schedule(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, and end: for timers.")] = False,
    address: AddressOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Submit the schedules of ray_config.yaml when they are due, for ever or once.

    isofleet schedule --address http://head:8265

    isofleet schedule --once
    """
    if context.invoked_subcommand is not None:
        command = context.invoked_subcommand
        for name in context.params:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                raise RequestError(f"options go after the command: isofleet schedule {command} --…")
        return
    from cluster import endpoint

    logging.getLogger("jobs.scheduler").setLevel(logging.INFO)
    scheduler, metrics, chosen = _scheduler(config, settings, address)
    stopping = threading.Event()
    with _on_signals(stopping):
        if once:
            raise typer.Exit(0 if scheduler.once(stopping) else 1)
        serve = (
            endpoint.serve(chosen.metrics, metrics.registry, port_key="scheduler_port")
            if chosen.metrics.enabled
            else nullcontext()
        )
        with serve as served:
            if served is not None:
                typer.echo(f"metrics: {served.url}", err=True)
            scheduler.run(stopping)


def list_(
    ticks: Annotated[int, typer.Option("--next", min=1, max=1000, help="How many of the next runs to show.")] = 3,
    as_json: JsonOption = False,
    address: AddressOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Show the schedules: each one's last tick, what came of it, and its next runs.

    isofleet schedule list --next 5
    """
    from cluster.store import StoreError

    scheduler, *_ = _scheduler(config, settings, address)
    try:
        shown = _standings(scheduler, ticks)
    except StoreError as error:
        raise RunError(f"the schedules' state cannot be read: {error}.") from error
    if as_json:
        typer.echo(json.dumps({"schedules": [_as_json(standing) for standing in shown]}))
    else:
        typer.echo("\n\n".join(_as_text(standing) for standing in shown))


def _standings(scheduler: "Scheduler", ticks: int) -> "list[Standing]":
    from jobs.scheduler import ClusterError

    shown = []
    answers = True
    for watch in scheduler.watches:
        try:
            shown.append(watch.standing(ticks, answers))
        except ClusterError as error:
            typer.echo(f"isofleet: {error}", err=True)
            answers = False
            shown.append(watch.standing(ticks, answers))
    return shown


def run(
    name: Annotated[str, typer.Argument(help="The schedule's name in ray_config.yaml.")],
    address: AddressOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Submit a schedule now, beside its own ticks but under the same overlap; print the job's id.

    isofleet schedule run nightly
    """
    from cluster.store import StoreError

    scheduler, *_ = _scheduler(config, settings, address)
    watch = next((watch for watch in scheduler.watches if watch.schedule.name == name), None)
    if watch is None:
        names = ", ".join(watch.schedule.name for watch in scheduler.watches)
        raise RequestError(f"{name} is not a schedule; there are {names}.")
    try:
        entry = watch.run_now(time.sleep)
    except StoreError as error:
        raise RunError(f"{error}.") from error
    assert entry.job is not None
    assert entry.outcome is not None
    if entry.outcome.outcome == "failed":
        raise RunError(f"{entry.job.submission_id} was not submitted: {entry.outcome.reason}.")
    typer.echo(entry.job.submission_id)


def _scheduler(
    config: Path | None, settings: list[str] | None, address: str | None
) -> "tuple[Scheduler, SchedulerMetrics, Config]":
    from cluster.metrics import SchedulerMetrics
    from cluster.store import Stores
    from jobs.schedule import schedules
    from jobs.schedule_cluster import ScheduledJobs
    from jobs.scheduler import Scheduler

    chosen = configuration(config, settings, {"submit.address": address})
    metrics = SchedulerMetrics()
    jobs = ScheduledJobs(chosen, config or (DEFAULT_PATH if DEFAULT_PATH.exists() else None))
    return Scheduler(schedules(chosen), chosen.scheduler, Stores(chosen.store), jobs, metrics), metrics, chosen


@contextmanager
def _on_signals(stopping: threading.Event) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the loop between two steps; a second one ends it where it is."""

    def stop(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_text(standing: "Standing") -> str:
    schedule = standing.schedule
    settings, zone = schedule.settings, schedule.cron.zone
    lines = [f"{schedule.name}: {settings.cron} ({settings.time_zone}), overlap {settings.overlap}"]
    if standing.last is None:
        seen = standing.first_seen
        lines.append(
            f"  last  none since {seen.astimezone(zone):{_MINUTE}}" if seen else "  last  none; never seen yet"
        )
    else:
        said = _said(standing)
        lines.append(f"  last  {standing.last.tick.astimezone(zone):{_MINUTE}}  {', '.join(said)}")
        if standing.last.job is not None:
            lines.append(f"        {standing.last.job.submission_id} to {standing.last.job.output}")
    if standing.last_success is not None:
        success = standing.last_success
        lines.append(f"  last success  {from_id(success.tick).astimezone(zone):{_MINUTE}}  {success.output}")
    lines += [f"  next  {tick.astimezone(zone):{_MINUTE}}  ({tick:%Y-%m-%d %H:%M} UTC)" for tick in standing.next]
    return "\n".join(lines)


def _said(standing: "Standing") -> list[str]:
    """What became of the last tick, in a few words."""
    assert standing.last is not None
    last = standing.last
    said = [last.what + (" by hand" if last.decision.manual else "")]
    if reason := last.decision.reason or (last.outcome.reason if last.outcome else ""):
        said.append(reason)
    if last.decision.ticks > 1:
        said.append(f"with {last.decision.ticks - 1} ticks before it")
    if last.job is not None:
        said += filter(None, [standing.job_state, "succeeded" if standing.succeeded else None])
    return said


def _as_json(standing: "Standing") -> dict[str, Any]:
    settings, last, success = standing.schedule.settings, standing.last, standing.last_success
    return {
        "schedule": standing.schedule.name,
        "cron": settings.cron,
        "time_zone": settings.time_zone,
        "overlap": settings.overlap,
        "first_seen": standing.first_seen.isoformat() if standing.first_seen else None,
        "last": last
        and {
            "tick": last.tick.isoformat(),
            "outcome": last.what,
            "reason": last.decision.reason or (last.outcome.reason if last.outcome else ""),
            "manual": last.decision.manual,
            "submission_id": last.job.submission_id if last.job else None,
            "output": last.job.output if last.job else None,
            "job_state": standing.job_state,
            "succeeded": standing.succeeded,
        },
        "last_success": success and {"tick": from_id(success.tick).isoformat(), "output": success.output},
        "next": [tick.astimezone(standing.schedule.cron.zone).isoformat() for tick in standing.next],
    }
