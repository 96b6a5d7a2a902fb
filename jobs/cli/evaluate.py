"""The command that says how good a bundle is: `evaluate`.

Works on: its options and what it prints. Knows nothing about how anything is measured.
"""

import json
from typing import Annotated, Any

import typer

from cluster.errors import RequestError
from jobs.cli.options import ConfigOption, JsonOption, SetOption, configuration
from jobs.cli.progress import counting


def evaluate(
    bundle: Annotated[str, typer.Argument(help="Folder, s3:// prefix or 'embedded'.")],
    output: Annotated[str, typer.Argument(help="Folder or s3:// prefix for the report and its data.")],
    data: Annotated[
        str,
        typer.Option(
            help="'procedural', made-up objects that training never sees; or a folder or s3:// prefix: a dataset of "
            "isofleet prepare, or CATEGORY/ID/*.png beside CATEGORY/ID/model.binvox, as 3D-R2N2 has them."
        ),
    ] = "procedural",
    against: Annotated[str | None, typer.Option(help="Another bundle, to be measured on the same pictures.")] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Only this category; repeat. Procedural: those of the weights if left out.")
    ] = None,
    objects: Annotated[
        int | None, typer.Option(min=1, help="At most so many objects. Procedural: 256 if left out; else all.")
    ] = None,
    training: Annotated[
        int, typer.Option(min=0, help="Training objects that the two baselines know; 0 leaves the baselines out.")
    ] = 1024,
    checkpoints: Annotated[
        str | None, typer.Option(help="Checkpoints of the training, to measure its autoencoder, too.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Measure how well a bundle reconstructs objects whose shape is known: IoU, Chamfer distances, F-score, pieces.

    isofleet evaluate embedded evaluation/

    isofleet evaluate bundles/mine evaluation/ --against embedded

    isofleet evaluate bundles/mine evaluation/ --data s3://lab/chairs
    """
    from jobs.evaluate import evaluate as measure

    chosen = configuration(config, settings, {})
    if against == bundle:
        raise RequestError(f"--against {against}: is the same bundle; name another one.")
    with counting("measured") as show:
        facts = measure(
            bundle, output, chosen, data=data, against=against, categories=category or (), objects=objects,
            training=training, checkpoints=checkpoints, report=lambda line: typer.echo(line, err=True),
            on_progress=show,
        )  # fmt: skip
    for line in _table(facts):
        typer.echo(line, err=as_json)
    typer.echo(f"{output}: index.html, metrics.json, items.parquet", err=as_json)
    if as_json:
        typer.echo(json.dumps({"output": output, "means": _means(facts), "gains": facts["gains"]}))


def _means(facts: dict[str, Any]) -> dict[str, Any]:
    return {method: cells["mean"] for method, cells in facts["methods"].items()}


def _table(facts: dict[str, Any]) -> list[str]:
    """Lines for a terminal: the methods' IoU by category, then what else the bundles are measured by."""
    methods = facts["methods"]
    categories = list(methods["bundle"])
    names = {"bundle": facts["bundle"]["name"], "against": (facts["against"] or {}).get("name", "")}
    names |= {method: method.replace("_", " ") for method in methods if method not in names}
    wide = max(len(name) for name in (*categories, "category"))
    lines = ["IoU".ljust(wide) + "".join(f"  {names[method][:14]:>14}" for method in methods)]
    for category in categories:
        cells = (methods[method].get(category, {}).get("iou") for method in methods)
        lines.append(category.ljust(wide) + "".join(f"  {'–' if one is None else f'{one:.3f}':>14}" for one in cells))
    for method in ("bundle", "against", "autoencoder"):
        if method not in methods:
            continue
        mean = methods[method]["mean"]
        told = [
            f"{label} {mean[key]:.{digits}f}"
            for key, label, digits in (
                ("chamfer_l1", "Chamfer-L1", 3),
                ("chamfer_l2", "Chamfer-L2", 2),
                ("f_score", "F-score at 1 %", 3),
                ("normal_consistency", "normal consistency", 3),
            )
            if mean[key] is not None
        ]
        told += [f"in one piece {mean['whole']:.0%}", f"{mean['failed']} of {mean['pictures']} without a mesh"]
        lines.append(f"{names[method]}: {', '.join(told)}")
    if gain := facts["gains"].get("against"):
        mean = gain["mean"]
        lines.append(f"{names['bundle']} over {names['against']}: IoU {mean['gain']:+.3f} ± {mean['error']:.3f}")
    return lines
