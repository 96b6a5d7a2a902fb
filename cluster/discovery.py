"""What a Prometheus that watches a run is to scrape: HTTP service discovery (`http_sd_configs`).

Works on: addresses, and the labels `run`, `node` and `role` that Prometheus adds to whatever it scrapes there.
Knows nothing about what is served at the addresses, nor how exporters are started.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Literal

from cluster import endpoint
from cluster.config import MetricsSettings
from cluster.endpoint import Address, run_path
from cluster.metrics import DriverMetrics

DRIVER = "driver"  # the driver's key among the targets
Role = Literal["driver", "node"]


@dataclass(frozen=True)
class Target:
    """An address to scrape, and whose it is."""

    address: Address
    node: str
    role: Role


class Targets:
    """The targets of one run, by whatever key tells them apart. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self.run: str | None = None
        self._targets: dict[str, Target] = {}
        self._lock = threading.Lock()

    def begin(self, run_id: str) -> None:
        """The run is known: before that there is nothing to discover, because no label could say what it is."""
        with self._lock:
            self.run = run_id

    def place(self, node: str) -> None:
        """The name of the node that the driver is on, which is its host's name until somebody knows better."""
        with self._lock:
            self._targets[DRIVER] = replace(self._targets[DRIVER], node=node)

    def add(self, key: str, target: Target) -> None:
        """A target that is there from now on."""
        with self._lock:
            self._targets[key] = target

    def remove(self, key: str) -> None:
        """A target that has gone; nothing happens if it is not known."""
        with self._lock:
            self._targets.pop(key, None)

    def render(self) -> bytes:
        """The list in the format of Prometheus's HTTP service discovery, as JSON."""
        with self._lock:
            targets, run = list(self._targets.values()), self.run
        if run is None:
            return b"[]"
        path = {"__metrics_path__": run_path(run)}
        groups = [
            {
                "targets": [str(target.address)],
                "labels": {"run": run, "node": target.node, "role": target.role, **path},
            }
            for target in targets
        ]
        return json.dumps(groups).encode()


@contextmanager
def serve(settings: MetricsSettings, metrics: DriverMetrics) -> Iterator[tuple[Address, Targets]]:
    """Serve a driver's `/metrics` and `/discovery` on one port; the driver is the first target.

    Raises RequestError when nothing can listen there.
    """
    targets = Targets()
    pages = {"/discovery": targets.render}
    with endpoint.serve(settings, metrics.registry, pages, run=lambda: targets.run) as address:
        targets.add(DRIVER, Target(address.advertised(node_ip), socket.gethostname(), "driver"))
        yield address, targets


def node_ip() -> str:
    """This machine's address in the cluster, or the one from which it would reach other machines."""
    import ray  # takes a second, and only a process that listens on all addresses asks

    address = str(ray.util.get_node_ip_address())
    if address.startswith("127."):  # a Ray of this machine alone, which others may watch all the same
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.connect(("192.0.2.1", 9))  # RFC 5737: nobody's; chooses a route, and sends nothing
            return str(probe.getsockname()[0])
    return address
