"""Sessions on real Rays: one started here, a cluster of two nodes to join, and addresses where there is none.

Each script runs in a process of its own: a process has at most one Ray, and other tests may have started theirs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

PRELUDE = """
import contextlib, json, os, time
import ray
import psutil  # Ray brings it
import cluster.session
from cluster.config import RaySettings
from cluster.errors import RequestError, RunError
from cluster.session import ActorNeed, session

def refusal(action, *arguments):
    began = time.monotonic()
    try:
        action(*arguments)
    except (RequestError, RunError) as error:
        return {"kind": type(error).__name__, "message": str(error), "seconds": time.monotonic() - began}
    return None

def listening():  # the addresses on which this process and those below it wait for connections
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return {
        socket.laddr.ip
        for process in processes
        for socket in process.net_connections("inet")
        if socket.status == psutil.CONN_LISTEN
    }

seen = {}
"""


def run(script: str, **env: str) -> dict:
    """What a script put into `seen`; nothing else may have reached its standard output."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script + "\nprint(json.dumps(seen))"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=CHECKOUT,
        env=environment | env,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_local_ray_lives_as_long_as_its_session():
    seen = run("""
cluster.session._RELEASE_SECONDS = 0.3
with session(RaySettings(namespace="mine", num_cpus=2, num_gpus=1, dashboard=True)) as here:
    seen["resources"] = {kind: here.resources()[kind] for kind in ("CPU", "GPU")}
    seen["namespace"] = ray.get_runtime_context().namespace
    seen["authentication"] = os.environ.get("RAY_AUTH_MODE")
    with session(RaySettings(address="127.0.0.1:9", namespace="other")) as same:
        seen["reused"] = same.resources() == here.resources()
    seen["still there"] = ray.is_initialized()

    needs = {
        "fits": [ActorNeed("reconstructors", 2, 0.5, 0.5), ActorNeed("meshers", 1, 1.0, 0)],
        "gpus": [ActorNeed("reconstructors", 2, 0.5, 1), ActorNeed("meshers", 1, 1.0, 0)],
        "parts": [ActorNeed("reconstructors", 2, 0.5, 0.45), ActorNeed("trainers", 1, 0.5, 0.6)],
        "cpus": [ActorNeed("reconstructors", 1, 1, 1), ActorNeed("meshers", 2, 1.0, 0)],
    }
    for name, actors in needs.items():
        seen[name] = refusal(here.require, actors)

    @ray.remote(num_cpus=1.5)
    class Neighbour:
        def greet(self):
            print("chatter")

    neighbour = Neighbour.remote()
    ray.get(neighbour.greet.remote())
    seen["listening"] = sorted(listening())
    seen["busy"] = refusal(here.require, needs["fits"])
    cluster.session._RELEASE_SECONDS = 20
    ray.kill(neighbour)
    seen["released"] = refusal(here.require, needs["fits"])
seen["gone"] = not ray.is_initialized()
""")
    assert seen["resources"] == {"CPU": 2.0, "GPU": 1.0}
    assert seen["namespace"] == "mine"
    assert seen["authentication"] == "token"
    assert set(seen["listening"]) == {"127.0.0.1", "::ffff:127.0.0.1"}  # the same, on IPv4 and IPv6 sockets
    assert seen["reused"]
    assert seen["still there"]
    assert seen["gone"]
    assert seen["fits"] is None
    assert seen["released"] is None
    assert seen["gpus"]["kind"] == "RequestError"
    assert seen["gpus"]["message"] == (
        "2 reconstructors with 0.5 CPU and 1 GPU each were asked for, but the cluster has 1 GPUs; lower "
        "actors.reconstructors or actors.gpus_per_reconstructor, or add nodes"
    )
    assert "the cluster has 1 GPUs" in seen["parts"]["message"]
    assert "2 meshers with 1 CPU each were asked for, but the cluster has 2 CPUs" in seen["cpus"]["message"]
    assert "only 0.5 of 2 CPUs are free" in seen["busy"]["message"]


def test_a_cluster_is_joined_and_left_running():
    seen = run("""
from ray.cluster_utils import Cluster

nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
nodes.add_node(num_cpus=1)
try:
    with session(RaySettings(address=nodes.address)) as joined:
        seen["resources"] = joined.resources()["CPU"]
        seen["two small"] = refusal(joined.require, [ActorNeed("meshers", 2, 1.0, 0)])
        seen["one large"] = refusal(joined.require, [ActorNeed("meshers", 1, 2.0, 0)])
        seen["no gpu"] = refusal(joined.require, [ActorNeed("reconstructors", 1, 1, 1)])
    seen["left"] = not ray.is_initialized()
    os.environ["RAY_ADDRESS"] = nodes.address
    with session(RaySettings(address="auto")) as again:
        seen["again"] = again.resources()["CPU"]
    # As Ray's job manager starts the driver of a submitted job.
    os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps({"runtime_env": {}, "metadata": {}})
    with session(RaySettings()) as submitted:
        seen["submitted"] = len(ray.nodes())
finally:
    nodes.shutdown()
""")
    assert seen["resources"] == seen["again"] == 2
    assert seen["submitted"] == 2
    assert seen["left"]
    assert seen["two small"] is None
    assert "1 meshers with 2 CPU each" in seen["one large"]["message"]
    assert "no arrangement" in seen["one large"]["message"]
    assert "the cluster has 0 GPUs" in seen["no gpu"]["message"]


def test_an_address_without_a_ray_is_said_soon():
    addresses = ["127.0.0.1:9", "ray://127.0.0.1:9", "no-such-host.invalid:6379", "somewhere", "ray://x", "a:99999"]
    seen = run(f"""
import http.server, threading

web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
threading.Thread(target=web.serve_forever, daemon=True).start()
cluster.session._HANDSHAKE_SECONDS = 1.0

def join(address):
    with session(RaySettings(address=address)):
        pass

for address in {addresses!r}:
    seen[address] = refusal(join, address)
seen["web"] = refusal(join, f"127.0.0.1:{{web.server_port}}")
seen["initialized"] = ray.is_initialized()
""")
    assert not seen.pop("initialized")
    assert "is no Ray" in seen["web"]["message"]
    for address in addresses:
        assert address in seen[address]["message"]
    for said in seen.values():
        assert said["kind"] == "RequestError"
        assert said["message"].startswith("ray.address: ")
        assert "\n" not in said["message"]
        assert said["seconds"] < 15


def test_a_node_that_is_slow_to_start_is_said():
    """Ray waits for half a minute, whatever it is told; so its waiting alone is replaced, by what it raises then."""
    seen = run("""
import ray._private.node as node
def late(*arguments, **options):
    raise RuntimeError("no node yet")
ray._private.services.get_node = late
clock = node.time.monotonic
node.time.monotonic = lambda: clock() * 100  # and half a minute passes sooner
seen["refused"] = refusal(session(RaySettings()).__enter__)
""")
    assert seen["refused"]["kind"] == "RunError"
    assert seen["refused"]["message"].startswith("Ray did not start on this machine: The current node timed out")
