"""The commands that run conversions as jobs of a cluster: `submit`.

Works on: their options. Knows nothing about how anything is done.
"""

from typing import Annotated

import typer


def submit(
    catalog: Annotated[str, typer.Argument(help="As for reconstruct; the cluster must be able to read it.")],
    output: Annotated[str, typer.Argument(help="As for reconstruct; the cluster must be able to write there.")],
    options: Annotated[
        list[str] | None, typer.Argument(help="Options of reconstruct, after --: -- --resolution 128")
    ] = None,
    dashboard: Annotated[
        str, typer.Option(help="The cluster's Jobs API.", envvar="RAY_API_SERVER_ADDRESS")
    ] = "http://127.0.0.1:8265",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the job's log; exit as it does.")] = False,
) -> None:
    """Run `reconstruct` as a job of a Ray cluster, through its Jobs API.

    isofleet submit s3://shop/photos s3://shop/meshes --wait -- --resolution 128
    """
    from jobs import submit

    job = submit.submit(dashboard, catalog, output, options or [])
    typer.echo(job.submission_id)
    if wait:
        raise typer.Exit(submit.follow(job, lambda text: typer.echo(text, nl=False, err=True)))
