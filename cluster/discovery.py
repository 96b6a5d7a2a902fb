"""What a Prometheus that watches a run is to scrape: HTTP service discovery (`http_sd_configs`).

Works on: addresses, and the labels `run`, `node` and `role` that Prometheus adds to whatever it scrapes there.
Knows nothing about what is served at the addresses, nor how exporters are started.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from cluster import endpoint
from cluster.config import MetricsSettings
from cluster.endpoint import Address
from cluster.metrics import DriverMetrics

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
        self._run: str | None = None
        self._targets: dict[str, Target] = {}
        self._lock = threading.Lock()

    def begin(self, run_id: str) -> None:
        """The run is known: before that there is nothing to discover, because no label could say what it is."""
        with self._lock:
            self._run = run_id

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
            groups = [
                {
                    "targets": [str(target.address)],
                    "labels": {"run": self._run, "node": target.node, "role": target.role},
                }
                for target in self._targets.values()
                if self._run
            ]
        return json.dumps(groups).encode()


@contextmanager
def serve(settings: MetricsSettings, metrics: DriverMetrics) -> Iterator[tuple[Address, Targets]]:
    """Serve a driver's `/metrics` and `/discovery` on one port; the driver is the first target.

    Raises RequestError when nothing can listen there.
    """
    targets = Targets()
    with endpoint.serve(settings, metrics.registry, {"/discovery": targets.render}) as address:
        targets.add("driver", Target(address.advertised(node_ip), socket.gethostname(), "driver"))
        yield address, targets


def node_ip() -> str:
    """This machine's address in the cluster, or the one that it would use to reach others."""
    import ray  # takes a second, and only a process that listens on all addresses asks

    return str(ray.util.get_node_ip_address())
