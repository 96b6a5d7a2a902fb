"""Options that several commands share, and the configuration that they add up to.

Works on: what was typed. Knows nothing about what the commands do with it.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from cluster.config import Config, load
from cluster.errors import RequestError

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Configuration file; ./ray_config.yaml if there is one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object last, on standard output.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override any configuration key, e.g. actors.meshers=4."),
]


def configuration(path: Path | None, settings: list[str] | None, options: dict[str, Any]) -> Config:
    """Defaults, file, environment, then `--set`, then the options that were given."""
    return load(path, os.environ, typed(settings, options))


def typed(settings: list[str] | None, options: dict[str, Any]) -> dict[str, Any]:
    """The keys that the command line gives, by `--set` or by an option of their own, which wins."""
    import yaml

    overrides: dict[str, Any] = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise RequestError(f"--set {setting}: write KEY=VALUE, e.g. actors.meshers=4.")
        try:
            overrides[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RequestError(f"--set {key}: the value is not YAML.") from error
    return overrides | {key: value for key, value in options.items() if value is not None}
