"""The Ray that a run uses: joined, or started on this machine for as long as the run takes.

Works on: an address and what actors ask for. Knows nothing about what the actors do.
Ray itself waits two minutes for a head that is not there and then ends the process, and waits for ever, silently,
for resources that no node has. Both are looked at here first.
"""

import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import ray
from ray._private import ray_constants
from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled
from ray.exceptions import RayError

from cluster.config import RaySettings
from cluster.errors import RequestError, RunError

# A head answers within milliseconds; together the two bounds stay below the 20 s that a person may wait.
_CONNECT_SECONDS = 5.0
_HANDSHAKE_SECONDS = 10.0
# How long actors that have just been ended, by an earlier run for instance, may take to free what they held.
_RELEASE_SECONDS = 15.0
# Ray's job manager puts this into the environment of a submitted job's driver, beside RAY_ADDRESS.
_SUBMITTED_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
# Ray counts resources in units of 1/10000 ("Fractional Accelerators", docs.ray.io).
_GRAIN = 1e-4


@dataclass(frozen=True)
class ActorNeed:
    """`count` actors of one kind and the CPUs and GPUs that each reserves. `name` is that of the option in the
    section `actors`, a plural: `reconstructors`, `meshers`."""

    name: str
    count: int
    cpus: float
    gpus: float

    def amounts(self) -> tuple[float, float]:
        """GPUs and CPUs that one actor takes from a node. Part of a GPU must come from a single one, so 0.6
        leaves nothing that another 0.6 could use."""
        gpus = 1 / int(1 / self.gpus + _GRAIN) if 0 < self.gpus < 1 else self.gpus
        return gpus, self.cpus

    def option(self, kind: str) -> str:
        """The option that says how much of `CPU` or `GPU` each one reserves."""
        return f"actors.{kind.lower()}s_per_{self.name.removesuffix('s')}"

    def __str__(self) -> str:
        each = [f"{self.cpus:g} CPU"] * (self.cpus > 0) + [f"{self.gpus:g} GPU"] * (self.gpus > 0)
        return f"{self.count} {self.name} with {' and '.join(each) or 'nothing'} each"


class Session:
    """A connection to Ray. Made by `session`."""

    def resources(self) -> dict[str, float]:
        """What all nodes have together, in use or not: `CPU` and `GPU` (both always there), memory in bytes, …"""
        return {"CPU": 0.0, "GPU": 0.0, **ray.cluster_resources()}

    def require(self, actors: Sequence[ActorNeed]) -> None:
        """Return when the cluster has room for all of `actors` at once.

        Raises RequestError, one sentence with what was asked for, what there is and what to change: at once if
        the nodes could never hold them, after 15 s if others keep what is needed.
        """
        asked = " and ".join(str(need) for need in actors)
        options = " or ".join(f"actors.{need.name}" for need in actors)
        total = self.resources()
        needed = {
            "GPU": sum(need.count * need.amounts()[0] for need in actors),
            "CPU": sum(need.count * need.amounts()[1] for need in actors),
        }
        for kind, amount in needed.items():
            if amount > total[kind] + _GRAIN:
                users = [need for need in actors if need.amounts()[kind == "CPU"] > 0]
                options = " or ".join(f"actors.{need.name} or {need.option(kind)}" for need in users)
                raise RequestError(
                    f"{' and '.join(map(str, users))} were asked for, but the cluster has {total[kind]:g} {kind}s; "
                    f"lower {options}, or add nodes"
                )
        if not _fit(actors):
            raise RequestError(
                f"{asked} were asked for, but no arrangement on the cluster's nodes holds them; lower {options} or "
                "what each reserves, or add nodes"
            )
        deadline = time.monotonic() + _RELEASE_SECONDS
        while True:
            free = {"CPU": 0.0, "GPU": 0.0, **ray.available_resources()}
            short = [kind for kind, amount in needed.items() if amount > free[kind] + _GRAIN]
            if not short:
                return
            if time.monotonic() > deadline:
                left = " and ".join(f"{free[kind]:g} of {total[kind]:g} {kind}s" for kind in short)
                raise RequestError(
                    f"{asked} were asked for, but only {left} are free; wait for the cluster's other jobs, or lower "
                    f"{options}"
                )
            time.sleep(0.2)


