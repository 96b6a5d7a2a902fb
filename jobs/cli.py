"""The command `isofleet`: options in, one sentence or a summary out.

Works on: command lines. Knows nothing about how anything is done: each command hands over to its own module.
Exit status: 0 done, 1 the run failed or exceeded its error budget, 2 the request was wrong.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import (  # fmt: skip
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from cluster.config import Config, load
from cluster.errors import RequestError, RunError

# Ray and PyTorch take seconds to import, so a command imports them when it is run: --help answers at once.
if TYPE_CHECKING:
    from cluster.metrics import DriverMetrics
    from jobs.reconstruct import Progress, Result

app = typer.Typer(
    help="Turn catalogs of pictures into catalogs of verified 3D meshes, on a Ray cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
weights_app = typer.Typer(help="Look at and make weights bundles.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(weights_app, name="weights")

_PROGRESS_SECONDS = 30.0  # between two lines where there is no terminal

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Configuration file; ./ray_config.yaml if there is one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object last, on standard output.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override any configuration key, e.g. actors.meshers=4."),
]


@app.command("reconstruct")
def reconstruct_command(
    catalog: Annotated[str, typer.Argument(help="Folder or s3:// prefix of images, or a .parquet or .csv file.")],
    output: Annotated[str, typer.Argument(help="Folder or s3:// prefix to write to; give it again to resume.")],
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Bundle (folder, s3:// prefix or 'embedded'), or CATEGORY=BUNDLE, repeated."),
    ] = None,
    resolution: Annotated[int | None, typer.Option(help="Samples along each axis, 8 to 1024.")] = None,
    format: Annotated[str | None, typer.Option(help="Mesh format: glb, obj, ply or stl.")] = None,
    exact: Annotated[bool | None, typer.Option("--exact/--fast", help="Evaluate every sample.")] = None,
    category: Annotated[str | None, typer.Option(help="Category of all images.")] = None,
    limit: Annotated[int | None, typer.Option(help="Take only the first so many images.")] = None,
    max_failed_percent: Annotated[float | None, typer.Option(help="Error budget: exit 1 above it.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray: local, auto, HOST:PORT or ray://HOST:PORT.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Check the request and count the images; convert none.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Convert every image of CATALOG into a mesh under OUTPUT, with one manifest row for each.

    isofleet reconstruct photos/ meshes/ --resolution 128

    isofleet reconstruct s3://shop/photos s3://shop/meshes --address auto
    """
    options = {
        "reconstruct.weights": _weights(weights),
        "reconstruct.resolution": resolution,
        "reconstruct.format": format,
        "reconstruct.exact": exact,
        "reconstruct.category": category,
        "reconstruct.limit": limit,
        "reconstruct.max_failed_percent": max_failed_percent,
        "ray.address": address,
    }
    chosen = _configuration(config, settings, options)
    if dry_run:
        _dry_run(catalog, chosen, as_json)
        return
    result = _run(catalog, output, chosen)
    _print_result(result, as_json)
    raise typer.Exit(0 if result.within_budget else 1)


