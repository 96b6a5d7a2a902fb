"""How far a command is, for whoever waits at a terminal or reads a log.

Works on: a run's `Progress` and how many items it has, once somebody has counted them; or a count. Knows
nothing about how they come about.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
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

from jobs.progress import Pace

if TYPE_CHECKING:
    from jobs.progress import Progress

_LINE_SECONDS = 30.0  # between two lines where there is no terminal


class _Story:
    """What there is to tell of a run at a moment. A run lists its catalog as it goes, and knows the total only at the
    end of it; `count`, if given, finds out beforehand, in a thread of its own."""

    def __init__(self, count: Callable[[], int | None] | None, items: str) -> None:
        self._items = items
        self._pace = Pace()
        self._counted: int | None = None
        if count is not None:
            threading.Thread(target=self._find_out, args=(count,), daemon=True).start()

    def _find_out(self, count: Callable[[], int | None]) -> None:
        self._counted = count()

    def total(self, now: "Progress") -> int | None:
        """How many images the run has, if that is known."""
        if now.images is not None:
            return now.before + now.images
        # A catalog that grows meanwhile has more than were counted.
        return self._counted if self._counted and self._counted > now.before + now.done + now.in_flight else None

    def tell(self, now: "Progress") -> tuple[str, str, str]:
        """How many are done, how many have failed, and how fast it goes."""
        done, total = now.before + now.done, self.total(now)
        rate = self._pace.see(time.monotonic(), now.done)
        speed = "" if rate is None else f"{rate:.3g} {self._items}/s"
        if total is None:
            return f"{done:,} {self._items}, more are being listed", f"{now.failed:,} failed", speed
        if rate is not None:
            speed += f", {timedelta(seconds=round((total - done) / rate))} left"
        return f"{done:,} of {total:,} {self._items}", f"{now.failed:,} failed", speed


@contextmanager
def progress(
    count: Callable[[], int | None] | None = None, items: str = "images"
) -> Iterator[Callable[["Progress"], None]]:
    """A bar on a terminal; elsewhere a line every 30 s. `count` is asked for the total if somebody looks at a bar."""
    console = Console(stderr=True)
    if not console.is_terminal:
        with _lines(items) as show:
            yield show
        return
    story = _Story(count, items)
    columns = (
        BarColumn(bar_width=24),
        TextColumn("{task.fields[done]}"),
        TextColumn("{task.fields[failed]}", style="none"),
        TextColumn("{task.fields[speed]}", style="none"),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, done="", failed="", speed="")

        def draw(now: "Progress") -> None:
            done, failed, speed = story.tell(now)
            if now.failed:
                failed = f"[red]{failed}[/red]"
            bar.update(
                task, completed=now.before + now.done, total=story.total(now), done=done, failed=failed, speed=speed
            )

        yield draw


@contextmanager
def _lines(items: str) -> Iterator[Callable[["Progress"], None]]:
    story, last = _Story(None, items), time.monotonic()

    def line(now: "Progress") -> None:
        nonlocal last
        told = story.tell(now)
        if time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            typer.echo(", ".join(filter(None, told)), err=True)

    yield line


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, told how many of how many are done; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
