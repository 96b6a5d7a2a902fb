"""Nodes that come late, and nodes that are taken away: one run on Ray nodes that start and end as pods do.

The scripts run in processes of their own: a process has at most one Ray, and other tests may have started theirs.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

CHECKOUT = Path(__file__).resolve().parents[1]

PRELUDE = """
import json, logging, os, subprocess, sys, threading, time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from cluster.config import load
from cluster.errors import RequestError, RunError
from cluster.metrics import DriverMetrics
from jobs.reconstruct import reconstruct

seen, metrics, said = {}, DriverMetrics(), []

class Listener(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())

logging.getLogger("cluster.pool").addHandler(Listener())
catalog, output, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
pod = json.loads(sys.argv[4])

def convert(address, on_progress=lambda progress: None, **changed):
    options = settings | {"ray.address": address} | {key.replace("__", "."): value for key, value in changed.items()}
    return reconstruct(catalog, output, load(None, {}, options), on_progress=on_progress, metrics=metrics)

def refusal(*arguments, **named):
    try:
        convert(*arguments, **named)
    except (RequestError, RunError) as error:
        return f"{type(error).__name__}: {error}"

def start(address, cpus):
    # The command of a worker's container, as KubeRay writes it. Returns the process and the node that it becomes.
    known = {node["NodeID"] for node in ray.nodes()}
    command = f"ulimit -n 65536; ray start --address={address} --num-cpus={cpus} --block "
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["/bin/bash", "-c", "--", command], env=environment(address), **quiet)
    while not (new := {node["NodeID"] for node in ray.nodes()} - known):
        assert process.poll() is None
        time.sleep(0.1)
    return process, new.pop()

def end(address, process, node):
    # As Kubernetes ends a pod. In a pod, the hook's command finds the node by itself.
    *shell, hook = pod["hook"]
    hook = hook.replace("drain-node", f"drain-node --node-id {node}")
    done = subprocess.run([*shell, hook], env=environment(address), capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    process.terminate()
    process.wait(timeout=60)

def environment(address):
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | pod["env"] | {"RAY_ADDRESS": address, "PATH": programs}
"""


def run(script: str, *words: object) -> dict:
    """What a script put into `seen`."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
    environment["PYTHONPATH"] = str(CHECKOUT)  # also for the nodes' workers
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script + "\nprint(json.dumps(seen))", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=CHECKOUT,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def pod() -> dict[str, Any]:
    """What Kubernetes sets and runs in a worker's container: its environment, and the hook before its end."""
    cluster = yaml.safe_load((CHECKOUT / "cluster" / "deploy" / "kubernetes" / "raycluster.yaml").read_text())
    [container] = cluster["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    return {"env": environment, "hook": container["lifecycle"]["preStop"]["exec"]["command"]}


@pytest.fixture(scope="module")
def elastic(small: dict) -> dict:
    """Settings of a run that says itself how many actors it wants, and waits for their nodes."""
    return small | {
        "reconstruct.batch_size": 2,
        "actors.reconstructors": 2,
        "actors.gpus_per_reconstructor": 0.0,
        "actors.meshers": 1,
        "ray.wait_for_nodes_seconds": 240.0,
    }


def test_a_run_outlives_every_node_that_it_began_on(pictures: Path, elastic: dict, tmp_path: Path):
    output = tmp_path / "meshes"
    seen = run(
        """
nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
seen["refused"] = refusal(nodes.address, ray__wait_for_nodes_seconds=0.0)
seen["in vain"] = refusal(nodes.address, ray__wait_for_nodes_seconds=0.5)
seen["how many"] = refusal(nodes.address, actors__meshers=None)
workers, steps, moments = [], [], []

def as_the_cloud_does(progress):
    if not ray.is_initialized():  # the run looks at what stands in the store first
        return
    moments.append(progress.done)
    stuck = len(moments) >= 3 and len(set(moments[-3:])) == 1  # for two seconds: no actor of a kind has a node
    if not steps:  # nothing can have begun: the cluster has no CPU
        steps.append("nodes came")
        workers.extend(start(nodes.address, cpus) for cpus in (2, 1))
    elif len(steps) == 1 and progress.done >= 4:
        steps.append("first drained")
        end(nodes.address, *workers[0])
        moments.clear()
    elif len(steps) == 2 and (stuck or progress.done >= 12):
        steps.append("second drained")
        end(nodes.address, *workers[1])
        moments.clear()
    elif len(steps) == 3 and stuck:
        steps.append("nodes came again")
        workers.append(start(nodes.address, 3))

try:
    result = convert(nodes.address, as_the_cloud_does)
finally:
    for process, _ in workers:
        process.terminate()
    nodes.shutdown()
seen |= {"steps": steps, "said": said, "metrics": metrics.render()}
seen["result"] = {"ok": result.ok, "failed": result.failed, "images": result.images, "shards": result.shards}
""",
        pictures,
        output,
        json.dumps(elastic),
        json.dumps(pod()),
    )
    assert "RequestError" in seen["refused"]
    assert "the cluster has 0 CPUs" in seen["refused"]
    assert "RunError: No reconstructor actor was ready within 0.5 s" in seen["in vain"]
    assert "RequestError: ray.wait_for_nodes_seconds needs actors.meshers to be set" in seen["how many"]

    assert seen["steps"] == ["nodes came", "first drained", "second drained", "nodes came again"]
    assert seen["result"] == {"ok": 32, "failed": 0, "images": 32, "shards": 8}
    rows = pq.read_table(output / "manifest").to_pylist()
    assert len(rows) == len({row["item_id"] for row in rows}) == 32
    for row in rows:
        mesh = (output / "meshes" / row["category"] / f"{row['item_id']}.glb").read_bytes()
        assert hashlib.sha256(mesh).hexdigest() == row["mesh_sha256"]

    counted = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(seen["metrics"])
        for sample in family.samples
    }
    assert counted["isofleet_images_total", "ok"] == 32
    assert counted["isofleet_images_total", "failed"] == 0
    # Nobody is charged with a preemption: the three actors that had nodes were replaced, each once or more.
    restarts = {key[1]: n for key, n in counted.items() if n and key[0] == "isofleet_actor_restarts_total"}
    assert set(restarts) == {"preempted"}
    assert restarts["preempted"] >= 3
    assert all("its node was preempted" in line for line in seen["said"])
