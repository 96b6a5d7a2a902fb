"""A real Prometheus finds a run on a cluster of three nodes, and its totals equal the manifest's after restarts."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from ports import free_ports
from prometheus import Prometheus, prometheus, pushgateway, wait_until
from ray.cluster_utils import Cluster

from cluster.config import StoreSettings
from cluster.store import Stores
from jobs import manifest
from jobs.top import Watch

CHECKOUT = Path(__file__).resolve().parents[1]
NODES = ("head", "left", "right")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three Ray nodes on this machine, apart from the Ray that other tests share."""
    made = Cluster()
    try:
        for name in NODES:
            head = {"include_dashboard": False} if name == "head" else {}
            made.add_node(num_cpus=2, node_name=name, object_store_memory=100 * 2**20, **head)
        yield made
    finally:
        made.shutdown()


def actors(cluster: Cluster, title: str) -> list[psutil.Process]:
    """The processes on the cluster's nodes whose title begins so."""
    found = []
    for node in (cluster.head_node, *cluster.worker_nodes):
        for raylet in node.all_processes["raylet"]:
            for process in psutil.Process(raylet.process.pid).children(recursive=True):
                if "".join(process.cmdline()[:1]).startswith(title):
                    found.append(process)
    return found


@contextmanager
def driver(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", *command], cwd=CHECKOUT, env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def scraping(discovery: list[str], gateway: str) -> dict[str, Any]:
    """As docs/reference/metrics.md has it, but oftener."""
    return {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [
            {
                "job_name": "isofleet",
                "http_sd_configs": [{"url": url, "refresh_interval": "500ms"} for url in discovery],
            },
            {
                "job_name": "pushgateway",
                "honor_labels": True,
                "static_configs": [{"targets": [gateway.removeprefix("http://")]}],
            },
        ],
    }


def totals(server: Prometheus, run_id: str) -> dict[str, float]:
    return server.by("outcome", f'max by (outcome) (max_over_time(isofleet_images_total{{run="{run_id}"}}[10m]))')


def in_manifest(output: Path) -> dict[str, int]:
    rows = manifest.read(Stores(StoreSettings()), str(output)).to_pylist()
    counts = Counter("carried" if row["carried_from"] else row["status"] for row in rows)
    return {outcome: counts[outcome] for outcome in ("ok", "failed", "carried")}


def test_prometheus_sees_a_run_with_restarts(
    cluster: Cluster, catalog: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    output, (port, _) = tmp_path / "meshes", free_ports(2)
    taken = socket.create_server(("127.0.0.1", port))  # as by another run: the driver takes the next port
    settings = small | {
        "ray.address": cluster.address, "metrics.enabled": True, "metrics.port": port, "metrics.port_tries": 2,
    }  # fmt: skip
    discovery = [f"http://127.0.0.1:{port + shift}/discovery" for shift in range(2)]
    with pushgateway(tmp_path) as gateway, prometheus(tmp_path, scraping(discovery, gateway)) as server, taken:
        settings["metrics.pushgateway"] = gateway
        command = ["reconstruct", str(catalog), str(output), "--json"]
        command += [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]

        # The first driver: watched, one of its actors killed, then killed itself.
        log = tmp_path / "first.log"
        with driver(command, log) as first:

            def parts() -> int:
                assert first.poll() is None, log.read_text()
                return len(list(output.glob("manifest/*.parquet")))

            wait_until(lambda: parts() >= 2, "two shards", 120)
            (reconstructor,) = actors(cluster, "ray::Reconstructor")
            reconstructor.send_signal(signal.SIGSTOP)  # the run stands still to be looked at
            run_id = json.loads((output / "_run.json").read_text())["run_id"]
            up = wait_until(lambda: found if len(found := server.query('up{job="isofleet"} == 1')) == 4 else {}, "up")
            seen = sorted(tuple(dict(labels)[name] for name in ("role", "node", "run")) for labels in up)
            assert seen == [("driver", "head", run_id), *(("node", name, run_id) for name in NODES)]
            assert server.by("node", "isofleet_node_memory_total_bytes").keys() == set(NODES)
            for kind in ("Reconstructor", "Mesher"):
                counts = f'isofleet_node_actors{{actor="{kind}"}}'
                wait_until(lambda of=counts: sum(server.by("node", of).values()) == 1, f"one {kind}")
                assert server.by("", f'sum(isofleet_actor_resident_memory_bytes{{actor="{kind}"}})')[""] > 2**26
            assert server.by("pool", "isofleet_actors") == {"reconstructor": 1, "mesher": 1}

            def queued() -> bool:
                in_flight = server.by("node", "isofleet_images_in_flight")["head"]
                return 0 < in_flight == sum(server.by("queue", "isofleet_queue_depth").values())

            wait_until(queued, "the queues to stand still")
            frame = Watch(f"127.0.0.1:{port + 1}").look()
            assert frame
            assert (frame.run_id, frame.output, frame.actors) == (
                run_id,
                str(output),
                {"reconstructor": 1, "mesher": 1},
            )
            assert {node.name for node in frame.nodes if node.answers} == set(NODES)
            assert sum(node.actors["Mesher"].count for node in frame.nodes) == 1
            (info,) = server.query("isofleet_run_info")
            assert {("run_id", run_id), ("run", run_id), ("resolution", "16"), ("format", "glb")} <= info
            reconstructor.send_signal(signal.SIGKILL)
            died = 'isofleet_actor_restarts_total{reason="died"}'
            wait_until(lambda: server.by("node", died).get("head") == 1, "the restart to be seen")
            first.kill()
            first.wait()
        before = in_manifest(output)
        assert 0 < sum(before.values()) < 40

        # The second: told to stop in good order.
        with driver(command, tmp_path / "second.log") as second:
            stood = sum(before.values())
            wait_until(lambda: sum(in_manifest(output).values()) > stood, "more shards", 120)
            second.send_signal(signal.SIGTERM)
            assert second.wait(60) == 1, (tmp_path / "second.log").read_text()
        after = in_manifest(output)
        wait_until(lambda: totals(server, run_id) == after, "what the stopped driver pushed")

        # The third finishes.
        with driver(command, tmp_path / "third.log") as third:
            assert third.wait(180) == 0, (tmp_path / "third.log").read_text()
        counted = wait_until(
            lambda: found if sum((found := totals(server, run_id)).values()) == 40 else {}, "the last values"
        )
        assert counted == in_manifest(output) == {"ok": 35, "failed": 5, "carried": 0}
        pushed = server.by("outcome", f'isofleet_images_total{{job="isofleet", run="{run_id}", role=""}}')
        assert pushed == counted
        success = f'isofleet_last_success_timestamp_seconds{{run="{run_id}", role=""}}'
        assert server.by("run", success)[run_id] == pytest.approx(time.time(), abs=60)

        # Prometheus goes on scraping a driver that is gone, if it had found it, and nobody is to be woken for it.
        wait_until(lambda: not server.query('up{role="driver"} == 1'), "the driver to be down")
        assert not server.query('up{role="node"} == 0 and on (run) up{role="driver"} == 1')
