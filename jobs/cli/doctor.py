"""The command that looks before a run does: `doctor`.

Works on: its options, and findings. Knows nothing about what is checked.
"""

import json
import os
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.config import DEFAULT_PATH
from cluster.errors import RequestError, RunError
from jobs.cli.options import (
    ConfigOption,
    JsonOption,
    RayAddressOption,
    SetOption,
    WeightsOption,
    bundles,
    configuration,
)

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.doctor.examine import Check
    from jobs.doctor.finding import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}
_SUMMARY = {"ok": "ok", "warning": "warnings", "failure": "failures"}


def doctor(
    catalog: Annotated[str | None, typer.Argument(help="As for reconstruct: can it be listed and read?")] = None,
    output: Annotated[
        str | None, typer.Argument(help="As for reconstruct: could a run commit there? Nothing stays.")
    ] = None,
    address: RayAddressOption = None,
    weights: WeightsOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Check this machine, a cluster, a catalog and an output before a run does, and say what to put right.

    Exit 1 if a run would fail; a warning is what it could live with.

    isofleet doctor

    isofleet doctor s3://shop/photos s3://shop/meshes --address auto
    """
    from rich.console import Console

    from jobs.doctor.examine import examine

    options = {"ray.address": address, "reconstruct.weights": bundles(weights)}
    first, checks = _checks(catalog, output, config, settings, options)
    found: list[Finding] = []
    console = Console(stderr=as_json, highlight=False)
    try:
        with (
            Console(stderr=True).status("checking") as status,
            closing(examine(checks, lambda name: status.update(f"checking {name}"))) as findings,
        ):
            for finding in chain([first], findings):
                found.append(finding)
                _show(console, finding)
    except KeyboardInterrupt:
        raise RunError("stopped; nothing of what was tried stays in OUTPUT.") from None
    counts = Counter[str](finding.state for finding in found)
    console.print(", ".join(f"{counts[state]} {name}" for state, name in _SUMMARY.items()), style="bold")
    if as_json:
        typer.echo(json.dumps({"good": not counts["failure"], "findings": [asdict(finding) for finding in found]}))
    raise typer.Exit(1 if counts["failure"] else 0)


def _checks(
    catalog: str | None, output: str | None, file: Path | None, settings: list[str] | None, options: dict[str, Any]
) -> "tuple[Finding, list[Check]]":
    """What is to be said of the configuration, and the checks that it allows."""
    from jobs.doctor.checks import checks, machine_checks
    from jobs.doctor.finding import failure, ok, sentence

    if file is not None and not file.exists():
        raise RequestError(f"--config {file}: there is no such file.")
    try:
        chosen = configuration(file, settings, options)
    except RequestError as error:
        configuration(Path(os.devnull), settings, options, {})  # raises where the command line is what is wrong
        others = "what depends on it is not checked"
        return failure("configuration", f"{sentence(error)}; {others}"), machine_checks()
    read = file or (DEFAULT_PATH if DEFAULT_PATH.exists() else None)
    what = f"{read} and the environment are" if read else "the defaults hold, and the environment is"
    return ok("configuration", f"{what} well-formed"), checks(chosen, catalog, output)


def _show(console: "Console", finding: "Finding") -> None:
    """A row that wraps on a terminal; elsewhere one line."""
    if not console.is_terminal:
        console.print(f"{finding.state:8} {finding.check}: {finding.message}", markup=False, soft_wrap=True)
        return
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 2))
    row.add_column(width=7)
    row.add_column(width=15)
    row.add_column(overflow="fold")
    row.add_row(Text(finding.state, style=_COLOURS[finding.state]), finding.check, Text(finding.message))
    console.print(row)
