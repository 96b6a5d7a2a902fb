"""The commands that look at what a run has made, and mend it: `verify`, `retry-failed`.

Works on: their options and results. Knows nothing about how anything is done.
"""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from jobs.cli.convert import perform, print_result
from jobs.cli.options import ConfigOption, JsonOption, SetOption, configuration

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


def retry_failed(
    output: Annotated[str, typer.Argument(help="Folder or s3:// prefix of a finished run.")],
    code: Annotated[
        list[str] | None, typer.Option(help="Only images that failed with this code (docs/manifest.md); repeatable.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Ray: local, auto, HOST:PORT or ray://HOST:PORT.")] = None,
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
