"""The command `isofleet`: options in, one sentence or a summary out.

Works on: command lines. Knows nothing about how anything is done: each command hands over to its own module.
Exit status: 0 done, 1 the run failed or exceeded its error budget, 2 the request was wrong.
Ray and PyTorch take seconds to import, so a command imports them when it is run: --help answers at once.
"""

import logging
import sys

import typer

from cluster.errors import RequestError, RunError
from jobs.cli import bundles, convert, doctor, monitoring, operate, outputs, schedules

app = typer.Typer(
    help="Turn catalogs of pictures into catalogs of verified 3D meshes, on a Ray cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("reconstruct")(convert.reconstruct)
app.command("demo")(convert.demo)
app.command("doctor")(doctor.doctor)
app.command("submit")(operate.submit)
app.command("status")(operate.status)
app.command("logs")(operate.logs)
app.command("cancel")(operate.cancel)
app.command("verify")(outputs.verify)
app.command("retry-failed")(outputs.retry_failed)
app.command("remesh")(outputs.remesh)
app.command("monitoring")(monitoring.monitoring)
app.command("train")(bundles.train)

weights_app = typer.Typer(help="Look at and make weights bundles.", no_args_is_help=True, rich_markup_mode=None)
weights_app.command("info")(bundles.info)
weights_app.command("import")(bundles.import_)
app.add_typer(weights_app, name="weights")

schedule_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
schedule_app.callback()(schedules.schedule)
schedule_app.command("list")(schedules.list_)
schedule_app.command("run")(schedules.run)
app.add_typer(schedule_app, name="schedule")


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
