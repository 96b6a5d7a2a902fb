"""The commands that show and import weights bundles: `weights info` and `weights import`.

Works on: their options. Knows nothing about how anything is done.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from cluster.errors import RequestError
from jobs.cli.options import ConfigOption, configuration


def info(
    bundle: Annotated[str, typer.Argument(help="Folder, s3:// prefix or 'embedded'.")] = "embedded",
    config: ConfigOption = None,
) -> None:
    """Print what a bundle is: its configuration, digest and sizes.

    isofleet weights info

    isofleet weights info s3://models/chairs
    """
    from cluster.store import Stores
    from workers import weights

    loaded = weights.load(bundle, Stores(configuration(config, None, {}).store))
    parameters = {
        part: sum(value.numel() for value in module.parameters())
        for part, module in (("encoder", loaded.encoder), ("decoder", loaded.decoder))
    }
    described = {"digest": loaded.digest, "parameters": parameters, **loaded.config.model_dump(mode="json")}
    typer.echo(json.dumps(described, indent=2, ensure_ascii=False))


def import_(
    file: Annotated[Path, typer.Argument(help="State dict (.pth) of the IM-NET-pytorch layout.")],
    bundle: Annotated[Path, typer.Argument(help="Folder to make.")],
    family: Annotated[
        Literal["imnet-2019", "imnet-improved"], typer.Option(help="The decoder's family.")
    ] = "imnet-improved",
    framing: Annotated[Literal["crop", "fit"], typer.Option(help="crop is the paper's.")] = "crop",
    category: Annotated[list[str] | None, typer.Option(help="What it was trained on; repeat.")] = None,
) -> None:
    """Make a bundle from upstream weights. Only tensors are read: nothing in FILE is ever run.

    isofleet weights import IM-SVR.pth bundles/mine --family imnet-improved --category chair
    """
    from workers import weights
    from workers.images import Framing

    if bundle.exists() and any(bundle.iterdir()):
        raise RequestError(f"{bundle}: is not empty; name a new folder.")
    made = weights.import_state_dict(
        file, name=file.stem, family=family, framing=Framing(mode=framing), categories=tuple(category or ())
    )
    typer.echo(f"{bundle}: digest {weights.save(bundle, *made)}")
