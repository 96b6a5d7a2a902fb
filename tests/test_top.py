"""Watching a run: real endpoints of a driver and a node, read by the program as its users run it."""

import json
import math
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from conftest import Run
from hypothesis import given
from hypothesis import strategies as st
from ports import free_port
from prometheus_client import CollectorRegistry, Histogram
from test_cli import isofleet
from test_metrics import settings

from cluster import discovery, endpoint
from cluster.discovery import Target
from cluster.exporter import NodeMetrics
from cluster.metrics import STAGE_BUCKETS, DriverMetrics
from cluster.store import canonical
from jobs.top import Watch, printed_address, quantile


class Driver:
    """A driver's endpoint as a run has it, and a node's exporter; the run itself is what a test says of it."""

    def __init__(self, output: object) -> None:
        self.metrics = DriverMetrics()
        self._open = ExitStack()
        self.address, self.targets = self._open.enter_context(discovery.serve(settings(), self.metrics))
        self._output = canonical(str(output))

    def begin(self) -> None:
        self.metrics.begun("a-run", self._output, "1.2+3", 64, "glb", 10)
        self.targets.begin("a-run")
        node = self._open.enter_context(
            endpoint.serve(settings(), NodeMetrics(("Mesher",)).registry, run=lambda: "a-run")
        )
        self.targets.add("there", Target(node, "a-node", "node"))
        gone = endpoint.Address("127.0.0.1", free_port())
        self.targets.add("gone", Target(gone, "lost", "node"))

    def end(self) -> None:
        self._open.close()


@pytest.fixture
def begin() -> Iterator[Callable[[object], Driver]]:
    with ExitStack() as ends:

        def make(output: object) -> Driver:
            made = Driver(output)
            ends.callback(made.end)
            return made

        yield make


def test_a_frame_says_what_the_endpoints_say(begin: Callable[[object], Driver], tmp_path: Path) -> None:
    driver = begin(tmp_path / "meshes")
    address = str(driver.address)
    assert isofleet("top", address, "--once").stdout == "the driver has not taken its run up yet\n"
    driver.begin()
    metrics = driver.metrics
    metrics.planned(50)
    metrics.shard_committed({"ok": 17, "failed": 3})
    metrics.in_flight({"waiting": 4, "mesh": 2})
    metrics.actors("reconstructor", 2)
    metrics.actor_restarted("node_died")
    metrics.store_request("put", "unavailable", 0, 0, 7)
    metrics.store_request("get", "not_found", 0, 0, 0)
    for _ in range(20):
        metrics.stage("upload", 0.02)

    (line,) = isofleet("top", driver.address.url, "--once", "--json").stdout.splitlines()
    seen = json.loads(line)
    assert (seen["run_id"], seen["output"], seen["resolution"]) == ("a-run", str(tmp_path / "meshes"), 64)
    assert (seen["ok"], seen["failed"], seen["planned"], seen["shards_planned"]) == (17, 3, 50, 1)
    assert (seen["queues"]["waiting"], seen["in_flight"], seen["restarts"]) == (4, 6, {"node_died": 1})
    assert (seen["store_requests"], seen["store_errors"], seen["store_retries"]) == (2, 1, 7)
    assert seen["stages"]["upload"]["images"] == 20
    assert seen["stages"]["upload"]["mean"] == pytest.approx(0.02)
    assert 0.01 < seen["stages"]["upload"]["p95"] <= 0.025
    assert seen["seconds_left"] == pytest.approx(30 / seen["rate"])
    there, lost = sorted(seen["nodes"], key=lambda node: node["name"])
    assert (there["name"], there["memory_total"]) == ("a-node", psutil.virtual_memory().total)
    assert there["actors"] == {"Mesher": {"count": 0, "resident": 0.0}}
    assert (lost["name"], lost["answers"]) == ("lost", False)

    said = isofleet("top", address, "--once").stdout
    assert "\x1b" not in said
    for part in (
        "20 of 50 listed so far: 17 ok, 3 failed",
        "6: 4 waiting, 2 mesh",
        "restarts: 1 node died",
        "1 errors",
    ):
        assert part in said
    assert "no answer" in said


def test_the_rate_is_that_of_the_last_minute(
    begin: Callable[[object], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = begin("meshes/")
    driver.begin()
    watch, began = Watch(str(driver.address)), time.time()
    rates = []
    for look, made in enumerate((0, 10, 10, 10, 40)):
        for _ in range(made):
            driver.metrics.stage("upload", 0.1)
        monkeypatch.setattr("time.time", lambda at=began + 30 * look: at)
        frame = watch.look()
        assert frame
        rates.append(frame.rate)
    assert rates == [
        None,
        pytest.approx(10 / 30),
        pytest.approx(20 / 60),
        pytest.approx(20 / 60),
        pytest.approx(50 / 60),
    ]


@pytest.mark.parametrize("finished", [True, False])
def test_a_driver_that_ends_is_outlived(
    finished: bool, begin: Callable[[object], Driver], undisturbed: Run, tmp_path: Path
) -> None:
    """How it ended is read from its output."""
    output = undisturbed.output
    if not finished:
        output = shutil.copytree(output, tmp_path / "half")
        (output / "_SUCCESS.json").unlink()
        (output / "manifest" / "shard-00003.parquet").unlink()
    driver = begin(output)
    driver.begin()
    threading.Timer(1.0, driver.end).start()
    end = isofleet("top", driver.address, "--every", 0.5)
    said = (
        f"the run has ended: 35 ok, 5 failed of 40 images in {output}"
        if finished
        else "the driver has gone and the run is not finished: 36 of 40 images are committed; the same command resumes "
        "it"
    )
    assert (end.status, end.stdout.splitlines()[-1]) == (0 if finished else 1, said)


def test_whoever_is_no_driver_is_named() -> None:
    for address in ("somewhere:over", "127.0.0.1:x", "ftp://127.0.0.1:21"):
        assert "is not the HOST:PORT" in isofleet("top", address).sentence(2)
    nobody = f"127.0.0.1:{free_port()}"
    assert f"nobody answers at http://{nobody}" in isofleet("top", nobody).sentence(2)
    with endpoint.serve(settings(), CollectorRegistry()) as address:
        assert "is no driver; give the address" in isofleet("top", address).sentence(2)
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def hang_up() -> None:
            connection, _ = silent.accept()
            connection.sendall(b"220 hello\r\n")
            connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        assert "is no driver" in isofleet("top", f"127.0.0.1:{silent.getsockname()[1]}").sentence(2)


def test_an_address_is_found_in_a_log() -> None:
    log = (
        "metrics: http://127.0.0.1:9410/metrics\n10 images, 0 failed\nmetrics: http://[::1]:9411/metrics\nmetrics: no\n"
    )
    assert printed_address(log) == "http://[::1]:9411"
    assert printed_address("see metrics: http://127.0.0.1:9410/metrics\n") is None


@given(st.lists(st.floats(min_value=0.0, max_value=400.0), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_the_value(times: list[float], share: float) -> None:
    histogram = Histogram("seconds", "of a stage", buckets=STAGE_BUCKETS, registry=CollectorRegistry())
    for one in times:
        histogram.observe(one)
    (family,) = histogram.collect()
    buckets = [(float(one.labels["le"]), one.value) for one in family.samples if one.name == "seconds_bucket"]
    exact = sorted(times)[math.ceil(share * len(times)) - 1]
    upper = next(bound for bound, _ in buckets if exact <= bound)
    lower = max((bound for bound, _ in buckets if bound < exact), default=0.0)
    assert lower <= quantile(buckets, share) <= upper
