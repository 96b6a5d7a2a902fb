"""The commands that look at what a run has made, show it, mend it or make more of it: `verify`, `report`,
`retry-failed`, `remesh`.

Works on: their options and results. Knows nothing about how anything is done.
"""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from cluster.errors import RequestError
from jobs.cli import completion
from jobs.cli.convert import perform, print_cost, print_result
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
    bundles,
    configuration,
    shaping,
    typed,
)
from jobs.cli.progress import counting

_MOST_LINES = 100  # more findings than this are counted, not printed


def verify(
    output: Annotated[str, typer.Argument(help="Folder or s3:// prefix of a run.")],
    quick: Annotated[bool, typer.Option("--quick", help="Compare sizes alone; read no mesh.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Check every object of OUTPUT against its manifest and its run record. Exit 1 if anything is wrong.

    isofleet verify s3://shop/meshes
    """
    from cluster.store import Stores
    from jobs.verify import Finding
    from jobs.verify import verify as look

    stores = Stores(configuration(config, settings, {}).store)
    said = 0

    def say(finding: Finding) -> None:
        nonlocal said
        said += 1
        if said <= _MOST_LINES:
            typer.echo(f"{finding.kind}: {finding.uri}: {finding.message}", err=as_json)

    found = look(stores, output, say, quick=quick)
    if said > _MOST_LINES:
        typer.echo(f"… and {said - _MOST_LINES} more", err=as_json)
    how = "by size" if quick else f"by content, {found.bytes_read} bytes"
    problems = ", ".join(f"{count} {kind}" for kind, count in sorted(found.findings.items())) or "nothing is wrong"
    typer.echo(
        f"{found.images} rows in {found.shards} shards, {found.meshes} meshes compared {how}, "
        f"{found.unreferenced} that no row names: {problems}",
        err=as_json,
    )
    if as_json:
        typer.echo(json.dumps({**asdict(found), "good": found.good}))
    raise typer.Exit(0 if found.good else 1)


def report(
    output: Annotated[str, typer.Argument(help="Folder or s3:// prefix of a run, finished or not.")],
    limit: Annotated[
        int, typer.Option(min=1, help="Show at most so many images: every category, failures first, evenly chosen.")
    ] = 5000,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Write a page with every picture beside views of its mesh: OUTPUT/report/index.html.

    It opens from a folder, without a server or a network. The same command again adds what is new.

    isofleet report meshes/

    isofleet report s3://shop/meshes --limit 1000
    """
    from jobs.report.report import report as write

    chosen = configuration(config, settings, {})
    with counting("items") as show:
        written = write(output, chosen, limit=limit, on_progress=show)
    missing = "".join(f"; {count} {reason}" for reason, count in sorted(written.missing.items()))
    kept = f", {written.sheets_kept} of {written.sheets} sheets from before" if written.sheets_kept else ""
    typer.echo(f"{written.items} of {written.images} images shown{kept}{missing}", err=as_json)
    typer.echo(f"report: {written.index}", err=as_json)
    if as_json:
        typer.echo(json.dumps(asdict(written)))


def retry_failed(
    output: Annotated[str, typer.Argument(help="Folder or s3:// prefix of a finished run.")],
    code: Annotated[
        list[str] | None,
        typer.Option(
            help="Only images that failed with this code (docs/reference/errors.md); repeatable.",
            autocompletion=completion.error_code,
        ),
    ] = None,
    address: RayAddressOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Try the failed images of OUTPUT again, as they are now. The good ones are not touched.

    A whole new manifest appears under OUTPUT/retries/00001; the next call tries what failed there.

    isofleet retry-failed s3://shop/meshes --code source_unreadable --code killed_worker
    """
    from jobs.retry import retry_failed as job

    chosen = configuration(config, settings, {"ray.address": address})
    result = perform(chosen, lambda **told: job(output, chosen, code or (), **told))
    if result is None:
        typer.echo(f"{output}: no image failed with a code that can be tried again.", err=as_json)
        if as_json:
            typer.echo("null")
        return
    print_result(result, as_json)
    raise typer.Exit(0 if result.within_budget else 1)


def remesh(
    output: Annotated[str, typer.Argument(help="Folder or s3:// prefix of a finished run.")],
    new_output: Annotated[str, typer.Argument(help="Folder or s3:// prefix to write to; give it again to resume.")],
    resolution: Annotated[int | None, typer.Option(help="Samples along each axis, 8 to 1024.")] = None,
    format: FormatOption = None,
    exact: Annotated[bool | None, typer.Option("--exact/--fast", help="Evaluate every sample.")] = None,
    precision: PrecisionOption = None,
    refine: RefineOption = None,
    faces: FacesOption = None,
    lod: LodOption = None,
    smooth: SmoothOption = None,
    symmetry: SymmetryOption = None,
    up_axis: UpAxisOption = None,
    metadata: MetadataOption = None,
    limit: Annotated[int | None, typer.Option(help="Take only the first so many rows.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Where the weights of OUTPUT lie now: a bundle, or CATEGORY=BUNDLE, repeated."),
    ] = None,
    max_failed_percent: Annotated[float | None, typer.Option(help="Error budget: exit 1 above it.")] = None,
    address: RayAddressOption = None,
    dry_run: DryRunOption = False,
    price: PriceOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Make the meshes of OUTPUT anew in NEW_OUTPUT, from the latents in its manifest: no image is read.

    What is not said here (resolution, format, …) is as it was in OUTPUT.

    isofleet remesh s3://shop/meshes s3://shop/meshes-256 --resolution 256

    isofleet remesh meshes/ for-printing/ --format stl --dry-run
    """
    from jobs.remesh import estimate
    from jobs.remesh import remesh as job

    options = {
        **shaping(locals()),
        "reconstruct.limit": limit,
        "reconstruct.weights": bundles(weights),
        "reconstruct.max_failed_percent": max_failed_percent,
        "ray.address": address,
    }
    asked = typed(settings, options)
    chosen = configuration(config, settings, options)
    if dry_run:
        found = estimate(output, new_output, chosen, asked, price)
        if as_json:
            typer.echo(json.dumps(asdict(found)))
            return
        done = f"{found.done} done already, " if found.done else ""
        typer.echo(
            f"{found.images} rows in {found.shards} shards: {done}{found.compute} to mesh from their latents, "
            f"{found.unusable} without a latent"
        )
        print_cost(found)
        return
    if price is not None:
        raise RequestError("--price is for an estimate; give --dry-run with it.")
    result = perform(chosen, lambda **told: job(output, new_output, chosen, asked, **told))
    print_result(result, as_json)
    raise typer.Exit(0 if result.within_budget else 1)
