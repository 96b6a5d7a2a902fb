"""The command that makes a bundle from examples: `train`.

Works on: its options. Knows nothing about how training is done.
"""

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import ConfigOption, configuration


def train(
    bundle: Annotated[Path, typer.Argument(help="Folder to make.")],
    plan: Annotated[Path | None, typer.Option(help="Training configuration (YAML).")] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="One that ships: embedded (the embedded bundle's, the default) or imnet (the paper's)."),
    ] = None,
    checkpoints: Annotated[
        str | None, typer.Option(help="Folder or s3:// prefix to go on from; BUNDLE.checkpoints if left out.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Train a bundle. Interrupted, by Ctrl-C or a lost machine, the same command goes on from the last checkpoint.

    isofleet train bundles/mine

    isofleet train bundles/mine --plan plan.yaml --checkpoints s3://models/mine
    """
    from jobs import train
    from jobs.training.plan import read

    settings = configuration(config, None, {})
    digest = train.train(bundle, read(plan, preset), settings, lambda line: typer.echo(line, err=True), checkpoints)
    typer.echo(f"{bundle}: digest {digest}")
