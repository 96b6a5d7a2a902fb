"""Options that several commands share, and the configuration that they add up to.

Works on: what was typed. Knows nothing about what the commands do with it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cluster.config import Config, load
from cluster.errors import RequestError
from jobs.cli import completion

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Configuration file; ./ray_config.yaml if there is one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object last, on standard output.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and what it would take; do nothing.")
]
PriceOption = Annotated[
    float | None, typer.Option("--price", min=0, help="With --dry-run: price of one GPU (or CPU) for an hour.")
]
RayAddressOption = Annotated[
    str | None, typer.Option("--address", help="Ray: local, auto, HOST:PORT or ray://HOST:PORT.")
]
WeightsOption = Annotated[
    list[str] | None,
    typer.Option("--weights", help="Bundle (folder, s3:// prefix or 'embedded'), or CATEGORY=BUNDLE, repeated."),
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", help="Mesh format: glb, obj, ply or stl.", autocompletion=completion.mesh_format),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option("--precision", help="What the decoder computes in: auto, float32 or bfloat16."),
]
RefineOption = Annotated[
    int | None,
    typer.Option("--refine", help="Move each vertex closer to the surface by so many steps, 0 to 8; 2 for instance."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override any configuration key, e.g. actors.meshers=4.",
        autocompletion=completion.setting,
    ),
]


# What becomes of the meshes, for `reconstruct` and `remesh`.
FacesOption = Annotated[int | None, typer.Option("--faces", help="Simplify each mesh to at most so many triangles.")]
LodOption = Annotated[
    list[int] | None,
    typer.Option("--lod", help="A coarser level of detail beside each mesh: its most triangles; repeatable."),
]
SmoothOption = Annotated[int | None, typer.Option("--smooth", help="Smooth by so many steps, 10 for instance.")]
SymmetryOption = Annotated[
    bool | None,
    typer.Option("--symmetry/--no-symmetry", help="Make each shape equal to its mirror image, left and right."),
]
UpAxisOption = Annotated[
    str | None,
    typer.Option(
        help="y, as glTF has it, or z, as Blender and CAD have it: obj, ply, stl.", autocompletion=completion.up_axis
    ),
]
MetadataOption = Annotated[
    bool | None, typer.Option("--metadata/--no-metadata", help="Write item, source, run and weights into each GLB.")
]


# What decides the shape of a mesh: parameters of `reconstruct` and `remesh`, and the keys that they override.
_SHAPING = {
    "resolution": "reconstruct.resolution",
    "format": "reconstruct.format",
    "exact": "reconstruct.exact",
    "precision": "reconstruct.precision",
    "refine": "reconstruct.refine",
    "faces": "mesh.faces",
    "lod": "mesh.lod",
    "smooth": "mesh.smooth",
    "symmetry": "mesh.symmetry",
    "up_axis": "mesh.up_axis",
    "metadata": "mesh.metadata",
}


def shaping(given: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides among a command's parameters `given`; no `--lod` at all is an empty list, and overrides nothing."""
    return {key: None if given[name] == [] else given[name] for name, key in _SHAPING.items()}


def configuration(
    path: Path | None,
    settings: list[str] | None,
    options: dict[str, Any],
    environment: Mapping[str, str] = os.environ,
) -> Config:
    """Defaults, file, environment, then `--set`, then the options that were given."""
    return load(path, environment, typed(settings, options))


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


def bundles(given: list[str] | None) -> str | dict[str, str] | None:
    """What `--weights` says: one bundle, or one for each category."""
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    by_category = {}
    for one in given:
        category, equals, bundle = one.partition("=")
        if not equals or not category or not bundle:
            raise RequestError(f"--weights {one}: with several bundles write CATEGORY=BUNDLE for each.")
        by_category[category] = bundle
    return by_category
