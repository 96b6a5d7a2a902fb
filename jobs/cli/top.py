"""The command that watches a run: `top`.

Works on: its options, and frames. Knows nothing about where a frame's numbers come from.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.config import Config
from cluster.errors import RequestError, RunError
from jobs.cli.operate import AddressOption, CaBundleOption, VerifyOption, reach
from jobs.cli.options import ConfigOption, configuration

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

    from jobs.top import Frame, Watch

_STARTING = "the driver has not taken its run up yet"


def top(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="The address that the driver printed (metrics: http://…), or a job's id."),
    ],
    once: Annotated[bool, typer.Option("--once", help="Show one frame and end.")] = False,
    every: Annotated[float, typer.Option(min=0.5, max=3600, help="Seconds between two frames.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print each frame as one JSON object on a line.")] = False,
    address: AddressOption = None,
    ca_bundle: CaBundleOption = None,
    verify: VerifyOption = None,
    config: ConfigOption = None,
) -> None:
    """Watch a run: images, rate and time left, queues, stages, and the actors and GPUs of each node.

    It goes on until the driver ends, says how, and exits as the run did. Ctrl-C ends the watching alone.

    isofleet top http://127.0.0.1:9410/metrics

    isofleet top isofleet-0123456789abcdef --address http://head:8265

    isofleet top 127.0.0.1:9410 --once --json
    """
    from rich.console import Console
    from rich.live import Live

    from jobs.top import Gone, Watch

    chosen = configuration(config, None, reach(address, ca_bundle, verify))
    watch = Watch(run if ":" in run else _address_of(run, chosen))
    last: Frame | None = None
    console = Console(highlight=False)
    live = console.is_terminal and not once and not as_json
    try:
        with Live(console=console, auto_refresh=False, screen=False) as screen:
            while True:
                last = frame = watch.look() or last
                if as_json:
                    typer.echo(json.dumps(frame and asdict(frame)))
                elif live:
                    screen.update(_picture(frame, bar=True) if frame else _STARTING, refresh=True)
                else:
                    console.print(_picture(frame) if frame else _STARTING)
                if once:
                    return
                time.sleep(every)
    except KeyboardInterrupt:
        return
    except Gone as error:
        if last is None:
            raise RequestError(_nobody(watch, run, str(error))) from error
    raise typer.Exit(_say_end(last, chosen, as_json))


def _address_of(job: str, config: Config) -> str:
    """Where the driver of a job listens: it prints that into the job's log."""
    from jobs.ray_jobs import RayJobs
    from jobs.top import printed_address

    address = printed_address(RayJobs(config.submit).log(job))
    if address is None:
        raise RequestError(f"the driver of {job} has not printed where its metrics are; are they on (metrics.enabled)?")
    return address


def _nobody(watch: "Watch", run: str, reason: str) -> str:
    """The sentence for an address at which nobody is."""
    if watch.base.startswith("http://127.") and ":" not in run:
        return (
            f"the driver of {run} listens at {watch.base} of its own machine, which is not this one, or it has ended; "
            "metrics.host lets others read them, and isofleet status says how far it is."
        )
    return (
        f"nobody answers at {watch.base} ({reason}); give the address that a driver prints when it begins, while it "
        "runs: afterwards isofleet status OUTPUT says how it ended."
    )


def _say_end(last: "Frame | None", config: Config, as_json: bool) -> int:
    """Say how a run ended whose driver has gone, as its output tells. Returns the exit status."""
    from cluster.store import Stores
    from jobs.status import status

    assert last is not None
    try:
        end = status(Stores(config.store), last.output, datetime.now(UTC))
    except (RequestError, RunError) as error:
        raise RunError(f"the driver has gone, and how its run ended cannot be seen from here: {error}") from error
    finished = end.state == "finished"
    if finished:
        said = f"the run has ended: {end.ok} ok, {end.failed} failed of {end.images} images in {end.output}"
    else:
        known = f"{end.images} of {end.images_planned} images" + ("" if end.planned else " listed so far")
        said = f"the driver has gone and the run is not finished: {known} are committed; the same command resumes it"
    typer.echo(said, err=as_json)
    return 0 if finished else 1


def _picture(frame: "Frame", bar: bool = False) -> "Group":
    from rich.console import Group
    from rich.text import Text

    up = timedelta(seconds=round(max(0.0, frame.at - frame.started)))
    title = Text(f"run {frame.run_id}", style="bold")
    title.append(f"  resolution {frame.resolution}, {frame.format}, up {up}", style="not bold")
    return Group(title, Text(frame.output, overflow="fold"), Text(), _progress(frame, bar), Text(), *_tables(frame))


def _progress(frame: "Frame", bar: bool) -> "Table":
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    rate = f"{frame.rate:.3g} images/s" if frame.rate else "no rate yet"
    left = "" if frame.seconds_left is None else f", {timedelta(seconds=round(frame.seconds_left))} for those listed"
    failed = f"[red]{frame.failed} failed[/red]" if frame.failed else "0 failed"
    carried = f", {frame.carried} carried" if frame.carried else ""
    queues = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in frame.queues.items() if count)
    rows = Table.grid(padding=(0, 2))
    if bar:
        rows.add_row("", ProgressBar(total=max(frame.planned, 1), completed=frame.done, width=40))
    rows.add_row("images", f"{frame.done:,} of {frame.planned:,} listed so far: {frame.ok:,} ok, {failed}{carried}")
    rows.add_row("rate", f"{rate}{left}")
    rows.add_row("shards", f"{frame.shards:,} of {frame.shards_planned:,} listed so far")
    rows.add_row("in flight", f"{frame.in_flight:,}" + (f": {queues}" if queues else ""))
    errors = f"[red]{frame.store_errors:,} errors[/red]" if frame.store_errors else "0 errors"
    rows.add_row(
        "store",
        f"{frame.store_requests:,} requests, {errors}, {frame.store_retries:,} retries, "
        f"{_size(frame.bytes_received)} in, {_size(frame.bytes_sent)} out",
    )
    actors = ", ".join(f"{count} {pool}{'s' * (count != 1)}" for pool, count in frame.actors.items())
    restarts = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in frame.restarts.items())
    rows.add_row("actors", actors + (f"; restarts: [yellow]{restarts}[/yellow]" if restarts else "; no restarts"))
    return rows


def _tables(frame: "Frame") -> "Iterable[RenderableType]":
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    stages = Table("stage", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("images", "mean", "p95"):
        stages.add_column(heading, justify="right")
    for name, stage in frame.stages.items():
        stages.add_row(name, f"{stage.images:,}", _milliseconds(stage.mean), _milliseconds(stage.p95))
    yield stages
    yield Text()
    nodes = Table("node", "cpu", "memory", "gpu", "actors", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for node in frame.nodes:
        if not node.answers:
            nodes.add_row(escape(node.name), "[red]no answer[/red]")
            continue
        gpus = "\n".join(
            f"{gpu.index}: {'' if gpu.busy is None else f'{gpu.busy:.0%}, '}{_share(gpu.memory_used, gpu.memory_total)}"
            for gpu in node.gpus
        )
        actors = "\n".join(
            f"{of.count} {name}{'s' * (of.count != 1)}, {_size(of.resident)}" for name, of in node.actors.items()
        )
        memory = _share(node.memory_used, node.memory_total)
        nodes.add_row(escape(node.name), f"{node.cpu:.0%}", memory, gpus or "none", actors)
    if not frame.nodes:
        nodes.add_row("no exporter answers yet")
    yield nodes


def _share(used: float, total: float) -> str:
    return f"{used / 1e9:.1f} of {total / 1e9:.1f} GB"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"
