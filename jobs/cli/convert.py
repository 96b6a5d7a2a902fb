"""The commands that convert pictures: `reconstruct` and `demo`.

Works on: their options and results. Knows nothing about how anything is done.
"""

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cluster.config import Config
from cluster.errors import RequestError, RunError
from jobs.cli.options import (
    ConfigOption,
    DryRunOption,
    FacesOption,
    FormatOption,
    JsonOption,
    LodOption,
    MetadataOption,
    PrecisionOption,
    PriceOption,
    RayAddressOption,
    RefineOption,
    SetOption,
    SmoothOption,
    SymmetryOption,
    UpAxisOption,
    WeightsOption,
    bundles,
    configuration,
    shaping,
)
from jobs.cli.progress import progress

if TYPE_CHECKING:
    from cluster.discovery import Targets
    from cluster.metrics import DriverMetrics
    from jobs.estimate import Estimate
    from jobs.reconstruct import Result

_Result = TypeVar("_Result")


def reconstruct(
    catalog: Annotated[str, typer.Argument(help="Folder or s3:// prefix of images, or a .parquet or .csv file.")],
    output: Annotated[str, typer.Argument(help="Folder or s3:// prefix to write to; give it again to resume.")],
    weights: WeightsOption = None,
    resolution: Annotated[int | None, typer.Option(help="Samples along each axis, 8 to 1024.")] = None,
    format: FormatOption = None,
    exact: Annotated[bool | None, typer.Option("--exact/--fast", help="Evaluate every sample.")] = None,
    faces: FacesOption = None,
    lod: LodOption = None,
    smooth: SmoothOption = None,
    symmetry: SymmetryOption = None,
    up_axis: UpAxisOption = None,
    metadata: MetadataOption = None,
    precision: PrecisionOption = None,
    refine: RefineOption = None,
    category: Annotated[str | None, typer.Option(help="Category of all images.")] = None,
    limit: Annotated[int | None, typer.Option(help="Take only the first so many images.")] = None,
    max_failed_percent: Annotated[float | None, typer.Option(help="Error budget: exit 1 above it.")] = None,
    address: RayAddressOption = None,
    previous: Annotated[
        list[str] | None,
        typer.Option(help="Earlier output whose unchanged images are not converted again; repeatable."),
    ] = None,
    dry_run: DryRunOption = False,
    price: PriceOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Convert every image of CATALOG into a mesh under OUTPUT, with one manifest row for each.

    isofleet reconstruct photos/ meshes/ --resolution 128

    isofleet reconstruct s3://shop/photos s3://shop/meshes --address auto

    isofleet reconstruct s3://shop/photos s3://shop/tuesday --previous s3://shop/monday --dry-run --price 2.5
    """
    options = {
        "reconstruct.weights": bundles(weights),
        **shaping(locals()),
        "reconstruct.category": category,
        "reconstruct.limit": limit,
        "reconstruct.previous": previous or None,
        "reconstruct.max_failed_percent": max_failed_percent,
        "ray.address": address,
    }
    chosen = configuration(config, settings, options)
    if dry_run:
        _dry_run(catalog, output, chosen, price, as_json)
        return
    if price is not None:
        raise RequestError("--price is for an estimate; give --dry-run with it.")
    result = _run(catalog, output, chosen)
    print_result(result, as_json)
    typer.echo(f"to look at it: isofleet report {shlex.quote(output)}", err=as_json)
    raise typer.Exit(0 if result.within_budget else 1)


def demo(
    output: Annotated[str, typer.Argument(help="Folder to write to.")] = "demo-output",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Run the real job on the embedded pictures with the embedded weights, on this machine.

    isofleet demo demo-output
    """
    from jobs.demo import demo

    chosen = configuration(config, None, {"ray.address": "local"})
    result, page = demo.run(output, chosen, lambda catalog: _run(catalog, output, chosen))
    print_result(result, as_json)
    typer.echo(f"Look at {page} in a browser: each picture beside its mesh.", err=as_json)
    raise typer.Exit(0 if result.within_budget else 1)


def _run(catalog: str, output: str, config: Config) -> "Result":
    from jobs.reconstruct import reconstruct as job

    return perform(config, lambda **told: job(catalog, output, config, **told), lambda: _count(catalog, config))


def _count(catalog: str, config: Config) -> int | None:
    """How many images there are, for a progress bar, which can do without."""
    from cluster.store import StoreError, Stores
    from jobs.catalog import open_catalog

    with suppress(RequestError, RunError, StoreError):  # the run itself will say what is wrong
        return open_catalog(catalog, Stores(config.store), category=None, limit=config.reconstruct.limit).count()
    return None


def perform(config: Config, job: Callable[..., _Result], count: Callable[[], int | None] | None = None) -> _Result:
    """Do a job that is told of progress, metrics, targets and signals, and show these to whoever waits. `count` says
    how many images the job has, if that takes long; it is asked if somebody looks at a progress bar."""
    from cluster.metrics import DriverMetrics
    from jobs.stop import Stop

    metrics, stop = DriverMetrics(), Stop()
    try:
        with stop.on_signals(), _served(metrics, config) as targets, progress(count) as show:
            return job(on_progress=show, metrics=metrics, targets=targets, stop=stop)
    except KeyboardInterrupt:  # a second signal, or one before images are taken up
        raise RunError("stopped; what was committed stays, and the same command resumes it.") from None


@contextmanager
def _served(metrics: "DriverMetrics", config: Config) -> Iterator["Targets | None"]:
    from cluster import discovery

    if not config.metrics.enabled:
        yield None
        return
    with discovery.serve(config.metrics, metrics) as (address, targets):
        typer.echo(f"metrics: {address.url}", err=True)
        yield targets


def print_result(result: "Result", as_json: bool) -> None:
    """Say how a run ended."""
    rate = result.images / result.seconds if result.seconds else 0.0
    resumed = f", {result.shards_resumed} of them from an earlier start" if result.shards_resumed else ""
    earlier = f"{result.carried} carried forward, {result.computed} converted; {result.vanished} vanished since"
    lines = [
        f"{result.ok} meshes and {result.failed} failures from {result.images} images "
        f"in {result.seconds:.1f} s ({rate:.1f} images/s), {result.shards} shards{resumed}",
        *([earlier] if result.carried or result.vanished else []),
        *(f"  {count:6d} {code}" for code, count in result.errors.items()),
        f"manifest: {result.output.rstrip('/')}/manifest/",
    ]
    if not result.within_budget:
        lines.append("The error budget is exceeded: see the manifest's error_code and error_message.")
    for line in lines:
        typer.echo(line, err=as_json)
    if as_json:
        typer.echo(json.dumps(asdict(result)))


def _dry_run(catalog: str, output: str, config: Config, price: float | None, as_json: bool) -> None:
    from jobs.estimate import estimate

    found = estimate(catalog, output, config, price)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    done = f"{found.done} done already, " if found.done else ""
    unknown = f" and {found.sizes_unknown} files of unknown size" if found.sizes_unknown else ""
    typer.echo(
        f"{found.images} images in {found.shards} shards: {done}{found.new} new, {found.changed} changed, "
        f"{found.carried} carried forward, {found.unusable} unusable; {found.vanished} vanished"
    )
    typer.echo(f"to convert: {found.compute} images of {found.bytes} bytes{unknown}")
    print_cost(found)


def print_cost(found: "Estimate") -> None:
    """Say what a run would take, or why that is not known."""
    if found.device_hours is None:
        typer.echo(f"no estimate: {found.why_not}")
    elif found.measured_by:
        kind = "CPU" if found.device == "CPU" else "GPU"
        cost = "" if found.cost is None else f", {found.cost:.2f} at {found.price_per_hour:g} an hour"
        typer.echo(
            f"about {found.points} decoder points and {found.device_hours:.3g} {kind}-hours ({found.device}){cost}, as "
            f"measured at resolution {found.resolution} by {', '.join(found.measured_by)}"
        )
