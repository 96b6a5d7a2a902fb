"""The command `prepare`: from a collection of shapes to a dataset.

Works on: its options and its result. Knows nothing about how anything is done.
"""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cluster.errors import RunError
from jobs.cli.options import ConfigOption, DryRunOption, JsonOption, RayAddressOption, SetOption, configuration
from jobs.cli.progress import progress

if TYPE_CHECKING:
    from jobs.prepare import Estimate, Result

_Axis = Literal["+x", "-x", "+y", "-y", "+z", "-z"]


def prepare(
    source: Annotated[str, typer.Argument(help="Folder or s3:// prefix of shapes, a .zip of one, or a .hdf5 file.")],
    dataset: Annotated[str, typer.Argument(help="Folder or s3:// prefix to write to; give it again to resume.")],
    kind: Annotated[
        Literal["shapenet-v2", "shapenet-v1", "meshes", "hdf5"] | None,
        typer.Option(help="What SOURCE is; by its layout if left out."),
    ] = None,
    category: Annotated[list[str] | None, typer.Option(help="Take this category, a name or a synset; repeat.")] = None,
    renderings: Annotated[
        str | None, typer.Option(help="3D-R2N2's pictures of ShapeNet's models, in place of our own.")
    ] = None,
    up: Annotated[_Axis, typer.Option(help="Which way is up in a folder of meshes.")] = "+y",
    front: Annotated[_Axis, typer.Option(help="Which way their front looks.")] = "-z",
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first so many shapes.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other views and points.")] = 0,
    max_failed_percent: Annotated[float | None, typer.Option(help="Error budget: exit 1 above it.")] = None,
    address: RayAddressOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Prepare every shape of SOURCE for training: pictures, voxels and points in a DATASET, with one row for each.

    isofleet prepare ShapeNetCore.v2/ chairs/ --category chair

    isofleet prepare ShapeNetCore.v1/ s3://lab/r2n2 --renderings ShapeNetRendering/

    isofleet prepare s3://shop/cad s3://lab/cad --up +z --front -y --dry-run
    """
    from jobs import prepare as job
    from jobs.shapes import Asked

    options = {"prepare.max_failed_percent": max_failed_percent, "ray.address": address}
    chosen = configuration(config, settings, options)
    asked = Asked(kind, up, front, renderings, tuple(category or ()), limit, seed)
    if dry_run:
        _print_estimate(job.estimate(source, dataset, chosen, asked), as_json)
        return
    from jobs.stop import Stop

    stop = Stop()
    try:
        with stop.on_signals(), progress(items="shapes") as show:
            result = job.prepare(source, dataset, chosen, asked, on_progress=show, stop=stop)
    except KeyboardInterrupt:  # a second signal, or one before shapes are taken up
        raise RunError("stopped; what was committed stays, and the same command resumes it.") from None
    print_result(result, as_json)
    raise typer.Exit(0 if result.within_budget else 1)


def _print_estimate(found: "Estimate", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    done = f", {found.done} shapes done already" if found.done else ""
    unusable = f", {found.unusable} with an id that another has" if found.unusable else ""
    size = f", {found.bytes / 1e6:,.1f} MB" if found.bytes else ""
    typer.echo(f"{found.kind}: {found.shapes} shapes in {found.shards} shards{size}{done}{unusable}")
    _print_counts(found.categories)


def print_result(result: "Result", as_json: bool) -> None:
    """Say how a preparation ended."""
    resumed = f", {result.shards_resumed} of them from an earlier start" if result.shards_resumed else ""
    typer.echo(
        f"{result.ok} shapes and {result.failed} failures in {result.seconds:.1f} s, {result.shards} shards{resumed}",
        err=as_json,
    )
    for code, count in result.errors.items():
        typer.echo(f"{count:>8}  {code}", err=as_json)
    for split, counts in result.splits.items():
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        typer.echo(f"{split}: {told or 'none'}", err=as_json)
    typer.echo(f"dataset: {result.dataset}", err=as_json)
    if as_json:
        typer.echo(json.dumps(asdict(result)))


def _print_counts(categories: dict[str, int]) -> None:
    for name, count in categories.items():
        typer.echo(f"{count:>8}  {name}")
