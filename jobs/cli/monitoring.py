"""The command that hands out rules and dashboards: `monitoring`.

Works on: its options. Knows nothing about what the files say.
"""

from pathlib import Path
from typing import Annotated

import typer

from cluster import monitoring as shipped


def monitoring(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    runbook: Annotated[
        str, typer.Option(help="Address at which your people read docs/operations.md; alerts link there.")
    ] = shipped.RUNBOOK,
) -> None:
    """Write rules and example configurations for Prometheus and Alertmanager, and dashboards for Grafana.

    isofleet monitoring monitoring/ --runbook https://wiki.example/isofleet/operations
    """
    for path in shipped.write(folder, runbook):
        typer.echo(path)