@contextmanager
def session(settings: RaySettings) -> Iterator[Session]:
    """Join or start Ray, and leave or stop it at the end.

    A Ray that this process uses already is used on and left running, and in a submitted job "local" means the
    cluster that runs the job. A "local" Ray listens on loopback only and belongs to this process: no other machine
    reaches it and no other process can join it. Its ports are protected by Ray's token besides, which is on unless
    RAY_AUTH_MODE says otherwise.

    Raises RequestError when nothing answers at the address (within 20 s), RunError when Ray does not start here.
    """
    if ray.is_initialized():
        yield Session()
        return
    address = "auto" if settings.address == "local" and _SUBMITTED_JOB in os.environ else settings.address
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        if address == "local":
            _start(settings)
        else:
            _join(address, settings.namespace)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term or signal.SIG_DFL)  # Ray has put its own in the place of ours
        yield Session()
    finally:
        ray.shutdown()


def _start(settings: RaySettings) -> None:
    try:
        with _on_loopback():
            ray.init(
                address="local",
                namespace=settings.namespace,
                num_cpus=settings.num_cpus,
                num_gpus=settings.num_gpus,
                include_dashboard=settings.dashboard,
                dashboard_host="127.0.0.1",
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
    except Exception as error:  # Ray raises a bare one where a node takes more than half a minute to start
        raise RunError(f"Ray did not start on this machine: {_first_line(error)}") from error


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray take 127.0.0.1 for this machine's address; the processes that it starts then bind nothing else.

    Ray binds every interface wherever a node's address is not that of loopback, and replaces a `_node_ip_address`
    of 127.0.0.1 by the machine's own. What it offers instead is RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0, read once
    when it is imported: too late here, and wrong in a process that joins a cluster. So what the variable sets is
    set for as long as Ray starts. `tests/test_session.py` looks at the sockets.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _join(address: str, namespace: str) -> None:
    target = os.environ.get("RAY_ADDRESS") or address if address == "auto" else address
    if target != "auto":
        _check_reachable(target)
    try:
        ray.init(address=address, namespace=namespace, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise RequestError(f"ray.address: {target} cannot be joined: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Ray's first line, or which versions differ, which stand in the lines after it."""
    versions = re.findall(r"(?:Ray|Python): (\S+)", str(error))
    if not str(error).startswith("Version mismatch") or len(versions) != 4:
        return _first_line(error)
    return (
        f"it has Ray {versions[0]} and Python {versions[1]}, and here are Ray {versions[2]} and Python {versions[3]}; "
        "install the cluster's versions here"
    )


def _check_reachable(address: str) -> None:
    """Raises RequestError unless a gRPC server, as Ray's head is one, answers at `[ray://]HOST:PORT` and takes the
    token."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise RequestError(f'ray.address: {address!r} must be "local", "auto", HOST:PORT or ray://HOST:PORT')
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise RequestError(
            f"ray.address: nothing answers at {address} ({_first_line(error)}); check the address, the port and "
            "that the cluster runs"
        ) from error
    if os.environ.get("RAY_USE_TLS") == "1":
        return  # only Ray itself has the certificates for the rest
    channel = grpc.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)])
    try:
        grpc.channel_ready_future(channel).result(_HANDSHAKE_SECONDS)
        _check_token(channel, address)
    except grpc.FutureTimeoutError as error:
        raise RequestError(
            f"ray.address: what answers at {address} is no Ray; a head listens at port 6379 unless told "
            "otherwise, and to ray:// at 10001"
        ) from error
    finally:
        channel.close()


def _check_token(channel: grpc.Channel, address: str) -> None:
    """Ray would ask for 20 s, write each answer to the terminal, and in the end not say what was wrong."""
    try:
        headers = get_auth_headers_if_auth_enabled({})
        ask = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetClusterId")
        ask(b"", timeout=_HANDSHAKE_SECONDS, metadata=[(name.lower(), value) for name, value in headers.items()])
    except (RayError, grpc.RpcError) as error:
        if isinstance(error, grpc.RpcError) and error.code() != grpc.StatusCode.UNAUTHENTICATED:
            return  # Ray Client's server has no such method; whatever else it is, Ray will say
        raise RequestError(
            f"ray.address: the cluster at {address} does not know this token; set RAY_AUTH_MODE to token and "
            "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to the cluster's"
        ) from error


def _fit(actors: Sequence[ActorNeed]) -> bool:
    """Whether the nodes hold all actors at once: largest first, each where it first fits."""
    nodes = [
        [node["Resources"].get("GPU", 0.0), node["Resources"].get("CPU", 0.0)] for node in ray.nodes() if node["Alive"]
    ]
    for need in sorted(actors, key=ActorNeed.amounts, reverse=True):
        gpus, cpus = need.amounts()
        for _ in range(need.count):
            for node in nodes:
                if node[0] + _GRAIN >= gpus and node[1] + _GRAIN >= cpus:
                    node[0] -= gpus
                    node[1] -= cpus
                    break
            else:
                return False
    return True


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
