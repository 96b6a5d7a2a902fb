"""How far a run is: a bar on a real terminal, lines elsewhere, and a rate that is the last minute's."""

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.config import StoreSettings
from cluster.store import Stores
from jobs.catalog import open_catalog
from jobs.progress import Pace

CHECKOUT = Path(__file__).resolve().parents[1]

# A run of 40 images, 10 of which were committed before, on a clock that goes 20 s between two looks.
SCRIPT = """
import sys, time
clock = [0.0]
time.monotonic = lambda: clock[0]
from jobs.cli import progress
from jobs.progress import Progress

counted = 40 if sys.argv[1] == "counted" else None
with progress.progress(lambda: counted) as show:
    for done in (0, 5, 10, 20):
        clock[0] += 20
        if done == 20 or counted:
            show(Progress(done, done // 10, 30 if done == 20 else None, 5, before=10))
        else:
            show(Progress(done, done // 10, None, 5, before=10))
        bar = sys.argv[2:] == ["bar"]
        if bar:
            real = __import__("time").perf_counter
            end = real() + 0.15
            while real() < end:  # the bar is drawn ten times a second
                pass
"""


def on_terminal(*arguments: str, **environment: str) -> str:
    """What a script writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=CHECKOUT, env=os.environ | {"TERM": "xterm", "COLUMNS": "80"} | environment, stderr=theirs, stdin=theirs,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    with suppress(OSError):  # EIO at the end, on Linux
        while part := os.read(ours, 4096):
            said += part
    os.close(ours)
    assert process.wait() == 0
    return said.decode()


def test_a_bar_tells_rate_time_left_and_failures() -> None:
    said = on_terminal("counted", "bar")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    assert "15 of 40 images 0 failed 0.25 images/s, 0:01:40 left" in text  # 5 in 20 s, 25 to come
    assert "30 of 40 images 2 failed 0.333 images/s, 0:00:30 left" in text  # 20 in 60 s
    assert "\x1b[31m2 failed" in said
    assert all(len(line) <= 80 for line in text.splitlines())
    plain = on_terminal("counted", "bar", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*m", plain)


def test_a_total_that_nobody_knows_is_not_invented() -> None:
    said = on_terminal("uncounted", "bar")
    assert "20 images, more are being listed" in said
    assert "left" not in said.partition("30 of 40 images")[0]
    assert "30 of 40 images" in said


def test_lines_where_there_is_no_terminal() -> None:
    end = subprocess.run(
        [sys.executable, "-c", SCRIPT, "uncounted"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert end.stderr.splitlines() == [
        "15 images, more are being listed, 0 failed, 0.25 images/s",
        "30 of 40 images, 2 failed, 0.333 images/s, 0:00:30 left",
    ]


def test_a_catalog_is_counted(tmp_path: Path) -> None:
    def count(uri: Path, limit: int | None = None) -> int:
        return open_catalog(str(uri), Stores(StoreSettings()), category=None, limit=limit).count()

    for name in ("a/1.png", "a/2.jpg", "b.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    table = tmp_path / "catalog.csv"
    table.write_text("uri\na.png\nb.png\na.png\n")
    assert (count(tmp_path), count(tmp_path, 2), count(table)) == (3, 2, 3)


@given(st.lists(st.floats(0.7, 40.0), min_size=2, max_size=40), st.integers(1, 9))
def test_a_steady_pace_is_told_whenever_one_looks(pauses: list[float], each: int) -> None:
    pace, now, count, rate = Pace(), 0.0, 0, None
    for pause in pauses:
        for _ in range(10):
            now, count = now + pause / 10, count + each
            rate = pace.see(now, count)
    assert rate is not None
    slowest, fastest = (each * 10 / pick(pauses) for pick in (max, min))
    assert slowest * 0.999 <= rate <= fastest * 1.001


def test_a_pace_forgets_what_is_older_than_a_minute() -> None:
    pace = Pace()
    for second in range(100):
        pace.see(float(second), second * 10)
    for second in range(100, 230):
        rate = pace.see(float(second), 1000 + (second - 100))
    assert rate == pytest.approx(1.0)
    assert Pace().see(0.0, 5) is None
