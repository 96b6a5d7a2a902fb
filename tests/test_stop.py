"""SIGTERM and Ctrl-C at a run: real signals at this process, which drives real actors."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Run

from cluster.config import StoreSettings, load
from cluster.errors import RunError
from cluster.store import Stores
from jobs import cli, manifest
from jobs.progress import Progress
from jobs.reconstruct import reconstruct
from jobs.stop import Stop

# What the same work says again; times and places differ from run to run.
SAME = ["item_id", "shard", "status", "error_code", "attempts", "etag", "mesh_sha256", "latent", "points_evaluated"]


def rows_of(output: Path) -> list[dict[str, Any]]:
    return manifest.read(Stores(StoreSettings()), str(output)).to_pylist()


def convert(catalog: Path, output: Path, settings: dict[str, Any], on_progress: Callable[[Progress], None]) -> None:
    stop = Stop()
    with stop.on_signals():
        reconstruct(str(catalog), str(output), load(None, {}, settings), on_progress=on_progress, stop=stop)


def signal_once(number: int, when: Callable[[Progress], bool], seen: list[Progress]) -> Callable[[Progress], None]:
    """Sends this process a signal at the first progress for which `when` holds, which is then in `seen`."""

    def look(progress: Progress) -> None:
        if not seen and when(progress):
            seen.append(progress)
            os.kill(os.getpid(), number)

    return look


@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGTERM, 15.0), (signal.SIGINT, 0.0)])
def test_what_is_in_flight_is_committed_and_the_same_call_resumes(
    undisturbed: Run, catalog: Path, small: dict[str, Any], tmp_path: Path, number: int, seconds: float
) -> None:
    seen: list[Progress] = []
    settings = small | {"reconstruct.stop_seconds": seconds}  # a batch is a shard here
    with pytest.raises(RunError, match=f"stopped by {signal.Signals(number).name}; .*the same command resumes it"):
        convert(catalog, tmp_path, settings, signal_once(number, lambda now: now.done >= 4, seen))
    before = rows_of(tmp_path)
    done = seen[0].done - seen[0].done % 4
    # With no time to stop, what was done; else also the batches that the actors had.
    assert len(before) == done if seconds == 0 else done < len(before) < 40
    assert not (tmp_path / "_SUCCESS.json").exists()
    if seconds == 0:
        return
    parts = {path: path.stat().st_mtime_ns for path in tmp_path.glob("manifest/*.parquet")}
    convert(catalog, tmp_path, settings, lambda progress: None)
    rows = rows_of(tmp_path)
    assert [{name: row[name] for name in SAME} for row in rows] == [
        {name: row[name] for name in SAME} for row in rows_of(undisturbed.output)
    ]
    assert {path: path.stat().st_mtime_ns for path in parts} == parts
    assert all(row in rows for row in before)


def test_busy_actors_do_not_hold_the_driver_up(
    pictures: Path, small: dict[str, Any], tmp_path: Path, ray_session: None
) -> None:
    """A whole lattice of 512³ takes minutes here: the actors are ended with it."""
    settings = small | {"reconstruct.resolution": 512, "reconstruct.exact": True, "reconstruct.stop_seconds": 1.0}
    seen: list[Progress] = []

    def busy(progress: Progress) -> bool:
        return any(found.cpu_times().user > 5 for found in actors())

    with pytest.raises(RunError, match="stopped by SIGTERM"):
        convert(pictures, tmp_path, settings, signal_once(signal.SIGTERM, busy, seen))
    assert rows_of(tmp_path) == []
    assert seen[0].in_flight > 0
    gone = time.monotonic() + 60
    while actors():
        assert time.monotonic() < gone
        time.sleep(0.1)


def actors() -> list[psutil.Process]:
    """The reconstructors that this process's Ray has."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::Reconstructor"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_the_command_says_that_it_was_stopped(
    catalog: Path,
    small: dict[str, Any],
    tmp_path: Path,
    ray_session: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also Ray's own handler of SIGTERM, which would end the process with status 15, is not in the way."""
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    settings = [f"--set={key}={value}" for key, value in small.items()]
    monkeypatch.setattr(sys, "argv", ["isofleet", "reconstruct", str(catalog), str(tmp_path / "out"), *settings])

    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            if list(tmp_path.glob("out/manifest/*.parquet")):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(SystemExit) as end:
        cli.main()
    ended.set()
    watcher.join()
    assert end.value.code == 1
    said = "isofleet: stopped by SIGTERM; what was committed stays, and the same command resumes it."
    assert said in capsys.readouterr().err.splitlines()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_a_second_signal_does_not_wait() -> None:
    stop = Stop()
    with stop.on_signals():
        with stop.watched():
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.by == "SIGTERM"
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        stop.by = None
        with pytest.raises(KeyboardInterrupt):  # nobody watches any more
            os.kill(os.getpid(), signal.SIGTERM)
