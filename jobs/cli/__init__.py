"""The command `isofleet`: options in, one sentence or a summary out.

Works on: command lines. Knows nothing about how anything is done: each command hands over to its own module.
Exit status: 0 done, 1 the run failed or exceeded its error budget, 2 the request was wrong.
Ray and PyTorch take seconds to import, so a command imports them when it is run: --help answers at once.
"""

import logging
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from cluster.errors import RequestError, RunError
from jobs.cli import bundles, convert, doctor, evaluate, monitoring, operate, outputs, prepare, schedules, top, training
from jobs.cli.help import PROGRAM, WIDTH, Command, Group, UsageError, usage

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=WIDTH,
)
# In the order in which people meet them.
_COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "First steps": {"demo": convert.demo, "doctor": doctor.doctor},
    "Convert": {"reconstruct": convert.reconstruct, "remesh": outputs.remesh},
    "Look at what was made, and mend it": {
        "report": outputs.report,
        "verify": outputs.verify,
        "retry-failed": outputs.retry_failed,
    },
    "On a cluster": {
        "submit": operate.submit,
        "status": operate.status,
        "logs": operate.logs,
        "cancel": operate.cancel,
        "top": top.top,
    },
    "Unattended": {"monitoring": monitoring.monitoring},
    "Weights": {"prepare": prepare.prepare, "train": training.train, "evaluate": evaluate.evaluate},
}
for _heading, _commands in _COMMANDS.items():
    for _name, _function in _commands.items():
        app.command(_name, cls=Command, rich_help_panel=_heading)(_function)

weights_app = typer.Typer(
    cls=Group, help="Look at and make weights bundles.", no_args_is_help=True, rich_markup_mode=None
)
weights_app.command("info", cls=Command)(bundles.info)
weights_app.command("import", cls=Command)(bundles.import_)
app.add_typer(weights_app, name="weights", rich_help_panel="Weights")

schedule_app = typer.Typer(cls=Group, rich_markup_mode=None, invoke_without_command=True)
schedule_app.callback()(schedules.schedule)
schedule_app.command("list", cls=Command)(schedules.list_)
schedule_app.command("run", cls=Command)(schedules.run)
app.add_typer(schedule_app, name="schedule", rich_help_panel="Unattended")


def _version(asked: bool) -> None:
    """Versions as they are installed, without importing what they are of."""
    if asked:
        from importlib.metadata import PackageNotFoundError, version
        from platform import python_version

        def of(package: str) -> str:
            try:
                return version(package)
            except PackageNotFoundError:
                return "not installed"

        others = f"Python {python_version()}, Ray {of('ray')}, PyTorch {of('torch')}"
        typer.echo(f"isofleet {of('isofleet')} ({others})")
        raise typer.Exit


@app.callback()
def _isofleet(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the versions and exit.")
    ] = False,
) -> None:
    """Turn catalogs of pictures into catalogs of verified 3D meshes, on a Ray cluster.

    isofleet demo

    isofleet reconstruct photos/ meshes/
    """


def main(arguments: list[str] | None = None) -> None:
    """The program; `arguments` come before those of the command line. Whatever is wrong is said in one sentence."""
    logging.basicConfig(level=logging.WARNING, format="isofleet: %(message)s")
    try:
        # Not typer's own end, which says what is wrong with a command line in four lines.
        ended = app([*(arguments or []), *sys.argv[1:]], prog_name=PROGRAM, standalone_mode=False)
        sys.exit(ended if isinstance(ended, int) else 0)
    except RequestError as error:
        sentence, status = str(error), 2
    except RunError as error:
        sentence, status = str(error), 1
    except UsageError as error:
        if error.ctx and error.message == error.ctx.get_help():  # nothing was asked for: say what there is
            typer.echo(error.message, err=True)
            sys.exit(2)
        sentence, status = usage(error), 2
    typer.echo(f"isofleet: {sentence}", err=True)
    sys.exit(status)
