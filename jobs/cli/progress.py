"""How far a command is, for whoever waits at a terminal or reads a log.

Works on: a run's `Progress`, or a count. Knows nothing about how it comes about.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from jobs.driver import Progress

_PROGRESS_SECONDS = 30.0  # between two lines where there is no terminal


@contextmanager
def progress() -> Iterator[Callable[["Progress"], None]]:
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


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, told how many of how many are done; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