@app.command("demo")
def demo_command(
    output: Annotated[str, typer.Argument(help="Folder to write to.")] = "demo-output",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Run the real job on the embedded pictures with the embedded weights, on this machine."""
    from jobs.demo import demo

    chosen = _configuration(config, None, {"ray.address": "local"})
    result = demo.run(output, lambda catalog: _run(catalog, output, chosen))
    _print_result(result, as_json)
    typer.echo(f"Look at {demo.sheet(output)}: each picture beside its mesh.", err=as_json)
    raise typer.Exit(0 if result.within_budget else 1)


@app.command("submit")
def submit_command(
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


@weights_app.command("info")
def weights_info_command(
    bundle: Annotated[str, typer.Argument(help="Folder, s3:// prefix or 'embedded'.")] = "embedded",
    config: ConfigOption = None,
) -> None:
    """Print what a bundle is: its configuration, digest and sizes."""
    from cluster.store import Stores
    from workers import weights

    loaded = weights.load(bundle, Stores(_configuration(config, None, {}).store))
    parameters = {
        part: sum(value.numel() for value in module.parameters())
        for part, module in (("encoder", loaded.encoder), ("decoder", loaded.decoder))
    }
    described = {"digest": loaded.digest, "parameters": parameters, **loaded.config.model_dump(mode="json")}
    typer.echo(json.dumps(described, indent=2, ensure_ascii=False))


@weights_app.command("import")
def weights_import_command(
    file: Annotated[Path, typer.Argument(help="State dict (.pth) of the IM-NET-pytorch layout.")],
    bundle: Annotated[Path, typer.Argument(help="Folder to make.")],
    family: Annotated[
        Literal["imnet-2019", "imnet-improved"], typer.Option(help="The decoder's family.")
    ] = "imnet-improved",
    framing: Annotated[Literal["crop", "fit"], typer.Option(help="crop is the paper's.")] = "crop",
    category: Annotated[list[str] | None, typer.Option(help="What it was trained on; repeat.")] = None,
) -> None:
    """Make a bundle from upstream weights. Only tensors are read: nothing in FILE is ever run."""
    from workers import weights
    from workers.images import Framing

    if bundle.exists() and any(bundle.iterdir()):
        raise RequestError(f"{bundle}: is not empty; name a new folder.")
    made = weights.import_state_dict(
        file, name=file.stem, family=family, framing=Framing(mode=framing), categories=tuple(category or ())
    )
    typer.echo(f"{bundle}: digest {weights.save(bundle, *made)}")


@app.command("train")
def train_command(
    bundle: Annotated[Path, typer.Argument(help="Folder to make.")],
    plan: Annotated[
        Path | None, typer.Option(help="Training configuration (YAML); the embedded bundle's if left out.")
    ] = None,
) -> None:
    """Train a bundle on made-up objects. The embedded one took about two hours on two CPU cores."""
    from jobs import train

    digest = train.train(bundle, plan, lambda line: typer.echo(line, err=True))
    typer.echo(f"{bundle}: digest {digest}")


def main(arguments: list[str] | None = None) -> None:
    """The program; `arguments` come before those of the command line. A bad request never shows a traceback."""
    logging.basicConfig(level=logging.WARNING, format="isofleet: %(message)s")
    try:
        app([*(arguments or []), *sys.argv[1:]], prog_name="isofleet")
    except RequestError as error:
        typer.echo(f"isofleet: {error}", err=True)
        sys.exit(2)
    except RunError as error:
        typer.echo(f"isofleet: {error}", err=True)
        sys.exit(1)


def _configuration(path: Path | None, settings: list[str] | None, options: dict[str, Any]) -> Config:
    """Defaults, file, environment, then `--set`, then the options that were given."""
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
    overrides |= {key: value for key, value in options.items() if value is not None}
    return load(path, os.environ, overrides)


def _weights(given: list[str] | None) -> str | dict[str, str] | None:
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


def _run(catalog: str, output: str, config: Config) -> "Result":
    from cluster.metrics import DriverMetrics
    from jobs.reconstruct import reconstruct

    metrics = DriverMetrics()
    try:
        with _served(metrics, config), _progress() as show:
            return reconstruct(catalog, output, config, on_progress=show, metrics=metrics)
    except KeyboardInterrupt:  # caught here, because Typer would end the program without a word
        raise RunError("stopped; what was committed stays, and the same command resumes it.") from None


@contextmanager
def _served(metrics: "DriverMetrics", config: Config) -> Iterator[None]:
    if not config.metrics.enabled:
        yield
        return
    with metrics.serve(config.metrics.host, config.metrics.port) as url:
        typer.echo(f"metrics: {url}", err=True)
        yield


@contextmanager
def _progress() -> Iterator[Callable[["Progress"], None]]:
    """A bar on a terminal; elsewhere a line every 30 s."""
    console = Console(stderr=True)
    if not console.is_terminal:
        last = time.monotonic()

        def line(progress: "Progress") -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_SECONDS:
                last = time.monotonic()
                total = "" if progress.images is None else f" of {progress.images}"
                typer.echo(f"{progress.done}{total} images, {progress.failed} failed", err=True)

        yield line
        return
    columns = (
        TextColumn("images"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
    )
    with Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=None, failed=0)
        yield lambda now: bar.update(task, completed=now.done, total=now.images, failed=now.failed)


def _print_result(result: "Result", as_json: bool) -> None:
    rate = result.images / result.seconds if result.seconds else 0.0
    resumed = f", {result.shards_resumed} of them from an earlier start" if result.shards_resumed else ""
    lines = [
        f"{result.ok} meshes and {result.failed} failures from {result.images} images "
        f"in {result.seconds:.1f} s ({rate:.1f} images/s), {result.shards} shards{resumed}",
        *(f"  {count:6d} {code}" for code, count in result.errors.items()),
        f"manifest: {result.output.rstrip('/')}/manifest/",
    ]
    if not result.within_budget:
        lines.append("The error budget is exceeded: see the manifest's error_code and error_message.")
    for line in lines:
        typer.echo(line, err=as_json)
    if as_json:
        typer.echo(json.dumps(asdict(result)))


def _dry_run(catalog: str, config: Config, as_json: bool) -> None:
    from cluster.store import StoreError, Stores
    from jobs.catalog import open_catalog
    from jobs.run import request_for

    stores = Stores(config.store)
    request = request_for(catalog, config.reconstruct, stores)
    source = open_catalog(catalog, stores, category=request.category, limit=request.limit)
    images = wrong = size = 0
    try:
        for _, item in source.items():
            images += 1
            wrong += item.error_code is not None or request.digest_for(item.category) is None
            size += item.size or 0
    except StoreError as error:
        raise RequestError(f"the catalog cannot be read: {error}.") from error
    shards = -(-images // request.shard_size)
    if as_json:
        typer.echo(json.dumps({"images": images, "bytes": size, "shards": shards, "unusable_rows": wrong}))
    else:
        typer.echo(f"{images} images ({size} bytes known) in {shards} shards; {wrong} rows cannot be used.")


if __name__ == "__main__":
    main()
