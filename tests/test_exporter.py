"""The nodes' exporters: on a real Ray, scraped over HTTP."""

import json
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pynvml
import pytest
import ray
from prometheus import wait_until
from test_metrics import samples, scrape, settings

from cluster import discovery, exporter
from cluster.config import MetricsSettings
from cluster.discovery import Targets
from cluster.exporter import NodeExporters, NodeMetrics
from cluster.metrics import DriverMetrics


class Sleeper:
    """A class whose actors are counted."""

    def pid(self) -> int:
        return psutil.Process().pid


@contextmanager
def looking(targets: Targets, given: MetricsSettings) -> Iterator[NodeExporters]:
    """A driver's watch over the nodes, which looks only when told."""
    keeper = NodeExporters(given, targets, ("Sleeper", "Nobody"))
    try:
        yield keeper
    finally:
        keeper.close()


def nodes(targets: Targets) -> list[dict[str, Any]]:
    return [group for group in json.loads(targets.render()) if group["labels"]["role"] == "node"]


def started(keeper: NodeExporters, targets: Targets) -> Callable[[], list[dict[str, Any]]]:
    return lambda: [] if keeper.look() else nodes(targets)


@pytest.fixture
def targets() -> Iterator[Targets]:
    with discovery.serve(settings(), DriverMetrics()) as (_, found):
        found.begin("a-run")
        yield found


def test_a_node_tells_what_runs_on_it(ray_session: None, targets: Targets) -> None:
    sleepers = [ray.remote(Sleeper).options(num_cpus=0).remote() for _ in range(2)]
    pids = ray.get([sleeper.pid.remote() for sleeper in sleepers])
    with looking(targets, settings()) as keeper:
        (node,) = wait_until(started(keeper, targets), "the exporter")
        labels = {"run": "a-run", "node": socket.gethostname(), "role": "node"}
        assert node["labels"] == labels | {"__metrics_path__": "/metrics/a-run"}
        url = f"http://{node['targets'][0]}{node['labels']['__metrics_path__']}"
        seen = scrape(url)
        resident = sum(psutil.Process(pid).memory_info().rss for pid in pids)
        assert seen["isofleet_node_actors", "Sleeper"] == 2
        assert seen["isofleet_node_actors", "Nobody"] == 0
        assert seen["isofleet_actor_resident_memory_bytes", "Sleeper"] == pytest.approx(resident, rel=0.2)
        assert seen["isofleet_node_memory_total_bytes",] == psutil.virtual_memory().total
        assert 0 < seen["isofleet_node_memory_used_bytes",] < seen["isofleet_node_memory_total_bytes",]
        ray.kill(sleepers[0])
        wait_until(lambda: scrape(url)["isofleet_node_actors", "Sleeper"] == 1, "an actor to be gone")
        assert 0 <= scrape(url)["isofleet_node_cpu_utilization_ratio",] <= 1
    assert not nodes(targets)
    ray.kill(sleepers[1])


def test_an_exporter_that_dies_is_replaced(
    ray_session: None, targets: Targets, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exporter, "_LOOK_SECONDS", 0.0)
    with looking(targets, settings()) as keeper:
        (first,) = wait_until(started(keeper, targets), "the exporter")
        (pid,) = (
            process.pid for process in psutil.Process().children(recursive=True)
            if "".join(process.cmdline()[:1]).startswith("ray::NodeExporter")
        )  # fmt: skip
        psutil.Process(pid).send_signal(signal.SIGKILL)
        (second,) = wait_until(
            lambda: [node for node in started(keeper, targets)() if node["targets"] != first["targets"]],
            "another exporter",
        )
        assert second["labels"] == first["labels"]
        assert scrape(f"http://{second['targets'][0]}/metrics")
    (said,) = {record.getMessage() for record in caplog.records if record.levelno == logging.WARNING}
    assert said.startswith(f"The exporter of node {socket.gethostname()} ended: ")


def test_an_exporter_that_cannot_listen_is_said_once_and_left(
    ray_session: None, targets: Targets, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with looking(targets, settings(node_exporter_port=port, port_tries=1)) as keeper:
            wait_until(lambda: not keeper.look(), "the exporter to fail")
            for _ in range(3):
                assert not keeper.look()
                time.sleep(0.1)
    assert not nodes(targets)
    (said,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert f"metrics cannot be served at 127.0.0.1:{port} " in said
    assert "choose another metrics.host, metrics.node_exporter_port or metrics.port_tries" in said
    assert "\n" not in said


def test_no_series_of_gpus_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        pass
    else:
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: pynvml.nvmlSystemGetProcessName(-1))  # raises as it does
    seen = samples(NodeMetrics(()).render())
    assert {name for name, *_ in seen} == {
        "isofleet_node_cpu_utilization_ratio",
        "isofleet_node_memory_used_bytes",
        "isofleet_node_memory_total_bytes",
    }


def test_gpus_tell_their_memory_and_utilisation() -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        pytest.skip("no NVIDIA driver here")
    import torch

    seen = samples(NodeMetrics(()).render())
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        total = pynvml.nvmlDeviceGetMemoryInfo(handle).total
        assert seen["isofleet_node_gpu_memory_total_bytes", str(index)] == total
        assert 0 <= seen["isofleet_node_gpu_memory_used_bytes", str(index)] <= total
        assert 0 <= seen["isofleet_node_gpu_utilization_ratio", str(index)] <= 1
    before = sum(value for (name, *_), value in seen.items() if name == "isofleet_node_gpu_memory_used_bytes")
    held = torch.zeros(2**30, dtype=torch.uint8, device="cuda")
    after = samples(NodeMetrics(()).render())
    used = sum(value for (name, *_), value in after.items() if name == "isofleet_node_gpu_memory_used_bytes")
    assert used - before >= held.numel()


def test_series_of_nodes_are_named_as_prometheus_wants() -> None:
    node = NodeMetrics(("Sleeper",))
    assert all(series.kind == "gauge" and series.name.startswith("isofleet_") for series in node.series)
    assert {name for name, *_ in samples(node.render())} <= {series.name for series in node.series}


def test_loopback_is_of_no_use_on_other_machines(targets: Targets, caplog: pytest.LogCaptureFixture) -> None:
    keeper = NodeExporters(settings(), targets, ())
    far = {"NodeManagerAddress": "192.0.2.77", "NodeManagerHostname": "far", "NodeName": "192.0.2.77"}
    assert not keeper._reachable(far)
    assert "Node far has no exporter, because metrics.host is 127.0.0.1; 0.0.0.0 lets" in caplog.text
    assert keeper._reachable(far | {"NodeManagerAddress": "127.0.0.1"})
    assert NodeExporters(settings(host="0.0.0.0"), targets, ())._reachable(far)
