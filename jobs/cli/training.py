"""The command that makes a bundle from examples: `train`.

Works on: its options. Knows nothing about how training is done.
"""

from pathlib import Path
from typing import Annotated

import typer

from cluster.errors import RequestError
from jobs.cli.options import ConfigOption, RayAddressOption, configuration


def train(
    bundle: Annotated[Path, typer.Argument(help="Folder to make.")],
    plan: Annotated[Path | None, typer.Option(help="Training configuration (YAML).")] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="One that ships: embedded (the embedded bundle's, the default) or imnet (the paper's)."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Dataset of isofleet prepare, in place of the plan's; its categories are taken.")
    ] = None,
    checkpoints: Annotated[
        str | None, typer.Option(help="Folder or s3:// prefix to go on from; BUNDLE.checkpoints if left out.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Ray workers that share each batch; without, this process trains alone.")
    ] = None,
    gpu: Annotated[
        bool | None, typer.Option("--gpu/--no-gpu", help="Train on GPUs; if there are any, unless said.")
    ] = None,
    address: RayAddressOption = None,
    config: ConfigOption = None,
) -> None:
    """Train a bundle. Interrupted, by Ctrl-C or a lost machine, the same command goes on from the last checkpoint.

    isofleet train bundles/mine

    isofleet train bundles/chairs --preset imnet --data s3://models/chairs-dataset

    isofleet train bundles/mine --plan plan.yaml --workers 4 --address auto --checkpoints s3://models/mine
    """
    from jobs import train
    from jobs.training.plan import read

    if address is not None and workers is None:
        raise RequestError("--address: is for --workers; without, this process trains alone.")
    digest = train.train(
        bundle,
        read(plan, preset, data),
        configuration(config, None, {"ray.address": address}),
        lambda line: typer.echo(line, err=True),
        checkpoints=checkpoints,
        workers=workers,
        gpu=gpu,
    )
    typer.echo(f"{bundle}: digest {digest}")
